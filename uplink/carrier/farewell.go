package carrier

import (
	"time"

	"golang.org/x/sys/unix"
)

// How long the kernel is asked about connections that are closed, how often, and
// about how many at once. Two FINs and their acknowledgements take a round trip,
// which is little to know and a third of what a short connection costs.
const (
	farewellTime = 3 * time.Second
	farewellLook = 500 * time.Millisecond
	maxFarewells = 64
)

// tcpClosed is TCP_CLOSE of linux/tcp_states.h, which sockets are in when their
// last segment has passed.
const tcpClosed = 7

// farewell is the socket of a connection that its user has closed, kept until the
// other end has said the same.
type farewell struct {
	fd    int // of the socket, a second one
	meter meter
	told  passed
	until time.Time // by the clock that nobody sets
}

// part closes the connection's socket in both directions and keeps it for its
// farewell, unless there is none to be expected or nobody to look. Then it returns
// false, and what the end costs has to be estimated.
func (c *conn) part() (kept bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	info := c.meter.info()
	if c.closed || info == nil || info.State != tcpEstablished && info.State != tcpCloseWait || !c.link.sees() {
		return false
	}
	fd := -1
	_ = c.meter.raw.Control(func(own uintptr) {
		if other, err := unix.FcntlInt(own, unix.F_DUPFD_CLOEXEC, 0); err == nil {
			fd = other
		}
	})
	if fd < 0 {
		return false
	}
	if unix.Shutdown(fd, unix.SHUT_RDWR) != nil { // close alone would not: there are two descriptors
		unix.Close(fd)
		return false
	}
	if !c.link.keep(&farewell{fd: fd, meter: c.meter, told: c.told, until: time.Now().Add(farewellTime)}) {
		unix.Close(fd)
		return false
	}
	c.closed = true
	return true
}

// sees says whether somebody looks after farewells.
func (l *Link) sees() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.running && len(l.farewells) < maxFarewells
}

// keep takes a farewell over, unless Run has ended since sees was asked: nobody would
// close its socket. The link is in use until it has ended.
func (l *Link) keep(f *farewell) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.running {
		return false
	}
	l.farewells = append(l.farewells, f)
	l.users++
	l.rouse()
	return true
}

// seeOff looks at all farewells, ends those that are over, or all of them, and
// returns how many are left.
func (l *Link) seeOff(all bool) (left int) {
	l.mu.Lock()
	waiting := l.farewells
	l.farewells = nil
	l.mu.Unlock()
	var still []*farewell
	for _, f := range waiting {
		info, err := unix.GetsockoptTCPInfo(f.fd, unix.IPPROTO_TCP, unix.TCP_INFO)
		if err == nil {
			total := f.meter.total(info, false)
			fresh := passed{max(0, total.sent-f.told.sent), max(0, total.received-f.told.received)}
			f.told = passed{f.told.sent + fresh.sent, f.told.received + fresh.received}
			l.count(fresh, info, true)
		}
		if err == nil && info.State != tcpClosed && !all && time.Now().Before(f.until) {
			still = append(still, f)
			continue
		}
		unix.Close(f.fd)
		l.exit()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.farewells = append(l.farewells, still...)
	return len(l.farewells)
}

package firmwaresim

import (
	"net"

	"golang.org/x/sys/unix"
)

// ethernetMSS is the largest segment on Ethernet: its 1,500 bytes less the
// headers of IP and TCP. Timestamps take 12 of them.
const ethernetMSS = 1460

// handshakeSegments are SYN and its answer, which no socket counts as its own.
const handshakeSegments = 2

// Ethernet makes the segments between the near side and the link as large as
// Ethernet's, for connections from now on. The loopback interface's own have
// 64 KiB, and a count of them would say nothing.
func (l *Link) Ethernet() error {
	listener, ok := l.listener.(*net.TCPListener)
	if !ok {
		return net.UnknownNetworkError(l.listener.Addr().Network())
	}
	raw, err := listener.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_MAXSEG, ethernetMSS)
	})
	if err != nil {
		return err
	}
	return failed
}

// Segments returns how many segments of TCP have passed between the near side and
// the link, with handshakes and with acknowledgements that carry nothing else, as
// the kernel counts them. Each is 52 bytes of headers on a line: 20 of IP, 32 of
// TCP with its timestamps. Connections that a cut link has refused do not count.
func (l *Link) Segments() (up, down int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	up, down = l.up.segments, l.down.segments
	for c := range l.circuits {
		in, out := c.segments()
		up, down = up+in, down+out
	}
	return up, down
}

// segments counts those of a circuit so far.
func (c *circuit) segments() (up, down int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || c.far == nil {
		return c.up, c.down
	}
	return nearSegments(c.near)
}

// nearSegments asks the kernel. Zero says that it does not tell.
func nearSegments(conn *net.TCPConn) (up, down int64) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, 0
	}
	var info *unix.TCPInfo
	var failed error
	err = raw.Control(func(fd uintptr) { info, failed = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO) })
	if err != nil || failed != nil || info.Segs_in == 0 {
		return 0, 0
	}
	return int64(info.Segs_in) + handshakeSegments/2, int64(info.Segs_out) + handshakeSegments/2
}

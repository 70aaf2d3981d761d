package carrier

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// probes is how many keepalives go unanswered until a connection is dead, unless
// there is no time for so many.
const probes = 4

// keepalives is how often the other end is asked, and how many times, so that it is
// within dead from the first one. The system counts whole seconds.
func keepalives(dead time.Duration) (interval time.Duration, count int) {
	interval = max(time.Second, (dead / probes).Truncate(time.Second))
	return interval, max(1, min(probes, int(dead/interval)))
}

// Dial connects over the link. network is tcp, tcp4 or tcp6. The name of the host
// is looked up over the link as well, and everything is counted. Errors are those
// of net.Dialer, or wrap ErrClosed.
func (l *Link) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := l.dial(ctx, network, address, nil)
	if err != nil {
		return nil, err
	}
	return c, nil
}

// dial is Dial. ended, if not nil, is told when the network breaks the connection
// and when it is closed.
func (l *Link) dial(ctx context.Context, network, address string, ended func(*conn, error)) (*conn, error) {
	l.Look()
	if why := l.downReason(); why != "" {
		return nil, fmt.Errorf("%w: %s", ErrClosed, why)
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	l.enter() // asking for the name and connecting are one session
	defer l.exit()
	ctx, cancel := context.WithTimeout(ctx, l.cfg.DialTimeout)
	defer cancel()
	addrs, err := l.names.lookup(ctx, network, host)
	if err != nil {
		return nil, err
	}
	for i, addr := range addrs {
		c, err2 := l.dialOne(ctx, network, net.JoinHostPort(addr.String(), port), len(addrs)-i)
		if err2 == nil {
			return l.join(newConn(l, c, ended)), nil
		}
		err = cmp.Or(err, err2)
		if ctx.Err() != nil {
			break
		}
	}
	return nil, err
}

// dialOne connects to one address. rest is how many are left, this one included:
// they share the time.
func (l *Link) dialOne(ctx context.Context, network, address string, rest int) (net.Conn, error) {
	if end, ok := ctx.Deadline(); ok && rest > 1 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, max(time.Until(end)/time.Duration(rest), 2*time.Second))
		defer cancel()
	}
	begun := time.Now()
	c, err := l.connect(ctx, network, address, true)
	if errors.Is(err, unix.EPERM) { // Linux before 5.7 wants CAP_NET_RAW for binding to an interface
		c, err = l.connect(ctx, network, address, false)
	}
	if err != nil {
		l.countFailure(address, time.Since(begun), err)
	}
	return c, err
}

// socket makes a socket that leaves by the link's interface, or, if it may not
// be bound to that, from the interface's address.
func (l *Link) socket(ctx context.Context, network, address string, bind bool) (net.Conn, error) {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, err
	}
	source, found := l.cfg.Source, true
	if !bind && !source.IsValid() {
		if source, found = l.reach.address(to.Addr()); !found {
			return nil, fmt.Errorf("%w: %s has no address of the kind of %s", ErrClosed, l.cfg.Interface, to.Addr())
		}
	}
	interval, count := keepalives(l.cfg.DeadAfter)
	d := net.Dialer{
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: l.cfg.Keepalive, Interval: interval, Count: count},
		Control: func(_, _ string, raw syscall.RawConn) error {
			return l.prepare(raw, network, bind && !to.Addr().IsLoopback())
		},
	}
	switch {
	case !source.IsValid() || to.Addr().IsLoopback():
	case network[:3] == "udp":
		d.LocalAddr = &net.UDPAddr{IP: source.AsSlice(), Zone: source.Zone()}
	default:
		d.LocalAddr = &net.TCPAddr{IP: source.AsSlice(), Zone: source.Zone()}
	}
	return d.DialContext(ctx, network, address)
}

// prepare sets what has to be set before a socket connects.
func (l *Link) prepare(raw syscall.RawConn, network string, bind bool) (err error) {
	other := raw.Control(func(fd uintptr) {
		if bind && l.cfg.Interface != "" {
			if err = unix.SetsockoptString(int(fd), unix.SOL_SOCKET, unix.SO_BINDTODEVICE, l.cfg.Interface); err != nil {
				err = fmt.Errorf("leave by %s: %w", l.cfg.Interface, err)
				return
			}
		}
		if network[:3] == "tcp" {
			_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(l.cfg.DeadAfter.Milliseconds()))
		}
	})
	return cmp.Or(err, other)
}

// countFailure counts a connection that was not made.
func (l *Link) countFailure(address string, took time.Duration, err error) {
	to, _ := netip.ParseAddrPort(address)
	for _, local := range []error{unix.ENETUNREACH, unix.EADDRNOTAVAIL, unix.ENETDOWN, unix.ENODEV, unix.EPERM, unix.EINVAL, ErrClosed} {
		if errors.Is(err, local) {
			return // nothing has left
		}
	}
	ip := int64(ip4Header)
	if !to.Addr().Unmap().Is4() {
		ip = ip6Header
	}
	l.count(failedDial(ip, took, errors.Is(err, unix.ECONNREFUSED)), nil, false)
}

package mqttin

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/tidegate/tidegate/reading"
)

// Probe does what a device does: it connects to Listen, publishes with QoS 1, and
// returns nil when the acknowledgement has come. What it publishes goes through the
// accept loop, the guard, the server, a batch, the intake, custody and the gate, and is
// a note without a key instead of readings: custody says when it could have been
// committed, and keeps nothing; see [reading.Note]. It counts nowhere and takes nobody's
// place. It does not go through TLS, passwords, rules and decoders: a door knows its own
// probe by the address that it comes from, which is a socket of this process, and by a
// name that nobody else is told.
//
// Where this machine does not let it reach Listen, say because of a firewall or of an
// address that has gone, it comes in behind the accept loop.
func (s *Source) Probe(ctx context.Context) error {
	b := s.running()
	if b == nil {
		return ErrNotRunning
	}
	nc, err := s.knock(ctx, s.Addr(ctx))
	switch {
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return fmt.Errorf("mqtt probe: %w", err) // no device comes in, either
	case err != nil && ctx.Err() == nil:
		var inside net.Conn
		nc, inside = net.Pipe()
		if !b.hold() {
			return ErrNotRunning
		}
		b.ended.Go(func() { b.serve(inside, true) })
		b.ended.Done()
	case err != nil:
		return fmt.Errorf("mqtt probe: %w", err)
	}
	defer nc.Close()
	defer s.own.forget(nc.LocalAddr())
	defer context.AfterFunc(ctx, func() { nc.SetDeadline(time.Unix(1, 0)) })()
	if err := exchangeProbe(nc, s.own.nameOne()); err != nil {
		return fmt.Errorf("mqtt probe: %w", errors.Join(err, ctx.Err()))
	}
	return nil
}

// exchangeProbe speaks MQTT 3.1.1: one CONNECT with a clean session and no keep-alive,
// one PUBLISH, one DISCONNECT.
func exchangeProbe(nc net.Conn, name string) error {
	const id = 1
	hello := append([]byte{0, 4, 'M', 'Q', 'T', 'T', 4, 2, 0, 0, 0, byte(len(name))}, name...)
	for _, step := range []struct{ say, want []byte }{
		{append([]byte{typeConnect << 4, byte(len(hello))}, hello...), []byte{typeConnack << 4, 2, 0, 0}},
		{[]byte{typePublish<<4 | 1<<1, 5, 0, 1, 'p', 0, id}, appendAck(nil, typePuback, id)},
	} {
		if _, err := nc.Write(step.say); err != nil {
			return err
		}
		got := make([]byte, len(step.want))
		if _, err := io.ReadFull(nc, got); err != nil {
			return fmt.Errorf("packet of type %d is not answered: %w", step.say[0]>>4, err)
		}
		if !bytes.Equal(got, step.want) {
			return fmt.Errorf("packet of type %d is answered with %x", step.say[0]>>4, got)
		}
	}
	_, _ = nc.Write([]byte{typeDisconnect << 4, 0}) // out of courtesy
	return nil
}

// addProbe puts a probe's publish into the batch, without readings. It waits for the
// locks that all connections share.
func (c *conn) addProbe(p publish) {
	if c.batch == nil {
		c.batch = <-c.broker.batches
	}
	b := c.broker
	for _, shared := range b.locks() {
		shared.Lock() // that it can be is all
		shared.Unlock()
	}
	b.server.Topics.Unsubscribe(nobodys, c.client.ID) // of its locks, that of the root is not to be had
	c.batch.notes = []reading.Note{{}}
	c.batch.ids = append(c.batch.ids, p.id)
	c.batch.counts.messages[1]++ // so that it is full some day; they are a probe's
}

// locks are those that connections share.
func (b *broker) locks() []sync.Locker {
	all := []sync.Locker{
		&b.claim, &b.mu, &b.memory.mu, &b.retained.change, &b.retained.mu, &b.throttle.mu, b.server.Clients, b.server.Topics.Retained,
	}
	if b.sys != nil {
		all = append(all, &b.sys.mu)
	}
	return all
}

// reach is how long a probe tries to connect, if it has twice that.
const reach = 5 * time.Second

// knock connects to a listener of this process, from an address that it knows before
// the listener sees it.
func (s *Source) knock(ctx context.Context, at net.Addr) (net.Conn, error) {
	to, ok := at.(*net.TCPAddr)
	if !ok || to.Zone != "" {
		return nil, fmt.Errorf("no way to %v", at)
	}
	ip, _ := netip.AddrFromSlice(to.IP)
	if ip = ip.Unmap(); ip.IsUnspecified() {
		ip = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	var from netip.AddrPort
	patience := reach
	if until, ends := ctx.Deadline(); ends {
		patience = min(patience, time.Until(until)/2)
	}
	d := net.Dialer{Timeout: patience, KeepAlive: -1, Control: func(_, _ string, raw syscall.RawConn) error {
		bound := errors.New("no address")
		if err := raw.Control(func(fd uintptr) { from, bound = bindTo(int(fd), ip) }); err != nil {
			return err
		}
		if bound == nil {
			s.own.add(from)
		}
		return bound
	}}
	nc, err := d.DialContext(ctx, "tcp", netip.AddrPortFrom(ip, uint16(to.Port)).String())
	if err != nil {
		s.own.remove(from)
	}
	return nc, err
}

// bindTo gives a socket an address, with a port that is free.
func bindTo(fd int, ip netip.Addr) (netip.AddrPort, error) {
	var want syscall.Sockaddr = &syscall.SockaddrInet6{Addr: ip.As16()}
	if ip.Is4() {
		want = &syscall.SockaddrInet4{Addr: ip.As4()}
	}
	if err := syscall.Bind(fd, want); err != nil {
		return netip.AddrPort{}, err
	}
	got, err := syscall.Getsockname(fd)
	switch got := got.(type) {
	case *syscall.SockaddrInet4:
		return netip.AddrPortFrom(ip, uint16(got.Port)), err
	case *syscall.SockaddrInet6:
		return netip.AddrPortFrom(ip, uint16(got.Port)), err
	}
	return netip.AddrPort{}, err
}

// ownAddresses are those that this process connects from, at the moment, to its own
// door. While it does, nobody else can come from there, unless something on the way
// translates addresses, or the port was given away in the instant after it was closed.
// What such a device sends must not be taken for a probe's, which is acknowledged and
// not kept: so there is a name, too.
type ownAddresses struct {
	name string // begins the client identifiers of probes
	last atomic.Uint64

	mu  sync.Mutex
	all map[netip.AddrPort]bool
}

func newOwnAddresses() *ownAddresses {
	return &ownAddresses{name: "tidegate-probe-" + rand.Text() + "-"}
}

// nameOne returns the client identifier of another probe.
func (o *ownAddresses) nameOne() string { return fmt.Sprintf("%s%x", o.name, o.last.Add(1)) }

// named says whether a client identifier is a probe's.
func (o *ownAddresses) named(id string) bool { return strings.HasPrefix(id, o.name) }

func (o *ownAddresses) add(a netip.AddrPort) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.all == nil {
		o.all = make(map[netip.AddrPort]bool)
	}
	o.all[a] = true
}

func (o *ownAddresses) remove(a netip.AddrPort) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.all, a)
}

func (o *ownAddresses) forget(a net.Addr) { o.remove(plainAddress(a)) }

// claim says whether an accepted connection comes from a probe's address, and takes TLS
// away from it. There is one from each.
func (o *ownAddresses) claim(nc net.Conn) (net.Conn, bool) {
	from := plainAddress(nc.RemoteAddr())
	o.mu.Lock()
	mine := o.all[from]
	delete(o.all, from)
	o.mu.Unlock()
	if secure, ok := nc.(*tls.Conn); ok && mine {
		return secure.NetConn(), true
	}
	return nc, mine
}

// plainAddress is the zero address for what is not TCP, which nobody connects from.
func plainAddress(a net.Addr) netip.AddrPort {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	at := tcp.AddrPort()
	return netip.AddrPortFrom(at.Addr().Unmap().WithZone(""), at.Port())
}

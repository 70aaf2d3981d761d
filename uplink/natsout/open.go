package natsout

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tidegate/tidegate/internal/netfault"
	"github.com/tidegate/tidegate/uplink/onelink"
)

// loginTimeout bounds everything from the dial to the server's first PONG.
const loginTimeout = 30 * time.Second

// dialer is a nats.CustomDialer.
type dialer func(address string) (net.Conn, error)

// Dial dials.
func (d dialer) Dial(_, address string) (net.Conn, error) { return d(address) }

// open connects and logs in to the first server that lets us. The library knows no
// contexts; what it does ends with its connection.
func (s *Sink) open(ctx context.Context) (*link, error) {
	ctx, cancel := context.WithTimeout(ctx, loginTimeout)
	defer cancel()
	l := &link{
		cfg: &s.cfg, turn: make(chan struct{}, 1), gone: make(chan struct{}), shut: make(chan struct{}),
		due: make(map[uint64]answer), flying: make(map[*flight]struct{}),
	}
	var missed error // the library forgets why nobody could be reached
	release := func() bool { return true }
	o, err := s.options(l)
	if err != nil {
		return nil, err
	}
	o.CustomDialer = dialer(func(address string) (net.Conn, error) {
		release()
		wire, err := onelink.Open(ctx, onelink.Dial(s.cfg.Dial), address, nil)
		if err != nil {
			missed = err
			return nil, err
		}
		l.wire = wire
		release = context.AfterFunc(ctx, func() { wire.Close() })
		return wire, nil
	})
	l.nc, err = o.Connect()
	if err == nil {
		err = l.subscribe()
	}
	if !release() {
		err = fmt.Errorf("log in: %w — hint: the other side does not answer; does it speak NATS, and TLS where that is expected?", ctx.Err())
	}
	if err != nil && l.nc != nil {
		l.Close()
	}
	if err != nil {
		return nil, explain(err, missed, l.wire)
	}
	s.payload.Store(l.nc.MaxPayload())
	return l, nil
}

func (s *Sink) options(l *link) (nats.Options, error) {
	o := nats.GetDefaultOptions()
	for _, server := range s.cfg.Servers {
		o.Servers = append(o.Servers, "nats://"+server)
	}
	o.Name, o.InboxPrefix, o.Timeout = s.cfg.Name, s.cfg.InboxPrefix, loginTimeout
	o.NoRandomize, o.IgnoreDiscoveredServers, o.SkipHostLookup = true, true, true
	// The Forwarder paces the tries, and knows what has arrived.
	o.AllowReconnect, o.MaxReconnect = false, 0
	o.PingInterval, o.MaxPingsOut = s.cfg.Keepalive, 1
	// A write that ends in the middle is not followed by another one: who has no
	// more patience closes the connection.
	o.FlusherTimeout = 0
	o.TLSConfig, o.Secure, o.TLSHandshakeFirst = s.cfg.TLS, s.cfg.Secure, s.cfg.TLSFirst
	o.AsyncErrorCB = func(_ *nats.Conn, _ *nats.Subscription, err error) { l.complain(err) }
	o.ClosedCB = func(nc *nats.Conn) {
		l.fail(l.lost(nc.LastError()))
		close(l.shut)
	}
	o.User, o.Password, o.Token = s.cfg.Username, s.cfg.Password.Reveal(), s.cfg.Token.Reveal()
	return o, s.credentials(&o)
}

// credentials reads the files of a login, if it has some.
func (s *Sink) credentials(o *nats.Options) error {
	var login nats.Option
	switch {
	case s.cfg.NkeyFile != "":
		var err error
		if login, err = nats.NkeyOptionFromSeed(s.cfg.NkeyFile); err != nil {
			return unreadable(fmt.Errorf("nkey file: %w", err))
		}
	case s.cfg.CredsFile != "":
		login = nats.UserCredentials(s.cfg.CredsFile)
	default:
		return nil
	}
	return login(o)
}

// subscribe asks for the answers.
func (l *link) subscribe() error {
	l.inbox = l.nc.NewInbox() + "."
	_, err := l.nc.Subscribe(l.inbox+"*", l.hear)
	return err
}

// lost is why there is no connection any more.
func (l *link) lost(err error) error {
	if fault := l.wire.Fault(); err == nil || isOfNetwork(err) && fault != nil {
		err = fault
	}
	if err == nil {
		err = errors.New("closed")
	}
	return fmt.Errorf("connection lost: %w", judge(err, 0))
}

// explain judges why there is no connection.
func explain(err, missed error, wire *onelink.Conn) error {
	switch {
	case errors.Is(err, nats.ErrNoServers) && missed != nil:
		return missed
	case wire != nil && isOfNetwork(err) && wire.Fault() != nil:
		return fmt.Errorf("log in: %w", wire.Fault())
	}
	return fmt.Errorf("log in: %w", judge(netfault.Explain(err), 0))
}

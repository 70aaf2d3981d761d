package mqttin

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/ingest/route"
	"github.com/tidegate/tidegate/internal/closing"
	"github.com/tidegate/tidegate/internal/listening"
)

// Config says where the broker listens, what its topics mean and how much it
// bears. Zero values mean the defaults.
type Config struct {
	// Listen is the TCP address, "127.0.0.1:1883" by default.
	Listen string
	// ListenPlain, if not empty, is one more address, where TLS is never spoken.
	ListenPlain string
	// Routes says what topics mean. It must not be nil.
	Routes *route.Table
	// TLS, if not nil, is spoken at Listen. A client whose certificate it
	// verifies is the user whose name stands there, and needs no password.
	TLS *tls.Config
	// Authorize says whether a password is the user's. The password is nil when
	// the client sent none, and only valid during the call. It is called by
	// many goroutines at once, may take its time, and returns false when ctx
	// ends.
	Authorize func(ctx context.Context, user string, password []byte) bool
	// Anonymous lets everybody connect, as a user without a name. It counts only
	// without Authorize.
	Anonymous bool
	// MatchClientID refuses clients whose identifier is not their user's name,
	// or that followed by a colon and more.
	MatchClientID bool
	// Rules say who may publish and subscribe to what; none allow everything.
	Rules []Rule
	// SessionExpiry is how long a session lasts, at the most, without a
	// connection, 7 days by default.
	SessionExpiry time.Duration
	// MaxPacket is the largest packet in bytes, 256 KiB by default.
	MaxPacket int
	// MaxConnect is the largest CONNECT in bytes, 8 KiB by default.
	MaxConnect int
	// MaxClients is how many connections may be open, 1024 by default.
	MaxClients int
	// MaxPerHost is how many of them may come from one address, MaxClients by
	// default: whole fleets sit behind one.
	MaxPerHost int
	// MaxUnacked is how many messages of a connection may wait for their
	// acknowledgements before no more are read from it, 2000 by default.
	MaxUnacked int
	// MaxRate and MaxByteRate are how many packets and bytes a second are read
	// from one connection; zero stands for as many as come.
	MaxRate, MaxByteRate int
	// ConnectTimeout is how long a new connection may take to say who it is,
	// 10 s by default.
	ConnectTimeout time.Duration
	// WriteTimeout is how long a peer may read nothing of what is sent to it,
	// 5 s by default.
	WriteTimeout time.Duration
	// Version is what $SYS/broker/version says of the program.
	Version string
	// SysInterval is how often what has changed is published under $SYS/broker,
	// 10 s by default. A negative one turns that off.
	SysInterval time.Duration
	// Delivered, if not nil, is called when a client has acknowledged an Order of
	// QoS 1 or 2. It must return at once and not call the Source.
	Delivered func(order, client string)
	// Linger is how long a connection that is being closed may take to deliver
	// what is due, 1 s by default.
	Linger time.Duration
}

func (c Config) withDefaults() Config {
	c.Listen = cmp.Or(c.Listen, "127.0.0.1:1883")
	c.SessionExpiry = cmp.Or(c.SessionExpiry, 7*24*time.Hour)
	c.MaxPacket = cmp.Or(c.MaxPacket, 256<<10)
	c.MaxConnect = cmp.Or(c.MaxConnect, 8<<10)
	c.MaxClients = cmp.Or(c.MaxClients, 1024)
	c.MaxPerHost = cmp.Or(c.MaxPerHost, c.MaxClients)
	c.MaxUnacked = cmp.Or(c.MaxUnacked, 2000)
	c.ConnectTimeout = cmp.Or(c.ConnectTimeout, 10*time.Second)
	c.WriteTimeout = cmp.Or(c.WriteTimeout, 5*time.Second)
	c.SysInterval = cmp.Or(c.SysInterval, 10*time.Second)
	c.Linger = cmp.Or(c.Linger, time.Second)
	return c
}

// Source is the MQTT broker as a door in. See the package comment.
type Source struct {
	cfg   Config
	log   *slog.Logger
	stats counters
	clock clock

	places *listening.Places // that of Listen is the first
	own    *ownAddresses     // of probes

	mu     sync.Mutex
	broker *broker
}

// New returns a Source that does nothing yet.
func New(cfg Config, log *slog.Logger) *Source {
	return &Source{cfg: cfg.withDefaults(), log: log, clock: machineClock(), places: listening.New(), own: newOwnAddresses()}
}

// Run listens and serves until ctx ends or a listener breaks. When it returns,
// every connection is closed and every goroutine has ended.
func (s *Source) Run(ctx context.Context, intake *ingest.Intake) error {
	listeners, err := s.listen(ctx)
	if err != nil {
		return fmt.Errorf("%w — hint: is another broker running, or the address not of this machine?", err)
	}
	b, err := newBroker(ctx, s, intake)
	if err != nil {
		closeAll(listeners)
		return fmt.Errorf("start mqtt broker: %w", err)
	}
	s.open(b, listeners)
	b.ended.Go(b.announce)
	err = s.serveAll(ctx, b, listeners)
	s.shut()
	b.stop()
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// listen opens the listeners, that of Listen first.
func (s *Source) listen(ctx context.Context) ([]net.Listener, error) {
	first, err := new(net.ListenConfig).Listen(ctx, "tcp", s.cfg.Listen)
	if err != nil {
		return nil, err
	}
	all := []net.Listener{first}
	if s.cfg.TLS != nil {
		all[0] = tls.NewListener(first, s.cfg.TLS) // the handshake is part of the first read
	}
	if s.cfg.ListenPlain == "" {
		return all, nil
	}
	plain, err := new(net.ListenConfig).Listen(ctx, "tcp", s.cfg.ListenPlain)
	if err != nil {
		closeAll(all)
		return nil, err
	}
	return append(all, plain), nil
}

// serveAll serves connections from all listeners until ctx ends or one breaks,
// and closes them.
func (s *Source) serveAll(ctx context.Context, b *broker, listeners []net.Listener) error {
	defer closing.Until(ctx, func() { closeAll(listeners) })()
	broken := make(chan error, len(listeners))
	var accepting sync.WaitGroup
	for _, l := range listeners {
		accepting.Go(func() {
			broken <- s.acceptAll(ctx, b, l)
			closeAll(listeners) // half a broker is harder to notice than none
		})
	}
	accepting.Wait()
	return <-broken
}

func closeAll(listeners []net.Listener) {
	for _, l := range listeners {
		l.Close()
	}
}

// maxPause is the longest pause after a failed accept.
const maxPause = time.Second

// acceptAll serves connections until the listener is closed. Other errors pass:
// a process that ran out of file descriptors must not stay deaf when some are
// free again.
func (s *Source) acceptAll(ctx context.Context, b *broker, listener net.Listener) error {
	pause := time.Duration(0)
	for {
		nc, err := listener.Accept()
		switch {
		case err == nil:
			pause = 0
			nc, probe := s.own.claim(nc)
			b.ended.Go(func() { b.serve(nc, probe) })
		case errors.Is(err, net.ErrClosed):
			return err
		default:
			if pause == 0 {
				s.log.Warn("mqtt cannot accept connections for now", "err", err)
			}
			pause = min(maxPause, pause*2+5*time.Millisecond)
			select {
			case <-ctx.Done():
			case <-time.After(pause):
			}
		}
	}
}

// ServeConn speaks MQTT on a connection that came in some other way, for example
// over a WebSocket, and returns when it has ended. It closes the connection at
// once while Run is not running.
func (s *Source) ServeConn(nc net.Conn) {
	b := s.running()
	if b == nil {
		nc.Close()
		return
	}
	b.serve(nc, false)
}

// running returns the broker of the current Run; nil while there is none.
func (s *Source) running() *broker {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.broker
}

// Addr waits until Run listens and returns the address of Listen; nil when ctx
// ends first.
func (s *Source) Addr(ctx context.Context) net.Addr { return s.places.First(ctx) }

func (s *Source) open(b *broker, listeners []net.Listener) {
	s.mu.Lock()
	s.broker = b
	s.mu.Unlock()
	var addrs []net.Addr
	for _, l := range listeners {
		addrs = append(addrs, l.Addr())
		s.log.Info("mqtt listens", "addr", l.Addr().String())
	}
	s.places.Open(addrs...)
}

func (s *Source) shut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broker = nil
	s.places.Shut()
}

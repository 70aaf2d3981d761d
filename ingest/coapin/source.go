package coapin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/internal/listening"
)

// Source is the CoAP server as a door in. See the package comment.
type Source struct {
	cfg    Config
	log    *slog.Logger
	stats  counters
	settle time.Duration // how long a stop waits for commits

	places *listening.Places // plain, DTLS; nil where it does not listen
}

// New returns a Source that does nothing yet.
func New(cfg Config, log *slog.Logger) *Source {
	return &Source{cfg: cfg.withDefaults(), log: log, settle: settle, places: listening.New()}
}

// settle is how long a stop waits for the commit of what custody has already. The
// server that comes next does not know its messages: they would be stored twice.
const settle = 500 * time.Millisecond

// Run listens and serves until ctx ends or a socket breaks. When it returns,
// sockets and sessions are closed and every goroutine has ended. What is not committed
// soon is not answered: its peer sends it again.
func (s *Source) Run(ctx context.Context, intake *ingest.Intake) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	plain, secure, err := s.listen(ctx)
	if err != nil {
		return fmt.Errorf("%w — hint: does another CoAP server run, or is the address not of this machine?", err)
	}
	v := newServer(s, intake)
	answering, answered := context.WithCancel(context.WithoutCancel(ctx)) // ends later
	gate := newGate(answering, ctx, v, secure)
	broken := make(chan error, 2)
	var all sync.WaitGroup
	serve := func(sock *socket, take func([]byte, destination)) {
		if sock == nil {
			return
		}
		all.Go(func() {
			broken <- readAll(sock, take)
			cancel() // half a server is harder to notice than none
		})
		all.Go(func() {
			<-ctx.Done()
			sock.SetReadDeadline(time.Unix(1, 0))
			<-answering.Done()
			gate.close() // while sessions can still be told
			sock.Close()
		})
	}
	serve(plain, func(b []byte, at destination) { v.take(ctx, b, origin{at: at, out: plain}) })
	serve(secure, gate.datagram)
	all.Go(func() {
		defer answered()
		v.acknowledge(ctx)
		v.acknowledgeRest(s.settle)
	})
	all.Go(func() { v.sweep(ctx) })
	s.open(plain, secure)
	all.Wait()
	s.places.Shut()
	if err := <-broken; !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

func (s *Source) listen(ctx context.Context) (plain, secure *socket, err error) {
	if s.cfg.ListenDTLS != "" {
		if s.cfg.Key == nil {
			return nil, nil, errors.New("coap over dtls has no keys")
		}
		if secure, err = listen(ctx, s.cfg.ListenDTLS, &s.stats.overflowed); err != nil {
			return nil, nil, err
		}
	}
	if s.cfg.Listen != "" {
		if plain, err = listen(ctx, s.cfg.Listen, &s.stats.overflowed); err != nil {
			if secure != nil {
				secure.Close()
			}
			return nil, nil, err
		}
	}
	if plain == nil && secure == nil {
		return nil, nil, errors.New("coap listens nowhere")
	}
	return plain, secure, nil
}

// maxErrors is how many reads of a socket may fail one after the other: an ICMP
// message that arrives may make one fail, and means nothing.
const maxErrors = 100

// readAll reads datagrams until the server stops, which the socket says.
func readAll(sock *socket, take func([]byte, destination)) error {
	b, oob := make([]byte, maxDatagram), make([]byte, oobSize)
	for failed := 0; ; {
		n, at, err := sock.receive(b, oob)
		switch {
		case err == nil:
			failed = 0
			take(b[:n], at)
		case errors.Is(err, net.ErrClosed), errors.Is(err, os.ErrDeadlineExceeded):
			return net.ErrClosed
		default:
			if failed++; failed >= maxErrors {
				return fmt.Errorf("coap reads: %w", err)
			}
		}
	}
}

// Addr waits until Run listens and returns the address of Listen, or that of
// ListenDTLS if there is no other; nil when ctx ends first.
func (s *Source) Addr(ctx context.Context) net.Addr {
	plain, secure := s.Addrs(ctx)
	if plain == nil {
		return secure
	}
	return plain
}

// Addrs waits until Run listens and returns the addresses of Listen and
// ListenDTLS, nil where it does not listen or when ctx ends first.
func (s *Source) Addrs(ctx context.Context) (plain, dtls net.Addr) {
	if addrs := s.places.Wait(ctx); addrs != nil {
		plain, dtls = addrs[0], addrs[1]
	}
	return plain, dtls
}

func (s *Source) open(sockets ...*socket) {
	addrs := make([]net.Addr, len(sockets))
	for i, sock := range sockets {
		if sock != nil {
			addrs[i] = sock.LocalAddr()
			s.log.Info("coap listens", "addr", addrs[i].String(), "dtls", i == 1)
		}
	}
	s.places.Open(addrs...)
}

// sweepInterval is how often what is too old is forgotten when nothing comes in.
const sweepInterval = 10 * time.Second

// sweep forgets what nobody will ask for again.
func (v *server) sweep(ctx context.Context) {
	ticks := time.NewTicker(sweepInterval)
	defer ticks.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticks.C:
			v.expire(now)
		}
	}
}

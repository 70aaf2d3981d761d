package httpin

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"time"

	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/ingest/decode"
	"github.com/tidegate/tidegate/ingest/route"
	"github.com/tidegate/tidegate/internal/listening"
)

// Config says where the door listens, what it takes and how much it bears. Zero
// values mean the defaults.
type Config struct {
	// Listen is the TCP address.
	Listen string
	// TLS, if not nil, is spoken there.
	TLS *tls.Config
	// Routes says what topics mean. It must not be nil.
	Routes *route.Table
	// Types are the decoders of content types that name a format, by media type
	// in lower case. What is not here is decoded as its route says.
	Types map[string]decode.Decoder
	// LineProtocol are the decoders of InfluxDB's paths, by the precision that a
	// request names ("ns", "ms"); "" is for those that name none. Without it
	// there are no such paths.
	LineProtocol map[string]decode.Decoder
	// Authorize says whether a password is the user's; see mqttin. It may take
	// its time, and is called by many goroutines at once.
	Authorize func(ctx context.Context, user string, password []byte) bool
	// Tokens returns the tokens that are valid now. Without Authorize and
	// Tokens, everybody is let in.
	Tokens func() *Tokens
	// MaxBody is the largest body in bytes, also after decompression, 1 MiB by
	// default.
	MaxBody int
	// MaxInFlight is how many bytes bodies, and the readings in them, may take
	// at once until custody has them, 8 MiB by default, and never less than one
	// request may need.
	MaxInFlight int
	// MaxClients is how many connections may be open, 512 by default.
	MaxClients int
	// Timeout bounds the time that a request takes to arrive, 30 s by default,
	// and Patience how long it waits for room in custody, 5 s by default.
	Timeout, Patience time.Duration
}

func (c Config) withDefaults() Config {
	c.MaxBody = cmp.Or(c.MaxBody, 1<<20)
	c.MaxInFlight = cmp.Or(c.MaxInFlight, 8<<20)
	c.MaxClients = cmp.Or(c.MaxClients, 512)
	c.Timeout = cmp.Or(c.Timeout, 30*time.Second)
	c.Patience = cmp.Or(c.Patience, 5*time.Second)
	c.MaxInFlight = max(c.MaxInFlight, 3*c.MaxBody+zstdBlock+maxReadings*readingSize+maxText)
	return c
}

// maxHeader bounds the header of a request.
const maxHeader = 16 << 10

// idleTime is how long a connection may be kept without a request.
const idleTime = 2 * time.Minute

// Source is the HTTP listener as a door in. See the package comment.
type Source struct {
	cfg   Config
	log   *slog.Logger
	stats counters

	places *listening.Places
}

// New returns a Source that does nothing yet.
func New(cfg Config, log *slog.Logger) *Source {
	return &Source{cfg: cfg.withDefaults(), log: log, places: listening.New()}
}

// Run listens and serves until ctx ends or the listener breaks.
func (s *Source) Run(ctx context.Context, intake *ingest.Intake) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", s.cfg.Listen)
	if err != nil {
		return fmt.Errorf("%w — hint: does another program listen there, or is the address not of this machine?", err)
	}
	unzstd, err := newUnzstd()
	if err != nil {
		listener.Close()
		return fmt.Errorf("decompressor: %w", err)
	}
	defer unzstd.Close()
	bounded := newBounded(listener, s.cfg.MaxClients, &s.stats)
	d := &door{
		Source: s, ctx: ctx, intake: intake, room: newBudget(s.cfg.MaxInFlight), unzstd: unzstd,
		turns: make(chan struct{}, runtime.GOMAXPROCS(0)),
	}
	defer d.busy.Wait() // their connections are closed and their contexts over
	server := &http.Server{
		Handler:           d,
		ReadHeaderTimeout: s.cfg.Timeout,
		ReadTimeout:       s.cfg.Timeout,
		WriteTimeout:      s.cfg.Timeout, // begins anew with the answer, see hurry
		IdleTimeout:       idleTime,
		MaxHeaderBytes:    maxHeader,
		TLSConfig:         s.cfg.TLS,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		BaseContext:       func(net.Listener) context.Context { return ctx },
		Protocols:         new(http.Protocols), // HTTP/2 has hundreds of requests on one connection
	}
	server.Protocols.SetHTTP1(true)
	s.log.Info("http listens", "addr", listener.Addr().String())
	s.places.Open(listener.Addr())
	defer s.places.Shut()
	served := make(chan error, 1)
	go func() {
		if s.cfg.TLS != nil {
			served <- server.ServeTLS(bounded, "", "")
			return
		}
		served <- server.Serve(bounded)
	}()
	select {
	case err = <-served:
	case <-ctx.Done():
		err = stop(server)
		<-served
	}
	if ctx.Err() != nil {
		return nil
	}
	return err
}

const (
	// grace is how long a stop waits for answers to leave: requests see that their
	// context has ended, and say so to their clients.
	grace = time.Second
	// settle is how much of it is for the commit of what custody has already.
	settle = grace / 2
)

func stop(server *http.Server) error {
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	return errors.Join(server.Shutdown(ctx), server.Close())
}

// Addr waits until Run listens and returns the address; nil when ctx ends first.
func (s *Source) Addr(ctx context.Context) net.Addr { return s.places.First(ctx) }

package uplink

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/tidegate/tidegate/internal/backoff"
)

// Defaults of Config.
const (
	DefaultMaxBatch   = 256 << 10
	DefaultWindow     = 16
	DefaultTimeout    = 30 * time.Second
	DefaultMinBackoff = time.Second
	// A try costs some hundred bytes; a link that is back and not used costs
	// more.
	DefaultMaxBackoff = 15 * time.Second
)

// ErrStalled says that nothing was acknowledged for Config.Stall although there
// was something to send. The way out is a new Sink.
var ErrStalled = errors.New("no acknowledgement")

// Config says how a Forwarder sends. Every field but Gateway may be left zero.
type Config struct {
	// Gateway is the name that messages carry.
	Gateway string
	// MaxBatch is the largest message body in bytes, DefaultMaxBatch if zero.
	// Only a single block that is larger by itself exceeds it.
	MaxBatch int
	// Window is how many messages may be in flight at the most, DefaultWindow if
	// zero. How many are, depends on the link.
	Window int
	// Timeout bounds one Send, DefaultTimeout if zero. A message that runs out
	// of time gets twice as much on its next try, up to eight times: the link
	// may have become slower since the message was made.
	Timeout time.Duration
	// Backoff paces retries, DefaultMinBackoff to DefaultMaxBackoff if Max is
	// zero.
	Backoff backoff.Backoff
	// Wake receives when the link has come up: the next try is then made at
	// once. Nil never does.
	Wake <-chan struct{}
	// Stall is how long nothing may be acknowledged, while there is something to
	// send and the gate is open, before Run gives the Sink up and returns
	// ErrStalled: whatever it is stuck in, a new one is not. Zero is for ever.
	Stall time.Duration
	// Gate says what the link allows at present; nil allows everything, always.
	Gate Gate
}

func (c Config) withDefaults() Config {
	if c.MaxBatch <= 0 {
		c.MaxBatch = DefaultMaxBatch
	}
	if c.Window <= 0 {
		c.Window = DefaultWindow
	}
	if c.Timeout <= 0 {
		c.Timeout = DefaultTimeout
	}
	if c.Backoff.Max <= 0 {
		c.Backoff.Min, c.Backoff.Max = DefaultMinBackoff, DefaultMaxBackoff
	}
	if c.Gate == nil {
		c.Gate = alwaysOpen{}
	}
	return c
}

// Forwarder moves the blocks of one cursor to one sink.
type Forwarder struct {
	cfg        Config
	cursor     Cursor
	encoder    Encoder
	sink       Sink
	quarantine Quarantine
	log        *slog.Logger
	progress   progress
	now        chan struct{} // holds one: somebody wants a try
	book       book
}

// New returns a Forwarder. The encoder must be its own: it is used by one
// goroutine at a time, but keeps state. log should carry the sink's name.
func New(cfg Config, cursor Cursor, encoder Encoder, sink Sink, quarantine Quarantine, log *slog.Logger) *Forwarder {
	return &Forwarder{
		cfg:        cfg.withDefaults(),
		cursor:     cursor,
		encoder:    encoder,
		sink:       sink,
		quarantine: quarantine,
		log:        log,
		now:        make(chan struct{}, 1),
		book:       book{since: time.Now()},
	}
}

// Run forwards until ctx ends, and then returns nil; what was in flight is cut
// off and stays in the buffer. Any other return is an error of the cursor: the
// sink's own errors are retried for ever, unless Config.Stall says how long. Run
// may be called again once it has returned and the cursor is back at the first
// block that is not acked.
func (f *Forwarder) Run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	fl := newFlow(f)
	err := fl.loop(ctx)
	stop()
	return fl.end(err)
}

// Renew gives the Forwarder another Sink, between two Runs.
func (f *Forwarder) Renew(sink Sink) { f.sink = sink }

// TryNow lets a link that is down try at once instead of when its backoff says, also
// where a person had to do something and may have; not while the remote side itself
// has asked to wait. It returns at once.
func (f *Forwarder) TryNow() {
	select {
	case f.now <- struct{}{}:
	default: // it will anyway
	}
}

// Stats returns a snapshot of the progress so far.
func (f *Forwarder) Stats() Stats { return f.progress.snapshot() }

// WaitIdle returns nil when everything that the cursor had is elsewhere, or
// when the link is down and waiting is of no use; otherwise when ctx ends, with
// its cause. It is the grace to give a Forwarder before Run's ctx is ended:
// what does not make it stays in the buffer and is sent after the next start.
func (f *Forwarder) WaitIdle(ctx context.Context) error { return f.progress.waitQuiet(ctx) }

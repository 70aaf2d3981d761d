package uplink

import (
	"context"
	"sync"
	"time"
)

// State is what a Forwarder is doing.
type State uint8

const (
	// Idle: everything is elsewhere; the Forwarder waits for readings.
	Idle State = iota
	// Up: readings are on their way.
	Up
	// Down: the latest message did not arrive; Stats.LastError says why.
	Down
	// Held: readings wait, because the link does not allow them now.
	Held
)

// String returns the state in lower case.
func (s State) String() string {
	switch s {
	case Idle:
		return "idle"
	case Up:
		return "up"
	case Down:
		return "down"
	case Held:
		return "held"
	}
	return "unknown"
}

// Stats is the progress of a Forwarder since it started to run.
type Stats struct {
	State State
	// Since is when the link went down or, after an outage, came up again.
	Since time.Time
	// LastError is why the link is down; "" when it is not. Cause is the error with
	// its class.
	LastError string
	Cause     error
	// NextTry is when the sink is tried again, zero if nothing is waited for; Asked
	// says that the remote side has named the delay, or that a person has to do
	// something: the link coming up does not end it.
	NextTry time.Time
	Asked   bool
	// LastAck is when the sink last took a message; zero if it never did.
	LastAck time.Time
	// AckedReadings were taken by the sink, or the encoding has no words for them;
	// Quarantined readings were refused and set aside.
	AckedReadings, Quarantined uint64
	// SentMessages and SentBytes count every try, SentBytes the bodies: what
	// the link has carried, or tried to.
	SentMessages, SentBytes uint64
	// Retries are the tries that failed and were, or will be, repeated.
	Retries uint64
	// MaxBody is the largest body that is made, in bytes: Config.MaxBatch, or less
	// where the remote side is known to take no more.
	MaxBody int
	// InFlight is the number of messages in the hands of the sink.
	InFlight int
}

// progress is where a Forwarder shows its Stats to other goroutines.
type progress struct {
	mu    sync.Mutex
	stats Stats
	quiet chan struct{} // closed when the state is no longer Up; nil if nobody waits
}

func (p *progress) snapshot() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stats
}

func (p *progress) set(s Stats) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stats = s
	if s.State != Up && p.quiet != nil {
		close(p.quiet)
		p.quiet = nil
	}
}

func (p *progress) waitQuiet(ctx context.Context) error {
	quiet := p.untilQuiet()
	if quiet == nil {
		return nil
	}
	select {
	case <-quiet:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// untilQuiet returns a channel that closes when the state is no longer Up, or
// nil if it is not.
func (p *progress) untilQuiet() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stats.State != Up {
		return nil
	}
	if p.quiet == nil {
		p.quiet = make(chan struct{})
	}
	return p.quiet
}

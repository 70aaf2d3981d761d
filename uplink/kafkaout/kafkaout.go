//go:build !nokafka

package kafkaout

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/tidegate/tidegate/internal/kafka"
	"github.com/tidegate/tidegate/uplink"
	"github.com/tidegate/tidegate/uplink/onelink"
)

// Built says whether this program speaks Kafka.
const Built = true

// Sink produces to a cluster. It is safe for concurrent use.
type Sink struct {
	cfg    Config
	dial   uplink.Dial
	packer *kafka.Packer
	elder  *kafka.Packer // for brokers that do not know packer's codec
	limits *limits

	// asking has one place: whoever holds it asks the brokers what is missing.
	asking chan struct{}

	mu      sync.Mutex // held for moments only
	links   map[string]*onelink.Seat[*link]
	opened  map[string]*link // the last one in each
	known   knowledge
	numbers *numbers // nil before the first
	produce int16    // the lowest version of Produce that a broker had
	home    string   // the broker that was last produced to
	first   int      // which of Config.Brokers is tried first

	sends  map[uint64]context.CancelCauseFunc
	last   uint64 // of sends
	idle   *time.Timer
	closed bool
	ended  sync.WaitGroup
}

// New returns a Sink. It does not connect yet.
func New(cfg Config) (*Sink, error) {
	cfg, err := cfg.complete()
	if err != nil {
		return nil, err
	}
	s := newSinkOf(cfg, newLimits())
	codec, elder := cfg.codec()
	if s.packer, err = kafka.NewPacker(codec); err == nil {
		s.elder, err = kafka.NewPacker(elder)
	}
	if err != nil {
		return nil, fmt.Errorf("kafka uplink: %w", err)
	}
	return s, nil
}

// codec returns the compression that is wanted, and what stands in for it with
// brokers that are older than it.
func (c Config) codec() (codec, elder kafka.Codec) {
	switch c.Compression {
	case "gzip":
		return kafka.Gzip, kafka.Gzip
	case "snappy":
		return kafka.Snappy, kafka.Snappy
	case "lz4":
		return kafka.LZ4, kafka.LZ4
	case "zstd":
		return kafka.Zstd, kafka.Gzip
	}
	return kafka.None, kafka.None
}

// newSinkOf returns a Sink without what it needs to send.
func newSinkOf(cfg Config, l *limits) *Sink {
	s := &Sink{
		cfg: cfg, dial: cfg.dialer(), limits: l, asking: make(chan struct{}, 1), produce: math.MaxInt16,
		links: make(map[string]*onelink.Seat[*link]), opened: make(map[string]*link), known: newKnowledge(time.Now()), sends: make(map[uint64]context.CancelCauseFunc),
	}
	s.idle = time.AfterFunc(cfg.IdleTimeout, s.rest)
	s.idle.Stop()
	return s
}

// Limit returns the largest piece that every topic seen so far takes, or 0.
func (s *Sink) Limit() int { return s.limits.piece() }

// Close ends the connections, and every Send that is under way.
func (s *Sink) Close() error {
	s.mu.Lock()
	s.closed = true
	s.idle.Stop()
	for _, cancel := range s.sends {
		cancel(errClosed)
	}
	seats := s.unseat()
	s.mu.Unlock()
	for _, seat := range seats {
		seat.Close()
	}
	s.ended.Wait()
	return nil
}

// unseat forgets all connections, for its caller to close. The lock is held.
func (s *Sink) unseat() (seats []*onelink.Seat[*link]) {
	for address, seat := range s.links {
		delete(s.links, address)
		delete(s.opened, address)
		seats = append(seats, seat)
	}
	return seats
}

// rest closes the connections when nobody has used them for a while. What is known
// of the cluster stays, and so do the numbers of what was sent.
func (s *Sink) rest() {
	s.mu.Lock()
	if s.closed || len(s.sends) > 0 {
		s.mu.Unlock()
		return
	}
	seats := s.unseat()
	s.ended.Add(1)
	s.mu.Unlock()
	defer s.ended.Done()
	for _, seat := range seats {
		seat.Close()
	}
}

// enter begins a use of the Sink, which Close ends by way of the context.
func (s *Sink) enter(ctx context.Context) (context.Context, func(), error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ctx, nil, errClosed
	}
	ctx, cancel := context.WithCancelCause(ctx)
	s.last++
	n := s.last
	s.sends[n] = cancel
	s.idle.Stop()
	s.ended.Add(1)
	return ctx, func() {
		cancel(nil)
		s.mu.Lock()
		defer s.mu.Unlock()
		defer s.ended.Done()
		delete(s.sends, n)
		if len(s.sends) == 0 && !s.closed {
			s.idle.Reset(s.cfg.IdleTimeout)
		}
	}, nil
}

// Send produces every piece of the message, and returns nil when all replicas in
// sync have them.
func (s *Sink) Send(ctx context.Context, m uplink.Message) error {
	if len(m.Pieces()) == 0 {
		return nil
	}
	ctx, leave, err := s.enter(ctx)
	if err == nil {
		err = s.deliver(ctx, m)
		if err != nil && errors.Is(context.Cause(ctx), errClosed) {
			err = errClosed // whatever else it looks like
		}
		leave()
	}
	if err != nil {
		return fmt.Errorf("produce to kafka at %s: %w", s.cfg.Brokers[0], err)
	}
	return nil
}

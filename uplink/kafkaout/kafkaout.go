//go:build !nokafka

package kafkaout

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tidegate/tidegate/uplink"
)

// Built says whether this program speaks Kafka.
const Built = true

// Why a session ends that did not break.
var (
	errClosed  = errors.New("the uplink is closed")
	errRetired = errors.New("the session has been replaced")
	errIdle    = errors.New("the session had nothing to do")
)

// Sink produces to a cluster. It is safe for concurrent use.
type Sink struct {
	cfg     Config
	options []kgo.Opt
	limits  *limits
	turns   *turns

	mu      sync.Mutex // held for moments only
	current *session
	open    map[*session]struct{}
	closed  bool
	ended   sync.WaitGroup // sessions
}

// New returns a Sink. It does not connect yet.
func New(cfg Config) (*Sink, error) {
	cfg, err := cfg.complete()
	if err != nil {
		return nil, err
	}
	s := &Sink{cfg: cfg, limits: newLimits(), turns: newTurns(), open: make(map[*session]struct{})}
	if s.options, err = cfg.options(s.limits.batchBytes); err != nil {
		return nil, err
	}
	if err := kgo.ValidateOpts(s.options...); err != nil {
		return nil, fmt.Errorf("kafka uplink: %w", err)
	}
	return s, nil
}

// Limit returns the largest piece that every topic seen so far takes, or 0.
func (s *Sink) Limit() int { return s.limits.piece() }

// Close ends the connections, and every Send that is under way.
func (s *Sink) Close() error {
	s.mu.Lock()
	s.closed, s.current = true, nil
	open := make([]*session, 0, len(s.open))
	for k := range s.open {
		open = append(open, k)
	}
	s.mu.Unlock()
	for _, k := range open {
		k.fail(errClosed)
	}
	s.ended.Wait()
	return nil
}

// Send produces every piece of the message, and returns nil when all replicas in
// sync have them.
func (s *Sink) Send(ctx context.Context, m uplink.Message) error {
	if err := s.send(ctx, m); err != nil {
		return fmt.Errorf("produce to kafka at %s: %w", s.cfg.Brokers[0], err)
	}
	return nil
}

func (s *Sink) send(ctx context.Context, m uplink.Message) error {
	turn, err := s.turns.enter(ctx)
	if err != nil {
		return err
	}
	err = s.attempt(ctx, m)
	alone := turn.wasAlone()
	turn.leave()
	if alone || !uplink.IsPermanent(err) {
		return err
	}
	// Was it this message, or one that waited for the same partition?
	turn, waited := s.turns.alone(ctx)
	if waited != nil {
		return waited
	}
	defer turn.leave()
	return s.attempt(ctx, m)
}

// attempt sends over the session that there is, or a new one. A session that
// breaks under its first use since it rested costs nothing: brokers close
// connections that they think idle. Nor does a limit that is not what it was:
// what was too large in one batch may fit into several.
func (s *Sink) attempt(ctx context.Context, m uplink.Message) error {
	for again := false; ; again = true {
		k, rested, err := s.join()
		if err != nil {
			return err
		}
		err = k.send(ctx, m)
		s.leave(k)
		worthwhile := k.learnt.Load() && uplink.IsTooLarge(err) || rested && k.disconnected()
		if err == nil || again || !worthwhile || ctx.Err() != nil {
			return err
		}
	}
}

// join returns the session to send over. rested says that it is an old one, and
// that nobody else is using it.
func (s *Sink) join() (k *session, rested bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, false, errClosed
	}
	if k = s.current; k != nil && !k.isBroken() {
		k.idle.Stop()
		k.users++
		return k, k.users == 1, nil
	}
	if k, err = s.openSession(); err != nil {
		return nil, false, err
	}
	k.users = 1
	s.current = k
	return k, false, nil
}

// leave ends a use of the session.
func (s *Sink) leave(k *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if k.users--; k.users > 0 {
		return
	}
	if k != s.current {
		k.fail(errRetired)
		return
	}
	k.idle.Reset(s.cfg.IdleTimeout)
}

// retire lets nobody else use the session. Those who do finish with it.
func (s *Sink) retire(k *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current == k {
		s.current = nil
	}
}

// rest ends a session that nobody has used for a while.
func (s *Sink) rest(k *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if k.users == 0 {
		k.fail(errIdle)
	}
}

// openSession makes a session, whose connections come with its first request.
// The lock is held.
func (s *Sink) openSession() (*session, error) {
	k := &session{sink: s, broken: make(chan struct{}), leaders: make(map[int32]struct{})}
	client, err := kgo.NewClient(append(s.options[:len(s.options):len(s.options)], kgo.WithHooks(k))...)
	if err != nil {
		return nil, err
	}
	k.client = client
	k.idle = time.AfterFunc(s.cfg.IdleTimeout, func() { s.rest(k) })
	s.open[k] = struct{}{}
	s.ended.Add(1)
	return k, nil
}

// gone forgets a session whose connections are closed.
func (s *Sink) gone(k *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k.idle.Stop()
	delete(s.open, k)
	if s.current == k {
		s.current = nil
	}
	s.ended.Done()
}

package linein

import (
	"context"
	"errors"
	"net/netip"
	"sync"

	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/internal/backoff"
)

// maxUnsettled is how many frames of a connection may be on their way to flash
// before no more are read from it.
const maxUnsettled = 8192

// pending is a batch on its way to flash.
type pending struct {
	receipt ingest.Receipt // nil if there is nothing to wait for
	// batch is what custody is given again if it does not keep it; nil if
	// nothing is.
	batch  *batch
	frames int
	owed   []owed // replies over UDP
}

// owed is a reply that is due to a peer over UDP.
type owed struct {
	peer   netip.AddrPort
	frames int
}

// settler waits for receipts, in their order, and does what is due then. Its
// goroutine runs only while there is something to wait for.
type settler struct {
	*door
	// answer replies to frames whose readings are on flash. It is nil without a
	// reply.
	answer func(p *pending) error
	// hangUp closes the connection. It is nil if there is none: then what one
	// peer gets no reply for is nothing to the others.
	hangUp func()

	mu      sync.Mutex
	changed sync.Cond // over mu
	waiting []pending
	frames  int // of those that wait and of that which is being settled
	running bool
	err     error // after which nothing is settled any more
	ended   sync.WaitGroup
}

func newSettler(d *door, answer func(p *pending) error, hangUp func()) *settler {
	s := &settler{door: d, hangUp: hangUp}
	s.changed.L = &s.mu
	if d.cfg.Reply != "" {
		s.answer = answer
	}
	return s
}

// deliver gives a batch to custody and returns at once, unless too much is on its
// way. The batch is the settler's.
func (s *settler) deliver(ctx context.Context, b *batch, replies []owed) error {
	p := pending{frames: b.frames, owed: replies}
	if b.frames == 0 {
		s.giveBack(b)
		return nil
	}
	var err error
	if p.receipt, err = s.hand(ctx, b); err != nil {
		s.giveBack(b)
		return err
	}
	n := int64(len(b.readings))
	if s.answer == nil && s.held.Add(n) <= maxHeld {
		p.batch = b
	} else {
		if s.answer == nil {
			s.held.Add(-n)
		}
		s.giveBack(b)
	}
	return s.add(ctx, p)
}

// settled waits until not too much is on its way.
func (s *settler) settled() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.frames >= maxUnsettled && s.err == nil {
		s.changed.Wait()
	}
	return s.err
}

func (s *settler) add(ctx context.Context, p pending) error {
	if err := s.settled(); err != nil {
		s.release(&p)
		return err
	}
	s.mu.Lock()
	if !s.running && p.receipt == nil {
		s.mu.Unlock()
		return s.settle(ctx, p)
	}
	defer s.mu.Unlock()
	s.frames += p.frames
	last := len(s.waiting) - 1
	if last >= 0 && s.waiting[last].receipt == p.receipt && p.batch == nil && p.owed == nil && s.waiting[last].batch == nil {
		s.waiting[last].frames += p.frames
		return nil
	}
	s.waiting = append(s.waiting, p)
	if !s.running {
		s.running = true
		s.ended.Go(func() { s.run(ctx) })
	}
	return nil
}

// run settles until nothing waits, or nothing more can be settled.
func (s *settler) run(ctx context.Context) {
	for {
		s.mu.Lock()
		if len(s.waiting) == 0 {
			s.running, s.waiting = false, nil
			s.mu.Unlock()
			return
		}
		p := s.waiting[0]
		s.waiting = s.waiting[1:]
		s.mu.Unlock()
		err := s.settle(ctx, p)
		s.mu.Lock()
		s.frames -= p.frames
		if err != nil {
			s.err = err
			for i := range s.waiting {
				s.release(&s.waiting[i])
			}
			s.waiting = nil
			if s.hangUp != nil {
				s.hangUp()
			}
		}
		s.changed.Broadcast()
		s.mu.Unlock()
	}
}

// settle waits for a receipt and does what is due. An error ends a connection: its
// peer has to send again what it got no reply for.
func (s *settler) settle(ctx context.Context, p pending) error {
	defer s.release(&p)
	wait := backoff.Backoff{Min: retryMin, Max: retryMax}
	for p.receipt != nil {
		err := s.await(ctx, p.receipt)
		switch {
		case err == nil:
			p.receipt = nil
			if s.stuck.Load() && s.stuck.Swap(false) {
				s.log.Info("readings are stored again")
			}
			continue
		case ctx.Err() != nil: // custody has it, and writes it before it closes
			return err
		case p.batch == nil:
			s.stats.notStored.Add(uint64(p.frames))
			if s.answer == nil || s.hangUp == nil {
				return nil
			}
			return errors.Join(errNotStored, err)
		}
		s.hold(err)
		_ = backoff.Sleep(ctx, wait.Next(), nil)
		if p.receipt, err = s.hand(ctx, p.batch); err != nil {
			return err
		}
	}
	if s.answer == nil {
		return nil
	}
	return s.answer(&p)
}

// await waits until a receipt resolves. Where there are replies, a stop ends that a
// little later than it ends the context: custody commits what it has, and a peer that
// gets no reply sends it again.
func (s *settler) await(ctx context.Context, r ingest.Receipt) error {
	err := r.Wait(ctx)
	if err == nil || ctx.Err() == nil || s.answer == nil || s.hangUp == nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	return r.Wait(ctx)
}

// release lets go of what is held.
func (s *settler) release(p *pending) {
	if p.batch != nil {
		s.held.Add(-int64(len(p.batch.readings)))
		s.giveBack(p.batch)
		p.batch = nil
	}
}

// wait returns when everything is settled, or nothing more can be.
func (s *settler) wait() { s.ended.Wait() }

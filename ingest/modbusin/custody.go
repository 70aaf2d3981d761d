package modbusin

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/internal/backoff"
	"github.com/tidegate/tidegate/reading"
)

// fullPause is how often a full buffer is asked again.
const fullPause = time.Second

// accept gives readings to the intake. While the buffer refuses new ones,
// nothing more is asked: what is not read now is not lost, for nobody had it. The
// time that this takes is none in which a slave is waited for.
func (b *bus) accept(ctx context.Context, rs []reading.Reading) error {
	began := time.Now()
	defer func() {
		took := time.Since(began)
		for i := range b.flights {
			b.flights[i].sent, b.flights[i].deadline = b.flights[i].sent.Add(took), b.flights[i].deadline.Add(took)
		}
	}()
	for {
		receipt, err := b.intake.Accept(ctx, rs)
		if err == nil {
			b.pledged(receipt)
			return nil
		}
		if ctx.Err() != nil {
			return err
		}
		if !errors.Is(err, ingest.ErrFull) {
			b.counts.notStored.Add(1)
			b.refused = true
			return err
		}
		b.counts.paused.Add(1)
		if err := backoff.Sleep(ctx, fullPause, nil); err != nil {
			return err
		}
	}
}

// pledge is what custody has promised for some polls, or other readings that were
// handed over together.
type pledge struct {
	receipt ingest.Receipt
	polls   uint64
}

// maxPledges bounds the promises that are looked after. A buffer makes one each
// commit.
const maxPledges = 64

// pledged looks after a promise, and at those before: whether they were kept is
// only counted, for what was not kept cannot be asked again.
func (s *Source) pledged(r ingest.Receipt) {
	if n := len(s.pledges); n > 0 && s.pledges[n-1].receipt == r {
		s.pledges[n-1].polls++
		return
	}
	over, cancel := context.WithCancel(context.Background())
	cancel()
	s.pledges = slices.DeleteFunc(s.pledges, func(p pledge) bool {
		err := p.receipt.Wait(over)
		if err == over.Err() { // nobody knows yet
			return false
		}
		if err != nil {
			s.counts.notStored.Add(p.polls)
		}
		return true
	})
	if len(s.pledges) < maxPledges {
		s.pledges = append(s.pledges, pledge{r, 1})
	}
}

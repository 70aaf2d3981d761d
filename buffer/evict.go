package buffer

import (
	"errors"
	"slices"

	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/wire"
)

// isOwed says whether some sink has not acknowledged all of the segment.
// Without any sink, everything is owed to the one that will come.
func (b *Buffer) isOwed(info segmentInfo) bool {
	for lane, s := range info.Lanes {
		if _, owed := b.waiting(reading.Lane(lane), s.First, s.Last); owed {
			return true
		}
	}
	return false
}

// waiting returns the sinks that have not acknowledged all of the numbers, and
// whether they are owed to anybody.
func (b *Buffer) waiting(lane reading.Lane, first, last uint64) (sinks []string, owed bool) {
	if last == 0 {
		return nil, false
	}
	b.curMu.Lock()
	defer b.curMu.Unlock()
	for name, c := range b.cursors {
		if !c.hasAcked(lane, first, last) {
			sinks = append(sinks, name)
		}
	}
	slices.Sort(sinks)
	return sinks, len(sinks) > 0 || len(b.cursors) == 0
}

// loss is a gap in the making.
type loss struct {
	lane reading.Lane
	Gap
}

// evict declares what is owed of the segment, block by block, so that numbers,
// times and epochs are exact, and joined where they go on.
func (b *Buffer) evict(info segmentInfo) error {
	s, err := openScanner(b.cfg.Dir, info.Number, info.End)
	if err != nil {
		return err
	}
	defer s.close()
	var open [reading.Lanes]*loss
	var all []*loss
	for {
		rec, _, err := s.next()
		if errors.Is(err, errEnd) {
			break
		}
		if err != nil {
			return err
		}
		for _, blk := range rec.blocks {
			sinks, owed := b.waiting(blk.Lane, blk.First, blk.Last())
			if !owed {
				continue
			}
			if l := open[blk.Lane]; l == nil || !l.join(blk, sinks) {
				open[blk.Lane] = newLoss(blk, sinks)
				all = append(all, open[blk.Lane])
			}
		}
	}
	for _, l := range all {
		if err := b.declare(l.lane, l.Gap); err != nil {
			return err
		}
		b.passAll(l.lane, l.First, l.Last)
		if l.lane == reading.Alarm {
			if err := b.reportAgain(l.Gap); err != nil {
				return err
			}
		}
	}
	return nil
}

// passAll makes all cursors go on behind the numbers: one may still have the
// segment's file open, and must not deliver what was declared lost.
func (b *Buffer) passAll(lane reading.Lane, first, last uint64) {
	b.curMu.Lock()
	defer b.curMu.Unlock()
	for _, c := range b.cursors {
		c.pass(lane, first, last)
	}
}

func newLoss(blk wire.Block, sinks []string) *loss {
	return &loss{blk.Lane, Gap{
		First: blk.First, Last: blk.Last(), From: blk.Base, To: blk.Base + blk.Span,
		Epoch: blk.Epoch, Reason: ReasonEvicted, Sinks: sinks,
	}}
}

// join adds a block that goes on where the loss ends.
func (l *loss) join(blk wire.Block, sinks []string) bool {
	if blk.First != l.Last+1 || blk.Epoch != l.Epoch || !slices.Equal(sinks, l.Sinks) {
		return false
	}
	l.Last = blk.Last()
	l.From, l.To = min(l.From, blk.Base), max(l.To, blk.Base+blk.Span)
	return true
}

package buffer

import (
	"errors"
	"fmt"
	"slices"

	"github.com/tidegate/tidegate/reading"
)

// laneSet is some of the lanes.
type laneSet [reading.Lanes]bool

// Who makes room first: bulk, then normal readings as well, and alarms last.
var evictionOrder = [...]laneSet{
	{reading.Bulk: true},
	{reading.Bulk: true, reading.Normal: true},
	{reading.Bulk: true, reading.Normal: true, reading.Alarm: true},
}

// errKept means that new readings are refused rather than old ones lost, as their
// lanes' policies say.
var errKept = errors.New("wait to be delivered and must not be evicted")

// worthwhile is the smallest share of a segment for which the rest of it is
// written anew: to free a byte costs three at the most.
const worthwhile = 4

// makeRoom frees segments, or parts of them, until one more fits under the
// bound.
func (b *Buffer) makeRoom(mayEvict bool) error {
	for b.index.size()+segmentSize > b.cfg.MaxBytes {
		if b.releaseDelivered() == nil || b.shrinkLoose() {
			continue
		}
		if !mayEvict {
			return fmt.Errorf("%w: and writing fails", ErrFull)
		}
		victim, lanes, ok := b.victim()
		if !ok {
			return fmt.Errorf("%w: %d MiB %w — hint: see why the link is down, or raise buffer.max_bytes", ErrFull, b.index.size()>>20, errKept)
		}
		if err := b.evict(victim, lanes, ReasonEvicted); err != nil {
			return fmt.Errorf("evict from segment %d: %w", victim.Number, err)
		}
	}
	return nil
}

// sealedSegments returns the segments that are not written any more, the oldest
// first.
func (b *Buffer) sealedSegments() []segmentInfo {
	segments := b.index.all()
	if b.active != nil {
		segments = segments[:len(segments)-1]
	}
	return segments
}

// releaseDelivered gives up the oldest segment that nobody waits for.
func (b *Buffer) releaseDelivered() error {
	for _, s := range b.sealedSegments() {
		if b.owedLanes(s) == (laneSet{}) {
			return b.release(s)
		}
	}
	return ErrFull
}

// shrinkLoose writes a segment anew of which little counts: its lanes were evicted,
// and a crash or a failure came before the rest was written anew.
func (b *Buffer) shrinkLoose() bool {
	for _, s := range b.sealedSegments() {
		if s.bytes()*worthwhile > s.End {
			continue
		}
		if err := b.shrink(s); err == nil {
			return true
		} else {
			b.log.Warn("segment keeps the room of what was evicted", "segment", s.Number, "err", err)
		}
	}
	return false
}

// bytes is what counts in the segment.
func (s segmentInfo) bytes() (n int64) {
	for _, lane := range s.Lanes {
		n += lane.Bytes
	}
	return n
}

// victim chooses the oldest segment that can make room, and the lanes that go:
// lanes that are delivered first, then in the order of their urgency. Lanes that
// refuse new readings rather than lose old ones never go.
func (b *Buffer) victim() (info segmentInfo, lanes laneSet, ok bool) {
	sealed := b.sealedSegments()
	for _, s := range sealed {
		owed := b.owedLanes(s)
		if delivered := s.holding(owed.not()); s.worthEvicting(delivered) {
			return s, delivered, true
		}
	}
	for _, set := range evictionOrder {
		for _, s := range sealed {
			if lanes := s.holding(set.and(b.evictable())); s.worthEvicting(lanes) {
				return s, lanes, true
			}
		}
	}
	return segmentInfo{}, laneSet{}, false
}

func (b *Buffer) evictable() (set laneSet) {
	for lane, policy := range b.cfg.Lanes {
		set[lane] = !policy.RefuseNew
	}
	return set
}

// owedLanes returns the lanes of the segment that some sink has not
// acknowledged all of. Without any sink, everything is owed to the one that
// will come.
func (b *Buffer) owedLanes(info segmentInfo) (set laneSet) {
	for lane, s := range info.Lanes {
		_, set[lane] = b.waiting(reading.Lane(lane), s.First, s.Last)
	}
	return set
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

// holding returns the lanes of the set of which the segment holds something.
func (s segmentInfo) holding(set laneSet) laneSet {
	for lane := range set {
		set[lane] = set[lane] && s.Lanes[lane].Last != 0
	}
	return set
}

// worthEvicting says whether a good part of the segment is of these lanes.
func (s segmentInfo) worthEvicting(lanes laneSet) bool {
	going, all := int64(0), int64(0)
	for lane, sp := range s.Lanes {
		all += sp.Bytes
		if lanes[lane] {
			going += sp.Bytes
		}
	}
	return going > 0 && going*worthwhile >= all
}

// without is what is left of the segment when the lanes have gone.
func (s segmentInfo) without(lanes laneSet) segmentInfo {
	for lane := range lanes {
		if lanes[lane] {
			s.Lanes[lane] = span{}
		}
	}
	return s
}

func (l laneSet) not() laneSet {
	for lane := range l {
		l[lane] = !l[lane]
	}
	return l
}

func (l laneSet) and(other laneSet) laneSet {
	for lane := range l {
		l[lane] = l[lane] && other[lane]
	}
	return l
}

package buffer

import (
	"errors"
	"fmt"
	"iter"
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

// maxSegments bounds the segments, and with them the index: of files that have
// become small there could be millions. None counts for less than its share.
const maxSegments = 1 << 16

func (b *Buffer) leastRoom() int64 { return b.cfg.MaxBytes / maxSegments }

// makeRoom frees segments, or parts of them, until one more fits under the
// bound.
func (b *Buffer) makeRoom(mayEvict bool) error {
	if b.fits() {
		return nil
	}
	for victim, lanes := range b.victims(mayEvict) {
		if err := b.evict(victim, lanes, ReasonEvicted); err != nil {
			return fmt.Errorf("evict from segment %d: %w", victim.Number, err)
		}
		if b.fits() {
			return nil
		}
	}
	if !mayEvict {
		return fmt.Errorf("%w: and writing fails", ErrFull)
	}
	return fmt.Errorf("%w: %d MiB %w — hint: see why the link is down, or raise buffer.max_bytes", ErrFull, b.index.size()>>20, errKept)
}

// fits says whether there is room for one more segment.
func (b *Buffer) fits() bool { return b.index.room(b.leastRoom())+segmentSize <= b.cfg.MaxBytes }

// sealedSegments returns the segments that are not written any more, the oldest
// first, but those that are kept for a later version.
func (b *Buffer) sealedSegments() []segmentInfo {
	segments := b.index.all()
	if b.active != nil {
		segments = segments[:len(segments)-1]
	}
	return notKept(segments)
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

// victims are the segments that can make room, and the lanes that go: segments
// that are delivered, then such of which little counts, then delivered lanes, then
// the others in the order of their urgency; of each the oldest first. Lanes that
// refuse new readings rather than lose old ones never go.
func (b *Buffer) victims(mayEvict bool) iter.Seq2[segmentInfo, laneSet] {
	choices := []func(segmentInfo) (laneSet, bool){b.isDelivered, b.isLoose}
	if mayEvict {
		choices = append(choices, func(s segmentInfo) (laneSet, bool) { return b.worth(s, b.owedLanes(s).not()) })
		for _, set := range evictionOrder {
			choices = append(choices, func(s segmentInfo) (laneSet, bool) { return b.worth(s, set.and(b.evictable())) })
		}
	}
	return func(yield func(segmentInfo, laneSet) bool) {
		for _, choose := range choices {
			for _, s := range b.sealedSegments() {
				if lanes, ok := choose(s); ok && !yield(s, lanes) {
					return
				}
			}
		}
	}
}

// isDelivered chooses all of a segment that nobody waits for.
func (b *Buffer) isDelivered(s segmentInfo) (laneSet, bool) {
	return laneSet{}.not(), b.owedLanes(s) == (laneSet{})
}

// isLoose chooses nothing but to write a segment anew of which little counts: its
// lanes were evicted, and a crash or a failure came before the rest was written
// anew.
func (b *Buffer) isLoose(s segmentInfo) (laneSet, bool) {
	return laneSet{}, s.End > b.leastRoom() && s.bytes()*worthwhile <= s.End
}

// bytes is what counts in the segment.
func (s segmentInfo) bytes() (n int64) {
	for _, lane := range s.Lanes {
		n += lane.Bytes
	}
	return n
}

// worth chooses the lanes if a good part of the segment's room is theirs.
func (b *Buffer) worth(s segmentInfo, lanes laneSet) (laneSet, bool) {
	all, left := max(s.bytes(), b.leastRoom()), s.without(lanes).bytes()
	if left > 0 {
		left = max(left, b.leastRoom())
	}
	return s.holding(lanes), (all-left)*worthwhile >= all
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

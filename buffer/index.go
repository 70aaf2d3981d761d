package buffer

import (
	"cmp"
	"slices"
	"sync"

	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/wire"
)

// index knows what lies in which segment. It holds a few numbers a segment,
// never a reading: memory does not grow with the backlog.
type index struct {
	mu       sync.Mutex
	segments []segmentInfo         // ascending; the last is being written
	last     [reading.Lanes]uint64 // newest committed sequence number
	changed  chan struct{}         // closed when something was committed
}

// segmentInfo sums up one segment.
type segmentInfo struct {
	Number uint64              `json:"number"`
	End    int64               `json:"end"`  // where its records end
	Size   int64               `json:"size"` // what its file takes
	Lanes  [reading.Lanes]span `json:"lanes"`
	Blocks int                 `json:"blocks"`
	Sealed sealTime            `json:"sealed"`
	Head   uint32              `json:"head,omitempty"`  // the checksum of its first record's header; see segmentHead
	Later  int64               `json:"later,omitempty"` // bytes of records that only a later version can read

	version byte // of its last record, as far as it was read
}

// span sums up what a segment holds of one lane; Last is 0 when that is nothing.
type span struct {
	First uint64 `json:"first,omitempty"`
	Last  uint64 `json:"last,omitempty"`
	Epoch uint64 `json:"epoch,omitempty"` // of its last block; earlier ones may be of earlier epochs
	From  int64  `json:"from,omitempty"`  // earliest time of a reading
	To    int64  `json:"to,omitempty"`    // latest
	Bytes int64  `json:"bytes,omitempty"` // of its blocks
}

func (s *span) add(b wire.Block) {
	from, to, size := b.Base, b.Base+b.Span, int64(len(b.Raw))
	if s.Last == 0 {
		*s = span{b.First, b.Last(), b.Epoch, from, to, size}
		return
	}
	s.First, s.Last, s.Epoch = min(s.First, b.First), max(s.Last, b.Last()), b.Epoch
	s.From, s.To, s.Bytes = min(s.From, from), max(s.To, to), s.Bytes+size
}

func (s *segmentInfo) add(b wire.Block) {
	s.Lanes[b.Lane].add(b)
	s.Blocks++
}

// count is how many readings the segment held when it was written.
func (s *segmentInfo) count() (n uint64) {
	for _, sp := range s.Lanes {
		if sp.Last != 0 {
			n += sp.Last - sp.First + 1
		}
	}
	return n
}

func newIndex() *index { return &index{changed: make(chan struct{})} }

// begin adds an empty segment, which is the active one from now on.
func (x *index) begin(info segmentInfo) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.segments = append(x.segments, info)
	for l, s := range info.Lanes {
		x.last[l] = max(x.last[l], s.Last)
	}
}

// commit notes blocks that are on flash in the active segment, up to end, and
// wakes who waits for them.
func (x *index) commit(end int64, blocks []wire.Block) {
	x.mu.Lock()
	defer x.mu.Unlock()
	active := &x.segments[len(x.segments)-1]
	active.End = end
	for _, b := range blocks {
		active.add(b)
		x.last[b.Lane] = max(x.last[b.Lane], b.Last())
	}
	close(x.changed)
	x.changed = make(chan struct{})
}

// drop forgets a segment.
func (x *index) drop(number uint64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if i, ok := x.search(number); ok {
		x.segments = slices.Delete(x.segments, i, i+1)
	}
}

// replace changes what is known of a segment.
func (x *index) replace(info segmentInfo) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if i, ok := x.search(info.Number); ok {
		x.segments[i] = info
	}
}

// all returns the segments, the oldest first.
func (x *index) all() []segmentInfo {
	x.mu.Lock()
	defer x.mu.Unlock()
	return slices.Clone(x.segments)
}

// active returns the segment that is being written.
func (x *index) active() (segmentInfo, bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.segments) == 0 {
		return segmentInfo{}, false
	}
	return x.segments[len(x.segments)-1], true
}

// segment returns the segment with the number.
func (x *index) segment(number uint64) (segmentInfo, bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	i, ok := x.search(number)
	if !ok {
		return segmentInfo{}, false
	}
	return x.segments[i], true
}

func (x *index) search(number uint64) (int, bool) {
	return slices.BinarySearchFunc(x.segments, number, func(s segmentInfo, n uint64) int { return cmp.Compare(s.Number, n) })
}

// find returns the first segment behind the one numbered after that holds
// sequence numbers of the lane from seq on.
func (x *index) find(lane reading.Lane, seq, after uint64) (segmentInfo, bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	from, _ := x.search(after + 1)
	for _, s := range x.segments[from:] {
		if s.Lanes[lane].Last >= seq {
			return s, true
		}
	}
	return segmentInfo{}, false
}

// newest returns the last committed sequence number of the lane.
func (x *index) newest(lane reading.Lane) uint64 {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.last[lane]
}

// wait returns a channel that is closed at the next commit.
func (x *index) wait() <-chan struct{} {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.changed
}

// tell wakes those who wait, for a reason of another kind.
func (x *index) tell() {
	x.mu.Lock()
	defer x.mu.Unlock()
	close(x.changed)
	x.changed = make(chan struct{})
}

// upTo returns the segments up to the one with the number.
func (x *index) upTo(number uint64) []segmentInfo {
	x.mu.Lock()
	defer x.mu.Unlock()
	n := 0
	for n < len(x.segments) && x.segments[n].Number <= number {
		n++
	}
	return slices.Clone(x.segments[:n])
}

// size returns what the segments' files take.
func (x *index) size() (bytes int64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, s := range x.segments {
		bytes += s.Size
	}
	return bytes
}

// room returns what the segments take of the disk: whole blocks, and at least so
// much each.
func (x *index) room(least int64) (bytes int64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, s := range x.segments {
		if s.kept() {
			continue
		}
		bytes += max((s.Size+pageSize-1)/pageSize*pageSize, least)
	}
	return bytes
}

// unsent counts the readings that are still there and not in acked, and the
// bytes that they take: the blocks of a lane are shared out among its readings.
func (x *index) unsent(acked [reading.Lanes]ranges) (readings uint64, bytes int64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, s := range x.segments {
		for lane, sp := range s.Lanes {
			if sp.Last == 0 {
				continue
			}
			held := sp.Last - sp.First + 1
			owed := held - acked[lane].overlap(sp.First, sp.Last)
			readings += owed
			bytes += int64(float64(sp.Bytes) * float64(owed) / float64(held))
		}
	}
	return readings, bytes
}

// unsentBefore counts the readings of the lane that are still there, have a number
// below seq and are not in acked.
func (x *index) unsentBefore(lane reading.Lane, acked ranges, seq uint64) (readings uint64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, s := range x.segments {
		sp := s.Lanes[lane]
		if last := min(sp.Last, seq-1); sp.Last != 0 && sp.First <= last {
			readings += last - sp.First + 1 - acked.overlap(sp.First, last)
		}
	}
	return readings
}

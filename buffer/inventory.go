package buffer

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"go.etcd.io/bbolt"

	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/wire"
)

// Inventory is what a buffer holds, in numbers, at one moment. One that was made
// in another process serves as well: what it is asked for it reads from the
// segment files, which it never writes, and which may go on changing.
type Inventory struct {
	// Dir is the folder of the journal.
	Dir string `json:"dir"`
	// Epoch names the present sequence space.
	Epoch uint64 `json:"epoch"`
	// Segments are in order of age, the oldest first.
	Segments []Segment `json:"segments"`
	// Sinks are those that have a place in the journal, ordered by name.
	Sinks []Sink `json:"sinks"`
	// Gaps are the losses that are remembered, ordered by lane and number.
	Gaps []Gap `json:"gaps"`
	// Refused is the quarantine, ordered by lane and number.
	Refused []Refused `json:"refused"`
	// StateError says why state.db could not be read, or only in part; then
	// sinks, gaps and quarantine are not complete.
	StateError string `json:"state_error,omitempty"`

	polite bool
}

// Segment is one segment file and what is known of it.
type Segment struct {
	Number uint64 `json:"number"`
	// Bytes is where its records end; 0 when nobody has noted that yet.
	Bytes int64 `json:"bytes"`
	// Lanes says what it holds, indexed by lane.
	Lanes [reading.Lanes]Span `json:"lanes"`
}

// Span is the readings of one lane in a segment: their first and last number,
// both 0 for none, and the times between which they were measured, in
// nanoseconds since 1970, both 0 when unknown.
type Span struct {
	First uint64 `json:"first"`
	Last  uint64 `json:"last"`
	From  int64  `json:"from"`
	To    int64  `json:"to"`
	// Bytes is what its blocks take.
	Bytes int64 `json:"bytes"`
}

// Count is how many readings the numbers of the span stand for.
func (s Span) Count() uint64 {
	if s.Last == 0 {
		return 0
	}
	return s.Last - s.First + 1
}

// limit is how far the file is read.
func (s Segment) limit() int64 {
	if s.Bytes == 0 {
		return segmentSize
	}
	return s.Bytes
}

// Sink is a sink's place in the journal.
type Sink struct {
	Name string `json:"name"`
	// Active says that it is configured, as far as the buffer knows.
	Active bool `json:"active"`
	// Acked are the numbers that it has, indexed by lane.
	Acked [reading.Lanes]ranges `json:"acked"`
}

// Refused is a block in quarantine and the numbers of its readings.
type Refused struct {
	Quarantined
	// ID names it for RetryRefused and DropRefused: SINK/LANE/FIRST.
	ID    string `json:"id"`
	Lane  string `json:"lane"`
	First uint64 `json:"first"`
	Last  uint64 `json:"last"`
	// Bytes is the size of the block, also where Raw was left out.
	Bytes int `json:"bytes"`
}

// Has says whether the sink has all of the segment.
func (s Sink) Has(seg Segment) bool {
	n, _ := s.waiting(seg)
	return n == 0
}

// waiting counts the readings of the segment that the sink does not have, and
// their share of the bytes.
func (s Sink) waiting(seg Segment) (readings uint64, bytes int64) {
	for lane, sp := range seg.Lanes {
		if sp.Last == 0 {
			continue
		}
		n := sp.Count() - s.Acked[lane].overlap(sp.First, sp.Last)
		readings += n
		bytes += int64(float64(sp.Bytes) * float64(n) / float64(sp.Count()))
	}
	return readings, bytes
}

// Waiting counts the readings in the journal that the sink does not have, and
// the bytes that they take.
func (inv Inventory) Waiting(s Sink) (readings uint64, bytes int64) {
	for _, seg := range inv.Segments {
		n, size := s.waiting(seg)
		readings, bytes = readings+n, bytes+size
	}
	return readings, bytes
}

// Inventory returns what the buffer holds now.
func (b *Buffer) Inventory() Inventory {
	inv := Inventory{Dir: b.cfg.Dir, Epoch: b.epoch, Segments: b.view().segments}
	if err := inv.readState(b.state); err != nil {
		inv.StateError = err.Error()
	}
	b.curMu.Lock()
	defer b.curMu.Unlock()
	for _, c := range b.cursors {
		c.mu.Lock()
		inv.setSink(Sink{Name: c.name, Active: true, Acked: c.mark().acked})
		c.mu.Unlock()
	}
	return inv
}

// CheckState checks state.db, page by page and entry by entry. Nothing changes
// it meanwhile.
func (b *Buffer) CheckState() error {
	errFine := errors.New("fine")
	err := b.state.update(func(tx *bbolt.Tx) error { return cmp.Or(checkState(tx), errFine) })
	if errors.Is(err, errFine) {
		return nil
	}
	return err
}

// view is the journal as it is now: a copy of a few numbers a segment.
func (b *Buffer) view() view {
	v := view{dir: b.cfg.Dir, polite: true}
	for _, s := range b.index.all() {
		v.segments = append(v.segments, s.public())
	}
	return v
}

func (s segmentInfo) public() Segment {
	p := Segment{Number: s.Number, Bytes: s.End}
	for lane, sp := range s.Lanes {
		p.Lanes[lane] = Span{sp.First, sp.Last, sp.From, sp.To, sp.Bytes}
	}
	return p
}

// ackedBy returns what the sink has; nothing for no sink.
func (b *Buffer) ackedBy(sink string) (acked [reading.Lanes]ranges, err error) {
	if sink == "" {
		return acked, nil
	}
	b.curMu.Lock()
	c := b.cursors[sink]
	b.curMu.Unlock()
	if c == nil {
		return acked, ErrNoSink
	}
	return c.ackedNow(), nil
}

// ackedNow returns a copy of what is elsewhere.
func (c *Cursor) ackedNow() (acked [reading.Lanes]ranges) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for lane, rs := range c.acked {
		acked[lane] = slices.Clone(rs)
	}
	return acked
}

// readState takes what state.db knows, as far as it can be read.
func (inv *Inventory) readState(s *state) error {
	return errors.Join(
		each(s, bucketCursors, func(name []byte, acked [reading.Lanes]ranges) error {
			inv.setSink(Sink{Name: string(name), Acked: acked})
			return nil
		}),
		each(s, bucketGaps, func(_ []byte, e gapEntry) error {
			inv.Gaps = append(inv.Gaps, e.Gap)
			return nil
		}),
		each(s, bucketQuarantine, func(_ []byte, q Quarantined) error {
			refused, err := refusedOf(q)
			inv.Refused = append(inv.Refused, refused)
			return err
		}))
}

// setSink puts the sink into its place, or adds to what is known of it.
func (inv *Inventory) setSink(s Sink) {
	i, known := slices.BinarySearchFunc(inv.Sinks, s.Name, func(s Sink, name string) int { return cmp.Compare(s.Name, name) })
	if !known {
		inv.Sinks = slices.Insert(inv.Sinks, i, s)
		return
	}
	old := &inv.Sinks[i]
	old.Active = old.Active || s.Active
	for lane := range old.Acked {
		old.Acked[lane] = slices.Clone(old.Acked[lane]).union(s.Acked[lane])
	}
}

// Politely returns the same for the process that commits, which must not wait for
// who reads: that takes a quarter of the time at the most.
func (inv Inventory) Politely() Inventory {
	inv.polite = true
	return inv
}

// Configured tells an inventory that was made from outside that there is a sink
// of that name.
func (inv *Inventory) Configured(sink string) { inv.setSink(Sink{Name: sink, Active: true}) }

// Sink returns the sink of that name.
func (inv Inventory) Sink(name string) (Sink, bool) {
	for _, s := range inv.Sinks {
		if s.Name == name {
			return s, true
		}
	}
	return Sink{}, false
}

// History is Buffer.History of the files that the inventory is about.
func (inv Inventory) History(ctx context.Context, q Query, visit func(Entry) error) (next Token, err error) {
	acked, err := inv.ackedBy(q.Undelivered)
	if err != nil {
		return "", err
	}
	return inv.view().history(ctx, q, acked, visit)
}

// Blocks visits the blocks that hold anything of the query's lanes and times, as
// they lie, until visit returns an error. A block is valid during the call.
// What else a query can ask for is a matter of single readings.
func (inv Inventory) Blocks(ctx context.Context, q Query, visit func(wire.Block) error) error {
	acked, err := inv.ackedBy(q.Undelivered)
	if err != nil {
		return err
	}
	p := place{newestFirst: q.NewestFirst}
	w := walk{view: inv.view(), newestFirst: q.NewestFirst}
	w.mayHold = func(s Segment) bool { return q.mayBeIn(s, acked) }
	w.wants = func(b wire.Block) bool {
		first, last := p.ahead(b)
		return first <= last && q.wants(b) && !acked[b.Lane].has(b.First, b.Last())
	}
	w.visit = func(b wire.Block) error {
		p.pass(b.Lane, b.First, b.Last())
		return visit(b)
	}
	return cmp.Or(w.run(ctx), w.unread)
}

func (inv Inventory) ackedBy(sink string) (acked [reading.Lanes]ranges, err error) {
	if sink == "" {
		return acked, nil
	}
	s, ok := inv.Sink(sink)
	if !ok {
		return acked, ErrNoSink
	}
	return s.Acked, nil
}

func (inv Inventory) view() view {
	return view{dir: inv.Dir, segments: inv.Segments, polite: inv.polite}
}

package buffer

import (
	"context"
	"slices"
	"sync"
	"time"

	"go.etcd.io/bbolt"

	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/wire"
)

// Cursor is one sink's place in the buffer. Next is called by one goroutine at
// a time; Ack and the rest by any.
type Cursor struct {
	buf  *Buffer
	name string

	mu    sync.Mutex
	acked [reading.Lanes]ranges // what is elsewhere
	dirty bool                  // acked moved since it was last saved
	out   [reading.Lanes][]handed
	given [reading.Lanes]ranges // what Next has returned, acknowledged or not
	again again

	place  sync.Mutex // held while Next looks, not while it waits; taken before mu
	shares shares
	heads  [flows]head
	closed bool
}

// handed is a block that Next returned and nobody acknowledged yet.
type handed struct {
	numberRange
	base int64 // its earliest time
}

// liveDistance is how many readings a lane must be behind before its live
// readings stop waiting for the others.
const liveDistance = groupReadings

// Cursor returns the cursor of that name, at the first reading that it has not
// acknowledged. A new one begins at the oldest there is: what was never
// delivered anywhere is its business, too.
func (b *Buffer) Cursor(name string) *Cursor {
	b.curMu.Lock()
	defer b.curMu.Unlock()
	c, ok := b.cursors[name]
	if !ok {
		c = &Cursor{buf: b, name: name, acked: b.marks[name]}
		b.cursors[name] = c
	}
	c.place.Lock()
	defer c.place.Unlock()
	c.closeFiles()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.again = again{waiting: b.toSendAgain(name)} // who wants more of that sent now has to wait for mu
	for lane := range reading.Lane(reading.Lanes) {
		c.out[lane], c.given[lane] = nil, nil
		c.heads[flowOf(lane, true)] = head{}
		c.heads[flowOf(lane, false)] = head{next: 1}
	}
	return c
}

// Next returns consecutive blocks of one of the lanes: at least one, and no more
// than limit bytes unless a single block is larger. It waits until there is one.
// It never deletes, and it returns no block twice; after a crash it repeats what
// was not acknowledged, and skips nothing.
//
// A lane that is far behind is handed out from both ends, the newest readings
// as they come and the backlog from its oldest on, and lanes share the link by
// their weights; see shares.
func (c *Cursor) Next(ctx context.Context, lanes reading.LaneSet, limit int) ([]wire.Block, error) {
	return c.next(ctx, flowsOf(lanes, true), limit)
}

// NextLive is Next without the backlogs: only what has come since.
func (c *Cursor) NextLive(ctx context.Context, lanes reading.LaneSet, limit int) ([]wire.Block, error) {
	return c.next(ctx, flowsOf(lanes, false), limit)
}

// flowsOf returns the flows of the lanes.
func flowsOf(lanes reading.LaneSet, backlogs bool) (wanted [flows]bool) {
	for lane := range reading.Lane(reading.Lanes) {
		wanted[flowOf(lane, false)] = lanes.Has(lane)
		wanted[flowOf(lane, true)] = lanes.Has(lane) && backlogs
	}
	return wanted
}

func (c *Cursor) next(ctx context.Context, wanted [flows]bool, limit int) ([]wire.Block, error) {
	for {
		changed := c.buf.index.wait()
		blocks, err := c.look(wanted, limit)
		if err != nil || len(blocks) > 0 {
			return blocks, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
		}
		if ctx.Err() != nil { // both may have happened: nobody waits for blocks any more
			return nil, ctx.Err()
		}
	}
}

// look returns blocks of the flow whose turn it is; none when nothing is there.
func (c *Cursor) look(wanted [flows]bool, limit int) ([]wire.Block, error) {
	c.place.Lock()
	defer c.place.Unlock()
	if c.closed {
		return nil, ErrClosed
	}
	if blocks := c.takeAgain(wanted); blocks != nil {
		return blocks, nil
	}
	ready := c.ready()
	for flow := range ready {
		live := flow &^ 1 // of its lane
		c.shares.over[flow] = ready[flow] && !wanted[flow] && wanted[live]
		ready[flow] = ready[flow] && wanted[flow]
	}
	for flow := c.shares.next(ready); flow >= 0; flow = c.shares.next(ready) {
		blocks, err := c.take(flow, limit)
		if err != nil {
			return nil, err
		}
		if len(blocks) > 0 {
			c.shares.sent(flow, size(blocks))
			c.handOut(blocks)
			return blocks, nil
		}
		ready[flow] = false // all of it was elsewhere, or is gone
	}
	return nil, nil
}

func size(blocks []wire.Block) int {
	n := 0
	for _, b := range blocks {
		n += len(b.Raw)
	}
	return n
}

func (c *Cursor) handOut(blocks []wire.Block) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, b := range blocks {
		c.out[b.Lane] = append(c.out[b.Lane], handed{numberRange{b.First, b.Last()}, b.Base})
		c.given[b.Lane] = c.given[b.Lane].add(b.First, b.Last())
	}
}

// Ack says that the readings first..last of the lane are elsewhere. It is kept in
// memory and saved with the next commit, or within a second.
func (c *Cursor) Ack(lane reading.Lane, first, last uint64) error {
	c.mu.Lock()
	c.acked[lane] = c.acked[lane].add(first, last)
	c.dirty = true
	c.out[lane] = slices.DeleteFunc(c.out[lane], func(h handed) bool { return first <= h.First && h.Last <= last })
	taken := c.takenAgain(lane, first, last)
	c.mu.Unlock()
	if taken != nil {
		c.buf.acquit(c.name, taken)
	}
	c.buf.signal()
	return nil
}

// pass takes numbers that nobody will ever deliver for delivered: they name a
// gap, or nothing.
func (c *Cursor) pass(lane reading.Lane, first, last uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.acked[lane] = c.acked[lane].add(first, last)
}

// isWithin says whether the cursor has some of the numbers and not all.
func (c *Cursor) isWithin(lane reading.Lane, r numberRange) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	has := c.acked[lane].overlap(r.First, r.Last)
	if has == r.Last-r.First+1 {
		return false
	}
	return has > 0 || slices.ContainsFunc(c.out[lane], func(h handed) bool { return h.First <= r.Last && r.First <= h.Last })
}

// isElsewhere says whether the block was delivered, or is being delivered.
func (c *Cursor) isElsewhere(b wire.Block) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.acked[b.Lane].has(b.First, b.Last()) || c.given[b.Lane].has(b.First, b.Last())
}

func (c *Cursor) hasAcked(lane reading.Lane, first, last uint64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.acked[lane].has(first, last)
}

// Lag is how far a cursor is behind.
type Lag struct {
	// Readings are not yet acknowledged, and take so many Bytes on flash.
	Readings uint64
	Bytes    int64
	// Oldest is the time of the oldest of them, as far as it was handed out;
	// zero when there is none.
	Oldest time.Time
}

// Lag returns how far the cursor is behind.
func (c *Cursor) Lag() Lag {
	c.mu.Lock()
	defer c.mu.Unlock()
	var lag Lag
	lag.Readings, lag.Bytes = c.buf.index.unsent(c.acked)
	for lane := range c.out {
		for _, h := range c.out[lane] {
			if t := time.Unix(0, h.base); lag.Oldest.IsZero() || t.Before(lag.Oldest) {
				lag.Oldest = t
			}
		}
	}
	return lag
}

// movedCursors returns the marks of the cursors that moved, for the record
// that is about to be written, and takes them for saved.
func (b *Buffer) movedCursors() []cursorMark {
	b.curMu.Lock()
	defer b.curMu.Unlock()
	var marks []cursorMark
	for _, c := range b.cursors {
		c.mu.Lock()
		if c.dirty {
			c.dirty = false
			marks = append(marks, c.mark())
		}
		c.mu.Unlock()
	}
	return marks
}

// saveDue returns how long the cursors may still wait for a commit to carry
// them, or an unwell state.db for the next try to mend it.
func (b *Buffer) saveDue() time.Duration {
	b.curMu.Lock()
	defer b.curMu.Unlock()
	due := !b.state.well()
	for _, c := range b.cursors {
		c.mu.Lock()
		due = due || c.dirty
		c.mu.Unlock()
	}
	if !due {
		return time.Hour
	}
	return max(time.Until(b.saved.Add(saveInterval)), 0)
}

// saveCursors writes cursors that moved to state.db.
func (b *Buffer) saveCursors() {
	if b.saveDue() > 0 {
		return
	}
	b.saved = time.Now()
	if b.mend() != nil {
		return // Stats says why
	}
	if err := b.updateWithCursors(); err != nil {
		b.log.Warn("cursors not saved; a crash would repeat more", "err", err)
	}
	b.spend(stateCommitFlash)
}

// updateWithCursors changes state.db and saves all cursors and notes in one
// transaction.
func (b *Buffer) updateWithCursors(changes ...func(*bbolt.Tx) error) error {
	b.saving.Lock()
	defer b.saving.Unlock()
	changes = append(changes, b.cursorChanges()...)
	err := b.state.update(append(changes, b.notes.changes(b.record)...)...)
	if err != nil {
		b.setDirty()
		return err
	}
	b.notes.folded()
	return nil
}

// setDirty takes the cursors for not saved after all: the next record, or the
// next second, tries again.
func (b *Buffer) setDirty() {
	b.curMu.Lock()
	defer b.curMu.Unlock()
	for _, c := range b.cursors {
		c.mu.Lock()
		c.dirty = true
		c.mu.Unlock()
	}
}

// stateCommitFlash is about what a small bbolt commit writes: four pages and
// the file system's journal.
const stateCommitFlash = 17 << 10

// cursorChanges returns the changes that save all cursors, and the places of sinks
// that did not ask for theirs.
func (b *Buffer) cursorChanges() []func(*bbolt.Tx) error {
	b.curMu.Lock()
	defer b.curMu.Unlock()
	var changes []func(*bbolt.Tx) error
	for name, acked := range b.marks {
		if b.cursors[name] == nil {
			changes = append(changes, put(bucketCursors, []byte(name), markOf(name, acked).acked))
		}
	}
	for name, c := range b.cursors {
		c.mu.Lock()
		c.dirty = false
		changes = append(changes, put(bucketCursors, []byte(name), c.mark().acked))
		c.mu.Unlock()
	}
	return changes
}

// mark is the place that is saved.
func (c *Cursor) mark() cursorMark { return markOf(c.name, c.acked) }

// markOf copies a place. Acknowledged ranges beyond maxRanges are left out: after a
// crash they would be delivered again.
func markOf(name string, acked [reading.Lanes]ranges) cursorMark {
	m := cursorMark{name: name}
	for lane, rs := range acked {
		m.acked[lane] = slices.Clone(rs[:min(len(rs), maxRanges)])
	}
	return m
}

// close gives the cursor's files back. Next returns ErrClosed from now on.
func (c *Cursor) close() {
	c.place.Lock()
	defer c.place.Unlock()
	c.closed = true
	c.closeFiles()
}

// leave closes the segment's file; the next look opens what is there then.
func (c *Cursor) leave(number uint64) {
	for f := range c.heads {
		if h := &c.heads[f]; h.scan != nil && h.scan.number == number {
			h.close()
		}
	}
}

func (c *Cursor) closeFiles() {
	for f := range c.heads {
		c.heads[f].close()
	}
}

// Retire lets the cursor of a sink go that is no longer there: nothing is kept for it
// any more, and its Next returns ErrClosed. Its place is remembered as after a start
// without the sink: the next Cursor of that name goes on there.
func (b *Buffer) Retire(name string) {
	b.curMu.Lock()
	defer b.curMu.Unlock()
	c := b.cursors[name]
	if c == nil {
		return
	}
	c.close()
	b.marks[name] = c.ackedNow()
	delete(b.cursors, name)
}

package buffer

import (
	"context"
	"errors"
	"io/fs"
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
	acked [reading.Lanes]uint64 // all up to and including is elsewhere
	dirty bool                  // acked moved since it was last saved
	out   [reading.Lanes][]handed

	// What follows belongs to Next.
	next [reading.Lanes]uint64 // next sequence number to hand out
	scan [reading.Lanes]*scanner
}

// handed is a block that Next returned and nobody acknowledged yet.
type handed struct {
	last uint64
	base int64 // its earliest time
}

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
	for lane, acked := range c.acked {
		c.next[lane] = acked + 1
		if c.scan[lane] != nil {
			c.scan[lane].close()
			c.scan[lane] = nil
		}
	}
	return c
}

// sendOrder is the order in which lanes are asked for blocks.
var sendOrder = [...]reading.Lane{reading.Alarm, reading.Normal, reading.Bulk}

// Next returns consecutive blocks of one lane, oldest first: at least one, and
// no more than limit bytes unless a single block is larger. It waits until
// there is one. It never deletes, and it returns no block twice; after a crash
// it repeats what was not acknowledged, and skips nothing.
func (c *Cursor) Next(ctx context.Context, limit int) ([]wire.Block, error) {
	for {
		changed := c.buf.index.wait()
		for _, lane := range sendOrder {
			blocks, err := c.take(lane, limit)
			if err != nil {
				return nil, err
			}
			if len(blocks) > 0 {
				c.handOut(lane, blocks)
				return blocks, nil
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// take collects blocks of the lane, from next on, up to limit bytes.
func (c *Cursor) take(lane reading.Lane, limit int) ([]wire.Block, error) {
	var blocks []wire.Block
	size := 0
	for c.next[lane] <= c.buf.index.newest(lane) {
		rec, skipped, err := c.read(lane)
		if len(blocks) > 0 && err != nil {
			return blocks, nil // the next call meets the error again
		}
		if err != nil || rec.size == 0 {
			return blocks, err
		}
		for _, blk := range rec.blocks {
			if blk.Lane != lane || blk.Last() < c.next[lane] {
				continue
			}
			if size += len(blk.Raw); size > limit && len(blocks) > 0 {
				c.scan[lane].unread(rec)
				return blocks, nil
			}
			if blk.First > c.next[lane] && skipped > 0 {
				c.damaged(lane, c.next[lane], blk.First-1, blk.Epoch)
			}
			blocks = append(blocks, own(blk))
			c.next[lane] = blk.Last() + 1
		}
	}
	return blocks, nil
}

// own returns the block with memory of its own: the scanner's goes on.
func own(b wire.Block) wire.Block {
	b, _, err := wire.ParseBlock(slices.Clone(b.Raw))
	if err != nil {
		panic("a block that checked does not check: " + err.Error())
	}
	return b
}

// read returns the next record of the lane's scanner, and goes from segment to
// segment. A record of size 0 means that there is none.
func (c *Cursor) read(lane reading.Lane) (rec record, skipped int64, err error) {
	for {
		s := c.scan[lane]
		if s == nil {
			if s, err = c.openNext(lane, 0); s == nil || err != nil {
				return record{}, 0, err
			}
		}
		rec, skipped, err = s.next()
		if !errors.Is(err, errEnd) {
			return rec, skipped, err
		}
		info, there := c.buf.index.segment(s.number)
		if there && info.End > s.limit {
			s.extend(info.End)
			continue
		}
		if last := info.Lanes[lane].Last; there && last >= c.next[lane] {
			c.damaged(lane, c.next[lane], last, info.Lanes[lane].Epoch)
			c.next[lane] = last + 1
		}
		if s, err = c.openNext(lane, s.number); s == nil || err != nil {
			return record{}, 0, err
		}
	}
}

// openNext opens the first segment behind after that has something to hand
// out. A segment that was recycled meanwhile is passed over.
func (c *Cursor) openNext(lane reading.Lane, after uint64) (*scanner, error) {
	for {
		info, ok := c.buf.index.find(lane, c.next[lane], after)
		if !ok {
			return nil, nil
		}
		s, err := openScanner(c.buf.cfg.Dir, info.Number, info.End)
		if errors.Is(err, fs.ErrNotExist) {
			after = info.Number
			continue
		}
		if err != nil {
			return nil, err
		}
		if c.scan[lane] != nil {
			c.scan[lane].close()
		}
		c.scan[lane] = s
		return s, nil
	}
}

// damaged declares readings lost that the index knows and the medium does not.
func (c *Cursor) damaged(lane reading.Lane, first, last, epoch uint64) {
	c.buf.declareLost(lane, Gap{First: first, Last: last, Epoch: epoch, Reason: ReasonDamaged, Sinks: []string{c.name}})
}

func (c *Cursor) handOut(lane reading.Lane, blocks []wire.Block) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, b := range blocks {
		c.out[lane] = append(c.out[lane], handed{b.Last(), b.Base})
	}
}

// Ack says that everything of the lane up to and including last is elsewhere.
// It is kept in memory and saved with the next commit, or within a second.
func (c *Cursor) Ack(lane reading.Lane, last uint64) error {
	c.mu.Lock()
	if last > c.acked[lane] {
		c.acked[lane] = last
		c.dirty = true
	}
	for len(c.out[lane]) > 0 && c.out[lane][0].last <= last {
		c.out[lane] = c.out[lane][1:]
	}
	c.mu.Unlock()
	c.buf.signal()
	return nil
}

func (c *Cursor) ackedUpTo(lane reading.Lane) uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.acked[lane]
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
		if out := c.out[lane]; len(out) > 0 {
			if t := time.Unix(0, out[0].base); lag.Oldest.IsZero() || t.Before(lag.Oldest) {
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
			marks = append(marks, cursorMark{c.name, c.acked})
		}
		c.mu.Unlock()
	}
	return marks
}

// restoreMarks takes movedCursors back after a failed write.
func (b *Buffer) restoreMarks(marks []cursorMark) {
	b.curMu.Lock()
	defer b.curMu.Unlock()
	for _, m := range marks {
		b.cursors[m.name].setDirty()
	}
}

func (c *Cursor) setDirty() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dirty = true
}

// saveDue returns how long the cursors may still wait for a commit to carry
// them.
func (b *Buffer) saveDue() time.Duration {
	b.curMu.Lock()
	defer b.curMu.Unlock()
	for _, c := range b.cursors {
		c.mu.Lock()
		dirty := c.dirty
		c.mu.Unlock()
		if dirty {
			return max(time.Until(b.saved.Add(saveInterval)), 0)
		}
	}
	return time.Hour
}

// saveCursors writes cursors that moved to state.db.
func (b *Buffer) saveCursors() {
	if b.saveDue() > 0 {
		return
	}
	b.saved = time.Now()
	if err := b.state.update(b.cursorChanges()...); err != nil {
		b.log.Warn("cursors not saved; a crash would repeat more", "err", err)
	}
	b.spend(stateCommitFlash)
}

// stateCommitFlash is about what a small bbolt commit writes: four pages and
// the file system's journal.
const stateCommitFlash = 17 << 10

// cursorChanges returns the changes that save all cursors.
func (b *Buffer) cursorChanges() []func(*bbolt.Tx) error {
	b.curMu.Lock()
	defer b.curMu.Unlock()
	var changes []func(*bbolt.Tx) error
	for name, c := range b.cursors {
		c.mu.Lock()
		c.dirty = false
		changes = append(changes, put(bucketCursors, []byte(name), c.acked))
		c.mu.Unlock()
	}
	return changes
}

// close gives the cursor's files back.
func (c *Cursor) close() {
	for lane, s := range c.scan {
		if s != nil {
			s.close()
			c.scan[lane] = nil
		}
	}
}

package buffer

import (
	"errors"
	"io/fs"
	"slices"

	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/wire"
)

// head is where a cursor reads one flow.
type head struct {
	next uint64 // first number that was not handed out; 0 for no flow
	end  uint64 // last number of a backlog; 0 for live readings, which have none
	scan *scanner
}

func (h *head) close() {
	if h.scan != nil {
		h.scan.close()
		h.scan = nil
	}
}

// ready says which flows may have something to hand out, and moves the heads
// over what is elsewhere.
func (c *Cursor) ready() (ready [flows]bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for lane := range reading.Lane(reading.Lanes) {
		newest := c.buf.index.newest(lane)
		live, backlog := &c.heads[flowOf(lane, false)], &c.heads[flowOf(lane, true)]
		live.next = c.acked[lane].from(live.next)
		if newest > live.next+liveDistance {
			c.fallBehind(lane, newest)
		}
		if backlog.next != 0 {
			if backlog.next = c.acked[lane].from(backlog.next); backlog.next > backlog.end {
				backlog.close()
				*backlog = head{}
			}
		}
		ready[flowOf(lane, false)] = live.next <= newest
		ready[flowOf(lane, true)] = backlog.next != 0
	}
	return ready
}

// fallBehind makes a backlog of what the live readings have not sent. If there is
// one already, it ends later from now on, and passes over what was handed out in
// its middle. Each time that leaves a range in the cursor's place; when there are
// more than are saved, the live readings stay behind instead.
func (c *Cursor) fallBehind(lane reading.Lane, newest uint64) {
	live, backlog := &c.heads[flowOf(lane, false)], &c.heads[flowOf(lane, true)]
	switch {
	case backlog.next == 0:
		*backlog = *live
	case len(c.acked[lane])+len(c.out[lane]) < maxRanges:
		live.close()
	default:
		return
	}
	backlog.end = newest
	*live = head{next: newest + 1}
}

// take collects consecutive blocks of the flow, from its head's next on, up to
// limit bytes.
func (c *Cursor) take(flow, limit int) ([]wire.Block, error) {
	lane, h := reading.Lane(flow/2), &c.heads[flow]
	end := h.end
	if end == 0 {
		end = c.buf.index.newest(lane)
	}
	var blocks []wire.Block
	total := 0
	for h.next <= end {
		rec, err := c.read(lane, h)
		if len(blocks) > 0 && err != nil {
			return blocks, nil // the next call meets the error again
		}
		if err != nil {
			return nil, err
		}
		if rec.size == 0 { // no segment holds them: they made room, and a gap says so
			c.pass(lane, h.next, end)
			h.next = end + 1
			break
		}
		i := slices.IndexFunc(rec.blocks, func(b wire.Block) bool { return b.Lane == lane && b.Last() >= h.next })
		if i < 0 {
			continue
		}
		blk := rec.blocks[i]
		total += len(blk.Raw)
		elsewhere := c.isElsewhere(blk)
		if len(blocks) > 0 && (elsewhere || total > limit || blk.First != h.next) {
			h.scan.unread(rec)
			break
		}
		if blk.First > h.next {
			c.hole(lane, h, blk)
		}
		if blk.First > end { // the live readings' business
			h.next = end + 1
			break
		}
		h.next = blk.Last() + 1
		if !elsewhere {
			blocks = append(blocks, own(blk))
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

// hole passes over the numbers before the block. Those of its own segment should
// be there, and are lost. Before the segment's first there may be a hole without
// a loss: a new cursor begins at the oldest there is, and what was evicted has
// been declared; or they are in a segment that is kept, and a later version will
// deliver them.
func (c *Cursor) hole(lane reading.Lane, h *head, blk wire.Block) {
	info, there := c.buf.index.segment(h.scan.number)
	if first := max(h.next, info.Lanes[lane].First); there && !info.kept() && first < blk.First && !leapt(first, blk.First) {
		c.lose(lane, numberRange{first, blk.First - 1}, blk.Epoch, ReasonDamaged)
	}
	if !c.buf.index.keepsLater() {
		c.pass(lane, h.next, blk.First-1)
	}
}

// lose declares numbers lost, unless the sink has them, and passes over them.
func (c *Cursor) lose(lane reading.Lane, r numberRange, epoch uint64, reason string) {
	if !c.hasAcked(lane, r.First, r.Last) {
		c.buf.declareLost(lane, Gap{First: r.First, Last: r.Last, Epoch: epoch, Reason: reason, Sinks: []string{c.name}})
	}
	c.pass(lane, r.First, r.Last)
}

// read returns the next record that the head comes to; it goes from segment to
// segment. A record of size 0 means that there is none.
func (c *Cursor) read(lane reading.Lane, h *head) (rec record, err error) {
	for {
		if h.scan == nil {
			if found, err := c.openNext(lane, h, 0); !found || err != nil {
				return record{}, err
			}
		}
		rec, _, err := h.scan.next()
		if !errors.Is(err, errEnd) {
			return rec, err
		}
		info, there := c.buf.index.segment(h.scan.number)
		if there && info.End > h.scan.limit {
			h.scan.extend(info.End)
			continue
		}
		if s := info.Lanes[lane]; there && s.Last >= h.next {
			c.lose(lane, numberRange{max(h.next, s.First), s.Last}, s.Epoch, ReasonDamaged)
			h.next = s.Last + 1
		}
		if found, err := c.openNext(lane, h, h.scan.number); !found || err != nil {
			return record{}, err
		}
	}
}

// openNext opens the first segment behind after that has something for the
// head. One that was recycled meanwhile is passed over; one whose file is gone
// although it should be there is lost.
func (c *Cursor) openNext(lane reading.Lane, h *head, after uint64) (found bool, err error) {
	for {
		info, ok := c.buf.index.find(lane, h.next, after)
		if !ok {
			return false, nil
		}
		s, err := openScanner(c.buf.cfg.Dir, info.Number, info.End)
		if errors.Is(err, fs.ErrNotExist) {
			if _, there := c.buf.index.segment(info.Number); there {
				s := info.Lanes[lane]
				c.lose(lane, numberRange{max(h.next, s.First), s.Last}, s.Epoch, ReasonMissing)
			}
			after = info.Number
			continue
		}
		if err != nil {
			return false, err
		}
		h.close()
		h.scan = s
		return true, nil
	}
}

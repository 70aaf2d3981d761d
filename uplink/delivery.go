package uplink

import (
	"context"
	"slices"
	"time"

	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/wire"
)

// delivery is a message in the making: consecutive blocks of one lane and one
// epoch, and how far they have come.
type delivery struct {
	state    state
	blocks   []wire.Block
	bytes    int // of the blocks
	opened   time.Time
	live     bool   // fetched beside a backlog
	body     []byte // encoded once, so that a re-send repeats every byte
	parts    []Part // of the body
	timeouts int    // sends that ran out of time
	refused  bool   // as a single block, for the first time
	tooLarge int    // the largest part when a single block was refused as too large
	page     uint64 // where it is in the book

	// Of the latest send.
	begun  time.Time
	cancel context.CancelFunc
	probe  bool // the link was down
	sample sample
}

// state is how far a delivery has come. Those that are waiting or sending hold
// a place in the window.
type state uint8

const (
	open    state = iota // may still be joined by blocks
	waiting              // to be sent, for the first time or again
	sending              // in the hands of the sink
	done                 // elsewhere or set aside, not acked yet
)

func (d *delivery) lane() reading.Lane { return d.blocks[0].Lane }
func (d *delivery) epoch() uint64      { return d.blocks[0].Epoch }
func (d *delivery) first() uint64      { return d.blocks[0].First }
func (d *delivery) last() uint64       { return d.blocks[len(d.blocks)-1].Last() }

func (d *delivery) count() int {
	n := 0
	for _, b := range d.blocks {
		n += b.Count
	}
	return n
}

func (d *delivery) add(b wire.Block) {
	d.blocks = append(d.blocks, b)
	d.bytes += len(b.Raw)
}

// finish notes that the delivery is done, and lets go of all but its place.
func (d *delivery) finish() {
	d.state = done
	d.forget()
	d.blocks = []wire.Block{{Header: d.blocks[0].Header}, {Header: d.blocks[len(d.blocks)-1].Header}}
}

// forget lets go of the body.
func (d *delivery) forget() { d.body, d.parts = nil, nil }

// partWeight is about what a part costs on its way beside its bytes, in bytes: an
// address, a key, a frame.
const partWeight = 64

// weight is how much the message is for the link, in bytes.
func (d *delivery) weight() int { return len(d.body) + partWeight*len(d.parts) }

// isBeside reports whether the delivery may go beside what fills the window.
func (d *delivery) isBeside() bool { return d.live || d.lane() == reading.Alarm }

// split puts two halves in the place of a delivery of several blocks.
func (fl *flow) split(d *delivery) {
	left, right := &delivery{state: waiting, live: d.live, opened: d.opened}, &delivery{state: waiting, live: d.live, opened: d.opened}
	for i, b := range d.blocks {
		if i < len(d.blocks)/2 {
			left.add(b)
		} else {
			right.add(b)
		}
	}
	i := slices.Index(fl.queue, d)
	fl.queue = slices.Replace(fl.queue, i, i+1, left, right)
}

// count is the number of deliveries in the state.
func (fl *flow) count(s state) int {
	n := 0
	for _, d := range fl.queue {
		if d.state == s {
			n++
		}
	}
	return n
}

// fits reports whether the delivery may be in flight beside what is. New readings
// that a backlog leaves no room for are small, and go beside it: there is room in
// the link for one body more.
func (fl *flow) fits(d *delivery) bool {
	n, flight, limit := fl.count(sending), fl.size.flight, fl.size.pipe.limit()
	switch {
	case n == 0:
		return true
	case n >= fl.cfg.Window, fl.isSuspicious():
		return false
	}
	body, target := fl.size.body(d.bytes), fl.size.target()
	room := max(target, fl.size.lump)
	beside := d.isBeside() && flight+body <= limit+room && fl.beside()+body <= room
	return beside || flight+target/2 <= limit
}

// beside is how much is under way of what need not wait for room in the window.
func (fl *flow) beside() int {
	n := 0
	for _, d := range fl.queue {
		if d.state == sending && d.isBeside() {
			n += d.weight()
		}
	}
	return n
}

// isPassedBy reports whether what need not wait for room has taken so much of it
// that a backlog is due, or for all that is known would be.
func (fl *flow) isPassedBy() bool { return fl.passed > 2*fl.size.target() }

// isSuspicious reports whether the sink has just refused a block and taken nothing
// since: it may refuse them all, and is asked for one at a time.
func (fl *flow) isSuspicious() bool {
	return fl.refusals > 0 || slices.ContainsFunc(fl.queue, func(d *delivery) bool { return d.refused && d.state != done })
}

// has reports whether something of the lane is to be sent.
func (fl *flow) has(lane reading.Lane) bool {
	return slices.ContainsFunc(fl.queue, func(d *delivery) bool {
		return (d.state == open || d.state == waiting) && d.lane() == lane
	})
}

// hasRoom reports whether the window has room for another delivery, beside those
// that are ready. Those that may not travel now, or need no room, are in nobody's
// way: the latter leave room for one, so that nothing starves behind them.
func (fl *flow) hasRoom() bool {
	n, ready, bytes := fl.count(sending), 0, fl.size.flight
	for _, d := range fl.queue {
		if d.state == waiting && !d.live && fl.gate.Lanes.Has(d.lane()) {
			ready++
			bytes += fl.size.body(d.bytes)
		}
	}
	n += ready
	if n == 0 || ready == 0 && fl.isPassedBy() && !fl.isSuspicious() {
		return true
	}
	return n < fl.cfg.Window && !fl.isSuspicious() && bytes+fl.size.target()/2 <= fl.size.pipe.limit()
}

// gathered is the size of the blocks that have been read ahead and may travel,
// in bytes: all of them, or those that were read beside a backlog.
func (fl *flow) gathered(live bool) int {
	n := 0
	for _, d := range fl.queue {
		if (d.state == open || live && d.state == waiting) && (d.live || !live) && fl.gate.Lanes.Has(d.lane()) {
			n += d.bytes
		}
	}
	return n
}

// continued is the open delivery that the block goes on from, or nil: a message's
// key names all numbers from its first to its last.
func (fl *flow) continued(b wire.Block) *delivery {
	for _, d := range fl.queue {
		if d.state == open && d.lane() == b.Lane && d.epoch() == b.Epoch && b.First == d.last()+1 {
			return d
		}
	}
	return nil
}

// before is what comes just before the delivery in its lane and is in flight, or
// nil.
func (fl *flow) before(d *delivery) *delivery {
	for _, o := range fl.queue {
		if o.state == sending && o.lane() == d.lane() && o.last()+1 == d.first() {
			return o
		}
	}
	return nil
}

// probing reports whether the probe of a link that is down is in flight.
func (fl *flow) probing() bool {
	return slices.ContainsFunc(fl.queue, func(d *delivery) bool { return d.state == sending && d.probe })
}

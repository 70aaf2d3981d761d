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
	body     []byte // encoded once, so that a re-send repeats every byte
	parts    []Part // of the body
	timeouts int    // sends that ran out of time
	refused  bool   // as a single block, for the first time
	tooLarge int    // the largest part when a single block was refused as too large

	// Of the latest send.
	begun  time.Time
	cancel context.CancelFunc
	probe  bool // the link was down
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

// canJoin says whether the block goes on where the delivery ends: a message's
// key names all numbers from its first to its last.
func (d *delivery) canJoin(b wire.Block, limit int) bool {
	return b.Epoch == d.epoch() && b.First == d.last()+1 && d.bytes+len(b.Raw) <= limit
}

// finish notes that the delivery is done, and lets go of all but its place.
func (d *delivery) finish() {
	d.state = done
	d.forget()
	d.blocks = []wire.Block{{Header: d.blocks[0].Header}, {Header: d.blocks[len(d.blocks)-1].Header}}
}

// forget lets go of the body.
func (d *delivery) forget() { d.body, d.parts = nil, nil }

// split puts two halves in the place of a delivery of several blocks.
func (fl *flow) split(d *delivery) {
	left, right := &delivery{state: waiting}, &delivery{state: waiting}
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

// hasRoom reports whether the window has room for another delivery. Those that
// may not travel now are in nobody's way.
func (fl *flow) hasRoom() bool {
	n := fl.count(sending)
	for _, d := range fl.queue {
		if d.state == waiting && fl.gate.Lanes.Has(d.lane()) {
			n++
		}
	}
	return n < fl.cfg.Window
}

// gathered is the size of the blocks that have been read ahead and may travel,
// in bytes.
func (fl *flow) gathered() int {
	n := 0
	for _, d := range fl.queue {
		if d.state == open && fl.gate.Lanes.Has(d.lane()) {
			n += d.bytes
		}
	}
	return n
}

// opened is the open delivery of the lane, or nil.
func (fl *flow) opened(lane reading.Lane) *delivery {
	for _, d := range fl.queue {
		if d.state == open && d.lane() == lane {
			return d
		}
	}
	return nil
}

// isBusy reports whether a message of the lane is in flight.
func (fl *flow) isBusy(lane reading.Lane) bool {
	return slices.ContainsFunc(fl.queue, func(d *delivery) bool { return d.state == sending && d.lane() == lane })
}

// probing reports whether the probe of a link that is down is in flight.
func (fl *flow) probing() bool {
	return slices.ContainsFunc(fl.queue, func(d *delivery) bool { return d.state == sending && d.probe })
}

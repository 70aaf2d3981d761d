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
	bytes    int    // of the blocks
	body     []byte // encoded once, so that a re-send repeats every byte
	timeouts int    // sends that ran out of time

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

// maxQueue bounds how far others may run ahead of a delivery that hangs: what
// is done and not acked would be sent again after a crash.
const maxQueue = 64

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

func (d *delivery) canJoin(b wire.Block, limit int) bool {
	return b.Epoch == d.epoch() && d.bytes+len(b.Raw) <= limit
}

// finish notes that the delivery is done, and lets go of all but its place.
func (d *delivery) finish() {
	d.state, d.body = done, nil
	d.blocks = []wire.Block{{Header: d.blocks[len(d.blocks)-1].Header}}
}

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

// hasRoom reports whether the window has room for another delivery.
func (fl *flow) hasRoom() bool {
	return fl.count(waiting)+fl.count(sending) < fl.cfg.Window && len(fl.queue) < maxQueue
}

// gathered is the size of the blocks that have been read ahead, in bytes.
func (fl *flow) gathered() int {
	n := 0
	for _, d := range fl.queue {
		if d.state == open {
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

// The sizes that messages move between, in bytes of their blocks.
const (
	firstBatch = 32 << 10
	leastBatch = 4 << 10
	// worthwhile is the size from which headers no longer count: a message
	// of it goes even while others are in flight.
	worthwhile = 4 << 10
	// chunkHead is room for what an encoder adds to its blocks.
	chunkHead = 512
)

// A message should take about a second: long enough to fill the pipe, short
// enough that a cut costs little and an alarm is not kept waiting.
const (
	quick = time.Second
	slow  = 4 * time.Second
)

// sizer finds how much to put into a message: it doubles while messages arrive
// quickly, and halves when they are slow or their bodies too large.
type sizer struct {
	limit   int // bytes of blocks
	maxBody int // bytes of body
}

func newSizer(maxBody int) sizer {
	s := sizer{limit: firstBatch, maxBody: maxBody}
	s.limit = min(s.limit, s.largest())
	return s
}

// largest is the most that limit may grow to.
func (s *sizer) largest() int { return max(s.maxBody-chunkHead, leastBatch) }

// learn looks at a message that has arrived. Only one that was nearly full
// says anything about larger ones.
func (s *sizer) learn(blocks, body int, took time.Duration) {
	switch {
	case took > slow:
		s.shrink()
	case took < quick && blocks >= s.limit/2 && 2*body <= s.maxBody:
		s.limit = min(2*s.limit, s.largest())
	}
}

func (s *sizer) shrink() { s.limit = max(s.limit/2, leastBatch) }

// lower sets a new bound for bodies: the remote side has a smaller one than the
// configuration says.
func (s *sizer) lower(maxBody int) {
	s.maxBody = min(s.maxBody, max(maxBody, leastBatch))
	s.limit = min(s.limit, s.largest())
}

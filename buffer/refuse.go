package buffer

import (
	"sync"
	"time"

	"github.com/tidegate/tidegate/reading"
)

// refusals counts the readings that are refused while the buffer is full of
// what must not make room.
type refusals struct {
	mu    sync.Mutex
	on    bool // Accept refuses
	since time.Time
	until time.Time
	count [reading.Lanes]uint64
}

// begin refuses what comes from now on; what the group held has been refused, but
// for the gaps, which are reported again.
func (r *refusals) begin(g *group) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.on = true
	for lane := range g.lanes {
		n := len(g.lanes[lane])
		if reading.Lane(lane) == reading.Alarm {
			n -= len(g.gaps)
		}
		r.add(reading.Lane(lane), n)
	}
}

func (r *refusals) add(lane reading.Lane, n int) {
	r.until = time.Now()
	if r.count == ([reading.Lanes]uint64{}) {
		r.since = r.until
	}
	r.count[lane] += uint64(n)
}

// refuse is false while readings are taken; else it counts them.
func (r *refusals) refuse(rs []reading.Reading) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.on {
		return false
	}
	for i := range rs {
		r.add(rs[i].Lane, 1)
	}
	return true
}

func (r *refusals) active() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.on
}

// tryAgain takes readings again.
func (r *refusals) tryAgain() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.on = false
}

// tryRoom takes readings again when a new segment would fit, as far as the bound
// and what is delivered can tell.
func (b *Buffer) tryRoom() {
	if !b.refusals.active() {
		return
	}
	if b.fits() {
		b.refusals.tryAgain()
	}
	for range b.victims(true) {
		b.refusals.tryAgain()
		return
	}
}

// declareRefused declares what was refused, now that commits succeed again.
func (b *Buffer) declareRefused() {
	r := &b.refusals
	r.mu.Lock()
	count, since, until := r.count, r.since, r.until
	r.count = [reading.Lanes]uint64{}
	r.mu.Unlock()
	for lane, n := range count {
		if n > 0 {
			b.declareLost(reading.Lane(lane), Gap{Count: n, From: since.UnixNano(), To: until.UnixNano(), Epoch: b.epoch, Reason: ReasonRefused})
		}
	}
}

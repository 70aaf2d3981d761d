package buffer

import (
	"time"

	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/wire"
)

// LanePolicy says what becomes of a lane's readings when time or room run out.
type LanePolicy struct {
	// MaxAge is how long readings are kept after they came in, delivered or not;
	// 0 is for ever. It is kept by segment: the youngest in it counts.
	MaxAge time.Duration
	// RefuseNew refuses new readings when the buffer is full of what must not
	// be evicted; else the oldest make room.
	RefuseNew bool
}

// ageInterval is how often segments are looked at for their age.
const ageInterval = time.Minute

// sealTime is when a segment was sealed: by a clock that nobody can set, which
// counts within a boot, and by the wall clock, which counts across boots, if
// it could be trusted.
type sealTime struct {
	Boot   uint32 `json:"boot"`
	Uptime int64  `json:"uptime"`         // milliseconds
	Wall   int64  `json:"wall,omitempty"` // nanoseconds since 1970; 0 when unknown
}

func (b *Buffer) sealTime() sealTime {
	t := sealTime{Boot: b.cfg.Clock.Boot, Uptime: b.cfg.Clock.Uptime().Milliseconds()}
	if b.cfg.Clock.State() == wire.Synced {
		t.Wall = time.Now().UnixNano()
	}
	return t
}

// since returns how long ago that was, as far as it is certain; it is false
// when nobody knows.
func (t sealTime) since(now sealTime) (time.Duration, bool) {
	switch {
	case t.Boot == now.Boot && t != (sealTime{}):
		return time.Duration(now.Uptime-t.Uptime) * time.Millisecond, true
	case t.Wall != 0 && now.Wall != 0:
		return time.Duration(now.Wall - t.Wall), true
	}
	return 0, false
}

// expire takes out of the sealed segments what is older than its lane's MaxAge.
// A segment of which nobody knows when it was sealed counts as new from the
// moment on when the clock can be trusted.
func (b *Buffer) expire() {
	if !b.hasMaxAge() {
		return
	}
	now := b.sealTime()
	for _, s := range b.sealedSegments() {
		age, known := s.Sealed.since(now)
		if !known {
			if now.Wall != 0 {
				s.Sealed = now
				b.index.replace(s) // and noted with whatever changes it next
			}
			continue
		}
		var old laneSet
		for lane, policy := range b.cfg.Lanes {
			old[lane] = policy.MaxAge > 0 && age > policy.MaxAge
		}
		if old = s.holding(old); old == (laneSet{}) {
			continue
		}
		if err := b.evict(s, old, ReasonExpired); err != nil {
			b.log.Warn("readings beyond their age stay", "segment", s.Number, "err", err)
			return
		}
	}
}

func (b *Buffer) hasMaxAge() bool {
	for lane := range reading.Lane(reading.Lanes) {
		if b.cfg.Lanes[lane].MaxAge > 0 {
			return true
		}
	}
	return false
}

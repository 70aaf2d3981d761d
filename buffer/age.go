package buffer

import (
	"time"

	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/wire"
)

// LanePolicy says what becomes of a lane's readings when time or room run out.
type LanePolicy struct {
	// MaxAge is how long readings are kept after they came in, delivered or not;
	// 0 is for ever. It is kept by segment, from when that is sealed, which is at
	// the latest MaxAge after it was begun: so readings go after one to two MaxAge.
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
	b.sealAged(now)
	for _, s := range b.sealedSegments() {
		age, known := s.Sealed.since(now)
		if !known {
			b.countFrom(s, now)
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

// sealAged seals the segment that is being written when it began longer ago than
// one of its lanes is kept: a quiet gateway would write it for weeks.
func (b *Buffer) sealAged(now sealTime) {
	info, ok := b.index.active()
	age, known := b.begun.since(now)
	if b.active == nil || !ok || info.End == 0 || !known {
		return
	}
	for lane, policy := range b.cfg.Lanes {
		if policy.MaxAge == 0 || info.Lanes[lane].Last == 0 || age <= policy.MaxAge {
			continue
		}
		if err := b.roll(b.mayEvict()); err != nil {
			b.log.Warn("segment is not begun", "err", err)
		}
		return
	}
}

// countFrom takes now for the time when the segment was sealed, once the clock
// can be trusted.
func (b *Buffer) countFrom(s segmentInfo, now sealTime) {
	if now.Wall == 0 {
		return
	}
	s.Sealed = now
	b.index.replace(s)
	if err := b.state.update(put(bucketSegments, numberKey(s.Number), s)); err != nil {
		b.log.Warn("segment's age is not noted; a restart counts from anew", "segment", s.Number, "err", err)
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

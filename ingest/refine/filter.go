package refine

import (
	"hash/maphash"
	"math"

	"github.com/tidegate/tidegate/reading"
)

// filter is what is left out of a series.
type filter struct {
	band, percent       *float64
	heartbeat, interval int64 // nanoseconds, 0 for none
}

func newFilter(s Step) *filter {
	f := &filter{band: s.Deadband, percent: s.DeadbandPercent, heartbeat: int64(s.Heartbeat), interval: int64(s.MinInterval)}
	if *f == (filter{}) {
		return nil
	}
	return f
}

func (f *filter) hasBand() bool { return f.band != nil || f.percent != nil }

// merge returns a filter that has the deadband of one and the interval of the
// other; both may be nil.
func merge(band, pause *filter) *filter {
	switch {
	case band == pause:
		return band
	case band == nil:
		band = &filter{}
	case pause == nil:
		pause = &filter{}
	}
	return &filter{band: band.band, percent: band.percent, heartbeat: band.heartbeat, interval: pause.interval}
}

// kept is the last reading of a series that was kept.
type kept struct {
	known   bool
	quality reading.Flags
	value   reading.Value // of a text, its kind only
	hash    uint64        // of a text
	time    int64
	now     int64 // the gateway's time then
}

// judge says whether a reading is to be filtered, and why. again says that it
// has the very time of the one before it.
func (f *filter) judge(last *kept, r *reading.Reading, t, now int64, again bool, seed maphash.Seed) Reason {
	if !last.known {
		return Kept
	}
	passed := t - last.time
	if again { // its clock stands still, or does not tick often enough
		passed = max(passed, now-last.now)
	}
	if f.heartbeat > 0 && passed >= f.heartbeat {
		return Kept
	}
	if f.hasBand() && f.unchanged(last, r, seed) {
		return Unchanged
	}
	if passed < f.interval {
		return TooSoon
	}
	return Kept
}

// unchanged reports whether a reading is within the deadband of the last.
func (f *filter) unchanged(last *kept, r *reading.Reading, seed maphash.Seed) bool {
	if last.quality != r.Flags.Quality() {
		return false
	}
	switch kind := r.Value.Kind(); kind {
	case reading.KindString:
		return last.value.Kind() == kind && last.hash == maphash.String(seed, r.Value.Text())
	case reading.KindBool:
		return last.value == r.Value
	}
	if k := last.value.Kind(); k != reading.KindFloat && k != reading.KindInt {
		return false
	}
	before, _ := last.value.Number()
	after, _ := r.Value.Number()
	if math.IsNaN(before) || math.IsNaN(after) {
		return math.IsNaN(before) && math.IsNaN(after)
	}
	if f.percent != nil {
		return distance(last.value, r.Value) <= percentOf(before, *f.percent)
	}
	return distance(last.value, r.Value) <= *f.band
}

// percentOf returns so much of a value's magnitude, in decimals if they are few.
func percentOf(v, percent float64) float64 {
	d, okV := decimalOf(math.Abs(v))
	p, okP := decimalOf(percent)
	if product, ok := d.times(p); ok && okV && okP {
		product.e -= 2
		return product.float()
	}
	return math.Abs(v) * percent / 100
}

// keep takes note of a reading that was kept.
func (k *kept) keep(r *reading.Reading, t, now int64, seed maphash.Seed) {
	k.known, k.quality, k.time, k.now = true, r.Flags.Quality(), t, now
	k.value = r.Value
	if r.Value.Kind() == reading.KindString { // its memory may be a part of more
		k.value, k.hash = reading.String(""), maphash.String(seed, r.Value.Text())
	}
}

// latest is the latest time that the intake believes; it gives others the time
// of their arrival.
const latest = int64(1) << 62

// timeOf is the time that a reading is judged by.
func timeOf(r *reading.Reading, now int64) int64 {
	if r.Time > 0 && r.Time <= latest {
		return r.Time
	}
	return now
}

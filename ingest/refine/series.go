package refine

import (
	"math"
	"strings"
	"time"

	"github.com/tidegate/tidegate/reading"
)

// step is a Step as readings go through it.
type step struct {
	metric, device glob
	drop           bool
	rename, unit   string
	linear         *linear
	checked        bool // there is a range
	min, max       float64
	outOfRange     Range
	lane           *reading.Lane
	filter         *filter
	alarm          *rule
	matched        bool // by a series so far
}

func compile(s Step) step {
	c := step{
		metric: glob(s.Metric), device: glob(s.Device), drop: s.Drop, rename: s.Rename, unit: s.Unit, lane: s.Lane,
		checked: s.Min != nil || s.Max != nil, min: math.Inf(-1), max: math.Inf(1), outOfRange: s.OutOfRange,
	}
	if scale := s.Scale; scale != 0 && scale != 1 || s.Offset != 0 {
		if scale == 0 {
			scale = 1
		}
		l := newLinear(scale, s.Offset)
		c.linear = &l
	}
	if s.Min != nil {
		c.min = *s.Min
	}
	if s.Max != nil {
		c.max = *s.Max
	}
	c.filter, c.alarm = newFilter(s), newRule(s)
	return c
}

// changes reports whether the step does anything to a reading by itself.
func (s *step) changes() bool {
	return s.unit != "" || s.linear != nil || s.checked || s.lane != nil
}

// plan is what the steps of a chain mean for one series.
type plan struct {
	steps  []*step // that change its readings, in order
	drop   bool
	metric string // its name behind the chain; empty if that is as it was
	alarms string // the name of its alarm
	filter *filter
	alarm  *rule
}

// plan finds the steps for a series.
func (c *Chain) plan(device, metric string) (p plan) {
	var found spans
	name := metric
	var band, pause *filter
	for i := range c.steps {
		s := &c.steps[i]
		if !s.device.match(device, &found) || !s.metric.match(name, &found) {
			continue
		}
		s.matched = true
		if s.drop {
			return plan{drop: true}
		}
		if renamed := fill(s.rename, name, &found); renamed != "" {
			name = renamed
		}
		if s.changes() {
			p.steps = append(p.steps, s)
		}
		if s.filter != nil && s.filter.hasBand() {
			band = s.filter
		}
		if s.filter != nil && s.filter.interval > 0 {
			pause = s.filter
		}
		if s.alarm != nil {
			p.alarm = s.alarm
		}
	}
	if name != metric {
		p.metric = strings.Clone(name)
	}
	if p.alarm != nil {
		p.alarms = name + ".alarm"
	}
	p.filter = merge(band, pause)
	return p
}

// change lets a reading go through the steps. A reason other than Kept is why it
// is to be filtered.
func (p *plan) change(r *reading.Reading, stats *Stats) Reason {
	if p.drop {
		return Dropped
	}
	if p.metric != "" {
		r.Metric = p.metric
	}
	for _, s := range p.steps {
		if s.linear != nil {
			r.Value = s.linear.apply(r.Value)
		}
		if s.unit != "" {
			r.Unit = s.unit
		}
		if s.checked && !s.check(r, stats) {
			return OutOfRange
		}
		if s.lane != nil {
			r.Lane = *s.lane
		}
	}
	return Kept
}

// check brings a number into the step's range. It returns false if the reading is
// to be filtered.
func (s *step) check(r *reading.Reading, stats *Stats) bool {
	if kind := r.Value.Kind(); kind != reading.KindFloat && kind != reading.KindInt {
		return true
	}
	v, _ := r.Value.Number()
	bound := s.max
	switch {
	case v >= s.min && v <= s.max:
		return true
	case s.outOfRange == Discard:
		return false
	case r.Flags.Quality() == reading.Bad:
		return true
	case s.outOfRange == MarkBad || math.IsNaN(v):
		r.Flags = withQuality(r.Flags, reading.Bad)
		stats.MarkedBad++
		return true
	case v < s.min:
		bound = s.min
	}
	if r.Value.Kind() == reading.KindInt && bound == math.Trunc(bound) && math.Abs(bound) < 1<<62 {
		r.Value = reading.Int(int64(bound))
	} else {
		r.Value = reading.Float(bound)
	}
	r.Flags = withQuality(r.Flags, reading.Uncertain)
	stats.Clamped++
	return true
}

func withQuality(f, quality reading.Flags) reading.Flags {
	return f&^(reading.Uncertain|reading.Bad) | quality
}

// series is what a chain remembers of one series.
type series struct {
	key  key
	plan plan
	used uint64 // the chain's count when it was seen last

	course     course
	generation uint64 // of the chain's memory; kept and watch are of no use in another
	kept       kept
	watch      watch
	again      again
}

// again watches what is sent again after Forget behind what was newer, which is
// late, but may have turned the alarm without anybody having been told.
type again struct {
	until  int64 // the newest time before
	newest int64 // the time of the last that was judged
	watch  watch // of their own: they do not say how it is now
}

// key names a series as it comes in.
type key struct{ device, metric, unit string }

// course is where a series is in time.
type course struct {
	known  bool
	newest int64 // the newest time that was seen

	// While readings are older than that: the times of the first, by its own
	// clock and by the gateway's, and of the last.
	behind     bool
	first, now int64
	last       int64
}

// patience is for how long readings must have been older than the newest one
// for their clock to have been set back.
const patience = int64(time.Minute)

// order is where a reading stands in the course of its series.
type order uint8

const (
	onward  order = iota // it is the newest, or as new
	older                // it is not
	setBack              // it is not, and shows that its clock was set back
)

// place judges a time, at the gateway's time now.
func (c *course) place(t, now int64) order {
	if !c.known || t >= c.newest {
		c.known, c.newest, c.behind = true, t, false
		return onward
	}
	if !c.behind || t < c.last || now < c.now {
		c.behind, c.first, c.now, c.last = true, t, now, t
		return older
	}
	c.last = t
	if passed := now - c.now; passed < patience || t-c.first > 2*passed {
		return older
	}
	c.newest, c.behind = t, false
	return setBack
}

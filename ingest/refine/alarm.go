package refine

import (
	"math"
	"strconv"

	"github.com/tidegate/tidegate/reading"
)

// rule is when a series is in alarm.
type rule struct {
	// Beyond above and below, an alarm is raised; at above's end and below's
	// end it is cleared. Those that are not there are infinite.
	above, aboveEnd, below, belowEnd float64

	equals   *string
	number   float64 // of equals
	isNumber bool
	delay    int64 // nanoseconds
}

func newRule(s Step) *rule {
	if s.AlarmAbove == nil && s.AlarmBelow == nil && s.AlarmEquals == nil {
		return nil
	}
	r := &rule{
		above: math.Inf(1), aboveEnd: math.Inf(1), below: math.Inf(-1), belowEnd: math.Inf(-1),
		equals: s.AlarmEquals, delay: int64(s.Delay),
	}
	if s.AlarmAbove != nil {
		back := newLinear(1, -s.Hysteresis)
		r.above, r.aboveEnd = *s.AlarmAbove, back.float(*s.AlarmAbove)
	}
	if s.AlarmBelow != nil {
		back := newLinear(1, s.Hysteresis)
		r.below, r.belowEnd = *s.AlarmBelow, back.float(*s.AlarmBelow)
	}
	if r.equals != nil {
		n, err := strconv.ParseFloat(*r.equals, 64)
		r.number, r.isNumber = n, err == nil
	}
	return r
}

// level is the state of an alarm.
type level uint8

const (
	unknown level = iota // nothing was judged yet
	normal
	above
	below
	equal
)

// String returns the text of the alarm's readings.
func (l level) String() string {
	return [...]string{"unknown", "normal", "above", "below", "equal"}[l]
}

// watch is what is known about the alarm of a series.
type watch struct {
	level   level
	pending level // will be raised if it holds; unknown for none
	since   int64 // when pending began
}

// verdict is what a reading means for an alarm.
type verdict uint8

const (
	nothing verdict = iota
	raised
	cleared
	confirmed // that it is normal, which nobody could know
)

// judge takes a reading of time t, which is the newest of its series, into
// account.
func (r *rule) judge(w *watch, v *reading.Reading, t int64) verdict {
	now, judged := r.level(w.level, v)
	if !judged {
		return nothing
	}
	if now == w.level {
		w.pending = unknown
		return nothing
	}
	if now != normal && r.delay > 0 {
		if w.pending != now {
			w.pending, w.since = now, t
		}
		if t-w.since < r.delay {
			if w.level == unknown || w.level == normal {
				return nothing
			}
			now = normal // the alarm that was is over, the other is not sure yet
		}
	}
	if now != normal {
		w.level, w.pending = now, unknown
		return raised
	}
	before := w.level
	w.level = normal
	switch before {
	case unknown:
		w.pending = unknown
		return confirmed
	case normal:
		return nothing
	}
	return cleared
}

// level returns what a reading's value is, given the level before it. judged is
// false if the value says nothing.
func (r *rule) level(before level, v *reading.Reading) (now level, judged bool) {
	if v.Flags.Quality() == reading.Bad {
		return unknown, false
	}
	if r.equals != nil {
		return r.equality(v.Value)
	}
	if kind := v.Value.Kind(); kind != reading.KindFloat && kind != reading.KindInt {
		return unknown, false
	}
	n, _ := v.Value.Number()
	switch {
	case math.IsNaN(n):
		return unknown, false
	case n > r.above, before == above && n > r.aboveEnd:
		return above, true
	case n < r.below, before == below && n < r.belowEnd:
		return below, true
	}
	return normal, true
}

func (r *rule) equality(v reading.Value) (now level, judged bool) {
	same := false
	switch v.Kind() {
	case reading.KindString:
		same = v.Text() == *r.equals
	case reading.KindBool:
		same = strconv.FormatBool(v.Bool()) == *r.equals
	default:
		n, _ := v.Number()
		same = r.isNumber && n == r.number
	}
	if same {
		return equal, true
	}
	return normal, true
}

package refine

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/tidegate/tidegate/reading"
)

// Config is the configuration of a Chain.
type Config struct {
	// Steps are applied in order. At most MaxSteps.
	Steps []Step
	// MaxSeries is how many series are remembered; zero stands for
	// DefaultSeries.
	MaxSeries int
	// Observe, if not nil, is shown every reading that is filtered, as it would
	// have been stored. It is called while the chain is locked.
	Observe func(r reading.Reading, why Reason)
}

const (
	// MaxSteps bounds a chain.
	MaxSteps = 64
	// DefaultSeries is how many series a chain remembers unless told otherwise.
	DefaultSeries = 16384
)

// Step is what happens to readings whose names match. The zero value matches
// all of them and does nothing.
type Step struct {
	// Metric and Device are patterns for names: * stands for any characters,
	// also none, ? for one. Empty matches every name.
	Metric, Device string
	// Drop leaves the readings out. Nothing else can be said of them then.
	Drop bool
	// Rename is the metric's new name; each * in it is what the * of the same
	// place in Metric stood for. Empty, also as a result, keeps the name.
	Rename string
	// Scale and Offset make v·Scale + Offset of numbers. Scale 0 stands for 1.
	Scale, Offset float64
	// Unit is the readings' unit; empty keeps theirs.
	Unit string
	// Min and Max are the least and the greatest number that there can be, and
	// OutOfRange is what becomes of others.
	Min, Max   *float64
	OutOfRange Range
	// Lane is the readings' lane; nil keeps theirs.
	Lane *reading.Lane
	// Deadband filters readings that differ from the last one kept by no more
	// than that, 0 standing for those that do not differ, and DeadbandPercent
	// those that differ by no more than so much of it.
	Deadband, DeadbandPercent *float64
	// Heartbeat, if not 0, ends a deadband: a reading is kept when so much time
	// has passed since the last.
	Heartbeat time.Duration
	// MinInterval filters readings that come sooner after the last one kept.
	MinInterval time.Duration
	// AlarmAbove and AlarmBelow raise an alarm for numbers beyond them,
	// AlarmEquals for texts, booleans ("true") and numbers ("7") that are equal
	// to it.
	AlarmAbove, AlarmBelow *float64
	AlarmEquals            *string
	// Hysteresis is how far a number must have come back for its alarm to be
	// cleared, Delay how long the condition must have held for it to be raised.
	Hysteresis float64
	Delay      time.Duration
}

// Range says what becomes of numbers out of range.
type Range uint8

const (
	// Clamp makes them the nearest number within range, of uncertain quality. A
	// reading that is bad already is left alone.
	Clamp Range = iota
	// MarkBad keeps the number and makes its quality bad. It is what Clamp does
	// to a not-a-number.
	MarkBad
	// Discard filters them.
	Discard
)

// Problem is what is wrong with a Step.
type Problem struct {
	// Key is the field as configuration files call it: "alarm_above".
	Key string
	// What is wrong, and Hint what to do about it.
	What, Hint string
}

// Problems returns everything that is wrong with a step, nothing if it makes
// sense.
func (s Step) Problems() []Problem {
	if s == (Step{Metric: s.Metric, Device: s.Device}) {
		return []Problem{{"metric", "says which readings, but not what to do with them", `add for example deadband = 0.5, unit = "Cel" or drop = true`}}
	}
	if s.Drop && s != (Step{Metric: s.Metric, Device: s.Device, Drop: true}) {
		return []Problem{{"drop", "leaves nothing for the other keys to work on", "remove drop, or all keys but metric and device"}}
	}
	problems := append(problemsOf("metric", s.Metric), problemsOf("device", s.Device)...)
	problems = append(problems, s.numberProblems()...)
	problems = append(problems, s.nameProblems()...)
	problems = append(problems, s.rangeProblems()...)
	problems = append(problems, s.filterProblems()...)
	return append(problems, s.alarmProblems()...)
}

// numberProblems looks for what is no number.
func (s Step) numberProblems() (problems []Problem) {
	numbers := []struct {
		key string
		at  *float64
	}{
		{"scale", &s.Scale}, {"offset", &s.Offset}, {"min", s.Min}, {"max", s.Max}, {"deadband", s.Deadband},
		{"deadband_percent", s.DeadbandPercent}, {"alarm_above", s.AlarmAbove}, {"alarm_below", s.AlarmBelow}, {"hysteresis", &s.Hysteresis},
	}
	for _, n := range numbers {
		if n.at != nil && (math.IsNaN(*n.at) || math.IsInf(*n.at, 0)) {
			problems = append(problems, Problem{n.key, fmt.Sprintf("%v is no number", *n.at), "write a finite number"})
		}
	}
	spans := []struct {
		key  string
		span time.Duration
	}{{"heartbeat", s.Heartbeat}, {"min_interval", s.MinInterval}, {"delay", s.Delay}}
	for _, t := range spans {
		if t.span < 0 {
			problems = append(problems, Problem{t.key, "is negative", "write a duration of 0 or more"})
		}
	}
	return problems
}

func (s Step) nameProblems() []Problem {
	switch {
	case stars(s.Rename) > stars(s.pattern()):
		return []Problem{{"rename", fmt.Sprintf("%q has more stars than the metric's pattern %q", s.Rename, s.pattern()), "each * is what the same one in metric stands for"}}
	case s.Rename != "" && stars(s.pattern()) == 0 && s.Rename == s.Metric:
		return []Problem{{"rename", fmt.Sprintf("%q is the metric's name already", s.Rename), "remove it, or write the new name"}}
	case len(s.Rename) > MaxPattern:
		return []Problem{{"rename", fmt.Sprintf("has %d bytes", len(s.Rename)), fmt.Sprintf("write a name of at most %d", MaxPattern)}}
	case len(s.Unit) > MaxPattern:
		return []Problem{{"unit", fmt.Sprintf("has %d bytes", len(s.Unit)), `write for example "Cel"`}}
	}
	return nil
}

// pattern is Metric, written out.
func (s Step) pattern() string {
	if s.Metric == "" {
		return "*"
	}
	return s.Metric
}

func (s Step) rangeProblems() []Problem {
	switch {
	case s.Min != nil && s.Max != nil && *s.Min > *s.Max:
		return []Problem{{"min", fmt.Sprintf("%v is more than max, which is %v", *s.Min, *s.Max), "exchange the two: nothing is in such a range"}}
	case s.OutOfRange > Discard:
		return []Problem{{"out_of_range", fmt.Sprintf("%d is none of the choices", s.OutOfRange), "write one of: clamp, bad, drop"}}
	case s.OutOfRange != Clamp && s.Min == nil && s.Max == nil:
		return []Problem{{"out_of_range", "there is no range", "add min, max or both"}}
	}
	return nil
}

func (s Step) filterProblems() (problems []Problem) {
	add := func(key, what, hint string) { problems = append(problems, Problem{key, what, hint}) }
	switch {
	case s.Deadband != nil && s.DeadbandPercent != nil:
		add("deadband_percent", "there is a deadband, too", "remove one of the two")
	case s.Deadband != nil && *s.Deadband < 0:
		add("deadband", fmt.Sprintf("%v is negative", *s.Deadband), "write 0 to keep every change, or more")
	case s.DeadbandPercent != nil && (*s.DeadbandPercent <= 0 || *s.DeadbandPercent > 100):
		add("deadband_percent", fmt.Sprintf("%v is no such part of a value", *s.DeadbandPercent), "write more than 0 and at most 100; deadband = 0 keeps every change")
	}
	switch {
	case s.Heartbeat != 0 && s.Deadband == nil && s.DeadbandPercent == nil:
		add("heartbeat", "there is no deadband that it could end", "add deadband = 0 to keep changes and heartbeats only")
	case s.Heartbeat > 0 && s.Heartbeat < s.MinInterval:
		add("heartbeat", fmt.Sprintf("%v is less than min_interval, which is %v", s.Heartbeat, s.MinInterval), "make it longer")
	}
	return problems
}

func (s Step) alarmProblems() (problems []Problem) {
	add := func(key, what, hint string) { problems = append(problems, Problem{key, what, hint}) }
	above, below := s.AlarmAbove, s.AlarmBelow
	switch {
	case s.AlarmEquals != nil && (above != nil || below != nil):
		add("alarm_equals", "there is a threshold, too", "a metric has one alarm: thresholds for numbers, alarm_equals for texts and booleans")
	case above != nil && below != nil && *below >= *above:
		add("alarm_below", fmt.Sprintf("%v is not less than alarm_above, which is %v", *below, *above), "every number would be an alarm: exchange the two")
	case s.OutOfRange != MarkBad && above != nil && s.Max != nil && *above >= *s.Max:
		add("alarm_above", fmt.Sprintf("%v is never exceeded, because max is %v", *above, *s.Max), "raise max, or lower the threshold")
	case s.OutOfRange != MarkBad && below != nil && s.Min != nil && *below <= *s.Min:
		add("alarm_below", fmt.Sprintf("nothing is below %v, because min is %v", *below, *s.Min), "lower min, or raise the threshold")
	}
	switch {
	case s.Hysteresis < 0:
		add("hysteresis", fmt.Sprintf("%v is negative", s.Hysteresis), "write 0 or more")
	case s.Hysteresis != 0 && above == nil && below == nil:
		add("hysteresis", "there is no threshold", "add alarm_above or alarm_below")
	case above != nil && below != nil && s.Hysteresis > 0 && *above-*below < s.Hysteresis:
		add("hysteresis", fmt.Sprintf("%v is more than there is between alarm_below and alarm_above", s.Hysteresis), "make it smaller: both alarms could be on at once")
	}
	if s.Delay != 0 && above == nil && below == nil && s.AlarmEquals == nil {
		add("delay", "there is no alarm", "add alarm_above, alarm_below or alarm_equals")
	}
	return problems
}

// check returns what is wrong with a configuration as one error.
func (c Config) check() error {
	var problems []error
	if len(c.Steps) > MaxSteps {
		problems = append(problems, fmt.Errorf("%d steps — hint: at most %d; patterns can stand for many names", len(c.Steps), MaxSteps))
	}
	if c.MaxSeries < 0 {
		problems = append(problems, fmt.Errorf("%d series — hint: leave it 0 for %d", c.MaxSeries, DefaultSeries))
	}
	for i, s := range c.Steps {
		for _, p := range s.Problems() {
			problems = append(problems, fmt.Errorf("refine step %d: %s: %s — hint: %s", i+1, p.Key, p.What, p.Hint))
		}
	}
	return errors.Join(problems...)
}

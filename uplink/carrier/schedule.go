package carrier

import (
	"fmt"
	"strings"
	"time"

	"github.com/tidegate/tidegate/internal/conf"
	"github.com/tidegate/tidegate/internal/inorder"
)

// Bounds of a window's length: a schedule has minutes, and a window longer than
// a week is no window.
const (
	minWindow = time.Minute
	maxWindow = 7 * 24 * time.Hour
)

// farthest is how many days are looked at for the next time of a window. 29
// February is missing for eight years around 2100, and falls on a given weekday
// every 28 years, or 40 around then.
const farthest = 41 * 366

// Window is a time that comes again and again, and how long it lasts: "0 2 * * *
// for 1h".
type Window struct {
	text   string
	cron   cron
	length time.Duration
}

// ParseWindow reads the five fields of a crontab(5) and " for " and a duration
// from a minute to a week, in the notation of conf.Duration.
func ParseWindow(text string) (Window, error) {
	when, length, found := strings.Cut(text, " for ")
	if !found {
		return Window{}, fmt.Errorf(`a window without a length — hint: write for example "0 2 * * * for 1h"`)
	}
	var d conf.Duration
	if err := d.UnmarshalText([]byte(strings.TrimSpace(length))); err != nil {
		return Window{}, err
	}
	if l := time.Duration(d); l < minWindow || l > maxWindow {
		return Window{}, fmt.Errorf("a window of %v — hint: write a length from 1m to 7d", d)
	}
	c, err := parseCron(when)
	if err != nil {
		return Window{}, err
	}
	return Window{text: text, cron: c, length: time.Duration(d)}, nil
}

// String returns the text that the Window was made of.
func (w Window) String() string { return w.text }

// UnmarshalText is ParseWindow.
func (w *Window) UnmarshalText(text []byte) (err error) {
	*w, err = ParseWindow(string(text))
	return err
}

// MarshalText returns String.
func (w Window) MarshalText() ([]byte, error) { return []byte(w.text), nil }

// next returns when the window begins next, after t; zero if never.
func (w Window) next(t time.Time) time.Time {
	day := midnight(t)
	for range farthest {
		if at := w.nextOn(day, t); !at.IsZero() {
			return at
		}
		day = tomorrow(day)
	}
	return time.Time{}
}

// nextOn returns the first beginning on that day, after t, or zero.
func (w Window) nextOn(day, t time.Time) (found time.Time) {
	for _, at := range w.on(day) {
		if at.After(t) && (found.IsZero() || at.Before(found)) {
			found = at
		}
	}
	return found
}

// on returns all beginnings of a day.
func (w Window) on(day time.Time) (all []time.Time) {
	if !w.cron.onDay(day) {
		return nil
	}
	_, ends := day.ZoneBounds()
	plain := ends.IsZero() || !ends.Before(tomorrow(day)) // nobody sets clocks on this day
	for hour := range 24 {
		for minute := range 60 {
			switch {
			case w.cron.hours&(1<<hour) == 0 || w.cron.minutes&(1<<minute) == 0:
			case plain:
				all = append(all, day.Add(time.Duration(hour)*time.Hour+time.Duration(minute)*time.Minute))
			default:
				all = append(all, w.instants(day, hour, minute)...)
			}
		}
	}
	return all
}

// instants returns when the window begins for hour and minute of the day. In the
// hour that is left out in spring the clock on the wall never shows them: the
// window then begins as that hour would have, unless it comes every hour. In the
// hour that comes twice in autumn it begins the first time, and the second time
// only if it comes every hour.
func (w Window) instants(day time.Time, hour, minute int) []time.Time {
	first, second, jump := onClock(day, hour, minute)
	switch {
	case first.IsZero() && w.cron.anyHour:
		return nil
	case first.IsZero():
		return []time.Time{jump}
	case second.IsZero() || !w.cron.anyHour:
		return []time.Time{first}
	}
	return []time.Time{first, second}
}

// onClock returns when the clocks of the day's place show hour and minute: once,
// twice where they are set back, and never where they are set forward; jump is
// when that is.
func onClock(day time.Time, hour, minute int) (first, second, jump time.Time) {
	at := time.Date(day.Year(), day.Month(), day.Day(), hour, minute, 0, 0, day.Location())
	begins, ends := at.ZoneBounds()
	if at.Hour() != hour || at.Minute() != minute { // Date took one of the two zones
		if !begins.IsZero() && at.Sub(begins) < 24*time.Hour {
			return first, second, begins
		}
		return first, second, ends
	}
	_, offset := at.Zone()
	if !begins.IsZero() {
		_, before := begins.Add(-1).Zone()
		if twin := at.Add(time.Duration(offset-before) * time.Second); twin.Before(begins) {
			return twin, at, jump
		}
	}
	if !ends.IsZero() {
		_, after := ends.Zone()
		if twin := at.Add(time.Duration(offset-after) * time.Second); !twin.Before(ends) {
			return at, twin, jump
		}
	}
	return at, second, jump
}

// midnight returns when the day of t begins.
func midnight(t time.Time) time.Time {
	first, _, jump := onClock(t, 0, 0)
	if first.IsZero() {
		return jump
	}
	return first
}

func tomorrow(day time.Time) time.Time { return midnight(day.Add(36 * time.Hour)) }

// Schedule is when a link may be used; none is always.
type Schedule []Window

// horizon is how far ahead the end of an open stretch is looked for.
const horizon = 2 * 24 * time.Hour

// At says whether the schedule is open at t, and until when that stays so: the
// first change, or a time at which to ask again. Zero is never.
func (s Schedule) At(t time.Time) (open bool, until time.Time) {
	p := plan{schedule: s}
	return p.at(t)
}

type stretch struct{ begins, ends time.Time }

// plan is a Schedule that is asked for one time after the other, without going
// back. It looks a few days ahead at once.
type plan struct {
	schedule Schedule
	ahead    []stretch // those not yet over, in order, before horizon
	horizon  time.Time
}

// at is Schedule.At.
func (p *plan) at(t time.Time) (open bool, until time.Time) {
	if len(p.schedule) == 0 {
		return true, time.Time{}
	}
	if !t.Before(p.horizon) {
		p.ahead, p.horizon = joined(p.schedule.windows(t)), t.Add(horizon)
	}
	for len(p.ahead) > 0 && !p.ahead[0].ends.After(t) {
		p.ahead = p.ahead[1:]
	}
	switch {
	case len(p.ahead) == 0:
		return false, p.schedule.next(t)
	case p.ahead[0].begins.After(t):
		return false, p.ahead[0].begins
	}
	return true, p.ahead[0].ends
}

// joined makes one of those that touch.
func joined(all []stretch) []stretch {
	if len(all) == 0 {
		return nil
	}
	last := 0
	for _, w := range all[1:] {
		switch {
		case w.begins.After(all[last].ends):
			last++
			all[last] = w
		case w.ends.After(all[last].ends):
			all[last].ends = w.ends
		}
	}
	return all[:last+1]
}

// windows returns those that may be open at t, and those of the days after, in
// order.
func (s Schedule) windows(t time.Time) (all []stretch) {
	for _, w := range s {
		for day := midnight(t.Add(-w.length)); day.Before(t.Add(horizon)); day = tomorrow(day) {
			for _, at := range w.on(day) {
				all = append(all, stretch{at, at.Add(w.length)})
			}
		}
	}
	inorder.Sort(all, func(a, b stretch) int { return a.begins.Compare(b.begins) })
	return all
}

func (s Schedule) next(t time.Time) (next time.Time) {
	for _, w := range s {
		if at := w.next(t); !at.IsZero() && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	return next
}

package carrier

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// maxCron bounds the text of a cron expression, in bytes.
const maxCron = 256

// cron is five fields as of crontab(5): minute, hour, day of the month, month,
// day of the week. Each is a set of numbers, a bit a number.
type cron struct {
	minutes, hours, days, months, weekdays uint64
	// anyHour, anyDay and anyWeekday say that the field began with a star.
	anyHour, anyDay, anyWeekday bool
}

// field is what one of the five may hold.
type field struct {
	name      string
	low, high int
	names     []string // of the numbers from low on
}

func fields() [5]field {
	return [5]field{
		{name: "minute", high: 59},
		{name: "hour", high: 23},
		{name: "day of the month", low: 1, high: 31},
		{name: "month", low: 1, high: 12, names: []string{"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"}},
		{name: "day of the week", high: 7, names: []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}},
	}
}

// parseCron reads five fields. Each is a list of *, a number or a name, or a
// range of these, with a step if there is a slash: "*/15", "1-5", "mon,fri",
// "8-18/2". Seven is Sunday, as zero is.
func parseCron(text string) (cron, error) {
	if len(text) > maxCron {
		return cron{}, fmt.Errorf("%d bytes are too many for a time — hint: write at most %d", len(text), maxCron)
	}
	words := strings.Fields(text)
	if len(words) != 5 {
		return cron{}, fmt.Errorf(`%q has %d fields — hint: write minute, hour, day of the month, month and day of the week, for example "0 2 * * *"`, text, len(words))
	}
	var sets [5]uint64
	for i, f := range fields() {
		set, err := f.parse(words[i])
		if err != nil {
			return cron{}, err
		}
		sets[i] = set
	}
	c := cron{
		minutes: sets[0], hours: sets[1], days: sets[2], months: sets[3], weekdays: sets[4] | sets[4]>>7&1,
		anyHour: words[1][0] == '*', anyDay: words[2][0] == '*', anyWeekday: words[4][0] == '*',
	}
	if !c.happens() {
		return cron{}, fmt.Errorf("%q never comes — hint: the month has no such day", text)
	}
	return c, nil
}

// happens says whether there is a day of the expression's: "0 0 30 2 *" has
// none. Dates and weekdays come again after 28 years.
func (c cron) happens() bool {
	for n := range 28*365 + 7 {
		if c.onDay(time.Date(2000, time.January, 1+n, 0, 0, 0, 0, time.UTC)) {
			return true
		}
	}
	return false
}

func (f field) parse(text string) (set uint64, err error) {
	for _, part := range strings.Split(text, ",") {
		bits, err := f.span(part)
		if err != nil {
			return 0, err
		}
		set |= bits
	}
	return set, nil
}

// span reads one element of a list.
func (f field) span(part string) (set uint64, err error) {
	span, step, stepped := strings.Cut(part, "/")
	low, high, every := f.low, f.high, 1
	if stepped {
		if every, err = strconv.Atoi(step); err != nil || every < 1 || every > f.high {
			return 0, fmt.Errorf("%s: %q is no step — hint: write a number from 1 to %d after the slash", f.name, step, f.high)
		}
	}
	if span != "*" {
		from, to, ranged := strings.Cut(span, "-")
		if low, err = f.number(from); err != nil {
			return 0, err
		}
		if high = low; ranged {
			if high, err = f.number(to); err != nil {
				return 0, err
			}
		} else if stepped {
			high = f.high
		}
	}
	if high < low {
		return 0, fmt.Errorf(`%s: %q ends before it begins — hint: write it as two, for example "22-23,0-3"`, f.name, span)
	}
	for n := low; n <= high; n += every {
		set |= 1 << n
	}
	return set, nil
}

func (f field) number(text string) (int, error) {
	for i, name := range f.names {
		if strings.EqualFold(text, name) {
			return f.low + i, nil
		}
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < f.low || n > f.high || text[0] == '+' || text[0] == '-' {
		return 0, fmt.Errorf("%s: %q is none — hint: write a number from %d to %d", f.name, text, f.low, f.high)
	}
	return n, nil
}

// onDay says whether the expression has times on the day. As in crontab(5), a
// day fits when either of the two day fields does, unless one of them is a star:
// then the other decides.
func (c cron) onDay(day time.Time) bool {
	if c.months&(1<<day.Month()) == 0 {
		return false
	}
	inMonth, inWeek := c.days&(1<<day.Day()) != 0, c.weekdays&(1<<day.Weekday()) != 0
	if c.anyDay || c.anyWeekday {
		return inMonth && inWeek
	}
	return inMonth || inWeek
}

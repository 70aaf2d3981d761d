package api

import (
	"fmt"
	"net/url"
	"strconv"

	"github.com/tidegate/tidegate/buffer"
	"github.com/tidegate/tidegate/reading"
)

// historyQuery is what a request for history asks for.
type historyQuery struct {
	series   reading.Series
	from, to int64 // nanoseconds since the Unix epoch; 0 for no bound
	points   int
	after    buffer.Token
}

const (
	usualPoints = 600
	leastPoints = 10
	mostPoints  = 2000
	// mostMillis bounds times before and after 1970: what readings may have.
	mostMillis = (1 << 62) / 1_000_000
)

// parseHistory reads the parameters of a request for history. Errors are of
// [Invalid].
func parseHistory(form url.Values) (q historyQuery, err error) {
	for name, values := range form {
		switch name {
		case "device", "metric", "unit", "from", "to", "points", "after":
		default:
			return q, Invalid(fmt.Errorf("there is no parameter %q — hint: device, metric, unit, from, to, points, after", name))
		}
		if len(values) > 1 {
			return q, Invalid(fmt.Errorf("parameter %q is there %d times — hint: one series a request", name, len(values)))
		}
	}
	for _, name := range []string{"device", "metric"} {
		if !form.Has(name) {
			return q, Invalid(fmt.Errorf("parameter %q is missing — hint: name the series as GET /live does", name))
		}
	}
	q.series = reading.Series{Device: form.Get("device"), Metric: form.Get("metric"), Unit: form.Get("unit")}
	q.after = buffer.Token(form.Get("after"))
	if q.from, err = millis(form, "from"); err != nil {
		return q, err
	}
	if q.to, err = millis(form, "to"); err != nil {
		return q, err
	}
	if form.Get("from") != "" && form.Get("to") != "" && q.from >= q.to {
		return q, Invalid(fmt.Errorf("from %s is not before to %s — hint: both are milliseconds since 1970", form.Get("from"), form.Get("to")))
	}
	q.points = usualPoints
	if text := form.Get("points"); text != "" {
		q.points, err = strconv.Atoi(text)
		if err != nil || q.points < leastPoints || q.points > mostPoints {
			return q, Invalid(fmt.Errorf("points %q — hint: a number from %d to %d", text, leastPoints, mostPoints))
		}
	}
	return q, nil
}

// millis reads a time in Unix milliseconds and returns it in nanoseconds, which
// are not 0: that stands for no bound.
func millis(form url.Values, name string) (int64, error) {
	text := form.Get(name)
	if text == "" {
		return 0, nil
	}
	ms, err := strconv.ParseInt(text, 10, 64)
	if err != nil || ms > mostMillis || ms < -mostMillis {
		return 0, Invalid(fmt.Errorf("%s %q is no time — hint: milliseconds since 1970, as in 1788220800000", name, text))
	}
	if ms == 0 {
		return 1, nil
	}
	return ms * millisecond, nil
}

// toMillis rounds a time down to milliseconds.
func toMillis(ns int64) int64 {
	ms := ns / millisecond
	if ns%millisecond < 0 {
		ms--
	}
	return ms
}

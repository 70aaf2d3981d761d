package conf

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// Duration is a span of time of at least 0. In text it is a sequence of
// numbers with units, "250ms", "1h30m", "7d"; the units are ns, us, ms, s, m,
// h and d, and a day has 24 hours.
type Duration time.Duration

const day = 24 * time.Hour

// String returns the shortest text that parses to d.
func (d Duration) String() string {
	span := time.Duration(d)
	if span != 0 && span%day == 0 {
		return strconv.FormatInt(int64(span/day), 10) + "d"
	}
	text := span.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// MarshalText returns String.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText parses text. Its errors are of type *ValueError.
func (d *Duration) UnmarshalText(text []byte) error {
	s := string(text)
	if isNumber(s) {
		return valueError(`write "`+s+`s" or "`+s+`ms"`, "%s has no unit", quote(s))
	}
	days, rest, err := cutDays(s)
	if err != nil {
		return err
	}
	span, err := time.ParseDuration(rest)
	if err != nil {
		return valueError(`write for example "30s", "1h30m" or "7d"`, "%s is not a duration", quote(s))
	}
	if span < 0 {
		return negative(s)
	}
	if span > math.MaxInt64-days {
		return tooLong(s)
	}
	*d = Duration(days + span)
	return nil
}

// cutDays takes the leading "7d" off s. What it leaves is never empty.
func cutDays(s string) (days time.Duration, rest string, err error) {
	number, rest, found := strings.Cut(s, "d")
	if !found || !isNumber(number) {
		return 0, s, nil
	}
	n, err := strconv.ParseFloat(number, 64)
	if err != nil {
		return 0, s, nil
	}
	if n < 0 {
		return 0, "", negative(s)
	}
	if n*float64(day) >= math.MaxInt64 {
		return 0, "", tooLong(s)
	}
	if rest == "" {
		rest = "0s"
	}
	return time.Duration(n * float64(day)), rest, nil
}

func negative(s string) error {
	return valueError(`write a duration of "0s" or more`, "%s is negative", quote(s))
}

func tooLong(s string) error {
	return valueError(`write at most "100000d"`, "%s is longer than a duration can be", quote(s))
}

// isNumber reports whether s is a plain decimal number of a sensible length: a
// quantity whose unit was forgotten.
func isNumber(s string) bool {
	digits := false
	if len(s) > 24 {
		return false
	}
	for i, c := range s {
		switch {
		case c >= '0' && c <= '9':
			digits = true
		case c == '.', (c == '-' || c == '+') && i == 0:
		default:
			return false
		}
	}
	return digits
}

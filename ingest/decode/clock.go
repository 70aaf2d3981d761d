package decode

import (
	"fmt"
	"math/bits"
	"time"
)

// TimeUnit is the unit of numeric times. The zero value is GuessUnit.
type TimeUnit uint8

// The units. GuessUnit takes the one that gives a plausible time; the ranges
// do not overlap, because their ends are a factor of 4.1 apart and the units a
// factor of 1000:
//
//	s   1,000,000,000 up to 4,102,444,800
//	ms  the same with 3 more digits
//	us  the same with 6 more digits
//	ns  the same with 9 more digits
const (
	GuessUnit TimeUnit = iota
	Seconds
	Milliseconds
	Microseconds
	Nanoseconds
)

// ParseTimeUnit returns the unit that configuration files call name: "s",
// "ms", "us", "ns", or "" for GuessUnit.
func ParseTimeUnit(name string) (TimeUnit, bool) {
	switch name {
	case "":
		return GuessUnit, true
	case "s":
		return Seconds, true
	case "ms":
		return Milliseconds, true
	case "us":
		return Microseconds, true
	case "ns":
		return Nanoseconds, true
	}
	return GuessUnit, false
}

// Time returns the time that is n units after the Unix epoch, in nanoseconds, or
// false when that is not plausible.
func (u TimeUnit) Time(n uint64) (ns int64, ok bool) {
	if ns, ok = (&number{mantissa: n}).time(u); !ok {
		return 0, false
	}
	return ns, true
}

// UnmarshalText implements encoding.TextUnmarshaler for configuration files.
func (u *TimeUnit) UnmarshalText(name []byte) error {
	unit, ok := ParseTimeUnit(string(name))
	if !ok {
		return fmt.Errorf("time unit %q is not known — hint: \"s\", \"ms\", \"us\" or \"ns\"", name)
	}
	*u = unit
	return nil
}

// MarshalText returns the name, "" for GuessUnit.
func (u TimeUnit) MarshalText() ([]byte, error) {
	return []byte([...]string{"", "s", "ms", "us", "ns"}[u]), nil
}

// Times before 2001-09-09T01:46:40Z (one billion seconds) come from clocks that
// were never set, times from 2100 on from fields that are no times.
const (
	earliest = 1_000_000_000 * int64(time.Second)
	latest   = 4_102_444_800 * int64(time.Second)
)

func plausible(ns int64) bool { return ns >= earliest && ns < latest }

// time returns the number in nanoseconds since the epoch, exact to every digit
// that it says, or false when that is no plausible time.
func (n *number) time(unit TimeUnit) (ns int64, ok bool) {
	if n.negative {
		return 0, false
	}
	if unit != GuessUnit {
		return n.nanoseconds(unit)
	}
	for unit = Seconds; unit <= Nanoseconds; unit++ {
		if ns, ok = n.nanoseconds(unit); ok {
			return ns, true
		}
	}
	return 0, false
}

// nanoseconds shifts the decimal point: nine digits for seconds, none for
// nanoseconds. What is finer than a nanosecond is cut off.
func (n *number) nanoseconds(unit TimeUnit) (ns int64, ok bool) {
	shift := n.exponent + 3*int(Nanoseconds-unit)
	if shift <= -len(wholePower) || shift >= len(wholePower) {
		return 0, false
	}
	if shift < 0 {
		ns = int64(n.mantissa / wholePower[-shift])
		return ns, plausible(ns)
	}
	high, low := bits.Mul64(n.mantissa, wholePower[shift])
	return int64(low), high == 0 && plausible(int64(low))
}

// textTime reads a time written as RFC 3339 or as a number in a string.
func textTime(text []byte, unit TimeUnit) (ns int64, ok bool) {
	if n, rest, ok := parseNumber(text); ok && len(rest) == 0 {
		return n.time(unit)
	}
	var t time.Time
	if t.UnmarshalText(text) != nil {
		return 0, false
	}
	if s := t.Unix(); s < earliest/int64(time.Second) || s >= latest/int64(time.Second) {
		return 0, false // beyond 1678 to 2262, UnixNano is undefined
	}
	return t.UnixNano(), true
}

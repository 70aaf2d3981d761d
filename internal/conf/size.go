package conf

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Size is a number of bytes, at least 0. In text it is a number with a unit,
// "512MiB", "4GB", "1.5 GiB": kB, MB, GB and TB are powers of 1000, KiB, MiB,
// GiB and TiB are powers of 1024, B is one byte; "k" stands for "kB" and so
// on, and letter case does not matter.
type Size int64

// The binary units.
const (
	KiB Size = 1 << (10 * (iota + 1))
	MiB
	GiB
	TiB
)

type unit struct {
	name  string
	bytes Size
}

// units lists the units from large to small. The last one divides every size.
func units() []unit {
	return []unit{
		{"TiB", TiB}, {"TB", 1e12}, {"GiB", GiB}, {"GB", 1e9}, {"MiB", MiB}, {"MB", 1e6},
		{"KiB", KiB}, {"kB", 1e3}, {"B", 1},
	}
}

// String returns the exact size in the largest unit of which it is a whole
// number.
func (s Size) String() string {
	if s == 0 {
		return "0B"
	}
	all := units()
	u := all[slices.IndexFunc(all, func(u unit) bool { return s%u.bytes == 0 })]
	return strconv.FormatInt(int64(s/u.bytes), 10) + u.name
}

// Approx returns the size for people, rounded to a tenth of its binary unit:
// "3.2GiB".
func (s Size) Approx() string {
	for _, u := range []unit{{"TiB", TiB}, {"GiB", GiB}, {"MiB", MiB}, {"KiB", KiB}} {
		if s >= u.bytes {
			return fmt.Sprintf("%.1f%s", float64(s)/float64(u.bytes), u.name)
		}
	}
	return strconv.FormatInt(int64(s), 10) + "B"
}

// MarshalText returns String.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText parses text. Its errors are of type *ValueError.
func (s *Size) UnmarshalText(text []byte) error {
	whole := string(text)
	if isNumber(whole) {
		return valueError(`write "`+whole+`MiB" or "`+whole+`B"`, "%s has no unit", quote(whole))
	}
	split := strings.LastIndexAny(whole, "0123456789.") + 1
	number, name := whole[:split], strings.TrimSpace(whole[split:])
	factor, known := unitOf(name)
	if !known || !isNumber(number) {
		return valueError(`write for example "256KiB", "64MiB" or "4GB"`, "%s is not a size", quote(whole))
	}
	if strings.HasPrefix(number, "-") {
		return valueError(`write a size of "0B" or more`, "%s is negative", quote(whole))
	}
	n, err := product(number, factor)
	if err != nil {
		return valueError(`write for example "256KiB", "64MiB" or "4GB"`, "%s is not a size", quote(whole))
	}
	if n < 0 {
		return valueError(`write at most "8388607TiB"`, "%s is larger than a size can be", quote(whole))
	}
	*s = n
	return nil
}

// unitOf returns the unit that a text names in full or without its B.
func unitOf(name string) (Size, bool) {
	for _, u := range units() {
		if name != "" && (strings.EqualFold(name, u.name) || strings.EqualFold(name+"B", u.name)) {
			return u.bytes, true
		}
	}
	return 0, false
}

// product returns number × factor, exactly for whole numbers, and a negative
// size when it does not fit.
func product(number string, factor Size) (Size, error) {
	if n, err := strconv.ParseInt(number, 10, 64); err == nil {
		if n > int64(math.MaxInt64/factor) {
			return -1, nil
		}
		return Size(n) * factor, nil
	}
	f, err := strconv.ParseFloat(number, 64)
	if err != nil {
		return 0, err
	}
	if f *= float64(factor); f >= math.MaxInt64 {
		return -1, nil
	}
	return Size(f), nil
}

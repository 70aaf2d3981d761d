package decode

import (
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/tidegate/tidegate/reading"
)

func TestNumbersFollowTheRuleOfReadingValue(t *testing.T) {
	for text, want := range map[string]reading.Value{
		"0":                      reading.Float(0),
		"-67":                    reading.Float(-67),
		"21.37":                  reading.Float(21.37),
		"1e3":                    reading.Float(1000),
		"1E+3":                   reading.Float(1000),
		"25e-1":                  reading.Float(2.5),
		"9007199254740992":       reading.Float(1 << 53),
		"9007199254740993":       reading.Int(1<<53 + 1),
		"-9007199254740993":      reading.Int(-(1<<53 + 1)),
		"9223372036854775807":    reading.Int(math.MaxInt64),
		"-9223372036854775808":   reading.Int(math.MinInt64),
		"9223372036854775808":    reading.Float(1 << 63),
		"-9223372036854775809":   reading.Float(-(1 << 63)),
		"18446744073709551616":   reading.Float(1 << 64),
		"9007199254740993.0":     reading.Float(9007199254740992),
		"0009007199254740993":    reading.Int(1<<53 + 1),
		"5e-324":                 reading.Float(math.SmallestNonzeroFloat64),
		"1e-400":                 reading.Float(0),
		"1.7976931348623157e308": reading.Float(math.MaxFloat64),
	} {
		n, rest, ok := parseNumber([]byte(text + ","))
		if !ok || string(rest) != "," || string(n.text) != text {
			t.Errorf("%s: rest %q, text %q, %v", text, rest, n.text, ok)
			continue
		}
		if got, ok := n.value(); !ok || got != want {
			t.Errorf("%s: got %v (kind %d), want %v (kind %d)", text, got, got.Kind(), want, want.Kind())
		}
	}
	for _, text := range []string{"", "-", "+", ".5", "5.", "5.e1", "1e", "1e+", "--1", "e1", "x"} {
		if n, _, ok := parseNumber([]byte(text)); ok {
			t.Errorf("%q: taken as %s", text, n.text)
		}
	}
}

// TestNumbersEqualStrconv tries the shapes that the fast path takes and those
// just beyond it.
func TestNumbersEqualStrconv(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 200_000 {
		var text string
		switch random.IntN(4) {
		case 0:
			text = strconv.FormatFloat(random.NormFloat64()*1e3, 'f', random.IntN(6), 64)
		case 1:
			text = strconv.FormatFloat(math.Float64frombits(random.Uint64()), 'g', -1, 64)
		case 2:
			text = strconv.FormatUint(random.Uint64()>>random.IntN(64), 10) + "e" + strconv.Itoa(random.IntN(60)-30)
		case 3:
			text = strconv.FormatUint(random.Uint64(), 10) + "." + strconv.FormatUint(random.Uint64(), 10)
		}
		if strings.ContainsAny(text, "NI") {
			continue
		}
		checkNumber(t, text)
	}
}

// checkNumber compares one number with strconv.
func checkNumber(t *testing.T, text string) {
	t.Helper()
	want, err := strconv.ParseFloat(text, 64)
	n, rest, ok := parseNumber([]byte(text))
	if !ok || len(rest) > 0 {
		t.Fatalf("%s: rest %q, %v", text, rest, ok)
	}
	v, ok := n.value()
	if ok != (err == nil) {
		t.Fatalf("%s: %v, strconv says %v", text, ok, err)
	}
	if !ok {
		return
	}
	if v.Kind() == reading.KindInt {
		if exact, err := strconv.ParseInt(text, 10, 64); err != nil || exact != v.Int() {
			t.Fatalf("%s: got %d", text, v.Int())
		}
		return
	}
	if got := v.Float(); math.Float64bits(got) != math.Float64bits(want) {
		t.Fatalf("%s: got %x, want %x", text, got, want)
	}
}

func TestTimesAreExact(t *testing.T) {
	const base = 1_700_000_000_000_000_000
	for _, c := range []struct {
		text string
		unit TimeUnit
		want int64 // 0: not a time
	}{
		{"1700000000", GuessUnit, base},
		{"1700000000.5", GuessUnit, base + 500_000_000},
		{"1700000000.123456789", GuessUnit, base + 123_456_789},
		{"1700000000.1234567899", GuessUnit, base + 123_456_789},
		{"17e8", GuessUnit, base},
		{"1700000000123", GuessUnit, base + 123_000_000},
		{"1700000000123.456", GuessUnit, base + 123_456_000},
		{"1700000000123456", GuessUnit, base + 123_456_000},
		{"1700000000123456789", GuessUnit, base + 123_456_789},
		{"999999999", GuessUnit, 0},
		{"1000000000", GuessUnit, earliest},
		{"4102444799.999999999", GuessUnit, latest - 1},
		{"4102444800", GuessUnit, 0},
		{"999999999999", GuessUnit, 0},
		{"1000000000000", GuessUnit, earliest},
		{"4102444800000000000", GuessUnit, 0},
		{"-1700000000", GuessUnit, 0},
		{"21.5", GuessUnit, 0},
		{"0", GuessUnit, 0},
		{"1e400", GuessUnit, 0},
		{"1e-400", GuessUnit, 0},
		{"17000000000000000000000", GuessUnit, 0},
		{"1700000000", Seconds, base},
		{"1700000000123", Seconds, 0},
		{"1700000000123", Milliseconds, base + 123_000_000},
		{"1700000000", Milliseconds, 0},
		{"1700000000123456", Microseconds, base + 123_456_000},
		{"1700000000123456789", Nanoseconds, base + 123_456_789},
		{"2023-11-14T22:13:20Z", GuessUnit, base},
		{"2023-11-14T22:13:20.123456789Z", Seconds, base + 123_456_789},
		{"2023-11-15T00:13:20+02:00", GuessUnit, base},
		{"1970-01-01T00:00:00Z", GuessUnit, 0},
		{"2100-01-01T00:00:00Z", GuessUnit, 0},
		{"0001-01-01T00:00:00Z", GuessUnit, 0},
		{"9999-12-31T23:59:59Z", GuessUnit, 0},
		{"22:13:20", GuessUnit, 0},
		{"1700000000s", GuessUnit, 0},
		{"", GuessUnit, 0},
	} {
		got, ok := textTime([]byte(c.text), c.unit)
		if !ok {
			got = 0
		}
		if got != c.want {
			t.Errorf("%s in unit %d: got %d, want %d", c.text, c.unit, got, c.want)
		}
	}
}

func TestTimeUnitsHaveTheNamesOfTheConfiguration(t *testing.T) {
	for name, want := range map[string]TimeUnit{"": GuessUnit, "s": Seconds, "ms": Milliseconds, "us": Microseconds, "ns": Nanoseconds} {
		if got, ok := ParseTimeUnit(name); !ok || got != want {
			t.Errorf("%q: %d, %v", name, got, ok)
		}
	}
	if _, ok := ParseTimeUnit("min"); ok {
		t.Error("min is taken")
	}
}

package decode

import (
	"bytes"
	"fmt"
	"runtime"
	"testing"
)

// hostileDecoders are decoders in the configurations in which one byte of a
// payload can cost most.
func hostileDecoders(t *testing.T) map[string]Decoder {
	t.Helper()
	csvs, err := NewCSV(CSVConfig{Header: "first", TextConfig: TextConfig{Units: true, DecimalComma: true}, Delimiter: ";", HeaderUnits: true})
	must(t, csvs, err)
	rows, err := NewCSV(CSVConfig{TextConfig: TextConfig{Units: true}})
	must(t, rows, err)
	pairs, err := NewKeyValue(KeyValueConfig{TextConfig: TextConfig{Units: true}, SkipWords: true})
	must(t, pairs, err)
	regex, err := NewRegex(RegexConfig{Pattern: `(?P<metric>\w)(?P<value>\w?)(?P<unit>\w?)`, Repeat: true})
	must(t, regex, err)
	nmea, err := NewNMEA(NMEAConfig{NoChecksum: true, Prefix: "sentence"})
	must(t, nmea, err)
	lines, err := NewLineProtocol(LineProtocolConfig{})
	must(t, lines, err)
	number, err := NewNumber(NumberConfig{Units: true})
	must(t, number, err)
	template, err := NewJSONTemplate(JSONTemplateConfig{Fields: []JSONField{{Path: "{metric}.{metric}"}, {Path: "*"}, {Path: "$"}, {Path: "a.b.c", Type: "text"}}}, nil)
	must(t, template, err)
	return map[string]Decoder{
		"csv with header": csvs, "csv": rows, "keyvalue": pairs, "regex": regex, "nmea": nmea,
		"lineprotocol": lines, "number": number, "json template": template,
	}
}

// TestHostileTextsCostMemoryInProportion gives every decoder payloads that make
// the most of one byte: what it allocates is bounded by a multiple of the
// payload.
func TestHostileTextsCostMemoryInProportion(t *testing.T) {
	const size = 64 << 10
	fill := func(head, unit string) []byte {
		return append([]byte(head), bytes.Repeat([]byte(unit), size/len(unit))...)
	}
	payloads := map[string][]byte{
		"cells": fill("", "1;"), "commas": fill("", ","), "rows": fill("", "1\n"), "names": fill("", "a;"), "quotes": fill("", `"`),
		"escaped quotes": fill(`"`, `""`), "quoted cells": fill("", `"a";`), "blank lines": fill("", "\n"), "CR": fill("", "\r"),
		"pairs": fill("", "a=1 "), "equal signs": fill("", "="), "words": fill("", "a "), "keys without end": fill("", "a"),
		"backslashes": fill(`a="`, `\\`), "letters": fill("", "ab"), "digits": fill("", "1"), "points": fill("", "."), "minus": fill("", "-"),
		"units": fill("", "1 C "), "commas and digits": fill("", "1,"), "blanks": fill("a", " "), "blanks and values": fill("", "a=   "),
		"sentences": fill("", "$GPHDT,1,T\n"), "transducers": fill("", "$IIXDR,C,1,C,A,C,1,C,B\n"), "dollars": fill("", "$\n"), "tag blocks": fill("", `\c:1\`),
		"fields": fill("m ", "a=1,"), "tags": fill("m", ",a=1"), "lines": fill("", "m a=1\n"), "escapes": fill("m ", `\,`), "texts": fill(`m a="`, `\"`),
		"comments": fill("", "#\n"), "braces": fill("", `{"a":`), "members": fill(`{"a":{`, `"b":1,`), "elements": fill("[", "1,"),
		"escaped names": append(fill(`{"a":{"x":0`, `,"\u0061":1`), "}}"...), "objects": append(fill(`{"a":[0`, `,{}`), "]}"...),
	}
	for name, d := range hostileDecoders(t) {
		if _, isRegex := d.(*Regex); isRegex && !pooled {
			continue // package regexp has a pool
		}
		for what, payload := range payloads {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			rs, err := d.Decode(nil, Frame{Device: "dev", Payload: payload})
			runtime.ReadMemStats(&after)
			if err == nil && len(rs) > defaultMaxReadings {
				t.Errorf("%s, %s: %d readings", name, what, len(rs))
			}
			if got := after.TotalAlloc - before.TotalAlloc; got > 64*size {
				t.Errorf("%s, %s: %d bytes allocated for %d", name, what, got, len(payload))
			}
		}
	}
}

// dearest is a pattern whose program is nearly as large as it may be, and which
// has to keep many of its states in mind for every byte.
const dearest = `(?P<a>(?:a?){240}(?:[ab]{0,250}c)?$)`

func TestPatternsBoundTheirPayloads(t *testing.T) {
	d, err := NewRegex(RegexConfig{Pattern: dearest})
	must(t, d, err)
	if _, err := d.Decode(nil, Frame{Payload: bytes.Repeat([]byte("a"), d.longest+1)}); err == nil {
		t.Error("a payload beyond the bound is taken")
	}
}

// dearestRepeated looks from each of its matches on to the end of what it may
// look at, in vain.
const dearestRepeated = `(?P<v>\d)(?:[^;]*;)?`

// Each match of a pattern that is repeated may look far beyond its end, so long
// texts cost the square of their length: what would take too long is refused, and
// what has lines, which the pattern does not leave, is not.
func TestRepeatedPatternsBoundTheirPayloads(t *testing.T) {
	digits := func(n int) []byte { return bytes.Repeat([]byte("1 "), n/2) }
	for _, c := range []struct {
		pattern string
		payload []byte
		taken   bool
	}{
		{dearestRepeated, digits(8 << 10), true},
		{dearestRepeated, digits(64 << 10), false},
		{dearestRepeated, bytes.Repeat([]byte("1;\n"), 4096), true},
		{dearestRepeated, bytes.Repeat([]byte("1;                         \n"), 4096), false}, // [^;] takes line ends
		{`(?s)(?P<v>\d)(?:.*z)?`, bytes.Repeat([]byte("1;                         \n"), 4096), false},
		{`(?P<v>\d)(?:.*z)?`, bytes.Repeat([]byte("1;                         \n"), 4096), true},
		{`(?P<v>\d)(?:[^;\n]*;)?`, bytes.Repeat([]byte("1;                         \n"), 4096), true},
		{`(?m)^\S+ (?P<v>\d)$`, bytes.Repeat([]byte("1-0:1.8.0 1\n"), 4096), true},
	} {
		d, err := NewRegex(RegexConfig{Pattern: c.pattern, Repeat: true})
		must(t, d, err)
		if _, err := d.Decode(nil, Frame{Payload: c.payload}); (err == nil) != c.taken {
			t.Errorf("%s, %d bytes: %v", c.pattern, len(c.payload), err)
		}
	}
}

// BenchmarkDearestRepeatedPattern is the longest that any payload can take when
// every match counts.
func BenchmarkDearestRepeatedPattern(b *testing.B) {
	d, err := NewRegex(RegexConfig{Pattern: dearestRepeated, Repeat: true})
	most := int(must(b, d, err).repeats)/defaultMaxReadings - 1
	f := Frame{Payload: bytes.Repeat([]byte("1 "), most/2)}
	b.SetBytes(int64(len(f.Payload)))
	for b.Loop() {
		if _, err := d.Decode(nil, f); err != nil && most < 2*defaultMaxReadings {
			b.Fatal(err)
		}
	}
}

// BenchmarkDearestPattern is the longest that any payload can take.
func BenchmarkDearestPattern(b *testing.B) {
	d, err := NewRegex(RegexConfig{Pattern: dearest})
	f := Frame{Payload: bytes.Repeat([]byte("a"), must(b, d, err).longest)}
	b.SetBytes(int64(len(f.Payload)))
	for b.Loop() {
		d.Decode(nil, f)
	}
}

// TestKnownTextsCostNoAllocation checks what a fleet sends all day.
func TestKnownTextsCostNoAllocation(t *testing.T) {
	for name, c := range textBenchmarks(t) {
		rs, err := c.decoder.Decode(nil, c.frame)
		if err != nil || len(rs) != c.values {
			t.Fatalf("%s: %v, %v", name, rs, err)
		}
		n := testing.AllocsPerRun(100, func() {
			if _, err := c.decoder.Decode(rs[:0], c.frame); err != nil {
				t.Error(err)
			}
		})
		if n > float64(c.allocs) && pooled {
			t.Errorf("%s: %v allocations, want %d", name, n, c.allocs)
		}
	}
}

func TestMoreColumnsThanAreTakenAreRefused(t *testing.T) {
	d, err := NewCSV(CSVConfig{Header: "first"})
	must(t, d, err)
	var header bytes.Buffer
	for i := range maxColumns + 1 {
		fmt.Fprintf(&header, "c%d,", i)
	}
	if _, err := d.Decode(nil, Frame{Payload: append(header.Bytes(), "x\n1\n"...)}); err == nil {
		t.Error("513 columns are taken")
	}
	plain, err := NewCSV(CSVConfig{})
	must(t, plain, err)
	if _, err := plain.Decode(nil, Frame{Payload: bytes.Repeat([]byte("1,"), maxColumns+1)}); err == nil {
		t.Error("513 cells are taken")
	}
	most := bytes.Repeat([]byte("1,"), maxColumns-1)
	if rs, err := plain.Decode(nil, Frame{Payload: append(most, '1')}); err != nil || len(rs) != maxColumns {
		t.Errorf("%d of 512 cells: %v", len(rs), err)
	}
	if _, err := plain.Decode(nil, Frame{Payload: append(bytes.Repeat([]byte("1,"), maxColumns), '1')}); err == nil {
		t.Error("513 cells are taken")
	}
}

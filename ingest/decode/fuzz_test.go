package decode

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"unicode/utf8"

	"github.com/tidegate/tidegate/reading"
)

// FuzzJSON feeds anything: no panic, no half-taken payload, no more than the
// bounds, and memory in proportion to the payload.
func FuzzJSON(f *testing.F) {
	cases, err := filepath.Glob("testdata/*/in.json")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range cases {
		payload, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(payload, "")
		f.Add(payload, "temp")
	}
	d := NewJSON(JSONConfig{MaxReadings: 64})
	f.Fuzz(func(t *testing.T, payload []byte, metric string) {
		if !utf8.ValidString(metric) {
			return // doors take no such topics
		}
		before := bytes.Clone(payload)
		frame := Frame{Device: "dev", Metric: metric, Payload: payload}
		rs, err := d.Decode(nil, frame)
		if !bytes.Equal(before, payload) {
			t.Fatal("the payload was changed")
		}
		if err != nil {
			if !errors.Is(err, ErrMalformed) || rs != nil {
				t.Fatalf("%v, %v", rs, err)
			}
			return
		}
		if len(rs) == 0 || len(rs) > 64 {
			t.Fatalf("%d readings", len(rs))
		}
		for _, r := range rs {
			if r.Device != "dev" || len(r.Metric) > max(maxName, len(metric)) || r.Time != 0 && !plausible(r.Time) {
				t.Fatalf("%+v", r)
			}
			if !utf8.ValidString(r.Metric) || !utf8.ValidString(r.Value.Text()) {
				t.Fatalf("not UTF-8: %+v", r)
			}
		}
	})
}

// FuzzJSONAgreesWithEncodingJSON checks that a flat object that encoding/json
// takes is taken, with the same names and the same values.
func FuzzJSONAgreesWithEncodingJSON(f *testing.F) {
	f.Add([]byte(fourMetrics))
	f.Add([]byte(`{"a":"\u00e9\ud800","b":true,"c":null,"d":-0.0e-5,"":1}`))
	f.Add([]byte(` { "a" : 1e-400 , "b" : 123456789012345678 } `))
	d := NewJSON(JSONConfig{TimeKeys: []string{"\x00"}})
	f.Fuzz(func(t *testing.T, payload []byte) {
		want, ok := flatObject(payload)
		if !ok {
			return
		}
		rs, err := d.Decode(nil, Frame{Payload: payload})
		if err != nil {
			t.Fatalf("%s: %v", payload, err)
		}
		got := make(map[string]reading.Value)
		for _, r := range rs {
			got[r.Metric] = r.Value
		}
		for name, v := range want {
			switch v := v.(type) {
			case json.Number:
				checkNumber(t, v.String())
				n, _, _ := parseNumber([]byte(v))
				if value, _ := n.value(); got[name] != value {
					t.Fatalf("%s: %q is %v, want %s", payload, name, got[name], v)
				}
			case string:
				if got[name] != reading.String(v) {
					t.Fatalf("%s: %q is %q, want %q", payload, name, got[name], v)
				}
			case bool:
				if got[name] != reading.Bool(v) {
					t.Fatalf("%s: %q is %v, want %v", payload, name, got[name], v)
				}
			}
		}
		for name := range got {
			if _, ok := want[name]; !ok {
				t.Fatalf("%s: names %v, want %v", payload, got, want)
			}
		}
	})
}

// flatObject returns what encoding/json reads, if it is an object of scalars,
// not all of them null, within the bounds of JSON.
func flatObject(payload []byte) (map[string]any, bool) {
	var object map[string]any
	d := json.NewDecoder(bytes.NewReader(payload))
	d.UseNumber()
	if !utf8.Valid(payload) || !json.Valid(payload) || d.Decode(&object) != nil || len(payload) > 4096 {
		return nil, false
	}
	values := 0
	for name, v := range object {
		if v != nil {
			values++
		}
		switch v := v.(type) {
		case map[string]any, []any:
			return nil, false
		case json.Number:
			if _, err := v.Float64(); err != nil {
				return nil, false
			}
		}
		if len(name) > maxName {
			return nil, false
		}
	}
	return object, values > 0
}

func FuzzNumber(f *testing.F) {
	for _, text := range []string{"-0", "21.37", "+007.50e-3", "9007199254740993", "1e309", "123456789012345678901234567890"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		n, rest, ok := parseNumber([]byte(text))
		if !ok {
			return
		}
		if string(n.text)+string(rest) != text {
			t.Fatalf("%q: %q and %q", text, n.text, rest)
		}
		checkNumber(t, string(n.text))
		if ns, ok := n.time(GuessUnit); ok && !plausible(ns) {
			t.Fatalf("%q: time %d", text, ns)
		}
	})
}

// TestHostilePayloadsCostMemoryInProportion measures what decoding allocates
// for payloads that make the most of one byte.
func TestHostilePayloadsCostMemoryInProportion(t *testing.T) {
	const size = 64 << 10
	fill := func(head, unit string) []byte {
		return append([]byte(head), bytes.Repeat([]byte(unit), size/len(unit))...)
	}
	d := NewJSON(JSONConfig{})
	for name, payload := range map[string][]byte{
		"numbers":  fill("[", "1,"),
		"brackets": fill("", "["),
		"braces":   fill("", `{"":`),
		"nulls":    fill("[", "null,"),
		"escapes":  fill(`"`, `\n`),
		"names":    fill("{", `"\u0041":null,`),
		"digits":   fill("1", "0"),
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if _, err := d.Decode(nil, Frame{Payload: payload}); err == nil {
			t.Errorf("%s: taken", name)
		}
		runtime.ReadMemStats(&after)
		if got := after.TotalAlloc - before.TotalAlloc; got > 64*size {
			t.Errorf("%s: %d bytes allocated for %d", name, got, len(payload))
		}
	}
}

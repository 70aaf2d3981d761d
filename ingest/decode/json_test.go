package decode

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"

	"github.com/tidegate/tidegate/reading"
)

func TestPlainValuesTakeTheFramesMetric(t *testing.T) {
	for _, c := range []struct {
		metric, payload string
		name            string
		value           reading.Value
	}{
		{"", "21.5", "value", reading.Float(21.5)},
		{"temp", "21", "temp", reading.Float(21)},
		{"temp", "+21.5", "temp", reading.Float(21.5)},
		{"temp", " 21.5\r\n", "temp", reading.Float(21.5)},
		{"temp", "1700000000", "temp", reading.Float(1.7e9)},
		{"door", `"open"`, "door", reading.String("open")},
		{"door", `""`, "door", reading.String("")},
		{"on", "true", "on", reading.Bool(true)},
		{"axis", "[1]", "axis.0", reading.Float(1)},
		{"temp", `{"v":21.5}`, "temp", reading.Float(21.5)},
		{"temp", `{"Value":21.5,"ts":1700000000}`, "temp", reading.Float(21.5)},
		{"temp", `[{"val":21.5,"unit":null}]`, "temp", reading.Float(21.5)},
		{"temp", `{"samples":[{"v":21.5}]}`, "temp", reading.Float(21.5)},
		{"", `{"v":21.5}`, "v", reading.Float(21.5)},
		{"temp", `{"volt":21.5}`, "volt", reading.Float(21.5)},
		{"temp", `{"v":{"v":21.5}}`, "v.v", reading.Float(21.5)},
		{"temp", `{"a":{"v":21.5}}`, "a.v", reading.Float(21.5)},
	} {
		rs, err := NewJSON(JSONConfig{}).Decode(nil, Frame{Metric: c.metric, Payload: []byte(c.payload)})
		if err != nil || len(rs) != 1 {
			t.Errorf("%s: %v, %v", c.payload, rs, err)
			continue
		}
		if rs[0].Metric != c.name || rs[0].Value != c.value {
			t.Errorf("%q %s: got %s = %v, want %s = %v", c.metric, c.payload, rs[0].Metric, rs[0].Value, c.name, c.value)
		}
	}
}

func TestTwoValuesKeepTheirOwnNames(t *testing.T) {
	rs, err := NewJSON(JSONConfig{}).Decode(nil, Frame{Metric: "temp", Payload: []byte(`{"v":21.5,"unit":"Cel"}`)})
	if err != nil || len(rs) != 2 || rs[0].Metric != "v" || rs[1].Metric != "unit" {
		t.Fatal(rs, err)
	}
}

func TestRefusedPayloadLeavesDstAsItWas(t *testing.T) {
	d := NewJSON(JSONConfig{})
	dst := make([]reading.Reading, 1, 8)
	dst[0].Metric = "kept"
	for _, payload := range []string{`{"a":1,"b":2`, `{"a":1} x`, `{}`, ``} {
		got, err := d.Decode(dst, Frame{Payload: []byte(payload)})
		if !errors.Is(err, ErrMalformed) {
			t.Errorf("%q: error %v", payload, err)
		}
		if len(got) != 1 || got[0].Metric != "kept" {
			t.Errorf("%q: dst became %v", payload, got)
		}
	}
}

func TestReadingsOfOnePayloadAreBounded(t *testing.T) {
	d := NewJSON(JSONConfig{MaxReadings: 3})
	if rs, err := d.Decode(nil, Frame{Payload: []byte(`[1,2,3]`)}); err != nil || len(rs) != 3 {
		t.Fatal(rs, err)
	}
	if _, err := d.Decode(nil, Frame{Payload: []byte(`[1,2,3,4]`)}); !errors.Is(err, ErrMalformed) {
		t.Fatal(err)
	}
	d = NewJSON(JSONConfig{})
	if _, err := d.Decode(nil, Frame{Payload: []byte("[" + strings.Repeat("1,", 4096) + "1]")}); !errors.Is(err, ErrMalformed) {
		t.Fatal(err)
	}
}

func TestTimeKeysCanBeChosen(t *testing.T) {
	d := NewJSON(JSONConfig{TimeKeys: []string{"When"}, TimeUnit: Seconds})
	rs, err := d.Decode(nil, Frame{Payload: []byte(`{"WHEN":1700000000,"ts":1700000000}`)})
	if err != nil || len(rs) != 1 || rs[0].Metric != "ts" || rs[0].Time != 1_700_000_000e9 {
		t.Fatal(rs, err)
	}
}

func TestValuesDoNotShareMemoryWithThePayload(t *testing.T) {
	payload := []byte(`{"name":"text"}`)
	rs, err := NewJSON(JSONConfig{}).Decode(nil, Frame{Payload: payload})
	if err != nil {
		t.Fatal(err)
	}
	clear(payload)
	if rs[0].Metric != "name" || rs[0].Value != reading.String("text") {
		t.Fatal(rs)
	}
}

func TestKnownNamesCostNoAllocation(t *testing.T) {
	d := NewJSON(JSONConfig{})
	rs := make([]reading.Reading, 0, 16)
	for _, payload := range []string{
		fourMetrics,
		`{"ts":"2023-11-14T22:13:20.5Z","motor":{"axis":[1,2.5,-3e-3],"on":true}}`,
		`[{"t":1700000000,"a":0.1},{"t":1700000001,"a":123456789012345678}]`,
		`21.5`,
	} {
		f := Frame{Device: "dev", Metric: "value", Payload: []byte(payload)}
		if n := testing.AllocsPerRun(100, func() {
			if _, err := d.Decode(rs, f); err != nil {
				t.Error(err)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations", payload, n)
		}
	}
}

func TestMoreNamesThanAreRememberedStillDecode(t *testing.T) {
	d := NewJSON(JSONConfig{})
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() {
			for i := range 3 * nameSlots / 2 {
				want := fmt.Sprintf("metric-%d", (i+worker*100)%(3*nameSlots/2))
				rs, err := d.Decode(nil, Frame{Payload: fmt.Appendf(nil, `{"%s":1,"ts":1700000000}`, want)})
				if err != nil || len(rs) != 1 || rs[0].Metric != want || rs[0].Time == 0 {
					t.Errorf("%s: %v, %v", want, rs, err)
					return
				}
			}
		})
	}
	wg.Wait()
	used := map[string]bool{}
	for i := range d.names.slots {
		if f := d.names.slots[i].Load(); f != nil {
			if used[f.name] {
				t.Errorf("%s is kept twice", f.name)
			}
			used[f.name] = true
		}
	}
	if len(used) > maxKept/nameCost {
		t.Errorf("%d names kept", len(used))
	}
}

func TestRawKeepsEveryByte(t *testing.T) {
	f := Frame{Device: "dev", Payload: []byte("\x00\xff{")}
	want := reading.Bytes("\x00\xff{")
	rs, err := Raw{}.Decode(nil, f)
	if err != nil || len(rs) != 1 || rs[0].Metric != "raw" || rs[0].Device != "dev" || rs[0].Value != want {
		t.Fatal(rs, err)
	}
	f.Metric = "frame"
	if rs, _ = (Raw{}).Decode(rs, f); len(rs) != 2 || rs[1].Metric != "frame" {
		t.Fatal(rs)
	}
	if rs = Opaque(rs, f); len(rs) != 3 || rs[2].Metric != "raw" || rs[2].Value != want {
		t.Fatal(rs)
	}
}

func TestNegativeZeroKeepsItsSign(t *testing.T) {
	for _, text := range []string{"-0", "-0.0", "-0e5", "-0e-400"} {
		rs, err := NewJSON(JSONConfig{}).Decode(nil, Frame{Payload: []byte(text)})
		if err != nil || !math.Signbit(rs[0].Value.Float()) || rs[0].Value.Kind() != reading.KindFloat {
			t.Errorf("%s: %v, %v", text, rs, err)
		}
	}
}

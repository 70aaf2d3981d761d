package firmwaresim

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"
)

func noon() time.Time { return time.UnixMilli(1_700_000_000_000) }

// run appends n payloads a second apart.
func run(device *Device, n int) [][]byte {
	var payloads [][]byte
	for i := range n {
		payloads = append(payloads, device.Append(nil, noon().Add(time.Duration(i)*time.Second)))
	}
	return payloads
}

func TestSameSeedSameBytes(t *testing.T) {
	for _, shape := range Shapes() {
		join := func(seed uint64, index int) string {
			return string(bytes.Join(run(NewDevice(seed, index, shape, false), 200), nil))
		}
		if join(7, 3) != join(7, 3) {
			t.Errorf("%s: the same seed made different bytes", shape)
		}
		if join(7, 3) == join(8, 3) || join(7, 3) == join(7, 4) {
			t.Errorf("%s: seed or index does not matter", shape)
		}
	}
}

func TestPayloadsAreJSONAndCountEverySampleOnce(t *testing.T) {
	for _, shape := range []Shape{JSON4, JSON8, Nested, Array, Plain} {
		next := uint64(1)
		for _, payload := range run(NewDevice(1, 0, shape, true), 1000) {
			for _, seq := range countersOf(t, shape, payload) {
				if seq != next {
					t.Fatalf("%s: counter %d, want %d: %s", shape, seq, next, payload)
				}
				next++
			}
		}
		if want := 1000*shape.samples() + 1; next != want {
			t.Fatalf("%s: the last counter was %d, want %d", shape, next-1, want-1)
		}
	}
}

func countersOf(t *testing.T, shape Shape, payload []byte) []uint64 {
	t.Helper()
	type sample struct{ Seq uint64 }
	var one sample
	var many []sample
	var err error
	switch shape {
	case Plain:
		err = json.Unmarshal(payload, &one.Seq)
	case Array:
		err = json.Unmarshal(payload, &many)
	default:
		err = json.Unmarshal(payload, &one)
	}
	if err != nil {
		t.Fatalf("%s: %s: %v", shape, payload, err)
	}
	if shape != Array {
		many = []sample{one}
	}
	var counters []uint64
	for _, s := range many {
		counters = append(counters, s.Seq)
	}
	return counters
}

func TestMetricsLookLikeSensors(t *testing.T) {
	last := map[string]float64{}
	bounds := map[string]struct{ low, high, jump float64 }{
		"temp": {-10, 60, 0.1}, "hum": {10, 100, 0.5}, "bat": {2.9, 4.3, 0.02}, "rssi": {-110, -30, 3},
		"pressure": {940, 1060, 0.1}, "lux": {0, 2000, 20}, "co2": {400, 3000, 10},
	}
	for i, payload := range run(NewDevice(3, 1, JSON8, false), 5000) {
		var got map[string]any
		if err := json.Unmarshal(payload, &got); err != nil {
			t.Fatal(err)
		}
		for metric, b := range bounds {
			v, ok := got[metric].(float64)
			if !ok || v < b.low || v > b.high {
				t.Fatalf("%s is %v: %s", metric, got[metric], payload)
			}
			if d := v - last[metric]; i > 0 && (d > b.jump+1e-9 || d < -b.jump-1e-9) {
				t.Fatalf("%s jumped from %v to %v", metric, last[metric], v)
			}
			last[metric] = v
		}
	}
}

func TestOpaqueIsAlways92BytesOfSevenFields(t *testing.T) {
	for _, payload := range run(NewDevice(3, 1, Opaque, false), 1000) {
		var got map[string]any
		if err := json.Unmarshal(payload, &got); err != nil || len(got) != 7 || len(payload) != 92 {
			t.Fatalf("%d bytes, %d fields, %v: %s", len(payload), len(got), err, payload)
		}
	}
}

func TestFixedDecimals(t *testing.T) {
	for want, got := range map[string][]byte{
		"21.37":  appendFixed(nil, 2137, 2),
		"-0.05":  appendFixed(nil, -5, 2),
		"48.2":   appendFixed(nil, 482, 1),
		"-10.0":  appendFixed(nil, -100, 1),
		"1013.2": appendFixed(nil, 10132, 1),
	} {
		if string(got) != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestPayloadsReadAsDocumented(t *testing.T) {
	got := string(NewDevice(1, 0, JSON4, true).Append(nil, noon()))
	if !strings.HasPrefix(got, `{"ts":1700000000000,"seq":1,"temp":`) || !strings.Contains(got, `,"hum":`) {
		t.Fatal(got)
	}
}

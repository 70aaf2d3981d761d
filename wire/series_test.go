package wire

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/tidegate/tidegate/reading"
)

// samePicks checks that of each series DecodeSeries finds what Decode found, and
// of others nothing.
func samePicks(t rapid.TB, dec *Decoder, b Block, all []reading.Reading) {
	t.Helper()
	want := map[reading.Series][]Picked{{Device: "nobody"}: nil}
	for i, r := range all {
		s := reading.Series{Device: r.Device, Metric: r.Metric, Unit: r.Unit}
		want[s] = append(want[s], Picked{i, r.Time, r.Value, r.Flags})
		want[reading.Series{Device: r.Device, Metric: r.Metric, Unit: r.Unit + "/h"}] = nil
		if len(want) > 40 {
			break // each costs a look at the whole block
		}
	}
	for s, w := range want {
		if len(want) > 40 {
			w = picksOf(all, s)
		}
		got, err := dec.DecodeSeries(nil, b, s)
		if err != nil || len(got) != len(w) {
			t.Fatalf("%+v: %d of %d readings, %v", s, len(got), len(w), err)
		}
		for i := range w {
			g, x := got[i], w[i]
			a, c := reading.Reading{Time: g.Time, Value: g.Value, Flags: g.Flags}, reading.Reading{Time: x.Time, Value: x.Value, Flags: x.Flags}
			if g.Index != x.Index || !same(a, c) {
				t.Fatalf("%+v: got %+v, want %+v", s, g, x)
			}
		}
	}
}

func picksOf(all []reading.Reading, s reading.Series) (w []Picked) {
	for i, r := range all {
		if r.Device == s.Device && r.Metric == s.Metric && r.Unit == s.Unit {
			w = append(w, Picked{i, r.Time, r.Value, r.Flags})
		}
	}
	return w
}

// mustPickOrRefuse looks for the series that a damaged body names, if it can be
// read so far.
func mustPickOrRefuse(t *testing.T, dec *Decoder, b Block) {
	body, err := dec.inflate(b)
	if err != nil {
		return
	}
	var c content
	if !c.readNames(&reader{b: body}, b.Count) || len(c.devices) == 0 || len(c.fields) == 0 {
		return
	}
	s := reading.Series{Device: c.devices[0], Metric: c.fields[0].metric, Unit: c.fields[0].unit}
	var n int
	used := allocated(func() {
		var got []Picked
		got, err = dec.DecodeSeries(nil, b, s)
		n = len(got)
	})
	if used > maxAllocated {
		t.Fatalf("a body of %d bytes allocated %d", len(body), used)
	}
	if err != nil {
		mustBeRefusal(t, err)
	}
	if err != nil && n > 0 || n > b.Count {
		t.Fatalf("%d readings of %d, %v", n, b.Count, err)
	}
}

// BenchmarkDecodeSeries has one series of twenty devices' four metrics, and one
// that is not there, beside all of them.
func BenchmarkDecodeSeries(b *testing.B) {
	rs := fleet(20, 25)
	block := mustBlock(b, Header{Epoch: 1, First: 1}, rs)
	dec := NewDecoder()
	perReading := func(b *testing.B) {
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(rs)), "ns/reading")
	}
	b.Run("all", func(b *testing.B) {
		b.ReportAllocs()
		var into []reading.Reading
		for b.Loop() {
			into, _ = dec.Decode(into[:0], block)
		}
		perReading(b)
	})
	for name, s := range map[string]reading.Series{"one": {Device: "dev-0007", Metric: "hum"}, "none": {Device: "dev-0007", Metric: "hun"}} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			var into []Picked
			for b.Loop() {
				into, _ = dec.DecodeSeries(into[:0], block, s)
			}
			perReading(b)
		})
	}
}

package wire

import (
	"errors"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/tidegate/tidegate/reading"
)

const second = int64(1e9)

func TestBlockGivesBackWhatItTook(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rs := drawReadings(t)
		h := Header{Epoch: 7, Lane: reading.Alarm, First: 100, Boot: 9, Clock: Stepped, Uptime: 1234}
		b := mustBlock(t, h, rs)
		if b.Epoch != 7 || b.Lane != reading.Alarm || b.First != 100 || b.Count != len(rs) ||
			b.Boot != 9 || b.Clock != Stepped || b.Uptime != 1234 {
			t.Fatalf("header %+v", b.Header)
		}
		got, err := NewDecoder().Decode(nil, b)
		if err != nil {
			t.Fatal(err)
		}
		for i := range rs {
			rs[i].Lane = reading.Alarm
		}
		sameReadings(t, got, rs)
		sameSeriesOrder(t, got, rs)
		samePicks(t, NewDecoder(), b, got)
		for _, r := range got {
			if r.Time < b.Base || r.Time > b.Base+b.Span {
				t.Fatalf("time %d outside %d+%d", r.Time, b.Base, b.Span)
			}
		}
	})
}

func TestMergedBlockKeepsEverySequenceNumber(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var blocks []Block
		var want []reading.Reading
		next := uint64(1)
		dec := NewDecoder()
		for range rapid.IntRange(1, 6).Draw(t, "blocks") {
			b := mustBlock(t, Header{Epoch: 1, First: next, Boot: 1}, drawReadings(t))
			blocks = append(blocks, b)
			next = b.Last() + 1
			var err error
			if want, err = dec.Decode(want, b); err != nil {
				t.Fatal(err)
			}
		}
		raw, err := NewMerger().Merge(nil, blocks)
		if err != nil {
			t.Fatal(err)
		}
		merged := parseOne(t, raw)
		if merged.First != 1 || merged.Last() != next-1 {
			t.Fatalf("merged is %d..%d, want 1..%d", merged.First, merged.Last(), next-1)
		}
		got, err := dec.Decode(nil, merged)
		if err != nil {
			t.Fatal(err)
		}
		for i := range want {
			if !same(got[i], want[i]) {
				t.Fatalf("reading %d is %+v, was %+v", i+1, got[i], want[i])
			}
		}
		samePicks(t, dec, merged, got)
	})
}

func TestEveryTruncationIsCorrupt(t *testing.T) {
	raw := mustBlock(t, Header{Epoch: 1, First: 1}, fleet(5, 3)).Raw
	chunk := mustChunk(t, raw)
	for n := range raw {
		if _, _, err := ParseBlock(raw[:n]); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("block cut to %d of %d bytes: %v", n, len(raw), err)
		}
	}
	for n := range chunk {
		if _, err := ParseChunk(chunk[:n]); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("chunk cut to %d of %d bytes: %v", n, len(chunk), err)
		}
	}
}

func TestEveryBitFlipIsCorrupt(t *testing.T) {
	raw := mustBlock(t, Header{Epoch: 1, First: 1}, fleet(5, 3)).Raw
	chunk := mustChunk(t, raw)
	for i := range len(raw) * 8 {
		bad := slices.Clone(raw)
		bad[i/8] ^= 1 << (i % 8)
		if _, _, err := ParseBlock(bad); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("block with bit %d flipped: %v", i, err)
		}
	}
	for i := range len(chunk) * 8 {
		bad := slices.Clone(chunk)
		bad[i/8] ^= 1 << (i % 8)
		if _, err := ParseChunk(bad); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("chunk with bit %d flipped: %v", i, err)
		}
	}
}

func TestNewerVersionIsNotCalledCorrupt(t *testing.T) {
	raw := mustBlock(t, Header{Epoch: 1, First: 1}, fleet(1, 1)).Raw
	raw[2] = Version + 1
	sealFrame(raw, 0)
	if _, _, err := ParseBlock(raw); !errors.Is(err, ErrVersion) || errors.Is(err, ErrCorrupt) {
		t.Fatalf("block of version %d: %v", raw[2], err)
	}
}

func TestBlocksFollowOneAnotherInMemory(t *testing.T) {
	a := mustBlock(t, Header{Epoch: 1, First: 1}, fleet(2, 1))
	b := mustBlock(t, Header{Epoch: 1, First: a.Last() + 1}, fleet(3, 1))
	first, rest, err := ParseBlock(slices.Concat(a.Raw, b.Raw))
	if err != nil {
		t.Fatal(err)
	}
	next, rest, err := ParseBlock(rest)
	if err != nil || len(rest) != 0 || first.Last()+1 != next.First {
		t.Fatalf("%d..%d then %d..%d, %d bytes left, %v", first.First, first.Last(), next.First, next.Last(), len(rest), err)
	}
}

func TestEveryFloatSurvives(t *testing.T) {
	odd := []float64{0, math.Copysign(0, -1), 1.0 / 3, math.Pi, math.NaN(), math.Inf(1), math.Inf(-1), math.MaxFloat64,
		math.SmallestNonzeroFloat64, 9007199254740993, 1e22, 0.1, 0.1 + 0.2, 123456.789, -21.37}
	for _, every := range []int{1, 9} { // alone in their column, and as exceptions among plain decimals
		var rs []reading.Reading
		for i, f := range odd {
			for k := range every {
				v := f
				if k > 0 {
					v = 20 + float64(k)/100
				}
				rs = append(rs, reading.Reading{Device: "d", Metric: "m", Time: int64(i*every+k) * second, Value: reading.Float(v)})
			}
		}
		got, err := NewDecoder().Decode(nil, mustBlock(t, Header{Epoch: 1, First: 1}, rs))
		if err != nil {
			t.Fatal(err)
		}
		for i := range rs {
			if !same(got[i], rs[i]) {
				t.Errorf("%v came back as %v", rs[i].Value, got[i].Value)
			}
		}
	}
}

func TestTooManyReadingsAreRefused(t *testing.T) {
	for _, n := range []int{0, MaxReadings + 1} {
		_, err := NewEncoder().AppendBlock(nil, Header{Epoch: 1, First: 1}, make([]reading.Reading, n))
		if !errors.Is(err, ErrTooLarge) {
			t.Errorf("%d readings: %v", n, err)
		}
	}
}

func TestOversizeBodyIsRefused(t *testing.T) {
	huge := []reading.Reading{{Device: "d", Metric: "raw", Value: reading.Bytes(string(make([]byte, MaxBody)))}}
	if _, err := NewEncoder().AppendBlock(nil, Header{Epoch: 1, First: 1}, huge); !errors.Is(err, ErrTooLarge) {
		t.Errorf("got %v", err)
	}
}

func TestChunkGivesBackItsBlocks(t *testing.T) {
	a := mustBlock(t, Header{Epoch: 3, Lane: reading.Bulk, First: 5}, fleet(2, 2))
	b := mustBlock(t, Header{Epoch: 3, Lane: reading.Bulk, First: a.Last() + 1}, fleet(4, 1))
	raw, err := AppendChunk(nil, Chunk{Gateway: "barn", Blocks: []Block{a, b}})
	if err != nil {
		t.Fatal(err)
	}
	c, err := ParseChunk(raw)
	if err != nil {
		t.Fatal(err)
	}
	if c.Gateway != "barn" || c.Epoch() != 3 || c.Lane() != reading.Bulk || c.First() != 5 || c.Last() != b.Last() ||
		c.Count() != a.Count+b.Count || len(c.Blocks) != 2 {
		t.Errorf("chunk %+v", c)
	}
}

func TestChunkRefusesBlocksThatDoNotFollow(t *testing.T) {
	a := mustBlock(t, Header{Epoch: 3, First: 5}, fleet(2, 2))
	b := mustBlock(t, Header{Epoch: 3, First: 5}, fleet(4, 1))
	if _, err := AppendChunk(nil, Chunk{Gateway: "barn", Blocks: []Block{a, b}}); err == nil {
		t.Error("overlapping blocks were taken")
	}
	if _, err := AppendChunk(nil, Chunk{Blocks: []Block{a}}); err == nil {
		t.Error("a chunk without a gateway was taken")
	}
}

func mustBlock(t rapid.TB, h Header, rs []reading.Reading) Block {
	t.Helper()
	raw, err := NewEncoder().AppendBlock(nil, h, rs)
	if err != nil {
		t.Fatal(err)
	}
	return parseOne(t, raw)
}

func parseOne(t rapid.TB, raw []byte) Block {
	t.Helper()
	b, rest, err := ParseBlock(raw)
	if err != nil || len(rest) > 0 {
		t.Fatalf("parse: %v, %d bytes left", err, len(rest))
	}
	return b
}

func mustChunk(t testing.TB, raw []byte) []byte {
	t.Helper()
	b := parseOne(t, raw)
	chunk, err := AppendChunk(nil, Chunk{Gateway: "g", Blocks: []Block{b}})
	if err != nil {
		t.Fatal(err)
	}
	return chunk
}

// same compares readings; NaN equals itself.
func same(a, b reading.Reading) bool {
	if a.Value.Kind() == reading.KindFloat && b.Value.Kind() == reading.KindFloat &&
		math.Float64bits(a.Value.Float()) == math.Float64bits(b.Value.Float()) {
		a.Value, b.Value = reading.Value{}, reading.Value{}
	}
	return a == b
}

func sameReadings(t rapid.TB, got, want []reading.Reading) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d readings came back of %d", len(got), len(want))
	}
	left := slices.Clone(want)
	for _, g := range got {
		i := slices.IndexFunc(left, func(w reading.Reading) bool { return same(g, w) })
		if i < 0 {
			t.Fatalf("%+v was never given", g)
		}
		left = slices.Delete(left, i, i+1)
	}
}

// sameSeriesOrder checks that a series that always comes in the same company
// keeps its order. (One that comes in rows of several shapes is sorted by them.)
func sameSeriesOrder(t rapid.TB, got, want []reading.Reading) {
	t.Helper()
	only := func(rs []reading.Reading) (vs []reading.Reading) {
		for _, r := range rs {
			if r.Device == "alone" {
				vs = append(vs, r)
			}
		}
		return vs
	}
	g, w := only(got), only(want)
	for i := range w {
		if !same(g[i], w[i]) {
			t.Fatalf("reading %d of a series is %+v, was %+v", i, g[i], w[i])
		}
	}
}

func drawReadings(t *rapid.T) []reading.Reading {
	devices := []string{"", "a", "ab", "abc", "b", "alone"}
	metrics := []string{"", "temp", "temperature", "hum"}
	units := []string{"", "Cel", "%RH"}
	n := rapid.IntRange(1, 60).Draw(t, "n")
	now := rapid.Int64Range(-second, 1<<61).Draw(t, "base")
	step := rapid.SampledFrom([]int64{0, 1, 1e3, 1e6, 1e9, 7}).Draw(t, "step")
	rs := make([]reading.Reading, n)
	for i := range rs {
		if rapid.IntRange(0, 2).Draw(t, "tick") == 0 {
			now += step * rapid.Int64Range(-3, 9).Draw(t, "dt")
		}
		rs[i] = reading.Reading{
			Device: rapid.SampledFrom(devices).Draw(t, "device"),
			Metric: rapid.SampledFrom(metrics).Draw(t, "metric"),
			Unit:   rapid.SampledFrom(units).Draw(t, "unit"),
			Time:   now,
			Value:  drawValue(t),
			Flags:  reading.Flags(rapid.SampledFrom([]uint8{0, 0, 0, 4, 255}).Draw(t, "flags")),
		}
		if rs[i].Device == "alone" {
			rs[i].Metric, rs[i].Unit = "temp", ""
		}
	}
	return rs
}

func drawValue(t *rapid.T) reading.Value {
	switch rapid.IntRange(0, 9).Draw(t, "kind") {
	case 0:
		return reading.Int(rapid.Int64().Draw(t, "int"))
	case 1:
		return reading.Bool(rapid.Bool().Draw(t, "bool"))
	case 2:
		return reading.String(rapid.String().Draw(t, "string"))
	case 3:
		return reading.Bytes(string(rapid.SliceOf(rapid.Byte()).Draw(t, "bytes")))
	case 4:
		return reading.Float(rapid.Float64().Draw(t, "float"))
	}
	return reading.Float(float64(rapid.IntRange(-5000, 5000).Draw(t, "decimal")) / 100)
}

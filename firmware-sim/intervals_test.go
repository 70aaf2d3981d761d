package firmwaresim

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestIntervalsAreASet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		draw := func(name string) (intervals, map[uint64]bool) {
			var got intervals
			want := make(map[uint64]bool)
			for range rapid.IntRange(0, 30).Draw(t, name) {
				first := rapid.Uint64Range(0, 60).Draw(t, "first")
				last := first + rapid.Uint64Range(0, 8).Draw(t, "length")
				before := len(want)
				for n := first; n <= last; n++ {
					want[n] = true
				}
				if added := got.add(span{first, last}); added != uint64(len(want)-before) {
					t.Fatalf("adding %d-%d to %v: %d new, want %d", first, last, got.spans, added, len(want)-before)
				}
			}
			return got, want
		}
		a, inA := draw("a")
		b, inB := draw("b")
		checkIntervals(t, a, inA)
		var missing []uint64
		for s := range a.without(&b) {
			for n := s.first; n <= s.last; n++ {
				missing = append(missing, n)
			}
		}
		var want []uint64
		for n := range uint64(70) {
			if inA[n] && !inB[n] {
				want = append(want, n)
			}
		}
		if !slices.Equal(missing, want) {
			t.Fatalf("%v without %v: got %v, want %v", a.spans, b.spans, missing, want)
		}
	})
}

func checkIntervals(t *rapid.T, got intervals, want map[uint64]bool) {
	if got.count != uint64(len(want)) {
		t.Fatalf("%v counts %d, want %d", got.spans, got.count, len(want))
	}
	for n := range uint64(70) {
		if got.has(n) != want[n] {
			t.Fatalf("%v has %d: %v", got.spans, n, got.has(n))
		}
	}
	for i := 1; i < len(got.spans); i++ {
		if got.spans[i-1].last+1 >= got.spans[i].first {
			t.Fatalf("%v: spans touch", got.spans)
		}
	}
}

func TestTenMillionInOrderAreOneSpan(t *testing.T) {
	var set intervals
	for n := uint64(1); n <= 10_000_000; n++ {
		set.add(span{n, n})
	}
	if len(set.spans) != 1 || set.count != 10_000_000 {
		t.Fatalf("%d spans, %d numbers", len(set.spans), set.count)
	}
}

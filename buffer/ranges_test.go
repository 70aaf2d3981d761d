package buffer

import (
	"testing"

	"pgregory.net/rapid"
)

func TestRangesAreASet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var rs ranges
		set := map[uint64]bool{}
		for range rapid.IntRange(0, 20).Draw(t, "adds") {
			first := rapid.Uint64Range(1, 60).Draw(t, "first")
			last := first + rapid.Uint64Range(0, 8).Draw(t, "length")
			rs = rs.add(first, last)
			for n := first; n <= last; n++ {
				set[n] = true
			}
		}
		for i, r := range rs {
			if r.First > r.Last || i > 0 && r.First <= rs[i-1].Last+1 {
				t.Fatalf("not ascending with holes between: %v", rs)
			}
		}
		count := uint64(0)
		for n := uint64(1); n <= 70; n++ {
			if rs.has(n, n) != set[n] {
				t.Fatalf("%d in %v: %v, want %v", n, rs, rs.has(n, n), set[n])
			}
			want := n
			for set[want] {
				want++
			}
			if got := rs.from(n); got != want {
				t.Fatalf("first missing from %d on in %v: %d, want %d", n, rs, got, want)
			}
			if set[n] {
				count++
			}
		}
		if got := rs.overlap(1, 70); got != count {
			t.Fatalf("%v overlaps in %d numbers, want %d", rs, got, count)
		}
		if got := ranges(nil).union(rs); len(got) != len(rs) {
			t.Fatalf("union with nothing: %v, want %v", got, rs)
		}
	})
}

package inorder_test

import (
	"cmp"
	"maps"
	"slices"
	"testing"

	"github.com/tidegate/tidegate/internal/inorder"
	"pgregory.net/rapid"
)

type item struct{ key, place int }

func byKey(a, b item) int { return cmp.Compare(a.key, b.key) }

// TestSortsLikeSlices compares with the sort of the standard library, also in what it
// does with equals.
func TestSortsLikeSlices(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var got []item
		for place, key := range rapid.SliceOfN(rapid.IntRange(0, 9), 0, 100).Draw(t, "keys") {
			got = append(got, item{key, place})
		}
		want := slices.Clone(got)
		slices.SortStableFunc(want, byKey)
		inorder.Sort(got, byKey)
		if !slices.Equal(got, want) {
			t.Fatalf("got %v, want %v", got, want)
		}
	})
}

func TestSortedTakesWhatASequenceYields(t *testing.T) {
	all := map[string]item{"c": {key: 3}, "a": {key: 1}, "b": {key: 2}}
	got := inorder.Sorted(maps.Values(all), byKey)
	if want := []item{{key: 1}, {key: 2}, {key: 3}}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// BenchmarkSort is what one sort for all types costs.
func BenchmarkSort(b *testing.B) {
	for name, sort := range map[string]func([]item, func(a, b item) int){"inorder": inorder.Sort[item], "slices": slices.SortStableFunc[[]item]} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			all, mixed := make([]item, 100), make([]item, 100)
			for i := range mixed {
				mixed[i] = item{key: i * 37 % 100, place: i}
			}
			for b.Loop() {
				copy(all, mixed)
				sort(all, byKey)
			}
		})
	}
}

package cloud

import (
	"fmt"
	"slices"
	"testing"

	"go.etcd.io/bbolt"
	"pgregory.net/rapid"
)

// The set answers and holds what a map of single numbers does, and its ranges
// neither overlap nor touch, with the sets of other lanes before and behind.
func TestRangeSetIsASet(t *testing.T) {
	s := openStore(t)
	tries := 0
	rapid.Check(t, func(rt *rapid.T) {
		tries++
		prefix := fmt.Appendf(nil, "try %06d.", tries)
		model := map[uint64]bool{}
		err := s.db.Update(func(tx *bbolt.Tx) error {
			set := rangeSet{tx.Bucket(rangesBucket), prefix}
			for range rapid.IntRange(1, 40).Draw(rt, "inserts") {
				first := rapid.Uint64Range(1, 60).Draw(rt, "first")
				add := Range{first, first + rapid.Uint64Range(0, 9).Draw(rt, "more")}
				fresh, err := set.insert(add)
				if err != nil {
					return err
				}
				want := modelInsert(model, add)
				if !slices.Equal(fresh, want) {
					rt.Fatalf("insert %v: fresh %v, want %v", add, fresh, want)
				}
				if got, want := set.all(), modelRanges(model); !slices.Equal(got, want) {
					rt.Fatalf("insert %v: set %v, want %v", add, got, want)
				}
			}
			return nil
		})
		if err != nil {
			rt.Fatal(err)
		}
	})
}

// modelInsert adds the numbers and returns those that are new, as ranges.
func modelInsert(model map[uint64]bool, add Range) []Range {
	fresh := map[uint64]bool{}
	for n := add.First; n <= add.Last; n++ {
		if !model[n] {
			model[n], fresh[n] = true, true
		}
	}
	return modelRanges(fresh)
}

func modelRanges(model map[uint64]bool) (ranges []Range) {
	for n := uint64(0); n < 100; n++ {
		if model[n] && !model[n-1] {
			ranges = append(ranges, Range{n, n})
		}
		if model[n] {
			ranges[len(ranges)-1].Last = n
		}
	}
	return ranges
}

func TestSubtractLeavesWhatIsInNoRange(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		model := map[uint64]bool{}
		var ranges []Range
		for range rapid.IntRange(0, 6).Draw(rt, "ranges") {
			first := rapid.Uint64Range(1, 40).Draw(rt, "first")
			r := Range{first, first + rapid.Uint64Range(0, 9).Draw(rt, "more")}
			ranges = append(ranges, r)
			modelInsert(model, r)
		}
		slices.SortFunc(ranges, func(a, b Range) int { return int(a.First) - int(b.First) })
		first := rapid.Uint64Range(1, 40).Draw(rt, "from")
		from := Range{first, first + rapid.Uint64Range(0, 30).Draw(rt, "more")}
		left := map[uint64]bool{}
		for n := from.First; n <= from.Last; n++ {
			left[n] = !model[n]
		}
		if got, want := subtract(from, ranges), modelRanges(left); !slices.Equal(got, want) {
			rt.Errorf("%v without %v is %v, want %v", from, ranges, got, want)
		}
	})
}

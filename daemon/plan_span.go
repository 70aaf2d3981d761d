package daemon

import (
	"context"
	"slices"
	"time"

	"github.com/tidegate/tidegate/buffer"
	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/wire"
)

// What is looked at of a buffer to see within what time its readings were measured, at
// the most: 128 MiB of segments to read, and 8 MB of times to keep.
const (
	lookedSegments = 16
	lookedTimes    = 1_000_000
)

// timesOf returns times at which readings of the buffer were measured, in order: of all, or
// of some at equal distances, in its oldest and its newest segment and in some between.
func timesOf(ctx context.Context, inv buffer.Inventory) (times []int64, err error) {
	inv.Segments = spread(inv.Segments, lookedSegments)
	n, every := uint64(0), 1+readingsIn(inv)/lookedTimes
	dec := wire.NewDecoder()
	var some []reading.Reading
	err = inv.Blocks(ctx, buffer.Query{}, func(b wire.Block) error {
		if some, err = dec.Decode(some[:0], b); err != nil {
			return nil // "tidegate buffer check" tells of it
		}
		for _, r := range some {
			if n%every == 0 {
				times = append(times, r.Time)
			}
			n++
		}
		return nil
	})
	slices.Sort(times)
	return times, err
}

func readingsIn(inv buffer.Inventory) uint64 {
	n, _ := inv.Waiting(buffer.Sink{})
	return n
}

// spread returns n of all at the most: the first, the last, and those between at equal
// distances.
func spread[T any](all []T, n int) []T {
	if len(all) <= n {
		return all
	}
	some := make([]T, n)
	for i := range some {
		some[i] = all[i*(len(all)-1)/(n-1)]
	}
	return some
}

// farOff is how many times the width of their densest half times may be away from it.
const farOff = 3

// spanOf returns within what time readings were measured, and the share of those with times
// far from that, since clocks of devices are often wrong. It goes by the shortest time
// that has half of the readings: whatever the others say cannot make that any longer.
// It is not known if nothing lies within much of that time: then there are several
// clocks, or the gateway was off for long, and there is no rate.
func spanOf(sorted []int64) (span time.Duration, astray float64, known bool) {
	half := len(sorted) / 2
	if half == 0 {
		return 0, 0, false
	}
	first := 0
	for i := range len(sorted) - half {
		if sorted[i+half]-sorted[i] < sorted[first+half]-sorted[first] {
			first = i
		}
	}
	core := sorted[first : first+half+1]
	width := core[half] - core[0]
	for i := range half {
		if core[i+1]-core[i] > width/2 && half > 2 {
			return 0, 0, false
		}
	}
	from, _ := slices.BinarySearch(sorted, core[0]-farOff*width)
	to, _ := slices.BinarySearch(sorted, core[half]+farOff*width+1)
	near := sorted[from:to]
	return time.Duration(near[len(near)-1] - near[0]), 1 - float64(len(near))/float64(len(sorted)), true
}

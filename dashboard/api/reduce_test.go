package api

import (
	"cmp"
	"math"
	"math/big"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/tidegate/tidegate/reading"
)

// taken is a reading of a series, in the order in which they were taken.
type taken struct {
	time    int64
	value   float64
	quality reading.Flags
}

// drawTaken draws readings whose times mostly ascend, with leaps, repetitions and
// steps back.
func drawTaken(t *rapid.T) (rs []taken) {
	now := rapid.SampledFrom([]int64{0, -5e9, 1788220800e9, 1 << 61}).Draw(t, "base")
	step := rapid.SampledFrom([]int64{1, 1e3, 1e6, 1e9, 3600e9}).Draw(t, "step")
	for range rapid.IntRange(0, 80).Draw(t, "n") {
		now += step * rapid.SampledFrom([]int64{0, 1, 1, 1, 2, -3, 1000}).Draw(t, "dt")
		rs = append(rs, taken{
			now, float64(rapid.IntRange(-1000, 1000).Draw(t, "value")),
			rapid.SampledFrom([]reading.Flags{0, 0, 0, reading.Uncertain, reading.Bad}).Draw(t, "quality"),
		})
	}
	return rs
}

// reduced is the naive way: sort, cut into buckets, look at each bucket.
func reduced(rs []taken, most int) (points []Point, width int64) {
	rs = slices.Clone(rs)
	slices.SortStableFunc(rs, func(a, b taken) int { return cmp.Compare(a.time, b.time) })
	if len(rs) <= most {
		for _, r := range rs {
			points = append(points, pointOf([]taken{r}))
		}
		return points, 0
	}
	for width = millisecond; ; width *= 2 {
		buckets := make(map[string][]taken)
		var order []string
		for _, r := range rs {
			bucket := new(big.Int).Div(big.NewInt(r.time), big.NewInt(width)).String() // rounds down
			if buckets[bucket] == nil {
				order = append(order, bucket)
			}
			buckets[bucket] = append(buckets[bucket], r)
		}
		if len(buckets) > most {
			continue
		}
		for _, bucket := range order {
			points = append(points, pointOf(buckets[bucket]))
		}
		return points, width
	}
}

func pointOf(rs []taken) Point {
	p := Point{Start: rs[0].time, End: rs[len(rs)-1].time, First: rs[0].value, Last: rs[len(rs)-1].value,
		Min: math.Inf(1), Max: math.Inf(-1), Count: uint64(len(rs))}
	for _, r := range rs {
		p.Min, p.Max, p.sum = min(p.Min, r.value), max(p.Max, r.value), p.sum+r.value
		p.Quality = max(p.Quality, r.quality)
	}
	return p
}

// Whatever comes, in however odd an order: the points are those of the naive way,
// and no peak is lost.
func TestReductionIsExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rs, most := drawTaken(t), rapid.IntRange(leastPoints, 40).Draw(t, "most")
		s := series{most: most}
		for _, r := range slices.Backward(rs) { // as history comes: the newest first
			s.add(r.time, r.value, r.quality)
		}
		want, width := reduced(rs, most)
		if got := s.ascending(); s.width != width || !slices.Equal(got, want) {
			t.Fatalf("width %d, want %d:\n%+v\n%+v", s.width, width, got, want)
		}
	})
}

// What two pages come to, put together, is what one would have come to: the page in
// the browser counts on it.
func TestReductionsOfTwoPagesAddUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rs := drawTaken(t)
		cut := rapid.IntRange(0, len(rs)).Draw(t, "cut")
		whole, newer, older := series{most: 10}, series{most: 10}, series{most: 10}
		for i, r := range slices.Backward(rs) {
			whole.add(r.time, r.value, r.quality)
			if i >= cut {
				newer.add(r.time, r.value, r.quality)
			} else {
				older.add(r.time, r.value, r.quality)
			}
		}
		width := max(newer.width, older.width)
		if width == 0 || whole.width < width {
			return // readings are not put together
		}
		both := series{most: 10, width: whole.width}
		for _, half := range []series{newer, older} {
			for _, p := range half.points {
				at := slices.IndexFunc(both.points, func(q Point) bool { return both.bucket(q.Start) == both.bucket(p.Start) })
				if at >= 0 {
					both.points[at].merge(&p)
				} else {
					both.points = append(both.points, p)
				}
			}
		}
		slices.SortFunc(both.points, func(a, b Point) int { return cmp.Compare(b.Start, a.Start) })
		if !slices.Equal(both.points, whole.points) {
			t.Fatalf("width %d:\n%+v\n%+v", whole.width, both.points, whole.points)
		}
	})
}

func TestMeanStaysBetweenLeastAndMost(t *testing.T) {
	for _, values := range [][]float64{{math.MaxFloat64, math.MaxFloat64, math.MaxFloat64}, {-math.MaxFloat64, -math.MaxFloat64}, {0.1, 0.1, 0.1}} {
		p := Point{Start: 1, First: values[0], Min: values[0], Max: values[0], Count: 1, sum: values[0]}
		for _, v := range values[1:] {
			p.merge(&Point{Start: 1, End: 1, First: v, Min: v, Max: v, Last: v, Count: 1, sum: v})
		}
		if m := p.Mean(); m != values[0] {
			t.Errorf("mean of %v is %v", values, m)
		}
	}
}

func TestUsualTimeIsTheMiddleOne(t *testing.T) {
	for _, c := range []struct {
		between []int64
		least   int64
		most    int64
	}{
		{nil, 0, 0},
		{[]int64{1e9, 1e9, 1e9}, 0, 0}, // too few
		{[]int64{1e9, 1e9, 1e9, 1e9, 3600e9}, 1e9, 1.1e9},
		{[]int64{60e9, 61e9, 59e9, 60e9, 1, 1}, 59e9, 66e9},
		{[]int64{0, 0, 0, 0, 0, 0}, 0, 0}, // all at once is no rhythm
		{[]int64{-1e9, -1e9, -1e9, -1e9}, 1e9, 1.1e9},
	} {
		var r rhythm
		now := int64(1788220800e9)
		r.add(now)
		for _, b := range c.between {
			now += b
			r.add(now)
		}
		if got := r.usual(); got < c.least || got > c.most {
			t.Errorf("%v: %d, want %d to %d", c.between, got, c.least, c.most)
		}
	}
}

func TestHolesAreWhereThereIsNothingForLong(t *testing.T) {
	s := series{most: 10}
	for i := range int64(100) {
		if i < 40 || i >= 60 {
			s.add(i*1e9, 1, 0)
		}
	}
	if got := holes(s.ascending(), 1e9); !slices.Equal(got, []Range{{39e9, 60e9}}) {
		t.Errorf("%v", got)
	}
	if got := holes(s.points, 0); got != nil {
		t.Errorf("without a rhythm: %v", got)
	}
}

func TestMarksAreBounded(t *testing.T) {
	var m marks
	for i := range 10 * mostMarks {
		m.add(int64(i)*2*markReach, i%3 != 0)
	}
	if len(m.ranges) != mostMarks {
		t.Errorf("%d ranges", len(m.ranges))
	}
	m = marks{}
	for _, at := range []int64{9e9, 8e9, 7e9, 6e9} {
		m.add(at, at != 7e9)
	}
	m.add(5e9-markReach-2e9, true) // the clock was set in between
	if want := []Range{{8e9, 9e9}, {6e9, 6e9}, {3e9 - markReach, 3e9 - markReach}}; !slices.Equal(m.ranges, want) {
		t.Errorf("%v, want %v", m.ranges, want)
	}
}

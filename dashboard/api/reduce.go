package api

import (
	"math"
	"slices"
	"sort"

	"github.com/tidegate/tidegate/reading"
)

// Point is what the readings of a stretch of time come to, or one reading. Times
// are in nanoseconds since the Unix epoch.
type Point struct {
	Start, End            int64 // of the first and the last of them
	First, Min, Max, Last float64
	Count                 uint64
	Quality               reading.Flags // the worst

	sum float64
}

// Mean is that of the point's readings.
func (p *Point) Mean() float64 {
	if mean := p.sum / float64(p.Count); !math.IsInf(mean, 0) {
		return min(max(mean, p.Min), p.Max) // rounding must not carry it out
	}
	return p.Min/2 + p.Max/2 // their sum is beyond what a float holds
}

// series reduces readings to so many points at the most. They may come in any
// order; of those of one time, one that is added later counts as the earlier.
//
// While the readings are few, points are the readings themselves. Then they are
// buckets of a time that is a millisecond or that times a power of two, so that
// buckets of two reductions fall together, and nobody needs to know beforehand
// from when until when the readings are: a clock that was wrong costs one bucket.
type series struct {
	most   int
	width  int64   // of a bucket, in nanoseconds; 0 while points are readings
	points []Point // the latest first
}

const millisecond = int64(1e6)

// add takes a reading.
func (s *series) add(time int64, value float64, quality reading.Flags) {
	one := Point{Start: time, End: time, First: value, Min: value, Max: value, Last: value, Count: 1, Quality: quality, sum: value}
	if n := len(s.points); s.width > 0 && n > 0 && s.bucket(time) == s.bucket(s.points[n-1].Start) {
		s.points[n-1].merge(&one) // nearly all
		return
	}
	at := sort.Search(len(s.points), func(i int) bool { return s.bucket(s.points[i].Start) < s.bucket(time) })
	if s.width > 0 && at > 0 && s.bucket(s.points[at-1].Start) == s.bucket(time) {
		s.points[at-1].merge(&one)
		return
	}
	s.points = slices.Insert(s.points, at, one)
	for len(s.points) > s.most {
		s.coarsen()
	}
}

// bucket is the number of the bucket that the time is in.
func (s *series) bucket(time int64) int64 {
	if s.width == 0 {
		return time
	}
	b := time / s.width
	if time%s.width < 0 {
		b--
	}
	return b
}

// coarsen doubles the width of buckets.
func (s *series) coarsen() {
	s.width = max(millisecond, 2*s.width)
	kept := s.points[:1]
	for i := 1; i < len(s.points); i++ {
		last := &kept[len(kept)-1]
		if s.bucket(last.Start) == s.bucket(s.points[i].Start) {
			last.merge(&s.points[i])
		} else {
			kept = append(kept, s.points[i])
		}
	}
	s.points = kept
}

// merge takes another point in, which was added later if their times are the same.
func (p *Point) merge(o *Point) {
	if o.Start <= p.Start {
		p.Start, p.First = o.Start, o.First
	}
	if o.End > p.End {
		p.End, p.Last = o.End, o.Last
	}
	p.Min, p.Max, p.Quality = min(p.Min, o.Min), max(p.Max, o.Max), max(p.Quality, o.Quality)
	p.sum, p.Count = p.sum+o.sum, p.Count+o.Count
}

// ascending returns the points, the earliest first.
func (s *series) ascending() []Point {
	slices.Reverse(s.points)
	return s.points
}

// rhythm finds the usual time between the readings of a series: the middle one of
// all times between two that came one after the other, to an eighth of itself.
type rhythm struct {
	last  int64
	any   bool
	count [64 * stepsPerOctave]uint32
	total uint32
}

const (
	stepsPerOctave = 8
	// fewIntervals say nothing about what is usual.
	fewIntervals = 4
	// holeFactor is how much longer than usual a hole is.
	holeFactor = 5
)

// add takes the time of a reading, in nanoseconds.
func (r *rhythm) add(time int64) {
	between := r.last - time
	if between < 0 {
		between = -between
	}
	if r.any && between > 0 && r.total < math.MaxUint32 {
		r.count[min(int(stepsPerOctave*math.Log2(float64(between))), len(r.count)-1)]++
		r.total++
	}
	r.last, r.any = time, true
}

// usual is the time in nanoseconds; 0 when too few were measured.
func (r *rhythm) usual() int64 {
	if r.total < fewIntervals {
		return 0
	}
	seen := uint32(0)
	for step, n := range r.count {
		if seen += n; seen > r.total/2 {
			return int64(math.Exp2(float64(step+1) / stepsPerOctave)) // the upper end of the step
		}
	}
	return 0
}

// holes are the times between two points, both of them with readings, in which
// there is nothing for much longer than usual.
func holes(ascending []Point, usual int64) (found []Range) {
	if usual == 0 || usual > math.MaxInt64/holeFactor {
		return nil
	}
	for i := 1; i < len(ascending); i++ {
		from, to := ascending[i-1].End, ascending[i].Start
		if to-from > holeFactor*usual {
			found = append(found, Range{from, to})
		}
	}
	return found
}

// Range is a time between two others, in nanoseconds since the Unix epoch.
type Range struct{ From, To int64 }

// marks are the ranges of readings that have something in common, which come in
// about the order of their times.
type marks struct {
	ranges []Range
	open   bool // the last reading had it
}

const (
	mostMarks = 200
	// markReach is how far apart two readings of one range may be, in
	// nanoseconds: a clock that is set leaps further.
	markReach = int64(3600e9)
)

// add takes a reading that has it, or has not.
func (m *marks) add(time int64, has bool) {
	n := len(m.ranges)
	switch {
	case !has:
	case n > 0 && (m.open && m.ranges[n-1].near(time) || n == mostMarks):
		last := &m.ranges[n-1]
		last.From, last.To = min(last.From, time), max(last.To, time)
	default:
		m.ranges = append(m.ranges, Range{time, time})
	}
	m.open = has
}

func (r Range) near(time int64) bool { return time > r.From-markReach && time < r.To+markReach }

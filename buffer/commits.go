package buffer

import (
	"math"
	"slices"
	"sync"
	"time"

	"github.com/tidegate/tidegate/reading"
)

// Commit says when the readings First..Last of a lane went to flash.
type Commit struct {
	Lane        reading.Lane
	First, Last uint64
	// Came is when the first of them was taken in, Late when the last was, and
	// Done when all of them were on flash.
	Came, Late, Done time.Time
}

// maxCommits is how many commits of a lane are remembered: 160 KB. It is some
// seconds of a gateway that is busy with lone sensors, and an hour of one that
// commits once a second.
const maxCommits = 4096

// commits remembers the latest commits. It is written once a commit and asked by
// people: nothing that hurries waits for it.
type commits struct {
	mu     sync.Mutex
	latest []commitNote // a ring once it is full
	next   int          // where the next one goes
	since  time.Time    // when the latest of those that are forgotten was done, or the run began
}

// commitNote is a Commit in few bytes; times are µs after the group was begun.
type commitNote struct {
	first      uint64
	born       int64 // when the group was begun, nanoseconds since 1970
	count      uint32
	came, late uint32
	done       uint32
	lane       reading.Lane
}

// arrivals is when the readings of one lane of a group came.
type arrivals struct{ came, late time.Time }

func (a *arrivals) add(now time.Time) {
	if a.came.IsZero() {
		a.came = now
	}
	a.late = now
}

// note remembers the lanes of a group that is on flash now. next are the numbers
// behind it.
func (c *commits) note(g *group, next [reading.Lanes]uint64, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for lane, rs := range g.lanes {
		if len(rs) == 0 {
			continue
		}
		a := g.arrived[lane]
		n := commitNote{
			first: next[lane] - uint64(len(rs)), count: uint32(len(rs)), lane: reading.Lane(lane), born: g.born.UnixNano(),
			came: micros(a.came.Sub(g.born)), late: micros(a.late.Sub(g.born)), done: micros(now.Sub(g.born)),
		}
		if len(c.latest) < maxCommits {
			c.latest = append(c.latest, n)
			continue
		}
		c.since = c.latest[c.next].commit().Done
		c.latest[c.next] = n
		c.next = (c.next + 1) % maxCommits
	}
}

// micros is the time in µs; more than an hour is an hour.
func micros(d time.Duration) uint32 {
	return uint32(min(max(d.Microseconds(), 0), math.MaxUint32))
}

func (n commitNote) commit() Commit {
	at := func(us uint32) time.Time { return time.Unix(0, n.born).Add(time.Duration(us) * time.Microsecond) }
	return Commit{Lane: n.lane, First: n.first, Last: n.first + uint64(n.count) - 1, Came: at(n.came), Late: at(n.late), Done: at(n.done)}
}

// Committed returns the commit that the reading came to flash with, as far as it
// is remembered: all that were done after since are, and none of a run before this
// one.
func (b *Buffer) Committed(lane reading.Lane, seq uint64) (c Commit, ok bool, since time.Time) {
	b.commits.mu.Lock()
	defer b.commits.mu.Unlock()
	i := slices.IndexFunc(b.commits.latest, func(n commitNote) bool {
		return n.lane == lane && n.first <= seq && seq-n.first < uint64(n.count)
	})
	if i < 0 {
		return Commit{}, false, b.commits.since
	}
	return b.commits.latest[i].commit(), true, b.commits.since
}

package uplink_test

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/uplink"
)

// strait is a link with one queue: messages leave one after the other at the
// link's rate, and their answers come a round trip later.
type strait struct {
	mu        sync.Mutex
	rate      float64 // bytes a second
	roundTrip time.Duration
	free      time.Time
	left      []departure
	// sharing messages have connections of their own and leave side by side, as
	// requests do; the others leave one after the other.
	sharing bool
	under   []*passing
}

// passing is a message that shares the link.
type passing struct {
	rest int // bytes
	left chan struct{}
}

// departure is a message that has left the queue.
type departure struct {
	uplink.Message
	asked, left time.Time
}

// headers is what a message costs beside its body, as over HTTP.
const headers = 250

func (l *strait) answer(ctx context.Context, m uplink.Message) error {
	if l.sharing {
		return l.share(ctx, m)
	}
	now := time.Now()
	l.mu.Lock()
	if l.free.Before(now) {
		l.free = now
	}
	l.free = l.free.Add(time.Duration(float64(len(m.Body)+headers) / l.rate * float64(time.Second)))
	l.left = append(l.left, departure{m, now, l.free})
	wait := l.free.Sub(now) + l.roundTrip
	l.mu.Unlock()
	if !sleep(ctx, wait) {
		return ctx.Err()
	}
	return nil
}

// share lets a message leave in small packets that take turns with those of others.
func (l *strait) share(ctx context.Context, m uplink.Message) error {
	asked, p := time.Now(), &passing{len(m.Body) + headers, make(chan struct{})}
	l.mu.Lock()
	if l.under = append(l.under, p); len(l.under) == 1 {
		go l.serve()
	}
	l.mu.Unlock()
	<-p.left // as on a connection: what is written leaves
	l.mu.Lock()
	l.left = append(l.left, departure{m, asked, time.Now()})
	wait := l.roundTrip
	l.mu.Unlock()
	if !sleep(ctx, wait) {
		return ctx.Err()
	}
	return nil
}

// serve sends packets of those that share, until there are no more.
func (l *strait) serve() {
	const packet = 256
	for {
		l.mu.Lock()
		p := l.under[0]
		n := min(p.rest, packet)
		wait := time.Duration(float64(n) / l.rate * float64(time.Second))
		l.mu.Unlock()
		<-time.After(wait)
		l.mu.Lock()
		l.under = l.under[1:]
		if p.rest -= n; p.rest > 0 {
			l.under = append(l.under, p)
		} else {
			close(p.left)
		}
		if len(l.under) == 0 {
			l.mu.Unlock()
			return
		}
		l.mu.Unlock()
	}
}

func (l *strait) set(rate float64, roundTrip time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rate, l.roundTrip = rate, roundTrip
}

// use returns how much of the link was used between two instants, and which part
// of that were bodies.
func (l *strait) use(from, to time.Time) (used, bodies float64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, d := range l.left {
		if d.left.After(from) && !d.left.After(to) {
			used += float64(len(d.Body) + headers)
			bodies += float64(len(d.Body))
		}
	}
	return used / to.Sub(from).Seconds() / l.rate, bodies / used
}

// course is a link, and what is expected of it.
type course struct {
	name      string
	rate      float64
	roundTrip time.Duration
	late      time.Duration // bound for what is new, until it is there
	block     int           // bytes; 0 for an eighth of a second's, 5,000 at the most
	settled   int           // seconds before it counts
	sharing   bool
}

func straits() []course {
	return []course{
		{"64kbit600ms", 8000, 600 * time.Millisecond, 1200 * time.Millisecond, 0, 90, false},
		{"64kbit600msInPhase", 8000, 600 * time.Millisecond, 1200 * time.Millisecond, 0, 90, false},
		{"64kbit600msLargeBlocks", 8000, 600 * time.Millisecond, 1200 * time.Millisecond, 3400, 90, false},
		{"64kbit600msSoon", 8000, 600 * time.Millisecond, 1200 * time.Millisecond, 3400, 20, false},
		{"64kbit600msShared", 8000, 600 * time.Millisecond, 1200 * time.Millisecond, 0, 90, true},
		{"64kbit600msSharedLargeBlocks", 8000, 600 * time.Millisecond, 1200 * time.Millisecond, 3400, 90, true},
		{"64kbit600msSharedSoon", 8000, 600 * time.Millisecond, 1200 * time.Millisecond, 3400, 10, true},
		{"256kbit300ms", 32000, 300 * time.Millisecond, 750 * time.Millisecond, 0, 90, false},
		{"9600bit1s", 1200, time.Second, 8 * time.Second, 0, 90, false}, // four bodies of the least size are 7 s
		{"10Mbit50ms", 1.25e6, 50 * time.Millisecond, time.Second, 0, 90, false},
		{"10Mbit50msShared", 1.25e6, 50 * time.Millisecond, time.Second, 0, 90, true},
		{"1Mbit2s", 125e3, 2 * time.Second, 4 * time.Second, 0, 90, false},
	}
}

// A backlog fills the link, and what is new arrives within two round trips all
// the same.
func TestBacklogFillsTheLinkAndLiveReadingsPass(t *testing.T) {
	for _, c := range straits() {
		t.Run(c.name, func(t *testing.T) {
			inVirtualTime(t, func(t *testing.T, s *sea) {
				link := &strait{rate: c.rate, roundTrip: c.roundTrip, sharing: c.sharing}
				s.shore.answer = link.answer
				period := 1037 * time.Millisecond
				if c.name == "64kbit600msInPhase" {
					period = 600 * time.Millisecond
				}
				if c.rate < 2000 { // the first guess is too much for such a link
					s.cfg.MaxBatch = 2 << 10
				}
				const length = 300 // seconds
				settled, size := time.Duration(c.settled)*time.Second, cmp.Or(c.block, min(5000, int(c.rate)/8))
				for bytes := 0; bytes < int(c.rate)*(c.settled+length); bytes += size {
					s.tank.pourBytes(reading.Bulk, size)
				}
				s.run(t)
				begun := time.Now().Add(settled)
				poured := make(map[uint64]time.Time) // by number
				for range c.settled + length/2 {
					s.tank.pour(reading.Normal, 4)
					if time.Now().After(begun) {
						poured[s.tank.lastOf(reading.Normal)] = time.Now()
					}
					pass(period)
				}
				used, bodies := link.use(begun, time.Now())
				pass(time.Minute)
				var waits []time.Duration
				for seq, at := range poured {
					waits = append(waits, link.passed(seq, at))
				}
				slices.Sort(waits)
				middle, worst := waits[len(waits)/2], waits[len(waits)-1-len(waits)/100]
				t.Logf("%.1f %% of the link is used, %.1f %% of that by bodies; what is new takes %v, at the worst %v",
					100*used, 100*bodies, middle, worst)
				if used < 0.95 {
					t.Errorf("%.1f %% of the link is used, want 95 %%", 100*used)
				}
				if worst > c.late {
					t.Errorf("new readings took up to %v, want %v", worst, c.late)
				}
			})
		})
	}
}

// passed is how long it took a reading to get to the other side; an hour if it
// is still here.
func (l *strait) passed(seq uint64, poured time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, d := range l.left {
		if d.Lane == reading.Normal && d.First <= seq && seq <= d.Last {
			return d.left.Add(l.roundTrip / 2).Sub(poured)
		}
	}
	return time.Hour
}

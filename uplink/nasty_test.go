package uplink_test

import (
	"cmp"
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/uplink"
	"github.com/tidegate/tidegate/wire"
)

// climate is what a nasty link is like at present.
type climate struct {
	rate      float64 // bytes a second
	roundTrip time.Duration
	jitter    time.Duration                // at the most, added to each answer
	failures  float64                      // of the messages that are sent, part
	service   func(body int) time.Duration // of the server; nil takes no time
	serial    bool                         // the server does one message after the other
}

// nastyLink is a link with one queue, a server behind it, and a climate that
// changes.
type nastyLink struct {
	climate
	mu         sync.Mutex
	rng        *rand.Rand
	free, done time.Time // of the link, and of the server
	took       float64   // bytes of bodies that were acknowledged
	lanes      [reading.Lanes]float64
}

func (l *nastyLink) change(c climate) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.climate = c
}

func (l *nastyLink) answer(ctx context.Context, m uplink.Message) error {
	now := time.Now()
	l.mu.Lock()
	if l.free.Before(now) {
		l.free = now
	}
	l.free = l.free.Add(time.Duration(float64(len(m.Body)+headers) / l.rate * float64(time.Second)))
	at := l.free.Add(l.roundTrip / 2)
	if l.service != nil {
		if l.serial && at.Before(l.done) {
			at = l.done
		}
		at = at.Add(l.service(len(m.Body)))
		l.done = at
	}
	at = at.Add(l.roundTrip / 2)
	if l.jitter > 0 {
		at = at.Add(time.Duration(l.rng.Int64N(int64(l.jitter))))
	}
	fails := l.rng.Float64() < l.failures
	l.mu.Unlock()
	if !sleep(ctx, at.Sub(now)) {
		return ctx.Err()
	}
	if fails {
		return errCut
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.took += float64(len(m.Body))
	l.lanes[m.Lane] += float64(len(m.Body))
	return nil
}

func (l *nastyLink) taken() float64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.took
}

// nasty is a link that is like first, and then like second.
type nasty struct {
	name          string
	first, second climate
	best          float64 // bytes a second that second lets through at the most; 0 for its rate
	window        int
	settles       time.Duration // two minutes if zero
}

func nastyLinks() []nasty {
	fast := climate{rate: 400e3, roundTrip: 100 * time.Millisecond}
	slow := climate{rate: 8e3, roundTrip: 100 * time.Millisecond}
	far := climate{rate: 125e3, roundTrip: 2 * time.Second}
	with := func(c climate, change func(c *climate)) climate { change(&c); return c }
	server := func(serial bool, service func(body int) time.Duration) func(c *climate) {
		return func(c *climate) { c.serial, c.service = serial, service }
	}
	fixed := func(d time.Duration) func(int) time.Duration { return func(int) time.Duration { return d } }
	large := func(n int) time.Duration {
		if n > 64<<10 {
			return 5 * time.Second
		}
		return 0
	}
	return []nasty{
		{name: "SlowerByFifty", first: fast, second: slow, settles: 6 * time.Minute}, // four bodies of 100 KB are on their way
		{name: "FasterByFifty", first: slow, second: fast},
		{name: "LongerTrip", first: fast, second: with(fast, func(c *climate) { c.roundTrip = 2 * time.Second })},
		{name: "ShorterTrip", first: with(fast, func(c *climate) { c.roundTrip = 2 * time.Second }), second: fast},
		{name: "AnotherLink", first: slow, second: far},
		{name: "Jitter", first: fast, second: with(fast, func(c *climate) { c.jitter = 300 * time.Millisecond })},
		{name: "FarAndJitter", first: far, second: with(far, func(c *climate) { c.jitter = 2 * time.Second })},
		{name: "FailuresOfTen", first: fast, second: with(fast, func(c *climate) { c.failures = .1 }), best: 400e3 * .9},
		{name: "FailuresOfThree", first: slow, second: with(slow, func(c *climate) { c.failures = .3 }), best: 8e3 * .7 * .85}, // headers take the rest
		{name: "OneAfterTheOther", first: fast, second: with(fast, server(true, fixed(100*time.Millisecond)))},
		{name: "ThoughtfulServer", first: fast, second: with(fast, server(false, fixed(2*time.Second)))},
		{name: "SlowForLarge", first: fast, second: with(fast, server(false, large))},
		{name: "OneLargeAfterTheOther", first: fast, second: with(fast, server(true, large)), settles: 5 * time.Minute},
		{name: "TwoAtOnce", first: slow, second: slow, window: 2},
	}
}

// On links that change, fail and think, seven tenths are used two minutes later,
// and what is new does not wait long.
func TestNastyLinksAreUsed(t *testing.T) {
	if underRace {
		t.Skip("a figure, and one that takes minutes with the race detector")
	}
	for _, c := range nastyLinks() {
		t.Run(c.name, func(t *testing.T) { c.sail(t, true) })
	}
}

// Without anything new on the way the estimates see bodies of one size only.
func TestNastyLinksAreUsedByABacklogAlone(t *testing.T) {
	if underRace {
		t.Skip("a figure, and one that takes minutes with the race detector")
	}
	oneByOne := climate{rate: 125e3, roundTrip: 100 * time.Millisecond, serial: true, service: func(int) time.Duration { return 500 * time.Millisecond }}
	for _, c := range append(nastyLinks(), nasty{name: "SlowOneAfterTheOther", first: oneByOne, second: oneByOne}) {
		t.Run(c.name, func(t *testing.T) { c.sail(t, false) })
	}
}

func (c nasty) sail(t *testing.T, live bool) {
	inVirtualTime(t, func(t *testing.T, s *sea) {
		link := &nastyLink{rng: rand.New(rand.NewPCG(1, 2)), climate: c.first}
		s.cfg.Window = c.window
		s.cfg.Backoff.Max, s.cfg.Backoff.Random = 15*time.Second, rand.New(rand.NewPCG(3, 4)).Int64N
		s.shore.answer = link.answer
		s.tank.sharing = true
		s.run(t)
		s.flood(time.Minute, reading.Bulk, c.first.rate, live)
		link.change(c.second)
		s.flood(cmp.Or(c.settles, 2*time.Minute), reading.Bulk, c.second.rate, live)
		before, length := link.taken(), 3*time.Minute
		s.flood(length, reading.Bulk, c.second.rate, live)
		best := c.best
		if best == 0 {
			best = c.second.rate
		}
		used := (link.taken() - before) / length.Seconds() / best
		behind := s.tank.lastOf(reading.Normal) - s.tank.ackedUpTo(reading.Normal)
		t.Logf("%.0f %% of what is possible; %d readings wait", 100*used, behind)
		if used < 0.7 {
			t.Errorf("%.0f %% of what is possible is used, want 70 %%", 100*used)
		}
		if behind > 120 && c.second.failures == 0 { // each failure may cost a backoff
			t.Errorf("%d new readings wait, which is %d seconds", behind, behind/4)
		}
	})
}

// flood keeps more in the lane than a link of so many bytes a second takes, for a
// while, and pours four normal readings a second beside it.
func (s *sea) flood(length time.Duration, lane reading.Lane, rate float64, live bool) {
	for end := time.Now().Add(length); time.Now().Before(end); {
		size := min(max(500, int(rate)/20), 4000)
		for held := s.tank.holds(lane); held < int(2*rate)+256<<10; held += size {
			s.tank.pourBytes(lane, size)
		}
		if live {
			s.tank.pour(reading.Normal, 4)
		}
		pass(time.Second)
	}
}

// holds is how many bytes of the lane were not given out yet.
func (k *tank) holds(lane reading.Lane) int {
	k.mu.Lock()
	defer k.mu.Unlock()
	n := 0
	for _, b := range k.blocks[lane] {
		n += len(b.Raw)
	}
	return n
}

// More that is new, or more alarms, than the link carries do not keep a backlog from
// its share.
func TestNothingStarves(t *testing.T) {
	for name, c := range map[string]struct {
		flood, other reading.Lane
		window       int
	}{
		"NewReadings":          {reading.Normal, reading.Bulk, 0},
		"NewReadingsOneByOne":  {reading.Normal, reading.Bulk, 1},
		"Alarms":               {reading.Alarm, reading.Bulk, 0},
		"AlarmsOneByOne":       {reading.Alarm, reading.Bulk, 1},
		"AlarmsBeforeReadings": {reading.Alarm, reading.Normal, 0},
	} {
		t.Run(name, func(t *testing.T) {
			inVirtualTime(t, func(t *testing.T, s *sea) {
				link := &nastyLink{climate: climate{rate: 16e3, roundTrip: 200 * time.Millisecond}, rng: rand.New(rand.NewPCG(1, 2))}
				s.shore.answer, s.cfg.Window, s.tank.sharing = link.answer, c.window, true
				for s.tank.holds(c.other) < 1<<20 {
					s.tank.pourBytes(c.other, 1000)
				}
				s.run(t)
				s.flood(2*time.Minute, c.flood, 16e3, false)
				all, part := link.taken(), link.lanes[c.other]
				t.Logf("%.1f %% of the link", 100*part/all)
				if part < all/20 {
					t.Errorf("%.1f %% of what was sent is of the lane %v, want a twentieth at least", 100*part/all, c.other)
				}
			})
		})
	}
}

// Hours of a few readings now and then say nothing of what the link carries.
func TestAQuietTimeDoesNotNarrowTheLink(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, s *sea) {
		link := &nastyLink{climate: climate{rate: 250e3, roundTrip: 600 * time.Millisecond}, rng: rand.New(rand.NewPCG(1, 2))}
		s.shore.answer = link.answer
		s.run(t)
		s.flood(30*time.Second, reading.Bulk, 250e3, false)
		pass(time.Minute)
		for range 600 {
			s.tank.pour(reading.Normal, 4)
			pass(10 * time.Second)
		}
		before := link.taken()
		s.flood(10*time.Second, reading.Bulk, 250e3, false)
		if used := (link.taken() - before) / 10 / 250e3; used < 0.8 {
			t.Errorf("%.0f %% of the link is used in the ten seconds after a quiet hour, want 80 %%", 100*used)
		}
	})
}

// Bodies of next to nothing, as of retained messages that are deleted, upset no
// estimate.
func TestPartsOfNothingAreSent(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, s *sea) {
		s.encoder = hollow{parts: true}
		for range 500 {
			s.tank.pour(reading.Normal, 40)
		}
		s.shore.answer = func(ctx context.Context, _ uplink.Message) error {
			time.Sleep(100 * time.Millisecond)
			return ctx.Err()
		}
		s.run(t)
		pass(10 * time.Minute)
		if n := s.tank.ackedUpTo(reading.Normal); n != 20_000 {
			t.Errorf("acked up to %d", n)
		}
	})
}

// What the encoding has no words for is acked without being sent.
func TestAMessageOfNothingIsNotSent(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, s *sea) {
		s.encoder = hollow{}
		for range 50 {
			s.tank.pour(reading.Normal, 40)
		}
		s.run(t)
		synctest.Wait()
		if n := s.tank.ackedUpTo(reading.Normal); n != 2000 {
			t.Errorf("acked up to %d, want 2000", n)
		}
		if n := len(s.shore.tried()); n != 0 {
			t.Errorf("%d empty messages were sent", n)
		}
	})
}

// hollow is an encoder that has no words, or only empty ones.
type hollow struct{ parts bool }

func (h hollow) ContentType() string { return "text/plain" }

func (h hollow) Encode(dst []byte, blocks []wire.Block, _ int) ([]byte, []uplink.Part, error) {
	parts := []uplink.Part{}
	for _, b := range blocks {
		for seq := b.First; h.parts && seq <= b.Last(); seq++ {
			parts = append(parts, uplink.Part{First: seq, Last: seq, Count: 1})
		}
	}
	return dst, parts, nil
}

package refine

import (
	"hash/maphash"
	"strings"
	"sync"

	"github.com/tidegate/tidegate/reading"
)

// Chain refines the readings of one door or route. It is safe for concurrent
// use.
type Chain struct {
	steps   []step
	max     int
	observe func(reading.Reading, Reason)
	seed    maphash.Seed

	mu         sync.Mutex
	known      map[key]*series
	all        []*series // the same, and hand is the next to be looked at when they are too many
	hand       int
	count      uint64 // of readings so far
	generation uint64 // of what is remembered
	stats      Stats
}

// New returns a chain that has seen nothing yet. The error names every step that
// makes no sense, and why.
func New(cfg Config) (*Chain, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	c := &Chain{max: cfg.MaxSeries, observe: cfg.Observe, seed: maphash.MakeSeed(), known: map[key]*series{}, generation: 1}
	if c.max == 0 {
		c.max = DefaultSeries
	}
	for _, s := range cfg.Steps {
		c.steps = append(c.steps, compile(s))
	}
	return c, nil
}

// Reason is why a reading was filtered.
type Reason uint8

// The reasons. Kept ones were not filtered.
const (
	Kept       Reason = iota
	Dropped           // a step says that they are not wanted
	OutOfRange        // a step says that such numbers are not wanted
	Unchanged         // within the deadband of the last one kept
	TooSoon           // within the minimal interval after the last one kept
)

// String returns the reason in a few words for people.
func (r Reason) String() string {
	switch r {
	case Kept:
		return "kept"
	case Dropped:
		return "dropped"
	case OutOfRange:
		return "out of range"
	case Unchanged:
		return "unchanged"
	case TooSoon:
		return "too soon"
	}
	return "unknown"
}

// Stats counts what a chain has done. Kept readings and those that were filtered,
// by reason, are all that came in.
type Stats struct {
	Kept, Dropped, OutOfRange, Unchanged, TooSoon uint64
	// Clamped and MarkedBad readings were out of range, and kept.
	Clamped, MarkedBad uint64
	// Raised and Cleared alarms. Announced is how many readings were added for
	// those, and for alarms that turned out to be normal.
	Raised, Cleared, Announced uint64
	// Late readings were kept for being older than others.
	Late uint64
	// SetBack counts how often the clock of a series was found to be set back.
	SetBack uint64
	// Untracked readings were neither filtered nor judged, although a step says
	// so, because there are too many series.
	Untracked uint64
	// Series is how many are remembered.
	Series int
}

// Filtered returns how many readings were filtered.
func (s Stats) Filtered() uint64 { return s.Dropped + s.OutOfRange + s.Unchanged + s.TooSoon }

// Add adds the counts of another chain.
func (s *Stats) Add(o Stats) {
	s.Kept += o.Kept
	s.Dropped += o.Dropped
	s.OutOfRange += o.OutOfRange
	s.Unchanged += o.Unchanged
	s.TooSoon += o.TooSoon
	s.Clamped += o.Clamped
	s.MarkedBad += o.MarkedBad
	s.Raised += o.Raised
	s.Cleared += o.Cleared
	s.Announced += o.Announced
	s.Late += o.Late
	s.SetBack += o.SetBack
	s.Untracked += o.Untracked
	s.Series += o.Series
}

// Stats returns the counts so far.
func (c *Chain) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stats.Series = len(c.all)
	return c.stats
}

// Unmatched returns the numbers, from 0, of the steps that no series has matched
// so far: a pattern may be wrong.
func (c *Chain) Unmatched() (steps []int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.steps {
		if !c.steps[i].matched {
			steps = append(steps, i)
		}
	}
	return steps
}

// Forget makes the next reading of every series be kept, and alarms be raised
// again: what was kept before may not have been stored.
func (c *Chain) Forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.generation++
}

// Refine lets dst[first:] go through the chain, in place, and returns dst: without
// the readings that are filtered, and with those of alarms at its end. now is the
// time of readings that have none, in nanoseconds since the Unix epoch; their
// Time stays as it is. It allocates nothing for series that it knows, unless dst
// has no room for an alarm.
func (c *Chain) Refine(dst []reading.Reading, first int, now int64) []reading.Reading {
	c.mu.Lock()
	defer c.mu.Unlock()
	kept, end := first, len(dst)
	for i := first; i < end; i++ {
		why, news := c.refine(&dst[i], now)
		if why != Kept {
			c.filtered(&dst[i], why)
			continue
		}
		c.stats.Kept++
		if news.level != unknown {
			dst = append(dst, news.announce(&dst[i]))
			c.stats.Announced++
		}
		if kept < i {
			dst[kept] = dst[i]
		}
		kept++
	}
	if first >= end {
		return dst
	}
	kept += copy(dst[kept:], dst[end:])
	clear(dst[kept:]) // let go of the texts
	return dst[:kept]
}

func (c *Chain) filtered(r *reading.Reading, why Reason) {
	switch why {
	case Dropped:
		c.stats.Dropped++
	case OutOfRange:
		c.stats.OutOfRange++
	case Unchanged:
		c.stats.Unchanged++
	case TooSoon:
		c.stats.TooSoon++
	}
	if c.observe != nil {
		c.observe(*r, why)
	}
}

// refine changes a reading and says whether it is to be filtered, and what there is
// to tell of an alarm.
func (c *Chain) refine(r *reading.Reading, now int64) (why Reason, news turn) {
	c.count++
	s := c.find(r)
	if s == nil {
		p := c.plan(r.Device, r.Metric)
		if p.filter != nil || p.alarm != nil {
			c.stats.Untracked++
		}
		return p.change(r, &c.stats), turn{}
	}
	s.used = c.count
	if why = s.plan.change(r, &c.stats); why != Kept || s.plan.filter == nil && s.plan.alarm == nil {
		return why, turn{}
	}
	if r.Value.Kind() == reading.KindBytes { // says nothing of the series
		return Kept, turn{}
	}
	if s.generation != c.generation {
		// The course goes on: what is sent again must not stand for anything
		// after what was newer, and may have been stored.
		s.generation, s.kept, s.watch = c.generation, kept{}, watch{}
		s.again = again{until: s.course.newest}
	}
	if r.Flags&reading.Historical != 0 {
		c.stats.Late++
		return Kept, turn{}
	}
	return c.follow(s, r, timeOf(r, now), now)
}

// follow takes a reading of time t into account for what comes after it.
func (c *Chain) follow(s *series, r *reading.Reading, t, now int64) (why Reason, news turn) {
	still := s.course.known && t == s.course.newest
	at := s.course.place(t, now)
	if at == setBack {
		s.kept.known = s.kept.known && t >= s.kept.time
		s.watch.pending, s.again = unknown, again{}
		c.stats.SetBack++
	}
	if w := s.watchOf(at, t); w != nil && c.judge(s, w, r, t) {
		news = turn{s.plan.alarms, w.level}
	}
	if at == older && (!s.kept.known || t < s.kept.time) {
		c.stats.Late++
		return Kept, news
	}
	if f := s.plan.filter; f != nil {
		if news.level == unknown {
			why = f.judge(&s.kept, r, t, now, still, c.seed)
		}
		if why == Kept {
			s.kept.keep(r, t, now, c.seed)
		}
	}
	return why, news
}

// judge reports whether there is news of the series' alarm, and if so makes the
// reading urgent that brings it.
func (c *Chain) judge(s *series, w *watch, r *reading.Reading, t int64) (news bool) {
	before := w.level
	switch s.plan.alarm.judge(w, r, t) {
	case nothing:
		return false
	case confirmed:
		return w == &s.watch // it says how it is, not how it was
	case raised:
		c.stats.Raised++
		if before > normal { // from one into the other
			c.stats.Cleared++
		}
		r.Lane = reading.Alarm
	case cleared:
		c.stats.Cleared++
		r.Lane = reading.Alarm
	}
	return true
}

// watchOf returns the watch that judges a reading; nil if none does.
func (s *series) watchOf(at order, t int64) *watch {
	switch {
	case s.plan.alarm == nil:
		return nil
	case at != older:
		return &s.watch
	case t > s.again.until || t < s.again.newest:
		return nil
	}
	s.again.newest = t
	return &s.again.watch
}

// turn is what there is to tell of an alarm: nothing if its level is unknown.
type turn struct {
	metric string
	level  level
}

// announce returns the reading that tells of it, which the other has brought.
func (n turn) announce(r *reading.Reading) reading.Reading {
	return reading.Reading{
		Device: r.Device, Metric: n.metric, Time: r.Time, Flags: r.Flags, Lane: reading.Alarm,
		Value: reading.String(n.level.String()),
	}
}

const (
	// maxName is how long the names of a series may be, together, for it to be
	// remembered, in bytes.
	maxName = 512
	// idle is how many readings for each series that is remembered have come in
	// since one that makes room was seen.
	idle = 64
	// looks is how many series are looked at for one that makes room.
	looks = 8
)

// find returns what is remembered of a reading's series; nil if there is no room
// for that.
func (c *Chain) find(r *reading.Reading) *series {
	k := key{r.Device, r.Metric, r.Unit}
	if s := c.known[k]; s != nil {
		return s
	}
	if len(k.device)+len(k.metric)+len(k.unit) > maxName {
		return nil
	}
	at := len(c.all)
	if at < c.max {
		c.all = append(c.all, nil)
	} else if at = c.vacant(); at < 0 {
		return nil
	} else {
		delete(c.known, c.all[at].key)
	}
	k = key{strings.Clone(k.device), strings.Clone(k.metric), strings.Clone(k.unit)}
	s := &series{key: k, plan: c.plan(k.device, k.metric)}
	c.known[k], c.all[at] = s, s
	return s
}

// vacant looks for a series that was not seen for long; -1 if it found none.
func (c *Chain) vacant() int {
	for range min(looks, c.max) {
		at := c.hand
		c.hand = (c.hand + 1) % c.max
		if c.count-c.all[at].used > idle*uint64(c.max) {
			return at
		}
	}
	return -1
}

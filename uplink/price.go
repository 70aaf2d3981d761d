package uplink

import "time"

// price notices that a message costs time whatever its size, as with a server that
// does one after the other. Smaller bodies then make the rate smaller, and that the
// bodies, until next to nothing comes through. It looks at cycles of rateRounds
// rounds. When much less comes through than once did in larger bodies, or a body takes
// much longer than it is meant to, it tries larger ones for a cycle. They stay if that pays, and are larger still in the next;
// otherwise the link is slower, and that is what it carries.
type price struct {
	least  int // bytes of a body that is worth it; 0 for no matter
	most   int // bytes of a body that is not much too slow; 0 for any number
	mostAt time.Time
	before int // least before the trial
	on     bool
	alone  cycle // without the trial
	rest   int   // cycles until the next trial
	misses int   // trials that brought nothing

	strange bool // in the last cycle, a body took much longer than it is meant to

	best cycle // of which more came through

	// Of the cycle.
	delivered int // when it began
	since     time.Time
	messages  int     // that have arrived since
	squares   float64 // of their sizes
	idle      int     // rounds that say nothing
}

// cycle is what came through in rateRounds rounds: bytes and messages a second. The
// usual byte was in a body of so many bytes: small messages of new readings do not
// count for much. The zero value says nothing.
type cycle struct{ rate, body float64 }

const (
	// settling is how many rounds of a cycle pass before it counts: bodies of
	// before are still under way.
	settling = 2
	// mostIdle is how many rounds of a cycle may say nothing.
	mostIdle = 3
	// mostRest is how many cycles pass between trials that bring nothing.
	mostRest = 32
	// lasting is how many cycles pass until what was found is doubted.
	lasting = 16
	// pays is what larger bodies must bring.
	pays = 1.25
	// muchLess is what a trial needs for a reason.
	muchLess = 0.6
	// muchMore than the usual time of a body is four fifths of a round trip: a server
	// that does one after the other takes most of it. Less is what blocks that cannot
	// be cut take of a thin link, on which a trial is only in the way of new readings.
	muchMore = 2
	// leap is how much larger bodies are in a trial at the most.
	leap = 4
)

// arrived notes a message.
func (c *price) arrived(body int) {
	c.messages++
	c.squares += float64(body) * float64(body)
}

// round notes a round. One in which little was sent says nothing.
func (c *price) round(idle bool) {
	if idle {
		c.idle++
	}
	if c.idle >= rateRounds && c.on {
		c.least, c.on = c.before, false
	}
}

// tooSlow notes a body that took much longer than smaller ones let expect.
func (c *price) tooSlow(body int, now time.Time) {
	c.least, c.on, c.most, c.mostAt = 0, false, max(body/2, leastBody), now
}

// bound applies what was found to the size of a body.
func (c *price) bound(body float64) float64 {
	switch {
	case c.least > 0:
		return max(body, float64(c.least))
	case c.most > 0:
		return min(body, float64(c.most))
	}
	return body
}

// lookAtPrice follows the full rounds.
func (p *pipe) lookAtPrice() {
	c := &p.price
	switch p.full % rateRounds {
	case settling:
		c.delivered, c.since, c.messages, c.squares, c.idle = p.delivered, p.latest, 0, 0, 0
	case 0:
		c.judge(p.cycle(), p.usual())
		if c.most > 0 && p.latest.Sub(c.mostAt) > tripAge { // it may have been an accident
			c.most, c.mostAt = min(c.most+c.most/16, mostWindow), p.latest
		}
	}
}

// cycle is what the rounds since settling say.
func (p *pipe) cycle() cycle {
	c := &p.price
	span := p.latest.Sub(c.since)
	if p.easing > 0 || c.since.IsZero() || c.idle > mostIdle || span <= 0 || c.messages == 0 {
		return cycle{}
	}
	bytes := max(float64(p.delivered-c.delivered), 1)
	return cycle{bytes / span.Seconds(), c.squares / bytes}
}

// judge ends a trial, and begins the next one. usual is how many seconds a body is
// meant to take.
func (c *price) judge(now cycle, usual float64) {
	doubted := c.on && c.least == 0
	strange := now.body > 1.5*leastBody && now.body > muchMore*usual*now.rate && now.body < slow.Seconds()*now.rate
	switch {
	case now.body == 0:
		if c.on {
			c.least, c.on = c.before, false
		}
		return
	case doubted:
		c.on = false
		if now.rate < c.alone.rate*0.9 {
			c.least, c.rest = c.before, lasting
		}
	case c.on && now.rate > c.alone.rate*pays:
		c.misses = 0
		c.try(now, 2*now.body)
	case c.on && now.body < c.alone.body*pays && bearable(now) > c.least: // blocks cannot be cut: nothing was tried yet
		c.least = min(2*c.least, bearable(now))
	case c.on && c.before > 0: // large enough
		c.on, c.least, c.rest = false, c.before, lasting
	case c.on:
		c.on, c.least, c.best = false, 0, now
		c.misses++
		c.rest = min(1<<min(c.misses, 8), mostRest)
	case c.rest > 0:
		c.rest--
	case c.least > 0:
		c.try(now, 0)
	case now.rate < c.best.rate*muchLess && now.body < c.best.body*muchLess:
		c.try(now, min(c.best.body, leap*now.body))
	case c.strange && strange:
		c.try(now, 2*now.body)
	}
	c.strange = strange
	if now.rate > c.best.rate*0.9 {
		c.best = now
	}
}

// try begins a trial, of bodies that are not slow whatever comes of it.
func (c *price) try(now cycle, body float64) {
	c.before, c.least, c.alone, c.on = c.least, min(int(body), bearable(now)), now, true
}

// bearable is the largest body that is not slow.
func bearable(now cycle) int { return int(min(slow.Seconds()*now.rate, mostWindow)) }

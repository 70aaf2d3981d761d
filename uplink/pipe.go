package uplink

import (
	"slices"
	"time"
)

// pipe is what is known of the way to the other side: how many bytes a second
// come through and how long one message takes at the least. Their product is what
// must be under way for the link to be full; more only waits in queues, and
// whatever is urgent waits behind it. The estimates are those of BBR (Cardwell et
// al., "BBR: Congestion-Based Congestion Control", ACM Queue 14/5, 2016), by
// messages instead of packets: the largest rate of the last rounds, the shortest
// time of the last minute.
type pipe struct {
	most int // messages under way

	// Of the link so far.
	delivered int       // bytes of bodies that have arrived
	latest    time.Time // when the latest of them was acknowledged
	flight    int       // bytes of bodies that are under way

	past []arrival // the latest

	rates   [rateRounds]float64 // bytes a second; the largest of each full round
	full    int                 // rounds in which the link had all that it may have
	round   int                 // rounds
	roundAt int                 // delivered when the round ends
	swift   bool                // in this round, something took as long as was to be expected
	busy    bool                // in this round, the link had all that it may have

	trip     time.Duration // the shortest time of a message; 0 unknown
	tripBody int           // how large that message was
	tripAt   time.Time
	easing   int // the round until which little is sent, to see the trip without a queue; 0 for no

	lump  int       // how large bodies are of late; blocks of a backlog cannot be cut
	clear time.Time // when the link has carried what is under way, if it began at once

	rising  bool // nobody knows yet how wide the link is
	window  int  // bytes that may be under way, while rising
	plateau int  // rounds without a larger rate
	highest float64

	price price
}

const (
	// rateRounds is how many round trips a rate counts for. A round begins when
	// something arrives that was sent after the last one began.
	rateRounds = 10
	// tripAge is how long the shortest time counts.
	tripAge = time.Minute
	// leastWindow is under way on any link: two messages of the least size.
	leastWindow = 2 * leastBody
	// mostWindow bounds the memory that bodies under way take.
	mostWindow = 4 << 20
	// slow is a time that no message should take.
	slow = 4 * time.Second
	// riseGain is how much more than the link has been seen to carry is under way
	// while it rises: as much as is needed to double the rate in each round.
	riseGain = 3
	// mostPast is how many arrivals are remembered, some more than are under way.
	mostPast = 64
	// probeRound is the round, of every rateRounds, that tries a little more.
	probeRound = 3
	// growth of the rate, from the rounds before to one, makes it rise anew.
	growth = 1.15
)

// newPipe returns what is known of a link at first: nothing. So many messages are
// under way at the most, whose bodies have so many bytes at the most.
func newPipe(messages, bytes int) pipe {
	return pipe{most: messages, rising: true, window: min(firstWindow, max(4*bytes, leastWindow))}
}

// restart begins to look anew: the link may be another one. What it carried
// before is a first guess. Without one it is taken for a thin link, on which a
// window that is too large would be in the way of new readings for long; one that
// is too small costs a wide link two round trips. The body that has shown that it
// is up took so long.
func (p *pipe) restart(body int, took time.Duration, now time.Time) {
	guess := firstWindow / 2
	if !p.rising {
		guess = min(max(p.limit(), leastWindow), firstWindow)
	}
	*p = pipe{most: p.most, rising: true, window: guess, delivered: p.delivered, roundAt: p.delivered, latest: p.latest, flight: p.flight}
	p.time(body, took, now)
}

// narrow forgets the larger rates of before: the link has become much slower.
func (p *pipe) narrow(rate float64) {
	p.rates, p.rising = [rateRounds]float64{}, false
	p.rates[p.full%rateRounds] = rate
	p.roundAt = p.delivered
}

// arrival is a message that was acknowledged.
type arrival struct {
	at   time.Time
	took time.Duration
}

// sample is what is noted of a message when it is sent.
type sample struct {
	delivered int           // before it
	since     time.Time     // from when on the delivery counts
	expected  time.Duration // that it takes; 0 unknown
	idle      bool          // the link could have carried more
}

// sent notes that a body is under way, as one of so many.
func (p *pipe) sent(body, messages int, now time.Time) sample {
	s := sample{delivered: p.delivered, since: p.latest, idle: p.flight+body+max(body, p.share()) < p.limit() && messages < p.most}
	if p.flight == 0 || p.latest.IsZero() {
		s.since = now
	}
	p.flight += body
	p.lump = max(body, p.lump*7/8)
	p.pace(body, now)
	if rate := p.rate(); rate > 0 {
		s.expected = p.trip + time.Duration(float64(p.flight)/rate*float64(time.Second))
	}
	return s
}

// pace notes that the link is busy with a body for a while. Bodies that begin one
// after the other leave one after the other, also on connections of their own:
// those that begin together arrive together, and the link is empty then for as long
// as their answers and the next bodies take.
func (p *pipe) pace(body int, now time.Time) {
	if p.clear.Before(now) {
		p.clear = now
	}
	if rate := p.rate(); rate > 0 && !p.rising {
		p.clear = p.clear.Add(time.Duration(float64(body) / (rate * p.gain()) * float64(time.Second)))
	}
}

// gain is how much of the rate is made use of.
func (p *pipe) gain() float64 {
	switch {
	case p.easing > 0:
		return 0.5
	case p.full%rateRounds == probeRound:
		return 1.2
	}
	return 1.05
}

// lost notes that a body is not under way any more, and has not arrived.
func (p *pipe) lost(body int) { p.flight -= body }

// arrived notes that a body was acknowledged, so long after it was sent.
func (p *pipe) arrived(body int, s sample, took time.Duration, now time.Time) {
	p.flight -= body
	p.delivered += body
	p.latest = now
	p.price.arrived(body)
	p.time(body, took, now)
	span := max(now.Sub(s.since), took, time.Microsecond)
	rate := float64(p.delivered-s.delivered) / span.Seconds()
	if p.isCoarse(took, now) {
		rate = 0
	}
	alone := p.trip + time.Duration(float64(body)/max(rate, p.rate(), 1)*float64(time.Second))
	if took > 2*alone {
		p.rising = false // it has waited in a queue of our own
	}
	p.swift = p.swift || took <= 2*s.expected
	if took > slow && took > 4*s.expected && s.expected > 0 {
		if 2*body > p.share() { // small ones waited behind others
			p.price.tooSlow(body, now)
		}
		p.narrow(rate)
	}
	p.busy = p.busy || !s.idle
	if s.delivered >= p.roundAt {
		p.nextRound(!p.busy)
	}
	p.past = append(p.past[max(0, len(p.past)-mostPast):], arrival{now, took})
	if at := &p.rates[p.full%rateRounds]; rate > *at && (!s.idle || rate > p.rate()) {
		*at = rate
	}
}

// isCoarse reports whether a message has come through while others have arrived
// that took much longer: they count as if the link had carried all of them since
// it was sent.
func (p *pipe) isCoarse(took time.Duration, now time.Time) bool {
	return slices.ContainsFunc(p.past, func(a arrival) bool { return now.Sub(a.at) < took && a.took > took*3/2 })
}

// time keeps the shortest time of the last minute. When there was no shorter one
// for a minute, or when all of a round took much longer, less under way for a round
// trip shows whether what made them longer is a queue of our own.
func (p *pipe) time(body int, took time.Duration, now time.Time) {
	switch {
	case p.trip == 0 || took <= p.trip:
		p.trip, p.tripBody, p.tripAt, p.easing = max(took, time.Microsecond), body, now, 0
	case p.easing == 0 && now.Sub(p.tripAt) > tripAge:
		p.easing = p.round + 2
	case p.easing > 0 && p.round >= p.easing:
		p.trip, p.tripBody, p.tripAt, p.easing = took, body, now, 0
	}
}

// nextRound begins a round trip. One in which little was sent says nothing of what
// the link carries: what it carried before still counts.
func (p *pipe) nextRound(idle bool) {
	p.roundAt = p.delivered
	p.round++
	if !p.swift && p.easing == 0 && p.rate() > 0 {
		p.easing = p.round + 2
	}
	p.rise(idle)
	p.swift, p.busy = false, false
	p.price.round(idle)
	if idle {
		return
	}
	p.full++
	p.rates[p.full%rateRounds] = 0
	p.lookAtPrice()
}

// rise doubles what may be under way for as long as the rate grows with it, and
// ends when three rounds have brought nothing, or when messages wait in a queue. It
// begins anew when a round has brought more than those before: there may be a lot
// more.
func (p *pipe) rise(idle bool) {
	rate := p.rate()
	if !p.rising {
		was := p.before()
		if idle || was == 0 || rate < was*growth || p.easing > 0 {
			return
		}
		p.window = p.limit()
		p.rising, p.highest, p.plateau = true, rate, 0
		return
	}
	switch {
	case rate > p.highest*1.25:
		p.highest, p.plateau = rate, 0
		p.window = min(max(p.window, int(riseGain*p.carried())), mostWindow)
	case !idle:
		p.plateau++
		p.rising = p.plateau < 3
	}
}

// before is the rate of the rounds before this one.
func (p *pipe) before() float64 {
	most := 0.0
	for i, r := range p.rates {
		if i != p.full%rateRounds {
			most = max(most, r)
		}
	}
	return most
}

// recent is the rate of this round, or of the one before while this one is young.
func (p *pipe) recent() float64 {
	return max(p.rates[p.full%rateRounds], p.rates[(p.full+rateRounds-1)%rateRounds])
}

// rate is how many bytes a second the link carries; 0 unknown.
func (p *pipe) rate() float64 { return max(p.before(), p.rates[p.full%rateRounds]) }

// limit is how many bytes may be under way.
func (p *pipe) limit() int {
	if p.rising {
		return p.window
	}
	full := p.carried() + float64(max(p.share(), p.lump, leastBody))
	if p.easing > 0 {
		full = min(full/2, p.recent()*p.trip.Seconds())
	} else {
		full *= p.gain()
	}
	return int(min(max(full, leastWindow), mostWindow))
}

// carried is how many bytes the link has room for, from the one side to the other
// and back. The shortest time has that of its own body in it, which does not count.
func (p *pipe) carried() float64 {
	return max(p.rate()*p.trip.Seconds()-float64(p.tripBody), 0)
}

// share is how large a body should be: what the link carries in two fifths of a
// round trip. Four of them are under way then, three of which fill the link, so
// that it is full whatever the answers do, and what is new waits for two at most.
// Where another size carries more, it is that.
func (p *pipe) share() int {
	if p.rising {
		return int(p.price.bound(float64(p.window / 4)))
	}
	rate, trip := p.rate(), p.trip.Seconds()
	share := p.price.bound(rate * p.usual())
	return int(min(max(share, 2*rate*trip/float64(max(p.most, 1))), mostWindow))
}

// usual is how many seconds of the link a body is meant to take.
func (p *pipe) usual() float64 { return min(max(p.trip*2/5, shortest), longest).Seconds() }

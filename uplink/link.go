package uplink

import (
	"time"

	"github.com/tidegate/tidegate/internal/backoff"
)

// maxRetryAfter bounds the delay that a remote side may ask for: one that says
// "next year" must not silence a gateway.
const maxRetryAfter = time.Hour

// link is whether the sink can be reached, and when to try again if not.
type link struct {
	backoff backoff.Backoff
	down    bool
	since   time.Time        // when down changed; zero before the first outage
	hold    <-chan time.Time // fires when the next try is due; nil if it is
	until   time.Time        // when hold fires
	asked   bool             // the remote side named the delay
	person  bool             // or rather a person has to do something, and may have
	slow    bool             // a message ran out of time: more of them would make it worse
}

func (l *link) held() bool { return l.hold != nil }

// fail notes a failure. Several messages that fail together are one failure; a
// delay that the remote side asks for counts in any case.
func (l *link) fail(err error) {
	if !l.down {
		l.down, l.since = true, time.Now()
	}
	delay, asked := RetryDelay(err)
	l.person = IsMisconfigured(err)
	switch {
	case asked && delay > 0:
		l.holdFor(min(delay, maxRetryAfter), true)
	case !l.held():
		l.holdFor(l.backoff.Next(), false)
	}
}

func (l *link) holdFor(d time.Duration, asked bool) {
	l.asked = l.asked || asked
	until := time.Now().Add(d)
	if l.held() && until.Before(l.until) {
		return
	}
	l.hold, l.until = time.After(d), until
}

// release ends the waiting: the next try is due.
func (l *link) release() { l.hold, l.asked = nil, false }

// wake ends the waiting early because the link has come up, but not a waiting
// that the remote side asked for.
func (l *link) wake() {
	if l.held() && !l.asked {
		l.backoff.Reset()
		l.release()
	}
}

// tryNow ends the waiting because somebody wants to know, but not a waiting that
// the remote side asked for.
func (l *link) tryNow() {
	if l.held() && (!l.asked || l.person) {
		l.backoff.Reset()
		l.release()
	}
}

// up ends the outage and returns how long it was. well says that something was sent
// and has arrived since: until then the next delay grows from the last one.
func (l *link) up(well bool) time.Duration {
	outage := time.Since(l.since)
	l.down, l.slow, l.since = false, false, time.Now()
	l.release()
	if well {
		l.backoff.Reset()
	}
	return outage
}

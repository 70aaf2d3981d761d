package buffer

import "time"

// governor decides when a group may be committed. A commit costs flash whatever
// it holds, so the rate of commits is what wears a card out: a token bucket of
// bytes pays for them.
//
// The bucket holds an hour's share of the day's budget and refills with the
// rest over 24 hours, so that no day, however it begins, spends more than its
// budget. When it is empty, groups wait for it; at the most maxDelay, because a
// sensor waits for its acknowledgement. What the delay then forces is debt, is
// reported, and is paid back first.
type governor struct {
	perDay   int64 // bytes; 0 means that flash is free
	maxDelay time.Duration
	tokens   float64
	at       time.Time // when tokens was right
}

const (
	// burstShare is the part of a day's budget that may be spent at once.
	burstShare = 24
	// overdraft is what the last commit before the bucket was empty may have
	// taken too much.
	overdraft = 1 << 20
)

func newGovernor(perDay int64, maxDelay time.Duration, now time.Time) governor {
	return governor{perDay: perDay, maxDelay: maxDelay, tokens: float64(perDay / burstShare), at: now}
}

// due returns when a group whose first reading came at born may be committed:
// now or earlier when there are tokens.
func (g *governor) due(now, born time.Time) time.Time {
	if g.perDay == 0 {
		return born
	}
	g.refill(now)
	if g.tokens > 0 {
		return born
	}
	latest := born.Add(g.maxDelay)
	funded := now.Add(time.Duration(-g.tokens / g.rate() * float64(time.Second)))
	if funded.Before(latest) {
		return funded
	}
	return latest
}

// spend takes the bytes of a commit out of the bucket. Debt is bounded by a
// day's budget, so that one bad day is not paid for for ever.
func (g *governor) spend(now time.Time, bytes int64) {
	if g.perDay == 0 {
		return
	}
	g.refill(now)
	g.tokens = max(g.tokens-float64(bytes), -float64(g.perDay))
}

// inDebt reports whether the delay had to force commits that the budget would
// have refused.
func (g *governor) inDebt() bool { return g.perDay > 0 && g.tokens < -float64(g.perDay)/(24*60) }

func (g *governor) refill(now time.Time) {
	if d := now.Sub(g.at); d > 0 {
		g.tokens = min(g.tokens+d.Seconds()*g.rate(), float64(g.perDay/burstShare))
		g.at = now
	}
}

// tokens returns what commits may spend at once by now.
func (c *counters) tokens(now time.Time) int64 {
	g := *c.governor.Load()
	g.refill(now)
	return int64(g.tokens)
}

// rate is the refill in bytes a second.
func (g *governor) rate() float64 {
	rest := g.perDay - g.perDay/burstShare
	return float64(max(rest-overdraft, rest/2)) / (24 * 60 * 60)
}

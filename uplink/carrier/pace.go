package carrier

import (
	"sync"
	"time"
)

// pace spreads bytes over time. All connections of a link share one: each asks
// for the time at which its next chunk may go, so they take turns, and an alarm
// on a connection of its own waits for one chunk of each of the others.
type pace struct {
	rate int64 // bytes per second, 0 for any number

	mu   sync.Mutex
	next time.Time // when what was promised before has gone
}

// reserve promises a time to n bytes, and returns how long it is until then.
func (p *pace) reserve(n int64, now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.next.Before(now) {
		p.next = now
	}
	wait := p.next.Sub(now)
	p.next = p.next.Add(p.takes(n))
	return wait
}

// giveBack takes a promise back of which no use was made.
func (p *pace) giveBack(n int64) {
	p.mu.Lock()
	p.next = p.next.Add(-p.takes(n))
	p.mu.Unlock()
}

func (p *pace) takes(n int64) time.Duration {
	return time.Duration(float64(n) / float64(p.rate) * float64(time.Second))
}

// chunk is how many bytes of payload go at once, of segments of mss bytes: what
// takes a twentieth of a second, and at least a full segment. Shorter ones would
// cost more headers than they save time.
func (p *pace) chunk(mss int64) int64 {
	mss = max(mss, 1)
	return max(1, p.rate/20/mss) * mss
}

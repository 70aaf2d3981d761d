package command

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// Narrow is what one courier may do, beside what the Desk allows all of them.
type Narrow struct {
	// Allow are topics, as filters; nil for all that the Desk allows.
	Allow []string
	// Trusted says that its letters need no signature: the gateway itself knows who
	// gives them, and nobody in between could change one.
	Trusted bool
}

// Clerk is who a courier deals with. It is safe for concurrent use.
type Clerk struct {
	desk   *Desk
	name   string
	narrow Narrow
	pace   *pace
	untold atomic.Uint64

	mu     sync.Mutex
	about  string // what the courier is connected to; empty while it is not
	since  time.Time
	fault  string
	outbox []Answer
	first  uint64        // number of the first in the outbox
	more   chan struct{} // holds one: the outbox is not empty
}

// maxOutbox bounds the answers that wait for a courier. The oldest are dropped;
// the audit has them all.
const maxOutbox = 256

// Name names the courier.
func (c *Clerk) Name() string { return c.name }

// Up is said by the courier when commands can reach it; about describes the other
// side.
func (c *Clerk) Up(about string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.about, c.fault, c.since = about, "", time.Now()
}

// Down is said by whoever runs the courier, when it has returned. It reports
// whether the error is another one than the last time.
func (c *Clerk) Down(err error) (news bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.about != "" || c.since.IsZero() {
		c.since = time.Now()
	}
	last := c.fault
	c.about, c.fault = "", ""
	if err != nil {
		c.fault = err.Error()
	}
	return c.fault != last
}

// Link says whether commands can come, since when, and why not.
func (c *Clerk) Link() (about, fault string, since time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.about, c.fault, c.since
}

// Decide says what becomes of a letter, when that is on flash. An error means that
// it was not decided: the courier must not acknowledge it, and bring it again. It
// waits while more commands come than Config.Rate allows, and for custody.
func (c *Clerk) Decide(ctx context.Context, l Letter) (Answer, error) {
	select {
	case <-c.desk.loaded:
	case <-ctx.Done():
		return Answer{}, ctx.Err()
	}
	if err := c.pace.wait(ctx); err != nil {
		return Answer{}, err
	}
	return c.desk.decide(ctx, c, l)
}

// tell puts a late answer into the outbox.
func (c *Clerk) tell(a Answer) {
	c.mu.Lock()
	c.outbox = append(c.outbox, a)
	if len(c.outbox) > maxOutbox {
		c.outbox = c.outbox[1:]
		c.first++
		c.untold.Add(1)
	}
	c.mu.Unlock()
	select {
	case c.more <- struct{}{}:
	default:
	}
}

// More receives when the outbox may hold answers.
func (c *Clerk) More() <-chan struct{} { return c.more }

// Outbox returns the late answers that have not been told, the oldest first, and
// the number of the last for Told. Those that Decide returns are not among them.
func (c *Clerk) Outbox() (answers []Answer, last uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]Answer(nil), c.outbox...), c.first + uint64(len(c.outbox))
}

// Told takes answers out of the outbox: those up to a number that Outbox has
// returned. The other side has them.
func (c *Clerk) Told(last uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if last <= c.first {
		return
	}
	n := min(last-c.first, uint64(len(c.outbox)))
	c.outbox = append([]Answer(nil), c.outbox[n:]...)
	c.first += n
}

// pace lets so many commands through a minute, and as many at once after a quiet
// minute.
type pace struct {
	mu     sync.Mutex
	rate   float64 // a second
	burst  float64
	tokens float64
	last   time.Time
}

func newPace(perMinute int) *pace {
	return &pace{rate: float64(perMinute) / 60, burst: float64(perMinute), tokens: float64(perMinute)}
}

// wait waits for its turn.
func (p *pace) wait(ctx context.Context) error {
	for {
		d := p.take(time.Now())
		if d == 0 {
			return nil
		}
		timer := time.NewTimer(d)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		}
	}
}

// take takes a token, or says how long there will be none.
func (p *pace) take(now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.last.IsZero() {
		p.tokens = min(p.burst, p.tokens+now.Sub(p.last).Seconds()*p.rate)
	}
	p.last = now
	if p.tokens >= 1 {
		p.tokens--
		return 0
	}
	return time.Duration((1-p.tokens)/p.rate*float64(time.Second)) + time.Millisecond
}

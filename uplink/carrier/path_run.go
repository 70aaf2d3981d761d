package carrier

import (
	"context"
	"time"
)

// lostCarrier is how long an interface may be down until another link takes over
// without being asked to: cables that are re-plugged and modems that change their
// cell are back by then, and connections survive it. A Dial does not wait.
const lostCarrier = 2 * time.Second

// silence is how long nothing has passed on a connection that nobody waits for any
// more: an answer that takes longer is rare, and is asked for again.
const silence = 5 * time.Second

// outcome is how a probe ended.
type outcome struct {
	leg int
	err error
}

// Run goes back to better links when they work again, leaves links that are
// closed, and tells when the Permit changes, until ctx ends.
func (p *Path) Run(ctx context.Context) error {
	ended := make(chan outcome, 1)
	probing := false
	defer func() {
		if probing {
			<-ended
		}
	}()
	for {
		again, probe := p.review(probing)
		if probe >= 0 {
			probing = true
			go func() { ended <- outcome{probe, p.probe(ctx, probe)} }()
		}
		var due <-chan time.Time
		if again > 0 {
			due = time.After(again)
		}
		select {
		case <-ctx.Done():
			return nil
		case o := <-ended:
			probing = false
			if ctx.Err() == nil {
				p.learn(o)
			}
		case <-p.wake:
		case <-due:
		}
	}
}

// review changes the link if it has to, and returns when to look again, zero for
// when something happens, and which leg to probe now, negative for none.
func (p *Path) review(probing bool) (again time.Duration, probe int) {
	p.mu.Lock()
	p.refresh()
	now := time.Now()
	soon := func(d time.Duration) {
		if d = max(d, time.Millisecond); again == 0 || d < again {
			again = d
		}
	}
	if here := p.legs[p.present]; !here.usable {
		if left := lostCarrier - now.Sub(here.turned); here.lost && left > 0 {
			soon(left)
		} else if i := p.spare(now, soon); i >= 0 {
			p.move(i)
		}
	}
	probe = -1
	if !probing {
		probe = p.comeBack(now, soon)
	}
	leaving := p.leaving(now, soon)
	p.announce()
	p.mu.Unlock()
	for _, c := range leaving {
		c.Close()
	}
	return again, probe
}

// comeBack returns which of the better legs to probe now, negative for none. soon
// is told when that may change.
func (p *Path) comeBack(now time.Time, soon func(time.Duration)) int {
	for i, g := range p.legs[:p.present] {
		due := g.until
		if p.address == "" { // nothing was ever dialled that a probe could dial
			due = g.turned.Add(g.hold)
		}
		switch {
		case !g.usable:
		case now.Before(due):
			soon(due.Sub(now))
		case p.address == "":
			p.move(i)
			return -1
		default:
			return i
		}
	}
	return -1
}

// best returns the first leg that can be used and is not known to fail; negative
// if there is none.
func (p *Path) best() int {
	for i, g := range p.legs {
		if g.usable && g.failed == nil {
			return i
		}
	}
	return -1
}

// spare returns the leg that takes over from one that is closed; negative if there
// is none. It is one that has failed if there is no other, when its pause is over:
// over one that is closed nobody dials, and nobody would see that the other works
// again. soon is told when that is.
func (p *Path) spare(now time.Time, soon func(time.Duration)) int {
	if i := p.best(); i >= 0 {
		return i
	}
	for i, g := range p.legs {
		if !g.usable {
			continue
		}
		if !now.Before(g.until) {
			return i
		}
		soon(g.until.Sub(now))
	}
	return -1
}

// leaving returns the connections that are to be closed: over legs that are not
// in use any more, and over one that is closed, where keepalives would go on
// costing. Each has its grace, or until nothing passes; without an interface there
// is nothing to wait for.
func (p *Path) leaving(now time.Time, soon func(time.Duration)) (all []*conn) {
	for c, i := range p.conns {
		g, since := p.legs[i], p.since
		if i == p.present {
			since = g.turned
		}
		if i == p.present && (g.usable || g.lost) {
			continue
		}
		left := min(since.Add(p.cfg.Grace).Sub(now), silence-now.Sub(c.quietSince()))
		if left > 0 && !g.lost {
			soon(left)
			continue
		}
		all = append(all, c)
	}
	return all
}

// probe dials what was dialled last.
func (p *Path) probe(ctx context.Context, i int) error {
	p.mu.Lock()
	network, address := p.network, p.address
	p.mu.Unlock()
	c, err := p.legs[i].link.dial(ctx, network, address, nil)
	if err != nil {
		return err
	}
	return c.Close()
}

// learn draws the conclusion from a probe: a better link is used again when it
// has worked for its hold-down, which the last of two probes shows.
func (p *Path) learn(o outcome) {
	p.mu.Lock()
	defer p.mu.Unlock()
	g, now := p.legs[o.leg], time.Now()
	switch {
	case o.err != nil:
		p.broke(o.leg, o.err)
	case o.leg >= p.present || !g.usable:
	case g.good.IsZero():
		g.good, g.until = now, now.Add(g.hold)
	case now.Sub(g.good) >= g.hold:
		g.failed, g.pause = nil, 0
		p.move(o.leg)
	default:
		g.until = g.good.Add(g.hold)
	}
}

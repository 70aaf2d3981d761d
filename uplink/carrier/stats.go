package carrier

import (
	"time"

	"github.com/tidegate/tidegate/reading"
)

// PathStats is the state of a Path.
type PathStats struct {
	// Present is the link in use, Since when.
	Present string
	Since   time.Time
	// Legs are the links, the best first.
	Legs []LegStats
}

// LegStats is how a link does on a Path.
type LegStats struct {
	Link string
	// Usable says that it is up and lets something pass; Why is a sentence if not.
	Usable bool
	Why    string
	// Failed is why it does not work, nil if it does or was not tried.
	Failed error
	// Conns are the connections over it.
	Conns int
}

// Stats returns the state of the Path.
func (p *Path) Stats() PathStats {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := PathStats{Present: p.legs[p.present].link.Name(), Since: p.since}
	for i, g := range p.legs {
		leg := LegStats{Link: g.link.Name(), Usable: g.usable, Why: g.why, Failed: g.failed}
		for _, at := range p.conns {
			if at == i {
				leg.Conns++
			}
		}
		s.Legs = append(s.Legs, leg)
	}
	return s
}

// Usage is what has passed in a day or a month.
type Usage struct {
	// Sent and Received are bytes as they were; Used is what the operator counts,
	// rounded up, and Budget what may be; zero is without limit.
	Sent, Received, Used, Budget int64
	// Ends is when the next one begins; zero while the clock cannot be trusted.
	Ends time.Time
}

// Stats is the state of a Link.
type Stats struct {
	Name string
	// Down is why packets cannot leave; empty if they can.
	Down string
	// Permit is what may travel now.
	Permit Permit
	// Open is what the schedule says, until Changes; zero is for ever. ClockWaits
	// says that it is closed because the clock cannot be trusted.
	Open       bool
	Changes    time.Time
	ClockWaits bool
	// Spent says that the budget lets only alarms pass, or nothing.
	Spent bool
	// Rests is until when a spread budget lets only alarms pass; zero for not.
	Rests time.Time
	// Sent and Received count bytes on the wire since the start.
	Sent, Received int64
	// Estimated says that part of that could not be counted with the kernel.
	Estimated bool
	// Today and Month are what was used of the budget.
	Today, Month Usage
	// Conns are the connections that are open.
	Conns int
	// Problem says why what was counted is not kept; empty if it is.
	Problem string
}

// Stats returns the state of the link.
func (l *Link) Stats() Stats {
	for _, c := range l.connections() {
		c.look(false)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	trusted := l.trusts(now)
	t, b := l.tally, l.cfg.Budget
	s := Stats{
		Name: l.cfg.Name, Down: t.down, Sent: t.sum.sent, Received: t.sum.received,
		Estimated: t.estimated, Conns: len(l.conns), Problem: t.problem,
		Today: Usage{Sent: l.ledger.today.sent, Received: l.ledger.today.received, Used: l.ledger.usedDay(), Budget: b.Day},
		Month: Usage{Sent: l.ledger.thisMonth.sent, Received: l.ledger.thisMonth.received, Used: l.ledger.usedMonth(), Budget: b.Month},
	}
	s.Permit, _ = l.decide(now)
	s.Spent = b.lanes(l.ledger) != reading.AllLanes
	s.Open, s.Changes = l.open(now, trusted)
	s.ClockWaits = !trusted && !s.Open
	if trusted {
		_, s.Today.Ends = l.ledger.day(now)
		_, s.Month.Ends = l.ledger.month(now)
		if l.resting(now) {
			s.Rests = t.restUntil
		}
	}
	if len(l.cfg.Schedule) == 0 || !trusted {
		s.Changes = time.Time{}
	}
	return s
}

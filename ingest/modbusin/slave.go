package modbusin

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/tidegate/tidegate/reading"
)

// health is what is known of whether a slave answers.
type health uint8

const (
	unknown health = iota
	up
	down
)

// slave is a Slave under way. What Stats shows is atomic, the rest belongs to
// the bus.
type slave struct {
	Slave
	formats []format // by index of Registers
	polls   []*poll  // the shortest interval first
	running *poll    // is under way, if not nil
	flying  int      // questions without an answer yet

	health   health
	told     health    // what Status was last
	failures int       // in a row
	breaks   int       // of the line while it was asked, in a row
	patience int       // failures that take it for dead
	notYet   time.Time // nothing is asked before
	busy     time.Duration

	mutes    map[request]int // how often in a row a request brought nothing while others did
	warned   map[int]bool    // registers that were reported as bad
	reported [256]bool       // exceptions that were
	counts   slaveCounts
	state    atomic.Uint32 // health, for Stats
	bad      atomic.Int64  // registers that are left out
}

// poll is what one slave is asked in one interval.
type poll struct {
	every time.Duration
	due   time.Time // when it begins next
	plan  []batch   // as planned
	// current is plan, or what it came to when registers were bad. It is plan
	// again at relearn, and wait later if they still are.
	current []batch
	relearn time.Time
	wait    time.Duration

	// While it is under way:
	round    uint64  // tells it from those before
	todo     []task  // the next one last
	kept     []batch // of this round, but for bad registers
	halved   bool    // so kept is the better plan
	readings []reading.Reading
}

// task is a batch to be asked for and how often it was.
type task struct {
	batch
	tries int
}

// Bad registers are tried again: some devices refuse everything while they start,
// and some get new firmware.
const (
	leastRelearn = time.Minute
	mostRelearn  = time.Hour
)

// leastPatience is how many failures in a row take a slave for dead at least: a
// single one may be noise.
const leastPatience = 3

// newSlave returns a slave, which shares what never changes with one of the others
// that has the same registers: a building has hundreds of meters of one kind.
func newSlave(cfg Slave, others []*slave) *slave {
	s := &slave{Slave: cfg, patience: max(leastPatience, cfg.Retries+1), warned: make(map[int]bool), mutes: make(map[request]int)}
	if i := slices.IndexFunc(others, s.alike); i >= 0 {
		s.formats = others[i].formats
		for _, p := range others[i].polls {
			s.polls = append(s.polls, &poll{every: p.every, plan: p.plan})
		}
	} else {
		s.polls = cfg.polls()
		for _, r := range cfg.Registers {
			f, _ := newFormat(r.Table, r.Format) // Config.Check was asked
			s.formats = append(s.formats, f)
		}
	}
	for _, p := range s.polls {
		p.current = p.plan
	}
	return s
}

// alike says whether the two are asked the same: whether their registers are the
// same ones, not only equal, and what plans depend on is.
func (s *slave) alike(other *slave) bool {
	a, b := s.limits(), other.limits()
	return len(s.Registers) == len(other.Registers) && &s.Registers[0] == &other.Registers[0] && s.Every == other.Every &&
		a.gap == b.gap && a.registers == b.registers && a.bits == b.bits && slices.Equal(a.never, b.never)
}

// begin forgets what was under way on a line that is gone, and asks at once.
func (s *slave) begin(now time.Time) {
	s.running, s.flying, s.notYet = nil, 0, time.Time{}
	for _, p := range s.polls {
		p.reset()
		p.due = now
	}
}

func (p *poll) reset() {
	p.todo, p.kept, p.readings = p.todo[:0], p.kept[:0], p.readings[:0]
	p.halved = false
}

// next returns when the slave wants to be asked; false while it has nothing to
// ask, because all of it is under way.
func (s *slave) next() (time.Time, bool) {
	switch {
	case s.flying > 0 && s.health != up:
		return time.Time{}, false // one question will tell
	case s.health == down:
		return s.notYet, true
	case s.running != nil:
		return s.notYet, len(s.running.todo) > 0
	}
	first := s.polls[0].due
	for _, p := range s.polls[1:] {
		if p.due.Before(first) {
			first = p.due
		}
	}
	if first.Before(s.notYet) {
		return s.notYet, true
	}
	return first, true
}

// take returns what to ask now; false if the poll that is due has nothing to ask,
// because all its registers are bad. It must be due.
func (s *slave) take(now time.Time) (*poll, task, bool) {
	if s.health == down {
		s.flying++
		return nil, task{batch: s.probe()}, true
	}
	if s.running == nil {
		p := s.urgent(now)
		s.counts.skipped.Add(p.start(now))
		if len(p.todo) == 0 {
			return nil, task{}, false
		}
		s.running = p
	}
	p, last := s.running, len(s.running.todo)-1
	t := p.todo[last]
	p.todo = p.todo[:last]
	s.flying++
	return p, t, true
}

// urgent returns the poll that is due and has to be over first: a long one does
// not keep a frequent one waiting for more than its turn.
func (s *slave) urgent(now time.Time) *poll {
	var first *poll
	for _, p := range s.polls {
		if p.due.After(now) {
			continue
		}
		if first == nil || p.due.Add(p.every).Before(first.due.Add(first.every)) {
			first = p
		}
	}
	return first
}

// start begins a round. Rounds that the bus had no time for are left out, so
// that polls stay where they are in time; start returns how many.
func (p *poll) start(now time.Time) (skipped uint64) {
	p.due = p.due.Add(p.every)
	if late := now.Sub(p.due); late >= 0 {
		skipped = uint64(late/p.every) + 1
		p.due = p.due.Add(time.Duration(skipped) * p.every)
	}
	if !p.relearn.IsZero() && !now.Before(p.relearn) {
		p.replan()
	}
	p.round++
	p.todo = p.todo[:0]
	for _, b := range slices.Backward(p.current) {
		p.todo = append(p.todo, task{batch: b})
	}
	return skipped
}

// replan makes the next round the one that was planned.
func (p *poll) replan() { p.current, p.relearn = p.plan, time.Time{} }

// probe is the smallest request that there is.
func (s *slave) probe() batch {
	var least *batch
	for _, p := range s.polls {
		for i := range p.plan {
			if least == nil || p.plan[i].bytes() < least.bytes() {
				least = &p.plan[i]
			}
		}
	}
	return *least
}

// split asks for the halves of what was refused next.
func (p *poll) split(b batch) {
	low, high := b.halve()
	p.halved = true
	p.todo = append(p.todo, task{batch: high}, task{batch: low})
}

// settle ends a round: what was learned from halving is the plan from now on.
func (p *poll) settle(now time.Time, l limits) {
	switch {
	case p.halved:
		p.wait = min(max(2*p.wait, leastRelearn), mostRelearn)
		p.current, p.relearn = join(append([]batch(nil), p.kept...), l), now.Add(p.wait)
	case p.relearn.IsZero(): // as planned, and nothing was refused
		p.wait = 0
	}
}

// keep appends what an answer says to the readings of the poll.
func (s *slave) keep(p *poll, b batch, data []byte, at int64) {
	for _, it := range b.items {
		r := &s.Registers[it.index]
		v, err := s.formats[it.index].value(data, int(it.address)-int(b.address))
		if err != nil {
			s.counts.noValue.Add(1)
			continue
		}
		p.readings = append(p.readings, reading.Reading{
			Device: s.Device, Metric: r.Metric, Unit: r.Unit,
			Time: at, Value: v, Flags: reading.Stamped, Lane: s.Lane,
		})
	}
}

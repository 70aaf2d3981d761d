package modbusin

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/internal/backoff"
	"github.com/tidegate/tidegate/internal/closing"
)

// bus is a Source while it runs. It belongs to one goroutine.
type bus struct {
	*Source
	intake *ingest.Intake

	wire    wire
	release func()    // ends what closes the wire when the context ends
	trust   int       // how often the wire may break before something answers
	silent  int       // questions without an answer, in a row, on this wire
	flights []flight  // the oldest first
	quits   time.Time // what slaves that do not answer have cost is made up for
	refused bool      // the intake takes no readings
	id      uint16
}

// flight is a question under way.
type flight struct {
	question
	task
	slave    *slave
	poll     *poll  // nil for a probe
	round    uint64 // of the poll
	sent     time.Time
	deadline time.Time
}

// wanted says whether the poll that asked is still under way.
func (f flight) wanted() bool {
	return f.poll != nil && f.poll == f.slave.running && f.round == f.poll.round
}

// run asks slaves in turn and takes what they answer, until ctx ends or the
// line breaks.
func (b *bus) run(ctx context.Context) error {
	for ctx.Err() == nil {
		now := time.Now()
		due, wanted := b.choose(now)
		switch {
		case wanted >= 0 && len(b.flights) < max(1, b.cfg.Pipeline):
			if b.slaves[wanted].failures == 0 {
				b.turn = wanted
			}
			if err := b.ask(ctx, b.slaves[wanted], now); err != nil {
				return err
			}
		case len(b.flights) > 0:
			if err := b.listen(ctx, due); err != nil {
				return err
			}
		case backoff.Sleep(ctx, time.Until(due), nil) != nil:
			return nil
		}
	}
	return nil
}

// choose returns the slave that is due, in turn after the last one; or below zero
// and when one will be. Those that have not answered are asked first, the one that
// has waited longest, but only if there is time to spare.
func (b *bus) choose(now time.Time) (due time.Time, wanted int) {
	due, wanted = now.Add(time.Hour), -1
	spare, silent, since := b.spare(), -1, time.Time{}
	for i := range b.slaves {
		n := (b.turn + 1 + i) % len(b.slaves)
		s := b.slaves[n]
		at, ok := s.next()
		doubtful := ok && s.failures > 0
		if doubtful && !at.After(now) && !spare.After(now) && (silent < 0 || at.Before(since)) {
			silent, since = n, at
		}
		if doubtful && at.Before(spare) {
			at = spare
		}
		switch {
		case ok && !doubtful && wanted < 0 && !at.After(now):
			wanted = n
		case ok && at.Before(due):
			due = at
		}
	}
	switch {
	case silent >= 0:
		return now, silent
	case wanted >= 0:
		return now, wanted
	}
	return due, -1
}

// ask sends the next question to a slave.
func (b *bus) ask(ctx context.Context, s *slave, now time.Time) error {
	if b.kind != RTU && b.silent >= leastPatience { // a peer that is gone looks like one that is slow
		if err := b.reconnect(ctx); err != nil {
			return err
		}
	}
	p, t, ok := s.take(now)
	if !ok {
		return nil
	}
	b.id++
	f := flight{question: question{b.id, s.Unit, t.request}, task: t, slave: s, poll: p, sent: now}
	if p != nil {
		f.round = p.round
	}
	err := b.wire.send(f.question)
	f.deadline = time.Now().Add(s.Timeout + b.wire.airtime(t.request))
	b.flights = append(b.flights, f)
	s.counts.asked.Add(1)
	return b.mend(ctx, err)
}

// listen waits for an answer until the first deadline, or until something else
// is due that can be asked meanwhile.
func (b *bus) listen(ctx context.Context, due time.Time) error {
	until := b.flights[0].deadline
	for _, f := range b.flights[1:] {
		if f.deadline.Before(until) {
			until = f.deadline
		}
	}
	if len(b.flights) < b.cfg.Pipeline && due.Before(until) {
		until = due
	}
	answer, err := b.wire.receive(until)
	if err != nil {
		return b.mend(ctx, err)
	}
	b.silent = 0
	i := slices.IndexFunc(b.flights, func(f flight) bool { return f.id == answer.id })
	if i < 0 {
		b.counts.late.Add(1)
		return nil
	}
	f := b.land(i)
	if answer.unit != f.unit {
		return b.failed(ctx, f, WrongUnit)
	}
	data, err := parseAnswer(answer.pdu, f.request)
	if err != nil {
		return b.failed(ctx, f, err)
	}
	return b.answered(ctx, f, data)
}

// land takes a flight off the list.
func (b *bus) land(i int) flight {
	f := b.flights[i]
	b.flights = slices.Delete(b.flights, i, i+1)
	f.slave.flying--
	return f
}

// mend deals with an error of the wire. A fault ends the questions that it
// concerns; anything else breaks the line, which may be made anew.
func (b *bus) mend(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	var fault Fault
	switch {
	case errors.As(err, &fault) && fault == NoAnswer:
		return b.expire(ctx, time.Now())
	case errors.As(err, &fault):
		return b.failed(ctx, b.land(len(b.flights)-1), fault)
	case ctx.Err() != nil, b.kind == RTU:
		return err
	}
	if err := b.blame(ctx); err != nil {
		return err
	}
	if b.trust == 0 {
		return err
	}
	b.trust--
	return b.reconnect(ctx)
}

// expire ends the questions whose time is over.
func (b *bus) expire(ctx context.Context, now time.Time) error {
	for i := 0; i < len(b.flights); {
		if now.Before(b.flights[i].deadline) {
			i++
			continue
		}
		b.silent++
		if err := b.failed(ctx, b.land(i), NoAnswer); err != nil {
			return err
		}
	}
	return nil
}

// connect opens the wire.
func (b *bus) connect(ctx context.Context) error {
	w, err := b.open(ctx)
	if err != nil {
		return err
	}
	b.wire, b.silent = w, 0
	b.trouble.Store(nil)
	b.release = closing.Until(ctx, func() { w.close() })
	return nil
}

func (b *bus) close() {
	b.release()
	b.wire.close()
}

// reconnect makes the connection anew and asks again what was under way.
func (b *bus) reconnect(ctx context.Context) error {
	b.close()
	b.counts.reconnects.Add(1)
	for _, f := range b.flights {
		f.slave.flying--
		if f.wanted() {
			f.poll.todo = append(f.poll.todo, f.task)
		}
	}
	b.flights = b.flights[:0]
	if err := b.connect(ctx); err != nil {
		b.wire, b.release = closedWire{}, func() {}
		return err
	}
	for _, s := range b.slaves {
		if err := b.finish(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// answered takes what a slave says.
func (b *bus) answered(ctx context.Context, f flight, data []byte) error {
	s := f.slave
	now := b.intake.Now()
	s.counts.answers.Add(1)
	s.counts.last.Store(now)
	s.busy = 0
	if len(s.mutes) > 0 {
		delete(s.mutes, f.request)
	}
	if err := b.alive(ctx, s); err != nil {
		return err
	}
	if !f.wanted() {
		return b.finish(ctx, s) // which may have waited for this one to land
	}
	s.keep(f.poll, f.task.batch, data, now)
	f.poll.kept = append(f.poll.kept, f.task.batch)
	return b.finish(ctx, s)
}

// finish ends the poll that is under way if nothing of it is left.
func (b *bus) finish(ctx context.Context, s *slave) error {
	p := s.running
	if p == nil || len(p.todo) > 0 || s.flying > 0 {
		return nil
	}
	p.settle(time.Now(), s.limits())
	s.counts.polls.Add(1)
	s.countBad()
	return b.deliver(ctx, s)
}

// deliver hands over what the poll under way has brought.
func (b *bus) deliver(ctx context.Context, s *slave) error {
	p := s.running
	s.running = nil
	rs := p.readings
	p.reset()
	b.intake.Settle()
	if s.Refine != nil {
		rs = s.Refine.Refine(rs, 0, b.intake.Now())
	}
	if len(rs) == 0 && !b.intake.Owes() {
		return nil
	}
	err := b.accept(ctx, rs)
	p.readings = rs[:0]
	return err
}

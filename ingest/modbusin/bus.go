package modbusin

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/internal/backoff"
	"github.com/tidegate/tidegate/reading"
)

// bus is a Source while it runs. It belongs to one goroutine.
type bus struct {
	*Source
	intake *ingest.Intake

	wire    wire
	release func()   // ends what closes the wire when the context ends
	proven  bool     // something has answered on this wire
	silent  int      // questions without an answer, in a row, on this wire
	flights []flight // the oldest first
	id      uint16
	turn    int // the slave that was asked last
}

// flight is a question under way.
type flight struct {
	question
	task
	slave    *slave
	poll     *poll // nil for a probe
	deadline time.Time
}

// run asks slaves in turn and takes what they answer, until ctx ends or the
// line breaks.
func (b *bus) run(ctx context.Context) error {
	for ctx.Err() == nil {
		now := time.Now()
		due, wanted := b.choose(now)
		switch {
		case wanted >= 0 && len(b.flights) < max(1, b.cfg.Pipeline):
			b.turn = wanted
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
// and when one will be.
func (b *bus) choose(now time.Time) (due time.Time, wanted int) {
	due = now.Add(time.Hour)
	for i := range b.slaves {
		n := (b.turn + 1 + i) % len(b.slaves)
		at, ok := b.slaves[n].next()
		switch {
		case ok && !at.After(now):
			return now, n
		case ok && at.Before(due):
			due = at
		}
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
	f := flight{question: question{b.id, s.Unit, t.request}, task: t, slave: s, poll: p}
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
	b.proven = true
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
	case ctx.Err() != nil, b.kind == RTU, !b.proven:
		return err
	}
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
	closed := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		w.close()
		close(closed)
	})
	b.wire, b.proven, b.silent = w, false, 0
	b.release = func() {
		if !stop() {
			<-closed
		}
	}
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
		if f.poll != nil && f.poll == f.slave.running {
			f.poll.todo = append(f.poll.todo, f.task)
		}
	}
	b.flights = b.flights[:0]
	err := b.connect(ctx)
	if err != nil {
		b.wire, b.release = closedWire{}, func() {}
	}
	return err
}

// answered takes what a slave says.
func (b *bus) answered(ctx context.Context, f flight, data []byte) error {
	s := f.slave
	now := b.intake.Now()
	s.counts.answers.Add(1)
	s.counts.last.Store(now)
	s.busy = 0
	if err := b.alive(ctx, s); err != nil {
		return err
	}
	if f.poll == nil || f.poll != s.running {
		return nil
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

// fullPause is how often a full buffer is asked again.
const fullPause = time.Second

// accept gives readings to the intake. While the buffer refuses new ones,
// nothing more is asked: what is not read now is not lost, for nobody had it.
func (b *bus) accept(ctx context.Context, rs []reading.Reading) error {
	for {
		_, err := b.intake.Accept(ctx, rs)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return err
		}
		if !errors.Is(err, ingest.ErrFull) {
			b.counts.notStored.Add(1)
			return err
		}
		b.counts.paused.Add(1)
		if err := backoff.Sleep(ctx, fullPause, nil); err != nil {
			return err
		}
	}
}

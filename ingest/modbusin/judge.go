package modbusin

import (
	"context"
	"time"

	"github.com/tidegate/tidegate/reading"
)

// failed decides what becomes of a question that brought nothing.
func (b *bus) failed(ctx context.Context, f flight, cause error) error {
	s := f.slave
	s.counts.failed(cause)
	exception, refused := cause.(Exception)
	switch {
	case !refused, exception == GatewayNoPath, exception == GatewayNoAnswer:
		return b.unheard(ctx, f, cause)
	}
	if err := b.alive(ctx, s); err != nil {
		return err
	}
	if !f.wanted() {
		return b.finish(ctx, s)
	}
	b.refusal(f, exception)
	return b.finish(ctx, s)
}

// refusal deals with the exception of a slave that is alive.
func (b *bus) refusal(f flight, exception Exception) {
	s, p := f.slave, f.poll
	batch := f.task.batch
	switch {
	case exception == DeviceBusy, exception == Acknowledge:
		s.busy = min(max(2*s.busy, leastBusy), mostBusy)
		s.notYet = time.Now().Add(s.busy)
		if f.tries < s.Retries {
			p.todo = append(p.todo, task{batch, f.tries + 1})
			return
		}
		s.counts.givenUp.Add(1)
	case exception == IllegalDataAddress && batch.divisible(), exception == IllegalDataValue && batch.divisible():
		p.split(batch)
		return
	case exception == IllegalDataAddress:
		b.badRegisters(s, p, batch, "the slave does not have a register")
		return
	default:
		s.counts.givenUp.Add(1)
		b.report(s, batch, exception)
	}
	p.kept = append(p.kept, batch)
}

// report logs an exception that asking again does not mend, once a slave and
// exception.
func (b *bus) report(s *slave, refused batch, exception Exception) {
	if s.reported[exception] {
		return
	}
	s.reported[exception] = true
	b.log.Warn("the slave refuses a request; it is asked again in its interval — hint: compare the map with the manual",
		"device", s.Device, "unit", s.Unit, "at", refused.request.String(), "err", exception)
}

// A slave that says that it is busy is left alone for longer and longer.
const (
	leastBusy = 100 * time.Millisecond
	mostBusy  = 10 * time.Second
)

// maxWarned bounds the registers of a slave that are reported by name: with the
// wrong map it has none of thousands.
const maxWarned = 20

// badRegisters leaves registers out that the slave does not have, or does not
// answer for.
func (b *bus) badRegisters(s *slave, p *poll, bad batch, why string) {
	p.halved = true
	for _, it := range bad.items {
		if s.warned[it.index] || len(s.warned) > maxWarned {
			continue
		}
		s.warned[it.index] = true
		if len(s.warned) > maxWarned {
			b.log.Warn("and more of its registers, which are not listed — hint: is it the map of this device?", "device", s.Device, "unit", s.Unit)
			continue
		}
		b.log.Warn(why+"; it is left out, and tried again from time to time — hint: compare the map with the manual",
			"device", s.Device, "unit", s.Unit, "metric", s.Registers[it.index].Metric, "at", bad.request.String())
	}
}

// unheard deals with a question to which the slave said nothing, or nothing
// that could be understood.
func (b *bus) unheard(ctx context.Context, f flight, cause error) error {
	s := f.slave
	s.failures++
	b.cost(time.Since(f.sent))
	mute := s.mute(f)
	if s.health == down || s.failures >= s.patience && !mute {
		return b.dead(ctx, s, cause)
	}
	if b.kind != TCP && owed(cause) {
		// A late answer looks like the answer to the next question. While it may
		// come, the others are asked.
		s.notYet = time.Now().Add(s.Timeout)
	}
	if !f.wanted() {
		return b.finish(ctx, s)
	}
	if f.tries < s.Retries {
		f.poll.todo = append(f.poll.todo, task{f.task.batch, f.tries + 1})
		return nil
	}
	s.counts.givenUp.Add(1)
	if mute {
		s.mutes[f.request] += f.tries + 1
	}
	if s.mutes[f.request] >= leastMutes {
		b.badRegisters(s, f.poll, f.task.batch, "the slave does not answer for a register")
	} else {
		f.poll.kept = append(f.poll.kept, f.task.batch)
	}
	return b.finish(ctx, s)
}

// leastMutes is how often a question must have brought nothing, while others did,
// until it is left out like one that is refused.
const leastMutes = 2 * leastPatience

// mute says whether one question, and no other, has brought nothing as often as it
// was asked: there are slaves that say nothing where others refuse. They are dead
// if the next question brings nothing either.
func (s *slave) mute(f flight) bool {
	if f.tries != s.Retries || s.failures != f.tries+1 || !f.wanted() {
		return false
	}
	requests := 0
	for _, p := range s.polls {
		requests += len(p.current)
	}
	return requests > 1
}

// owed says whether the answer itself may still come: nothing came, or something
// else did. A damaged one has come.
func owed(cause error) bool {
	return cause == NoAnswer || cause == WrongUnit || cause == Malformed
}

// dead leaves the slave alone but for probes. What it said before is kept.
func (b *bus) dead(ctx context.Context, s *slave, cause error) error {
	s.notYet = time.Now().Add(max(s.Probe, s.Timeout)) // for what it still owes, see unheard
	if s.health != down {
		s.setHealth(down)
		b.log.Warn("the slave does not answer; it is asked less often — hint: check its power, address, wiring and speed",
			"device", s.Device, "unit", s.Unit, "every", s.Probe, "err", cause)
	}
	if s.running != nil {
		s.counts.givenUp.Add(1)
		if err := b.deliver(ctx, s); err != nil {
			return err
		}
	}
	return b.tell(ctx, s)
}

// alive takes note that the slave has answered something. After a silence all
// its polls are due, and as planned: it may be another device.
func (b *bus) alive(ctx context.Context, s *slave) error {
	s.failures, s.breaks, b.trust = 0, 0, leastPatience
	if s.health == up && s.told == up {
		return nil
	}
	if s.health == down {
		b.log.Info("the slave answers again", "device", s.Device, "unit", s.Unit)
		s.revive(time.Now())
	}
	s.setHealth(up)
	return b.tell(ctx, s)
}

func (s *slave) revive(now time.Time) {
	s.notYet, s.busy = time.Time{}, 0
	for _, p := range s.polls {
		p.replan()
		p.due, p.wait = now, 0
	}
}

// tell gives the status metric, if it has changed.
func (b *bus) tell(ctx context.Context, s *slave) error {
	b.intake.Settle()
	if s.Status == "" || s.told == s.health {
		s.told = s.health
		return nil
	}
	r := reading.Reading{
		Device: s.Device, Metric: s.Status, Time: b.intake.Now(), Lane: s.Lane,
		Value: reading.Bool(s.health == up), Flags: reading.Stamped,
	}
	if s.health != up {
		r.Flags |= reading.Bad
	}
	if err := b.accept(ctx, []reading.Reading{r}); err != nil {
		return err
	}
	s.told = s.health
	return nil
}

// lost takes note that nobody can be asked, because there is no line.
func (b *bus) lost(ctx context.Context) {
	for _, s := range b.slaves {
		s.setHealth(down)
		s.notYet = time.Time{}
		if b.tell(ctx, s) != nil {
			return // the intake takes nothing either; it is told when it does
		}
	}
}

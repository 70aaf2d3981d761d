package uplink

import (
	"context"
	"fmt"
	"time"

	"github.com/tidegate/tidegate/reading"
)

// overdue is how long an answer may be missing before the link coming up makes
// it hopeless.
const overdue = 5 * time.Second

// conclude notes how a Send ended. An error after ctx has ended says nothing
// about the sink.
func (fl *flow) conclude(ctx context.Context, r result) {
	if r.err != nil {
		fl.size.lost(r.d.weight())
		fl.book.end(r.d.page, Failed, r.at)
	}
	switch {
	case r.err == nil:
		fl.accept(r)
	case ctx.Err() != nil:
	case IsPermanent(r.err):
		fl.refuse(r.d, r.err)
	default:
		if r.late {
			r.d.timeouts++
			fl.size.narrow(fl.size.rate() / 2)
		}
		r.d.state = waiting
		fl.stats.Retries++
		fl.fail(r.err)
		fl.link.slow = fl.link.slow || r.late
	}
}

func (fl *flow) accept(r result) {
	fl.size.arrived(r.d.weight(), r.d.sample, r.took, r.at)
	fl.refusals = 0
	fl.dog.progress()
	fl.stats.LastAck = time.Now()
	fl.stats.AckedReadings += uint64(r.d.count())
	fl.book.end(r.d.page, Acked, r.at)
	weight := r.d.weight()
	r.d.finish()
	fl.recover(r, weight)
}

// recover ends an outage when something has arrived: a probe, or what was on its way
// already and was answered after the failure, which then was that of one message,
// unless that ran out of time.
func (fl *flow) recover(r result, weight int) {
	if !fl.link.down {
		fl.link.backoff.Reset()
		return
	}
	if fl.link.held() && fl.link.asked || !r.d.probe && (fl.link.slow || !r.at.After(fl.link.since)) {
		return
	}
	fl.log.Info("link is up again", "after", fl.link.up(r.d.probe).Round(time.Millisecond))
	fl.stats.LastError, fl.stats.Cause = "", nil
	if r.d.probe {
		fl.size.restart(weight, r.took, r.at) // it may be another link
	}
}

// refuse deals with bytes that the sink will never take: it bisects, and sets
// aside the single block that remains when that is refused a second time: a bit
// that flipped on the way looks like a bad block to the other side. A sink that refuses one block after the
// other and takes nothing in between is out of order more likely than the
// blocks are, so from the second one on each costs a backoff.
func (fl *flow) refuse(d *delivery, cause error) {
	if len(d.blocks) > 1 {
		if IsTooLarge(cause) {
			fl.size.lower(largest(d.body, d.parts) / 2)
		}
		fl.split(d)
		return
	}
	if size := largest(d.body, d.parts); IsTooLarge(cause) && (d.tooLarge == 0 || size < d.tooLarge) {
		fl.size.lower(size / 2)
		d.tooLarge, d.state = size, waiting
		d.forget() // to be cut smaller, if the encoder can
		return
	}
	if !d.refused {
		d.refused, d.state = true, waiting
		d.forget()
		return
	}
	if err := fl.quarantine.Quarantine(d.blocks[0], cause.Error()); err != nil {
		d.state = waiting
		fl.fail(fmt.Errorf("quarantine %s %d to %d: %w", d.lane(), d.first(), d.last(), err))
		return
	}
	fl.log.Error("block refused and set aside", "event", "quarantined", "lane", d.lane(), "seq", d.first(), "n", d.count(), "err", cause)
	fl.stats.Quarantined += uint64(d.count())
	fl.book.end(d.page, SetAside, time.Now())
	d.finish()
	fl.refusals++
	if fl.refusals > 1 {
		fl.fail(cause)
	}
}

func (fl *flow) fail(err error) {
	if !fl.link.down {
		fl.log.Warn("link is down; readings wait in the buffer", "err", err)
	}
	fl.link.fail(err)
	fl.stats.LastError, fl.stats.Cause = err.Error(), err
}

// wake acts on the link coming up. The next try is due; and what has waited for
// an answer since before is on a connection that may never be heard of again.
// Link-up events come in bursts, so a send that has just begun is left alone.
func (fl *flow) wake() {
	fl.link.wake()
	for _, d := range fl.queue {
		if fl.link.down && d.state == sending && time.Since(d.begun) > overdue {
			d.cancel()
		}
	}
}

func (fl *flow) report() {
	s := fl.stats
	s.InFlight, s.Since, s.MaxBody = fl.count(sending), fl.link.since, fl.size.maxBody
	if s.NextTry, s.Asked = (time.Time{}), false; fl.link.held() {
		s.NextTry, s.Asked = fl.link.until, fl.link.asked
	}
	switch {
	case fl.link.down:
		s.State = Down
	case fl.isHeld():
		s.State = Held
	case fl.fetching && len(fl.queue) == 0:
		s.State = Idle
	default:
		s.State = Up
	}
	fl.progress.set(s)
}

// isHeld reports whether nothing moves because the link does not allow it.
func (fl *flow) isHeld() bool {
	for _, d := range fl.queue {
		if d.state == sending || fl.mayTravel(d) && fl.company(d) == 0 {
			return false
		}
	}
	return len(fl.queue) > 0 || fl.gate.Lanes != reading.AllLanes
}

package daemon

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/tidegate/tidegate/buffer"
	"github.com/tidegate/tidegate/command"
	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/internal/netcheck"
	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/uplink"
)

// TestMetric is the metric of test readings, of the device of the gateway itself: a
// receiver may drop them. The value is a number that people can compare.
const TestMetric = "test"

const (
	// testTime bounds the wait for the acknowledgement of a test reading, and flashTime
	// that for the disk.
	testTime  = time.Minute
	flashTime = 30 * time.Second
	// testLook is how often is looked whether it is delivered.
	testLook = 100 * time.Millisecond
)

// TestLink implements api.Doctor.
func (d doctor) TestLink(ctx context.Context, name string, tell func(netcheck.Line)) error {
	l, err := d.findLink(name)
	if err != nil {
		return err
	}
	leave, err := d.enter()
	if err != nil {
		return err
	}
	defer leave()
	report := netcheck.NewReport(netcheck.TestQuestions(), tell)
	verdict, err := d.roundTrip(ctx, l, report)
	if err != nil {
		return err
	}
	report.Conclude(verdict)
	return nil
}

// roundTrip sends a test reading the way of all readings, and follows it until the
// link has delivered it. It goes to every uplink, as readings do. The error is that of
// ctx.
func (d *Daemon) roundTrip(ctx context.Context, l *link, report *netcheck.Report) (netcheck.Finding, error) {
	began := time.Now()
	number := rand.Int64N(90_000) + 10_000
	report.Begin(netcheck.Taken)
	rs := []reading.Reading{{Device: command.AuditDevice, Metric: TestMetric, Value: reading.Int(number)}}
	receipt, err := ingest.NewIntake(custody{d.buffer}, d.hub, time.Now).Accept(ctx, rs)
	if err != nil {
		f := notKept(err)
		report.End(netcheck.Taken, f)
		return f, ctx.Err()
	}
	d.log.Info("a test reading was sent by the operator", "sink", l.name, "number", number)
	report.End(netcheck.Taken, netcheck.Fine("number %d, as %s of %s; it goes to every uplink, as all readings do", number, TestMetric, command.AuditDevice))
	report.Begin(netcheck.Flash)
	waiting, cancel := context.WithTimeout(ctx, flashTime)
	defer cancel()
	if err := receipt.Wait(waiting); err != nil {
		f := notKept(err)
		report.End(netcheck.Flash, f)
		return f, ctx.Err()
	}
	kept := time.Since(began)
	report.End(netcheck.Flash, netcheck.Fine("on flash after %v", kept.Round(time.Millisecond)))
	report.Begin(netcheck.Ack)
	f, err := d.follow(ctx, l, rs[0])
	if err != nil {
		return f, err
	}
	if f.State == netcheck.OK {
		f = netcheck.Fine("test reading %d went through: on flash after %v, acknowledged by %s after %v", number, kept.Round(time.Millisecond), l.name, time.Since(began).Round(time.Millisecond))
	}
	report.End(netcheck.Ack, f)
	return f, nil
}

func notKept(err error) netcheck.Finding {
	what, hint := netcheck.Cut(err)
	if hint == "" {
		hint = `see to the disk: "tidegate check"`
	}
	return netcheck.Wrong(hint, "the gateway cannot keep it: %s", what)
}

// follow waits until the link has delivered the reading, which is on flash, or says
// what it waits for.
func (d *Daemon) follow(ctx context.Context, l *link, r reading.Reading) (netcheck.Finding, error) {
	l.forwarder.TryNow()
	limit := time.NewTimer(testTime)
	defer limit.Stop()
	look := time.NewTicker(testLook)
	defer look.Stop()
	for {
		over := false
		select {
		case <-look.C:
		case <-limit.C:
			over = true
		case <-ctx.Done():
			return netcheck.Finding{}, ctx.Err()
		}
		waits, err := d.isUndelivered(ctx, l.name, r)
		switch {
		case err != nil:
			return netcheck.Finding{}, err
		case !waits:
			return d.delivered(l), nil
		}
		if f, stuck := d.stuck(l, over); stuck {
			return f, nil
		}
	}
}

// delivered is about a reading that a link is done with.
func (d *Daemon) delivered(l *link) netcheck.Finding {
	if s := l.forwarder.Stats(); s.LastAck.IsZero() && s.Quarantined > 0 {
		_, why := d.refusedOf(l.name)
		return netcheck.Wrong(`"tidegate quarantine ls" lists what was refused`, "%s refuses it for good: %s", l.name, why)
	}
	return netcheck.Fine("%s has acknowledged it", l.name)
}

// isUndelivered looks whether the link still owes the reading. Only what is as young
// is looked at.
func (d *Daemon) isUndelivered(ctx context.Context, sink string, r reading.Reading) (waits bool, err error) {
	q := buffer.Query{Device: r.Device, Metric: r.Metric, Lanes: []reading.Lane{r.Lane}, From: r.Time, To: r.Time + 1, Undelivered: sink, NewestFirst: true}
	_, err = d.buffer.History(ctx, q, func(e buffer.Entry) error {
		waits = waits || e.Value == r.Value
		return nil
	})
	if errors.Is(err, buffer.ErrLeftOut) {
		err = nil
	}
	return waits, err
}

// stuck says what a reading waits for, if waiting longer is of no use. over says that
// the time is.
func (d *Daemon) stuck(l *link, over bool) (f netcheck.Finding, stuck bool) {
	s := l.forwarder.Stats()
	permit, _ := l.path.Permit()
	n := d.network.links[l.path.Stats().Present].Stats()
	const safe = "it is safe on flash and is sent when that ends"
	switch {
	case !permit.Lanes.Has(reading.Normal):
		return netcheck.Weak(safe, "the test reading waits: the link %s %s", n.Name, heldBack(carrierState(n))), true
	case s.State == uplink.Held:
		return netcheck.Weak(safe, "the test reading waits for company on the link %s: %v at the most (min_batch)", n.Name, permit.MinAge), true
	case s.State == uplink.Down && (over || s.Asked && time.Until(s.NextTry) > testTime):
		what, hint := netcheck.Cut(s.Cause)
		return netcheck.Wrong(hint, "%s is down: %s", l.name, what), true
	case over && s.InFlight > 0:
		return netcheck.Weak("the link is slow, or the other side is", "the test reading is sent, or will be at once, and not acknowledged within %v; %d messages are under way", testTime, s.InFlight), true
	case over:
		return netcheck.Weak(safe, "the test reading waits behind %d readings", l.cursor.Lag().Readings), true
	}
	return netcheck.Finding{}, false
}

// heldBack words a state of a link behind its name.
func heldBack(state string) string {
	if state == "ok" {
		return "is not for normal readings"
	}
	return fmt.Sprintf("is held back: %s", state)
}

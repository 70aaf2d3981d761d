package daemon

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/tidegate/tidegate/buffer"
	"github.com/tidegate/tidegate/command"
	"github.com/tidegate/tidegate/dashboard/api"
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
	g := d.current()
	l, err := g.findLink(name)
	if err != nil {
		return err
	}
	leave, err := d.enter()
	if err != nil {
		return err
	}
	defer leave()
	report := netcheck.NewReport(netcheck.TestQuestions(), tell)
	verdict, err := d.roundTrip(ctx, g, l, report)
	if err != nil {
		return err
	}
	report.Conclude(verdict)
	return nil
}

// roundTrip sends a test reading the way of all readings, and follows it until the
// link has delivered it. It goes to every uplink, as readings do. The error is that of
// ctx.
func (d *Daemon) roundTrip(ctx context.Context, g *generation, l *link, report *netcheck.Report) (netcheck.Finding, error) {
	began := time.Now()
	number := rand.Int64N(90_000) + 10_000
	report.Begin(netcheck.Taken)
	rs := []reading.Reading{{Device: command.AuditDevice, Metric: TestMetric, Value: reading.Int(number)}}
	receipt, err := ingest.NewIntake(custody{buffer: d.buffer}, d.hub, time.Now).Accept(ctx, rs)
	if err != nil {
		f := notKept(err)
		report.End(netcheck.Taken, f)
		return f, ctx.Err()
	}
	d.log.Info("a test reading was sent by hand", "sink", l.name, "number", number)
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
	e, err := d.find(ctx, rs[0])
	if err != nil {
		return netcheck.Finding{}, err
	}
	f, err := d.follow(ctx, g, l, e)
	if err != nil {
		return f, err
	}
	if f.State == netcheck.OK {
		f = netcheck.Fine("test reading %d went through: on flash after %v, %s", number, kept.Round(time.Millisecond), f.Text)
	}
	report.End(netcheck.Ack, f)
	return f, nil
}

// find returns the name of a reading that is on flash.
func (d *Daemon) find(ctx context.Context, r reading.Reading) (found buffer.Entry, err error) {
	q := buffer.Query{Device: r.Device, Metric: r.Metric, Lanes: []reading.Lane{r.Lane}, From: r.Time, To: r.Time + 1, NewestFirst: true}
	_, err = d.buffer.History(ctx, q, func(e buffer.Entry) error {
		if e.Value == r.Value {
			found = e
		}
		return nil
	})
	if found.Seq != 0 {
		return found, nil
	}
	return found, errors.Join(err, buffer.ErrNotHere)
}

func notKept(err error) netcheck.Finding {
	what, hint := netcheck.Cut(err)
	if hint == "" {
		hint = `see to the disk: "tidegate check"`
	}
	return netcheck.Wrong(hint, "the gateway cannot keep it: %s", what)
}

// follow waits until the link has delivered the reading, or says what it waits for.
func (d *Daemon) follow(ctx context.Context, g *generation, l *link, e buffer.Entry) (netcheck.Finding, error) {
	began := time.Now()
	l.forwarder.TryNow()
	limit := time.NewTimer(testTime)
	defer limit.Stop()
	look := time.NewTicker(testLook)
	defer look.Stop()
	way := api.WayOut{Name: l.name, Kind: l.kind, Cursor: l.cursor, Forwarder: l.forwarder, Why: func(lane reading.Lane) string { return g.whyWaits(l, lane) }}
	for {
		over := false
		select {
		case <-look.C:
		case <-limit.C:
			over = true
		case <-ctx.Done():
			return netcheck.Finding{}, ctx.Err()
		}
		p, err := way.Passage(d.buffer, e)
		if err != nil {
			return netcheck.Finding{}, err
		}
		switch p.State {
		case "acked":
			return acknowledged(l.name, p, time.Since(began)), nil
		case "refused", "lost":
			return netcheck.Wrong(`"tidegate quarantine ls" lists what was refused`, "the uplink %s refuses it for good: %s", l.name, p.Why), nil
		case "empty":
			return netcheck.Weak("see what the encoding leaves out: docs/reference/encodings.md", "the encoding of %s has no words for it, so it was left out", l.name), nil
		}
		if f, stuck := g.stuck(l, p, over); stuck {
			return f, nil
		}
	}
}

// acknowledged is about a reading that the other side has.
func acknowledged(name string, p api.Passage, took time.Duration) netcheck.Finding {
	if p.Acked == 0 || p.Tried == 0 {
		return netcheck.Fine("acknowledged by %s after %v", name, took.Round(time.Millisecond))
	}
	text := fmt.Sprintf("acknowledged by %s %d ms after it was sent", name, p.Acked-p.Tried)
	if p.Tries > 1 {
		text += fmt.Sprintf(", on try %d", p.Tries)
	}
	return netcheck.Fine("%s", text)
}

// stuck says what a reading waits for, if waiting longer is of no use. over says that
// the time is.
func (g *generation) stuck(l *link, p api.Passage, over bool) (f netcheck.Finding, stuck bool) {
	s := l.forwarder.Stats()
	const safe = "it is safe on flash and is sent when that ends"
	switch {
	case s.State == uplink.Down && (over || s.Asked && time.Until(s.NextTry) > testTime):
		what, hint := netcheck.Cut(s.Cause)
		return netcheck.Wrong(hint, "the uplink %s is down: %s", l.name, what), true
	case s.State == uplink.Held || p.Why != "" && s.State != uplink.Down:
		return netcheck.Weak(safe, "the test reading waits: %s", p.Why), true
	case over && p.State == "sent":
		return netcheck.Weak("the link is slow, or the other side is", "the test reading is sent and not acknowledged within %v; %d messages are under way", testTime, s.InFlight), true
	case over:
		return netcheck.Weak(safe, "the test reading waits behind %d others", p.Ahead), true
	}
	return netcheck.Finding{}, false
}

package daemon

import (
	"context"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/tidegate/tidegate/dashboard/api"
	"github.com/tidegate/tidegate/internal/netcheck"
	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/uplink"
	"github.com/tidegate/tidegate/uplink/carrier"
)

const (
	// trialTime bounds what an uplink is tried for, name service included.
	trialTime = 40 * time.Second
	// ackTime bounds the wait for an acknowledgement. A link that waits because a
	// person had to do something tries again within a minute.
	ackTime = 75 * time.Second
	// ackLook is how often is looked for it.
	ackLook = 50 * time.Millisecond
)

// exam finds out why nothing arrives over an uplink.
type exam struct {
	*netcheck.Report
	up      upstream
	gateway string
	path    *carrier.Path
	links   map[string]*wayOut
	floor   time.Time
	how     api.Diagnosis
	// running is the link as it runs, and refused how many blocks it has refused for
	// good, with the last reason; nil where no gateway runs.
	running *link
	refused func() (n int, why string)
	// send sends a marked reading through the link; nil where no gateway runs.
	send func(ctx context.Context) (netcheck.Finding, error)
	// adjust, if not nil, changes the trial before it begins; trialTime and ackTime
	// bound what it waits for.
	adjust             func(*attempt)
	trialTime, ackTime time.Duration

	well netcheck.Finding // the verdict, if nothing is wrong
}

// run looks at one thing after the other, and stops at the first that is wrong.
func (x *exam) run(ctx context.Context) {
	for _, step := range []func(context.Context){x.holds, x.wayOut, x.tryOut, x.sizes, x.quota, x.acknowledged} {
		if step(ctx); x.Failed() || ctx.Err() != nil {
			break
		}
	}
	x.Conclude(x.well)
}

// holds asks whether schedule, budget and company let readings leave.
func (x *exam) holds(context.Context) {
	x.Begin(netcheck.Held)
	f := x.allowed()
	if f.State == netcheck.Bad && x.how.Anyway {
		f.State = netcheck.Warn
	}
	x.End(netcheck.Held, f)
}

func (x *exam) allowed() netcheck.Finding {
	permit, _ := x.path.Permit()
	n := x.links[x.path.Stats().Present].Stats()
	why := carrierState(n)
	switch {
	case n.Down != "" || permit.Lanes.Has(reading.Normal) && !x.waitsForCompany():
		return netcheck.Fine("the link %s lets them pass", n.Name)
	case permit.Lanes.Has(reading.Normal):
		return netcheck.Fine("the link %s lets readings wait for company: until they fill %s, for %v at the most (min_batch)", n.Name, megabytes(int64(permit.MinBytes)), permit.MinAge)
	case n.ClockWaits:
		return netcheck.Wrong("set the clock, or turn on a time service: \"timedatectl set-ntp true\"; without one the link opens a day after the start of the machine", "the link %s is held back: %s", n.Name, why)
	case !n.Open:
		return netcheck.Wrong("wait until then, or change schedule of this [[link]]", "the link %s is held back: %s", n.Name, why)
	case n.Spent || !n.Rests.IsZero():
		return netcheck.Wrong("wait until it begins anew ("+ends(n)+"), or raise the budget of this [[link]]", "the link %s is held back: %s", n.Name, why)
	}
	return netcheck.Wrong("normal readings need a link of which lanes are not for alarms alone", "the link %s is not for normal readings", n.Name)
}

// ends says when a spent budget begins anew.
func ends(n carrier.Stats) string {
	if !n.Rests.IsZero() {
		return clockTime(n.Rests, time.Now())
	}
	for _, u := range []carrier.Usage{n.Today, n.Month} {
		if u.Budget > 0 && u.Used >= u.Budget && !u.Ends.IsZero() {
			return clockTime(u.Ends, time.Now())
		}
	}
	return "with the next day or month"
}

func (x *exam) waitsForCompany() bool {
	if x.running == nil {
		return false
	}
	permit, _ := x.path.Permit()
	return x.running.forwarder.Stats().State == uplink.Held && permit.Lanes.Has(reading.Normal)
}

// wayOut asks whether anything is there to leave by.
func (x *exam) wayOut(context.Context) {
	x.Begin(netcheck.Way)
	s := x.path.Stats()
	n := x.links[s.Present].Stats()
	switch {
	case n.Down != "":
		x.End(netcheck.Way, netcheck.Wrong("check the cable or the modem; see \"ip -brief link\"", "the link %s is down: %s", n.Name, n.Down))
	case s.Present == usual:
		up := interfacesUp()
		if len(up) == 0 {
			x.End(netcheck.Way, netcheck.Weak("check the cable or the modem; see \"ip -brief link\"", "no network interface of this machine is up"))
			return
		}
		x.End(netcheck.Way, netcheck.Fine("by the routing of this machine; up: %s", strings.Join(up, ", ")))
	default:
		text := fmt.Sprintf("the link %s is up", n.Name)
		if over := passedOver(s); len(over) > 0 {
			text += "; passed over: " + strings.Join(over, "; ")
		}
		x.End(netcheck.Way, netcheck.Fine("%s", text))
	}
}

// interfacesUp are those that could lead out of this machine.
func interfacesUp() (all []string) {
	interfaces, err := net.Interfaces()
	if err != nil {
		return []string{"unknown"}
	}
	for _, i := range interfaces {
		if i.Flags&net.FlagLoopback == 0 && i.Flags&net.FlagUp != 0 && i.Flags&net.FlagRunning != 0 {
			all = append(all, i.Name)
		}
	}
	return all
}

// tryOut connects and logs in.
func (x *exam) tryOut(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, x.trialTime)
	defer cancel()
	t := newAttempt(x.gateway, x.up, x.path, x.floor, x.Report)
	if x.adjust != nil {
		x.adjust(t)
	}
	_, err := t.run(ctx)
	if err == nil {
		return
	}
	if !x.Failed() { // the caller went away
		t.end(netcheck.Login, err)
	}
	reached := x.Found(netcheck.Name).State == netcheck.Bad || x.Found(netcheck.Connect).State == netcheck.Bad
	if way := x.Found(netcheck.Way); reached && way.State == netcheck.Warn {
		way.State = netcheck.Bad // no interface is up: that is why
		x.End(netcheck.Way, way)
	}
}

// sizes asks whether what is sent is taken.
func (x *exam) sizes(context.Context) {
	if x.running == nil {
		return
	}
	x.Begin(netcheck.Size)
	s := x.running.forwarder.Stats()
	n, why := x.refused()
	const look = `"tidegate quarantine ls" lists them, and can send them again`
	switch {
	case n > 0 && s.Quarantined > 0 && s.AckedReadings == 0:
		x.End(netcheck.Size, netcheck.Wrong(look, "it refuses what is sent, for good: %d blocks are set aside, the last because of: %s", n, why))
	case n > 0:
		x.End(netcheck.Size, netcheck.Weak(look, "it has refused %s of readings for good; the last because of: %s", count(uint64(n), "block"), why))
	case s.MaxBody > 0 && s.MaxBody < int(x.up.settings().MaxBatch):
		x.End(netcheck.Size, netcheck.Fine("messages of up to %s: it takes no larger ones", megabytes(int64(s.MaxBody))))
	default:
		x.End(netcheck.Size, netcheck.Fine("nothing was refused"))
	}
}

// quota asks whether the other side wants to be left alone.
func (x *exam) quota(context.Context) {
	if x.running == nil {
		return
	}
	x.Begin(netcheck.Quota)
	s := x.running.forwarder.Stats()
	if s.State != uplink.Down || !s.Asked {
		x.End(netcheck.Quota, netcheck.Fine("it has not"))
		return
	}
	what, hint := netcheck.Cut(s.Cause)
	at := s.NextTry.Local().Format("15:04:05")
	switch {
	case uplink.IsMisconfigured(s.Cause):
		x.End(netcheck.Quota, netcheck.Weak(hint, "what was sent last was not taken: %s", what))
	case time.Until(s.NextTry) > x.ackTime:
		x.End(netcheck.Quota, netcheck.Wrong(waiting(hint), "it asks to wait until %s: %s", at, what))
	default:
		x.End(netcheck.Quota, netcheck.Weak(waiting(hint), "it asks to wait until %s: %s", at, what))
	}
}

// acknowledged waits until something was.
func (x *exam) acknowledged(ctx context.Context) {
	x.Begin(netcheck.Ack)
	if x.running == nil {
		x.End(netcheck.Ack, netcheck.Wrong("start it: \"systemctl start tidegate\"; its log: \"journalctl -u tidegate\"", "the gateway does not run, so nobody sends what waits; everything that could be tried without it is fine"))
		return
	}
	s, lag := x.running.forwarder.Stats(), x.running.cursor.Lag()
	held := x.Found(netcheck.Held)
	switch {
	case held.State == netcheck.Warn: // and tried all the same
		x.well = netcheck.Weak(held.Hint, "the way is free, and only this is in the way: %s", held.Text)
		x.End(netcheck.Ack, netcheck.Weak("", "nothing may leave now"))
	case lag.Readings > 0:
		x.waitForAck(ctx, s, lag.Readings)
	case x.how.Send:
		f, err := x.send(ctx)
		if err != nil {
			what, hint := netcheck.Cut(err)
			f = netcheck.Wrong(hint, "%s", what)
		}
		x.well = f
		x.End(netcheck.Ack, f)
	case s.LastAck.IsZero():
		x.well = netcheck.Weak("look at the doors: does anything come in?", "nothing is wrong with %s: the way is free, and nothing has come in that could be sent", x.running.name)
		x.End(netcheck.Ack, netcheck.Fine("nothing waits, and nothing was sent since the start"))
	default:
		last := clockTime(s.LastAck, time.Now())
		x.well = netcheck.Fine("nothing is wrong with %s: everything that has come in is acknowledged, the last at %s. If something is missing, it does not come in: look at its door", x.running.name, last)
		x.End(netcheck.Ack, netcheck.Fine("everything is acknowledged, the last at %s", last))
	}
}

// waitForAck lets the link try at once, and looks what comes of it.
func (x *exam) waitForAck(ctx context.Context, before uplink.Stats, waiting uint64) {
	name := x.running.name
	if x.waitsForCompany() {
		permit, _ := x.path.Permit()
		x.well = netcheck.Fine("nothing is wrong with %s: %s for company, %v at the most (min_batch of its link)", name, count(waiting, "reading")+" wait", permit.MinAge)
		x.End(netcheck.Ack, netcheck.Fine("%s for company", count(waiting, "reading")+" wait"))
		return
	}
	began := time.Now()
	x.running.forwarder.TryNow()
	ctx, cancel := context.WithTimeout(ctx, x.ackTime)
	defer cancel()
	look := time.NewTicker(ackLook)
	defer look.Stop()
	for {
		s := x.running.forwarder.Stats()
		switch {
		case s.AckedReadings > before.AckedReadings:
			took := time.Since(began).Round(time.Millisecond)
			rest := "nothing waits any more"
			if n := x.running.cursor.Lag().Readings; n > 0 {
				rest = count(n, "more reading") + " will follow"
			}
			x.well = netcheck.Fine("nothing is wrong with %s now: %s were acknowledged within %v; %s", name, count(s.AckedReadings-before.AckedReadings, "reading"), took, rest)
			x.End(netcheck.Ack, netcheck.Fine("%s acknowledged within %v", count(s.AckedReadings-before.AckedReadings, "reading"), took))
			return
		case s.Retries > before.Retries && s.Cause != nil:
			step, f := ofSend(s.Cause)
			x.End(step, f)
			return
		case s.Quarantined > before.Quarantined:
			_, why := x.refused()
			x.End(netcheck.Size, netcheck.Wrong(`"tidegate quarantine ls" lists what was refused`, "it refuses what is sent, for good: %s", why))
			return
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			x.End(netcheck.Ack, x.noAck(s))
			return
		}
	}
}

// noAck says where it is stuck.
func (x *exam) noAck(s uplink.Stats) netcheck.Finding {
	switch {
	case s.InFlight > 0:
		return netcheck.Wrong("the link is slow, or something in between swallows large messages: try a smaller max_batch", "%d messages are sent and not acknowledged within %v", s.InFlight, x.ackTime)
	case s.Cause != nil:
		what, hint := netcheck.Cut(s.Cause)
		return netcheck.Wrong(hint, "the last try failed: %s; the next is at %s", what, s.NextTry.Local().Format("15:04:05"))
	}
	return netcheck.Wrong(`see the log: "journalctl -u tidegate"`, "readings wait, and nothing was sent within %v", x.ackTime)
}

package daemon

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/tidegate/tidegate/dashboard"
	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/uplink/carrier"
)

// networkStatus fills in the ways out, and what the doors out may expect of them.
// s has the doors already.
func (g *generation) networkStatus(s *dashboard.Status, run time.Duration) {
	wire := g.before.wire
	for _, name := range g.network.order {
		l := g.network.links[name]
		n := l.Stats()
		wire += float64(n.Sent + n.Received)
		s.Network = append(s.Network, carrierStatus(n, l.Forecast(carrier.Demand{})))
	}
	each := wireEach(wire, float64(g.before.sent), s.Links)
	inflow := g.inflow(*s, run)
	demands := make(map[string]carrier.Demand) // of each link, by all who share it
	for i, l := range g.links {
		p := l.path.Stats()
		over := &s.Links[i].Over
		over.Carrier, over.Since = p.Present, unixMilli(p.Since)
		over.Passed = passedOver(p)
		over.Needs = int64(each[i] * float64(s.Links[i].Waiting))
		sum := demands[p.Present]
		demands[p.Present] = carrier.Demand{Backlog: sum.Backlog + over.Needs, Inflow: sum.Inflow + each[i]*inflow}
	}
	for i := range g.links {
		if over := &s.Links[i].Over; over.Needs > 0 {
			over.Drained = unixMilli(g.network.links[over.Carrier].Forecast(demands[over.Carrier]).Drained)
		}
	}
}

// wireEach is how many bytes on the wire a reading has cost with each door out; zero
// while that is not known. Links count what passes for all of them together, which is
// shared out by what each has sent, and sent bytes more by those that are no more.
func wireEach(wire, sent float64, links []dashboard.Link) []float64 {
	for _, l := range links {
		sent += float64(l.SentBytes)
	}
	each := make([]float64, len(links))
	for i, l := range links {
		if sent > 0 && l.Acked > 0 {
			each[i] = wire * float64(l.SentBytes) / sent / float64(l.Acked)
		}
	}
	return each
}

// inflow is how many readings a second have come in since the start.
func (g *generation) inflow(s dashboard.Status, run time.Duration) float64 {
	readings := g.before.readings
	for _, door := range s.Doors {
		readings += door.Readings
	}
	return float64(readings) / max(1, run.Seconds())
}

// passedOver says why the links that are better than the one in use are not used.
func passedOver(p carrier.PathStats) (all []string) {
	for _, leg := range p.Legs {
		switch {
		case leg.Link == p.Present:
			return all
		case !leg.Usable:
			all = append(all, leg.Link+": "+leg.Why)
		case leg.Failed != nil:
			all = append(all, leg.Link+": "+leg.Failed.Error())
		default:
			all = append(all, leg.Link+": works again, and is watched for a while")
		}
	}
	return all
}

func carrierStatus(n carrier.Stats, f carrier.Forecast) dashboard.Carrier {
	s := dashboard.Carrier{
		Name: n.Name, State: carrierState(n), Lanes: []string{}, Connections: n.Conns,
		Sent: n.Sent, Received: n.Received, Estimated: n.Estimated, Problem: n.Problem,
		Today: usageStatus(n.Today), Month: usageStatus(n.Month), Window: unixMilli(n.Changes),
	}
	for lane := range reading.Lane(reading.Lanes) {
		if n.Permit.Lanes.Has(lane) {
			s.Lanes = append(s.Lanes, lane.String())
		}
	}
	s.Speed = int64(f.Speed)
	if f.Of > 0 {
		s.Left, s.Of, s.Renews, s.Lasts = f.Left, f.Of, unixMilli(f.Renews), unixMilli(f.Lasts)
	}
	return s
}

func usageStatus(u carrier.Usage) dashboard.Usage {
	return dashboard.Usage{Sent: u.Sent, Received: u.Received, Used: u.Used, Budget: u.Budget}
}

// carrierState is OK, or a sentence that says why not everything may pass.
func carrierState(n carrier.Stats) string {
	switch {
	case n.Down != "":
		return n.Down
	case n.ClockWaits:
		return "its schedule waits for a clock that is right"
	case !n.Open:
		return "closed by its schedule until " + clockTime(n.Changes, time.Now())
	case n.Spent:
		return "its budget is spent"
	case !n.Rests.IsZero():
		return "rests until " + clockTime(n.Rests, time.Now()) + ", so that its budget lasts"
	}
	return dashboard.OK
}

// networkProblems puts into sentences what somebody should know of the links.
func networkProblems(s dashboard.Status) (all []string) {
	for _, n := range s.Network {
		if n.Problem != "" {
			all = append(all, fmt.Sprintf("link %s: what it counts is not saved: %s — hint: see to the disk", n.Name, n.Problem))
		}
		switch {
		case n.State == "its budget is spent":
			all = append(all, fmt.Sprintf("link %s: %s; readings wait until %s — hint: raise the budget, or wait",
				n.Name, n.State, clockTime(time.UnixMilli(n.Renews), time.UnixMilli(s.Now))))
		case n.State == "its schedule waits for a clock that is right":
			all = append(all, fmt.Sprintf("link %s: %s — hint: turn on a time service; without one it opens a day after the start of the machine", n.Name, n.State))
		case n.Lasts != 0:
			all = append(all, fmt.Sprintf("link %s: %s are left until %s, and at this rate they last until %s — hint: raise min_batch_age, or the budget",
				n.Name, megabytes(n.Left), clockTime(time.UnixMilli(n.Renews), time.UnixMilli(s.Now)), clockTime(time.UnixMilli(n.Lasts), time.UnixMilli(s.Now))))
		}
	}
	return all
}

// writeNetwork lists the ways out, and which door out uses which.
func writeNetwork(b *strings.Builder, s dashboard.Status) error {
	if len(s.Network) == 0 {
		return nil
	}
	t := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	fmt.Fprint(t, "\nNETWORK\tON THE WIRE TODAY\tTHIS MONTH\tSTATE\n")
	for _, n := range s.Network {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", n.Name, used(n.Today), used(n.Month), n.State)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	now := time.UnixMilli(s.Now)
	for _, l := range s.Links {
		if len(s.Network) > 1 {
			fmt.Fprintf(b, "%s goes over %s since %s", l.Name, l.Over.Carrier, localTime(l.Over.Since))
			if len(l.Over.Passed) > 0 {
				fmt.Fprintf(b, " (%s)", strings.Join(l.Over.Passed, "; "))
			}
			b.WriteString("\n")
		}
		switch {
		case l.Over.Needs == 0:
		case l.Over.Drained == 0:
			fmt.Fprintf(b, "%s: what waits takes about %s; when it is delivered cannot be said\n", l.Name, megabytes(l.Over.Needs))
		case l.Over.Drained > s.Now+60_000:
			fmt.Fprintf(b, "%s: what waits takes about %s, and is delivered by %s\n", l.Name, megabytes(l.Over.Needs), clockTime(time.UnixMilli(l.Over.Drained), now))
		}
	}
	return nil
}

// used words what was used of a budget.
func used(u dashboard.Usage) string {
	if u.Budget > 0 {
		return megabytes(u.Used) + " of " + megabytes(u.Budget)
	}
	return megabytes(u.Used)
}

package daemon

import (
	"fmt"

	"github.com/tidegate/tidegate/buffer"
	"github.com/tidegate/tidegate/dashboard"
	"github.com/tidegate/tidegate/dashboard/api"
	"github.com/tidegate/tidegate/internal/conf"
	"github.com/tidegate/tidegate/reading"
)

// ways is what the gateway tells of the ways that readings go.
type ways struct{ *Daemon }

// DoorsOf implements api.Ways.
func (w ways) DoorsOf(device string) []string {
	if device == buffer.GapDevice {
		return nil // the gateway's own
	}
	return w.origins.doorsOf(device)
}

// WaysOut implements api.Ways.
func (w ways) WaysOut() (all []api.WayOut) {
	g := w.current()
	for _, l := range g.links {
		all = append(all, api.WayOut{
			Name: l.name, Kind: l.kind, Cursor: l.cursor, Forwarder: l.forwarder,
			Why: func(lane reading.Lane) string { return g.whyWaits(l, lane) },
		})
	}
	return all
}

// whyWaits puts into words why what waits in the lane for the link is not on its
// way; "" when nothing but others is before it.
func (g *generation) whyWaits(l *link, lane reading.Lane) string {
	s := l.status(buffer.Lag{})
	if s.State == dashboard.LinkDown {
		return "the link is down: " + s.LastError
	}
	n := g.network.links[l.path.Stats().Present].Stats()
	if state := carrierState(n); state != dashboard.OK && !n.Permit.Lanes.Has(lane) {
		return fmt.Sprintf("link %s: %s", n.Name, state)
	}
	p := n.Permit
	switch {
	case !p.Lanes.Has(lane):
		return fmt.Sprintf("link %s is not for lane %s now", n.Name, lane)
	case lane != reading.Alarm && p.MinBytes > 0 && p.MinAge > 0:
		return fmt.Sprintf("link %s lets readings wait for company: until %s are together, %v at the most", n.Name, conf.Size(p.MinBytes).Approx(), p.MinAge)
	}
	return ""
}

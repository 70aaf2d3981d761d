package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/tidegate/tidegate/dashboard"
	"github.com/tidegate/tidegate/dashboard/api"
	"github.com/tidegate/tidegate/internal/netcheck"
)

// maxExams is how many diagnoses run at once.
const maxExams = 4

// doctor lets the page ask a daemon.
type doctor struct {
	*Daemon
	room chan struct{} // holds one for every exam that runs
}

func (d *Daemon) doctor() doctor { return doctor{d, make(chan struct{}, maxExams)} }

// enter takes a place, or says that there is none.
func (d doctor) enter() (leave func(), err error) {
	select {
	case d.room <- struct{}{}:
		return func() { <-d.room }, nil
	default:
		return nil, api.Unavailable(errors.New("others are being diagnosed — hint: try again in a minute"))
	}
}

// DiagnoseLink implements api.Doctor.
func (d doctor) DiagnoseLink(ctx context.Context, name string, how api.Diagnosis, tell func(netcheck.Line)) error {
	x, err := d.exam(name, how, tell)
	if err != nil {
		return err
	}
	leave, err := d.enter()
	if err != nil {
		return err
	}
	defer leave()
	x.run(ctx)
	return ctx.Err()
}

// exam prepares that of a link.
func (d *Daemon) exam(name string, how api.Diagnosis, tell func(netcheck.Line)) (*exam, error) {
	g := d.current()
	l, err := g.findLink(name)
	if err != nil {
		return nil, err
	}
	x := &exam{
		Report: netcheck.NewReport(netcheck.LinkQuestions(), tell), gateway: d.gateway, path: l.path, links: g.network.links,
		floor: g.cfg.clockFloor(), how: how, running: l, trialTime: trialTime, ackTime: ackTime,
	}
	x.up, _ = g.cfg.Uplink.find(name)
	x.refused = func() (n int, why string) { return d.refusedOf(name) }
	x.send = func(ctx context.Context) (netcheck.Finding, error) {
		return d.roundTrip(ctx, g, l, netcheck.NewReport(nil, func(netcheck.Line) {}))
	}
	return x, nil
}

func (g *generation) findLink(name string) (*link, error) {
	l := g.link(name)
	if l == nil {
		return nil, api.NotFound(fmt.Errorf("there is no uplink %q here — hint: \"tidegate status\" lists them", name))
	}
	return l, nil
}

// find returns the table of an uplink.
func (u Uplink) find(name string) (upstream, bool) {
	all := u.all()
	i := slices.IndexFunc(all, func(u upstream) bool { return u.settings().Name == name })
	if i < 0 {
		return upstream{}, false
	}
	return all[i], true
}

// refusedOf is what a link has refused for good.
func (d *Daemon) refusedOf(name string) (n int, why string) {
	all, err := d.buffer.Quarantined()
	if err != nil {
		return 0, ""
	}
	last := int64(0)
	for _, q := range all {
		if q.Sink != name {
			continue
		}
		if n++; q.At >= last {
			last, why = q.At, q.Reason
		}
	}
	return n, why
}

// examWithout prepares the exam of an uplink when no gateway runs.
func examWithout(cfg Config, name string, how api.Diagnosis, tell func(netcheck.Line)) (*exam, error) {
	u, ok := cfg.Uplink.find(name)
	if !ok {
		return nil, fmt.Errorf("there is no uplink %q in the configuration", name)
	}
	gateway, err := cfg.Gateway.Identity()
	if err != nil {
		return nil, err
	}
	log := slog.New(slog.DiscardHandler)
	n := peekNetwork(cfg, log)
	x := &exam{
		Report: netcheck.NewReport(netcheck.LinkQuestions(), tell), up: u, gateway: gateway,
		path: n.path(u.settings().Links, nil, log), links: n.links, how: how, floor: cfg.clockFloor(),
		trialTime: trialTime, ackTime: ackTime,
	}
	return x, nil
}

var _ api.Doctor = doctor{}

// diagnoseRoutes are the routes that find out why nothing arrives.
func (d *Daemon) diagnoseRoutes() []dashboard.Route { return api.Diagnose(d.doctor()) }

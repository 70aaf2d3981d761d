package daemon

import (
	"context"
	"log/slog"
	"sync"

	"github.com/tidegate/tidegate/uplink"
	"github.com/tidegate/tidegate/uplink/carrier"
)

// network is the ways out that the gateway has.
type network struct {
	links map[string]*carrier.Link
	order []string
}

// openNetwork opens the links of the configuration, with what they have counted
// so far.
func openNetwork(c Config, log *slog.Logger) network {
	n := network{links: make(map[string]*carrier.Link)}
	for _, l := range c.carriers() {
		n.add(l.Name, carrier.Open(l.carrier(c.Gateway.DataDir), log))
	}
	return n
}

// peekNetwork is openNetwork for those who only look.
func peekNetwork(c Config, log *slog.Logger) network {
	n := network{links: make(map[string]*carrier.Link)}
	for _, l := range c.carriers() {
		n.add(l.Name, carrier.Peek(l.carrier(c.Gateway.DataDir), log))
	}
	return n
}

func (n *network) add(name string, l *carrier.Link) {
	n.links[name] = l
	n.order = append(n.order, name)
}

// path returns the way out over the named links, the best first; none stands for
// the system's routing.
func (n *network) path(names []string, moved func(), log *slog.Logger) *carrier.Path {
	if len(names) == 0 {
		names = []string{usual}
	}
	var links []*carrier.Link
	for _, name := range names {
		links = append(links, n.links[name])
	}
	return carrier.NewPath(carrier.PathConfig{Moved: moved}, log, links...)
}

// look lets the links see what has changed on the machine.
func (n *network) look() {
	for _, l := range n.links {
		l.Look()
	}
}

// runNetwork counts what passes, and changes links, until ctx ends.
func (d *Daemon) runNetwork(ctx context.Context) *sync.WaitGroup {
	var all sync.WaitGroup
	for name, l := range d.network.links {
		all.Go(func() {
			if err := l.Run(ctx); err != nil {
				d.log.Warn("what the last minute cost is not counted — hint: see to the disk", "link", name, "err", err)
			}
		})
	}
	for _, l := range d.links {
		all.Go(func() { l.path.Run(ctx) })
	}
	for _, k := range d.commands.all() {
		all.Go(func() { k.path.Run(ctx) })
	}
	return &all
}

// gate lets a forwarder ask its path: neither knows the other.
type gate struct{ path *carrier.Path }

func (g gate) Permit() (uplink.Permit, <-chan struct{}) {
	p, changed := g.path.Permit()
	return uplink.Permit(p), changed
}

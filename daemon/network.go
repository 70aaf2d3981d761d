package daemon

import (
	"context"
	"log/slog"

	"github.com/tidegate/tidegate/uplink"
	"github.com/tidegate/tidegate/uplink/carrier"
)

// network is the ways out that the gateway has.
type network struct {
	links map[string]*wayOut
	order []string
}

// wayOut is a link of the configuration.
type wayOut struct {
	part
	*carrier.Link
}

// openNetwork makes the links of the configuration, and takes over those that are
// there already.
func (b *builder) openNetwork() {
	b.network.links = make(map[string]*wayOut)
	for _, l := range b.cfg.carriers() {
		w := b.old.network.links[l.Name]
		if made := of(l); w == nil || !w.is(made) {
			w = &wayOut{part{name: l.Name, made: made}, carrier.New(l.carrier(b.cfg.Gateway.DataDir), b.log)}
		}
		b.network.add(w)
	}
}

// peekNetwork is the links of the configuration for those who only look.
func peekNetwork(c Config, log *slog.Logger) network {
	n := network{links: make(map[string]*wayOut)}
	for _, l := range c.carriers() {
		n.add(&wayOut{part{name: l.Name}, carrier.Peek(l.carrier(c.Gateway.DataDir), log)})
	}
	return n
}

func (n *network) add(w *wayOut) {
	n.links[w.name] = w
	n.order = append(n.order, w.name)
}

// named returns the named links, the best first; none stands for the system's
// routing.
func (n *network) named(names []string) (all []*wayOut) {
	if len(names) == 0 {
		names = []string{usual}
	}
	for _, name := range names {
		all = append(all, n.links[name])
	}
	return all
}

// path returns the way out over the named links.
func (n *network) path(names []string, moved func(), log *slog.Logger) *carrier.Path {
	var links []*carrier.Link
	for _, w := range n.named(names) {
		links = append(links, w.Link)
	}
	return carrier.NewPath(carrier.PathConfig{Moved: moved}, log, links...)
}

// made is what a path over the named links is made of.
func (n *network) made(names []string) (all []any) {
	for _, w := range n.named(names) {
		all = append(all, w.made)
	}
	return all
}

// look lets the links see what has changed on the machine.
func (n *network) look() {
	for _, w := range n.links {
		w.Look()
	}
}

// but returns the links that other does not have.
func (n *network) but(other *network) (all []*wayOut) {
	for _, name := range n.order {
		if w := n.links[name]; other.links[name] != w {
			all = append(all, w)
		}
	}
	return all
}

// runWayOut counts what passes until ctx ends.
func (d *Daemon) runWayOut(ctx context.Context, w *wayOut) {
	w.Load()
	w.begin(ctx, func(ctx context.Context) {
		if err := w.Run(ctx); err != nil {
			d.log.Warn("what the last minute cost is not counted — hint: see to the disk", "link", w.name, "err", err)
		}
	})
}

// gate lets a forwarder ask its path: neither knows the other.
type gate struct{ path *carrier.Path }

func (g gate) Permit() (uplink.Permit, <-chan struct{}) {
	p, changed := g.path.Permit()
	return uplink.Permit(p), changed
}

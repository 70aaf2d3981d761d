package carrier

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"time"
)

// Defaults of PathConfig.
const (
	DefaultHoldDown = time.Minute
	DefaultGrace    = 10 * time.Second
	DefaultMinProbe = 15 * time.Second
	DefaultMaxProbe = 5 * time.Minute
)

// maxHold bounds how long a link that works now and then is held down, as a
// multiple of HoldDown.
const maxHold = 16

// PathConfig says how a Path changes its link. Every field may be left zero.
type PathConfig struct {
	// HoldDown is how long a better link must have worked until it is used again.
	// One that fails soon after that must work for twice as long the next time.
	HoldDown time.Duration
	// Grace is how long connections over the link before may go on; those on which
	// nothing passes are closed earlier.
	Grace time.Duration
	// MinProbe and MaxProbe bound the pause after which a link that has failed is
	// tried again, which doubles each time. Its cable coming back ends the pause.
	MinProbe, MaxProbe time.Duration
	// Moved, if not nil, is called when the Path has changed its link. It must not
	// block.
	Moved func()
}

// Path is the links of one door out, the best first. It uses one of them at a
// time: the first that works and lets something pass. It is safe for concurrent
// use; without Run it finds another link when a Dial fails, and never goes back.
type Path struct {
	cfg  PathConfig
	log  *slog.Logger
	wake chan struct{} // receives when Run should look again

	mu      sync.Mutex
	legs    []*leg
	present int
	since   time.Time // present is the one
	network string    // of the last Dial, which probes repeat
	address string
	conns   map[*conn]int // over which leg
	told    Permit
	changed chan struct{} // closed when told is no longer right
	forget  []func()      // lets the links forget it
}

// leg is a link of a Path, and how it does there.
type leg struct {
	link  *Link
	pause time.Duration // the last one, 0 if it has not failed
	hold  time.Duration
	// usable, lost and why are what the link said last; usable since turned.
	usable, lost bool
	why          string
	turned       time.Time
	// failed is why the last dial or connection broke, nil if none has.
	failed error
	until  time.Time // it need not be tried before
	good   time.Time // since when probes arrive; zero if they do not
	won    time.Time // when the Path came back to it
}

// NewPath returns a Path over the links, at least one, of which the first is the
// best.
func NewPath(cfg PathConfig, log *slog.Logger, links ...*Link) *Path {
	cfg.HoldDown, cfg.Grace = cmp.Or(cfg.HoldDown, DefaultHoldDown), cmp.Or(cfg.Grace, DefaultGrace)
	cfg.MinProbe, cfg.MaxProbe = cmp.Or(cfg.MinProbe, DefaultMinProbe), cmp.Or(cfg.MaxProbe, DefaultMaxProbe)
	p := &Path{
		cfg: cfg, log: log, wake: make(chan struct{}, 1), since: time.Now(),
		conns: make(map[*conn]int), changed: make(chan struct{}),
	}
	for _, l := range links {
		p.legs = append(p.legs, &leg{link: l, hold: cfg.HoldDown})
		p.forget = append(p.forget, l.onChange(p.rouse))
	}
	p.refresh()
	p.present = max(0, p.best())
	p.told = p.legs[p.present].link.Permit()
	return p
}

// Leave lets the links forget a Path that is used no more, while they are used by
// others.
func (p *Path) Leave() {
	for _, f := range p.forget {
		f()
	}
}

// Look decides anew, for whoever begins to use the Path long after NewPath.
func (p *Path) Look() { p.review(true) }

// rouse lets Run look at once.
func (p *Path) rouse() {
	select {
	case p.wake <- struct{}{}:
	default: // it will anyway
	}
}

// Permit returns what the link in use allows at present. changed is closed when
// that may have changed, as of uplink.Gate; Run sees to that.
func (p *Path) Permit() (permit Permit, changed <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.told = p.legs[p.present].link.Permit()
	return p.told, p.changed
}

// Dial connects over the link in use, or over the next one that works: each that
// lets something pass is tried once. The error is that of all of them; with a
// single link it is its own.
func (p *Path) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	order := p.begin(network, address)
	var errs []error
	for n, i := range order {
		c, err := p.try(ctx, i, len(order)-n, network, address)
		if err == nil {
			return c, nil
		}
		errs = append(errs, err)
		if ctx.Err() != nil {
			break
		}
	}
	if len(p.legs) == 1 && len(errs) == 1 {
		return nil, errs[0]
	}
	if len(errs) == 0 {
		return nil, fmt.Errorf("%w: %s", ErrClosed, p.reasons())
	}
	return nil, p.joined(order, errs)
}

// joined is one error of several links.
func (p *Path) joined(order []int, errs []error) error {
	text := make([]string, len(errs))
	for n, err := range errs {
		text[n] = "over " + p.legs[order[n]].link.Name() + ": " + err.Error()
	}
	return &pathError{strings.Join(text, "; "), errs}
}

// pathError reads as one sentence and is all of its errors.
type pathError struct {
	text string
	errs []error
}

func (e *pathError) Error() string   { return e.text }
func (e *pathError) Unwrap() []error { return e.errs }

// begin notes what is dialled, and returns over which legs in which order: the
// present one if it works, those that have not failed just now, and the present
// one if it does not. If there are none of these, it is the first usable one: a
// Dial that is made is better than none.
func (p *Path) begin(network, address string) (order []int) {
	for _, g := range p.legs {
		if g.link.downReason() != "" {
			g.link.Look() // the kernel may have said otherwise before anybody listened
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.network, p.address = network, address
	p.refresh()
	now, here := time.Now(), p.legs[p.present]
	if here.usable && here.failed == nil {
		order = append(order, p.present)
	}
	for i, g := range p.legs {
		if i != p.present && g.usable && !now.Before(g.until) {
			order = append(order, i)
		}
	}
	if here.usable && here.failed != nil {
		order = append(order, p.present)
	}
	if first := slices.IndexFunc(p.legs, func(g *leg) bool { return g.usable }); len(order) == 0 && first >= 0 {
		order = append(order, first)
	}
	return order
}

// try dials over one leg, which leaves something of the time to the rest.
func (p *Path) try(ctx context.Context, i, left int, network, address string) (*conn, error) {
	if end, ok := ctx.Deadline(); ok && left > 1 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(end)/time.Duration(left))
		defer cancel()
	}
	c, err := p.legs[i].link.dial(ctx, network, address, func(c *conn, err error) { p.ended(i, c, err) })
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil {
		if !errors.Is(ctx.Err(), context.Canceled) { // the caller's, which says nothing about the link
			p.broke(i, err)
		}
		return nil, err
	}
	p.conns[c] = i
	g, here := p.legs[i], p.legs[p.present]
	g.failed, g.pause = nil, 0
	if i < p.present || i > p.present && (here.failed != nil || !here.usable) { // else it is late: a better one is back
		p.move(i)
	}
	return c, nil
}

// ended is told of the end of a connection.
func (p *Path) ended(i int, c *conn, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err == nil {
		delete(p.conns, c)
		return
	}
	p.broke(i, err)
}

// broke notes that a leg does not work.
func (p *Path) broke(i int, err error) {
	g, now := p.legs[i], time.Now()
	if g.failed == nil && !g.won.IsZero() {
		if now.Sub(g.won) < 4*g.hold {
			g.hold = min(2*g.hold, maxHold*p.cfg.HoldDown)
		} else {
			g.hold = p.cfg.HoldDown
		}
		g.won = time.Time{}
	}
	g.pause = min(max(2*g.pause, p.cfg.MinProbe), p.cfg.MaxProbe)
	g.failed, g.good = err, time.Time{}
	g.until = now.Add(g.pause*3/4 + rand.N(g.pause/2+1))
	p.rouse()
}

// move changes the link in use.
func (p *Path) move(i int) {
	from, to := p.legs[p.present], p.legs[i]
	var because []any
	switch {
	case i < p.present:
		to.won = time.Now()
	case from.failed != nil:
		because = []any{"err", from.failed}
	case from.why != "":
		because = []any{"why", from.why}
	}
	p.log.Warn("another link is used now", append([]any{"link", to.link.Name(), "before", from.link.Name()}, because...)...)
	p.present, p.since, to.good = i, time.Now(), time.Time{}
	p.announce()
	p.rouse()
	if p.cfg.Moved != nil {
		p.cfg.Moved()
	}
}

// announce tells those who hold the Permit when it has changed.
func (p *Path) announce() {
	if now := p.legs[p.present].link.Permit(); now != p.told {
		p.told = now
		close(p.changed)
		p.changed = make(chan struct{})
	}
}

// refresh asks the links whether they can be used.
func (p *Path) refresh() {
	for _, g := range p.legs {
		usable, lost, why := g.link.usable()
		if usable && !g.usable { // a cable is back, or a window opens
			g.until, g.failed, g.pause = time.Time{}, nil, 0
		}
		if usable != g.usable {
			g.turned, g.good = time.Now(), time.Time{}
		}
		g.usable, g.lost, g.why = usable, lost, why
	}
}

// reasons says why no link can be used.
func (p *Path) reasons() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []string
	for _, g := range p.legs {
		if !g.usable {
			all = append(all, g.link.Name()+": "+g.why)
		}
	}
	return strings.Join(all, "; ")
}

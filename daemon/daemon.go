// Package daemon is the composition root: it reads the configuration, builds
// the rooms of the house, runs and supervises them, and answers the commands of
// the tidegate program. It is the only room that has every key.
//
// A configuration is taken in four steps, each a function of its own:
//
//	Parse → Check → New → (*Daemon).Run
//
// build.go chooses the kinds of doors, generation.go says what of them another
// configuration leaves as it is, change.go puts that in its place, supervise.go
// restarts what broke, and Run below stops everything in order.
package daemon

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidegate/tidegate/buffer"
	"github.com/tidegate/tidegate/dashboard"
	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/internal/linkup"
	"github.com/tidegate/tidegate/internal/starts"
	"github.com/tidegate/tidegate/uplink"
	"github.com/tidegate/tidegate/uplink/carrier"
)

// Daemon is one gateway: what lives as long as the process, and the generation that
// the configuration makes of it.
type Daemon struct {
	gateway string
	log     *slog.Logger
	started time.Time
	heard   *heard // what log said last
	begun   *starts.Start

	buffer   *buffer.Buffer
	memory   *ingest.Memory // of what devices announce
	hub      *dashboard.Hub
	bench    *workbench
	page     net.Listener // nil when the dashboard is off, as entrance is
	entrance *entrance
	admin    net.Listener
	overseer
	*watch

	file       string // of the configuration; empty for none
	good       string // where the text is kept that ran last; empty for nowhere
	generation atomic.Pointer[generation]
	texts      atomic.Pointer[texts]
	orders     chan order // for the one who changes the configuration

	// What people are told beside what the parts count.
	origins origins
	spells  spells
	clock   clockWatch
}

// link is a way out.
type link struct {
	part
	kind      string
	target    string // where it delivers to, for people
	forwarder *uplink.Forwarder
	cursor    *buffer.Cursor
	route     part // that runs path
	path      *carrier.Path
	wake      chan struct{} // receives when the network may have come back
	sink      uplink.Sink
	open      func() (uplink.Sink, error) // makes another one
	attach    func(*buffer.Cursor)        // sets cursor and forwarder; nobody else has the cursor any more
	leftOut   func() uint64               // readings that the encoding has no words for
	before    delivered                   // by those that had the name before
}

// drainGrace is how long a stop waits for what the links are just delivering.
// What stays behind stays on flash.
const drainGrace = 3 * time.Second

// Run moves readings until ctx ends, then stops in order. It returns an error
// when the buffer could not be closed cleanly, which loses nothing: the next
// start recovers.
func (d *Daemon) Run(ctx context.Context) error {
	defer d.closeListeners()

	keep, stopBuffer := context.WithCancel(context.WithoutCancel(ctx))
	show, stopShowing := context.WithCancel(context.WithoutCancel(ctx))
	send := context.WithoutCancel(ctx) // parts of the generation are ended one by one
	defer stopBuffer()
	defer stopShowing()

	buffered := d.async(func() error { return d.buffer.Run(keep) })
	if err := d.memory.Load(ctx, custody{buffer: d.buffer}); err != nil && ctx.Err() == nil {
		d.log.Warn("what devices announced before is not known: their readings have no units and aliases until they announce again", "err", err)
	}
	d.runFirst(ctx, send, d.current())
	shown := d.runPages(show)
	d.log.Info("gateway runs", "gateway", d.gateway, "version", Version)
	d.begun.Run()
	defer d.begun.Halt()

	(&steward{Daemon: d}).run(ctx, send)
	d.stops.Store(true)
	d.heed(d.systemd.Stopping())
	d.log.Info("gateway stops")

	g := d.current()
	// 1. No more readings come in. The buffer still commits, so that what was
	//    taken is acknowledged before the doors close.
	endDoors(g.doors)
	endCommands(g.commands)
	// 2. The links finish what is on its way, within a grace. What their
	//    connections have cost is saved when they are closed.
	d.drain(g.links)
	endLinks(g.links)
	endRoutes(g.commands)
	endWaysOut(g.network.but(&network{}))
	// 3. Nobody watches any more.
	stopShowing()
	shown.Wait()
	// 4. The last group is committed, cursors are saved, files are closed.
	stopBuffer()
	return d.ended(<-buffered)
}

// async runs f and delivers its error.
func (d *Daemon) async(f func() error) <-chan error {
	ended := make(chan error, 1)
	go func() { ended <- f() }()
	return ended
}

// runPages runs what people look at: hub, dashboard and admin socket.
func (d *Daemon) runPages(ctx context.Context) *sync.WaitGroup {
	var all sync.WaitGroup
	serve := func(what string, run func(context.Context) error) {
		all.Go(func() {
			if err := run(ctx); err != nil && !errors.Is(err, context.Canceled) {
				d.log.Error(what+" ended", "err", err)
			}
		})
	}
	serve("live view", d.hub.Run)
	routes := d.routes() // what is bounded in them is so for the page and the commands together
	if d.page != nil {
		page := d.newPage(routes)
		serve("dashboard", func(ctx context.Context) error { return page.Serve(ctx, d.page) })
	}
	if d.admin != nil {
		serve("admin socket", func(ctx context.Context) error { return d.serveAdmin(ctx, routes) })
	}
	serve("log", d.tail.Run)
	serve("watch of doors", d.watchDoors)
	serve("watch of the clock", d.watchClock)
	serve("identify", d.signal.Run)
	serve("word to systemd", d.attend)
	serve("watch for links", func(ctx context.Context) error { return linkup.Watch(ctx, d.networkChanged, nil) })
	return &all
}

// serveMQTT speaks MQTT over WebSocket, where that is asked for.
func (d *Daemon) serveMQTT(w http.ResponseWriter, r *http.Request) {
	g := d.current()
	if broker := g.broker(); broker != nil && g.cfg.Ingest.MQTT.WebSocket {
		broker.ServeHTTP(w, r)
		return
	}
	http.NotFound(w, r)
}

// networkChanged is told of every event of the network; up says that something
// appeared. The links then try at once instead of when their backoff says.
func (d *Daemon) networkChanged(up bool) {
	g := d.current()
	g.network.look()
	if !up {
		return
	}
	for _, l := range g.links {
		l.rouse()
	}
	for _, k := range g.commands.all() {
		k.rouse()
	}
}

// rouse lets the link try at once.
func (l *link) rouse() {
	select {
	case l.wake <- struct{}{}:
	default: // it knows already
	}
}

// drain waits until none of the links has anything on its way, or the grace is over.
func (d *Daemon) drain(links []*link) {
	ctx, cancel := context.WithTimeout(context.Background(), drainGrace)
	defer cancel()
	for _, l := range links {
		if err := l.forwarder.WaitIdle(ctx); err != nil {
			d.log.Info("readings stay on flash", "sink", l.name, "n", l.cursor.Lag().Readings)
		}
	}
}

// Package daemon is the composition root: it reads the configuration, builds
// the rooms of the house, runs and supervises them, and answers the commands of
// the tidegate program. It is the only room that has every key.
//
// A configuration is taken in four steps, each a function of its own:
//
//	Parse → Check → New → (*Daemon).Run
//
// build.go chooses the kinds of doors, supervise.go restarts what broke, and
// Run below stops everything in order.
package daemon

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"sync"
	"time"

	"github.com/tidegate/tidegate/buffer"
	"github.com/tidegate/tidegate/dashboard"
	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/internal/linkup"
	"github.com/tidegate/tidegate/uplink"
	"github.com/tidegate/tidegate/uplink/carrier"
)

// Daemon is one gateway.
type Daemon struct {
	cfg     Config
	gateway string
	log     *slog.Logger
	started time.Time
	heard   *heard // what log said last

	buffer   *buffer.Buffer
	memory   *ingest.Memory // of what devices announce
	hub      *dashboard.Hub
	doors    []door
	chains   *chains // of readings on their way from the doors to the buffer
	links    []*link
	commands *commands // nil if none are allowed
	// network is the ways out that the links use.
	network network
	page    net.Listener // nil when the dashboard is off
	admin   net.Listener
	// beside is what is served where the dashboard listens, by its pattern of
	// http.ServeMux.
	beside map[string]http.Handler
}

// door is a source under supervision.
type door struct {
	name   string
	source ingest.Source
	intake *ingest.Intake
}

// link is a way out.
type link struct {
	name, kind string
	forwarder  *uplink.Forwarder
	cursor     *buffer.Cursor
	path       *carrier.Path
	wake       chan struct{} // receives when the network may have come back
	sink       uplink.Sink
	open       func() (uplink.Sink, error) // makes another one
	leftOut    func() uint64               // readings that the encoding has no words for
}

// drainGrace is how long a stop waits for what the links are just delivering.
// What stays behind stays on flash.
const drainGrace = 3 * time.Second

// Run moves readings until ctx ends, then stops in order. It returns an error
// when the buffer could not be closed cleanly, which loses nothing: the next
// start recovers.
func (d *Daemon) Run(ctx context.Context) error {
	debug.SetMemoryLimit(int64(d.cfg.Gateway.Memory))
	defer d.closeListeners()

	keep, stopBuffer := context.WithCancel(context.WithoutCancel(ctx))
	show, stopShowing := context.WithCancel(context.WithoutCancel(ctx))
	send, stopLinks := context.WithCancel(context.WithoutCancel(ctx))
	carry, stopNetwork := context.WithCancel(context.WithoutCancel(ctx))
	defer stopBuffer()
	defer stopShowing()
	defer stopLinks()
	defer stopNetwork()

	buffered := d.async(func() error { return d.buffer.Run(keep) })
	carried := d.runNetwork(carry)
	links := d.runLinks(send)
	shown := d.runPages(show)
	doors := d.runDoors(ctx)
	d.log.Info("gateway runs", "gateway", d.gateway, "version", Version)

	<-ctx.Done()
	d.log.Info("gateway stops")

	// 1. No more readings come in. The buffer still commits, so that what was
	//    taken is acknowledged before the doors close.
	doors.Wait()
	// 2. The links finish what is on its way, within a grace.
	d.drain()
	stopLinks()
	links.Wait()
	//    What their connections have cost is saved when they are closed.
	stopNetwork()
	carried.Wait()
	// 3. Nobody watches any more.
	stopShowing()
	shown.Wait()
	// 4. The last group is committed, cursors are saved, files are closed.
	stopBuffer()
	return <-buffered
}

// async runs f and delivers its error.
func (d *Daemon) async(f func() error) <-chan error {
	ended := make(chan error, 1)
	go func() { ended <- f() }()
	return ended
}

func (d *Daemon) runDoors(ctx context.Context) *sync.WaitGroup {
	var all sync.WaitGroup
	if err := d.memory.Load(ctx, custody{d.buffer}); err != nil && ctx.Err() == nil {
		d.log.Warn("what devices announced before is not known: their readings have no units and aliases until they announce again", "err", err)
	}
	for _, door := range d.doors {
		all.Go(func() { d.supervise(ctx, door) })
	}
	d.runCommands(ctx, &all)
	return &all
}

func (d *Daemon) runLinks(ctx context.Context) *sync.WaitGroup {
	var all sync.WaitGroup
	for _, l := range d.links {
		all.Go(func() { d.superviseLink(ctx, l) })
	}
	return &all
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
	if d.page != nil {
		page := dashboard.NewServer(d.hub, d.cfg.Dashboard.Hosts, d.log)
		page.Handle(d.routes()...)
		for pattern, handler := range d.beside {
			page.Handle(dashboard.Route{Pattern: pattern, Access: dashboard.Open, Handler: handler})
		}
		serve("dashboard", func(ctx context.Context) error { return page.Serve(ctx, d.page) })
	}
	if d.admin != nil {
		serve("admin socket", d.serveAdmin)
	}
	serve("watch for links", func(ctx context.Context) error { return linkup.Watch(ctx, d.networkChanged, nil) })
	return &all
}

// networkChanged is told of every event of the network; up says that something
// appeared. The links then try at once instead of when their backoff says.
func (d *Daemon) networkChanged(up bool) {
	d.network.look()
	if !up {
		return
	}
	for _, l := range d.links {
		l.rouse()
	}
	for _, k := range d.commands.all() {
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

// drain waits until no link has anything on its way, or the grace is over.
func (d *Daemon) drain() {
	ctx, cancel := context.WithTimeout(context.Background(), drainGrace)
	defer cancel()
	for _, l := range d.links {
		if err := l.forwarder.WaitIdle(ctx); err != nil {
			d.log.Info("readings stay on flash for the next start", "sink", l.name, "n", l.cursor.Lag().Readings)
		}
	}
}

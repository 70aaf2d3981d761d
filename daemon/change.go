package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/tidegate/tidegate/ingest/linein"
)

// openTime is how long a door may take to listen before the configuration that it
// comes from is given up.
const openTime = 5 * time.Second

// runFirst runs the first generation. Ways out and links run until they are ended,
// doors and commands at the longest until ctx ends.
func (d *Daemon) runFirst(ctx, send context.Context, g *generation) {
	d.limitMemory(g.cfg.Gateway.Memory)
	for _, w := range g.network.but(&network{}) {
		d.runWayOut(send, w)
	}
	for _, l := range g.links {
		d.runLink(send, l)
	}
	d.runDoors(ctx, g.doors)
	d.runRoutes(send, g.commands)
	g.attach()
	d.runCommands(ctx, g.commands)
}

// change replaces the generation: first the doors, because that can fail, then the
// ways out, then the commands, which use both. What was acknowledged is kept in any
// case. On an error the configuration before is in effect. The places of uplinks that
// are no more stay as they are: see retire.
func (d *Daemon) change(ctx, send context.Context, cfg Config) error {
	old := d.current()
	if err := old.cfg.mayBecome(cfg); err != nil {
		return err
	}
	d.heed(d.systemd.Reloading())
	defer func() { d.heed(d.systemd.Ready("")) }()
	next, err := d.build(cfg, old)
	if err != nil {
		return err
	}
	commandsChange := next.commands != old.commands
	if commandsChange {
		endCommands(old.commands)
	}
	if err := d.changeDoors(ctx, old, next); err != nil {
		next.discard(old)
		if commandsChange {
			d.runCommands(ctx, old.commands)
		}
		return err
	}
	d.changeLinks(send, old, next)
	if commandsChange {
		endRoutes(old.commands)
		d.runRoutes(send, next.commands)
	}
	endWaysOut(old.network.but(&next.network))
	d.generation.Store(next)
	if commandsChange {
		old.commands.passOn(next.commands)
		d.runCommands(ctx, next.commands)
	}
	d.limitMemory(cfg.Gateway.Memory)
	cfg.tellClients(d.log)
	return nil
}

// changeDoors ends the doors that next does not have and opens those that are new.
// If one of them does not open, the old ones are opened again.
func (d *Daemon) changeDoors(ctx context.Context, old, next *generation) error {
	gone, fresh := old.doorsBut(next), next.doorsBut(old)
	endDoors(gone)
	d.runDoors(ctx, fresh)
	next.attach()
	err := opened(ctx, fresh)
	if err != nil {
		endDoors(fresh)
		d.runDoors(ctx, gone)
		old.attach()
		return err
	}
	for _, door := range gone {
		if heir := next.door(door.name); heir != nil {
			heir.before = door.taken()
		} else {
			next.before.readings += door.taken()
		}
	}
	return nil
}

// attach lets the desk of commands publish on the broker of its generation.
func (g *generation) attach() {
	if g.commands != nil {
		g.commands.outlet.broker.Store(g.broker())
	}
}

// opener is a door that others connect to.
type opener interface {
	Addr(ctx context.Context) net.Addr
}

// opened waits until all doors that listen do so.
func opened(ctx context.Context, doors []*door) error {
	ctx, cancel := context.WithTimeout(ctx, openTime)
	defer cancel()
	var problems []error
	for _, door := range doors {
		if err := door.opened(ctx); err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", door.name, err))
		}
	}
	return errors.Join(problems...)
}

func (d *door) opened(ctx context.Context) error {
	source, listens := d.source.(opener)
	if line, ok := d.source.(*linein.Source); ok {
		_, dials := line.Address()
		listens = !dials // a device server may be away for days
	}
	if !listens {
		return nil
	}
	waiting, stop := context.WithCancel(ctx)
	defer stop()
	address := make(chan net.Addr, 1)
	go func() { address <- source.Addr(waiting) }()
	select {
	case at := <-address:
		if at == nil {
			return fmt.Errorf("does not listen after %v — hint: see what the log says of it", openTime)
		}
		return nil
	case err := <-d.failed:
		stop()
		<-address
		return err
	}
}

// changeLinks ends the links that next does not have, with what they use of the
// network, and runs those that are new.
func (d *Daemon) changeLinks(send context.Context, old, next *generation) {
	gone := old.linksBut(next)
	d.drain(gone)
	endLinks(gone)
	for _, w := range old.network.but(&next.network) {
		stats := w.Stats()
		next.before.wire += float64(stats.Sent + stats.Received)
	}
	for _, w := range next.network.but(&old.network) {
		if before := old.network.links[w.name]; before != nil {
			end(&before.part) // and the file is free
		}
		d.runWayOut(send, w)
	}
	for _, l := range gone {
		if heir := next.link(l.name); heir != nil {
			heir.before = l.delivered()
		} else {
			next.before.sent += l.delivered().sent
		}
	}
	for _, l := range next.linksBut(old) {
		d.runLink(send, l)
	}
}

// runDoors runs doors until they are ended or ctx ends.
func (d *Daemon) runDoors(ctx context.Context, doors []*door) {
	for _, door := range doors {
		door.begin(ctx, func(ctx context.Context) { d.supervise(ctx, door) })
	}
}

// runLink runs a link and its path.
func (d *Daemon) runLink(send context.Context, l *link) {
	l.attach(d.buffer.Cursor(l.name))
	l.path.Look()
	l.route.begin(send, func(ctx context.Context) { _ = l.path.Run(ctx) }) // which is nil
	l.begin(send, func(ctx context.Context) { d.superviseLink(ctx, l) })
}

// runRoutes runs the paths of those who bring commands.
func (d *Daemon) runRoutes(send context.Context, c *commands) {
	for _, k := range c.all() {
		k.path.Look()
		k.route.begin(send, func(ctx context.Context) { _ = k.path.Run(ctx) }) // which is nil
	}
}

func endDoors(doors []*door) {
	var all []*part
	for _, d := range doors {
		all = append(all, &d.part)
	}
	end(all...)
}

// endLinks ends links, and then what they used of the network.
func endLinks(links []*link) {
	var all, routes []*part
	for _, l := range links {
		all, routes = append(all, &l.part), append(routes, &l.route)
	}
	end(all...)
	end(routes...)
	for _, l := range links {
		l.path.Leave()
	}
}

func endCommands(c *commands) {
	if c != nil {
		end(&c.part)
	}
}

// passOn lets the commands after these know what devices have acknowledged meanwhile.
func (c *commands) passOn(next *commands) {
	if c != nil && next != nil {
		c.desk.PassOn(next.desk)
	}
}

func endRoutes(c *commands) {
	for _, k := range c.all() {
		end(&k.route)
		k.path.Leave()
	}
}

func endWaysOut(ways []*wayOut) {
	var all []*part
	for _, w := range ways {
		all = append(all, &w.part)
	}
	end(all...)
}

package daemon

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidegate/tidegate/command"
	"github.com/tidegate/tidegate/command/overhttp"
	"github.com/tidegate/tidegate/dashboard"
	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/ingest/mqttin"
	"github.com/tidegate/tidegate/internal/backoff"
	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/uplink"
	"github.com/tidegate/tidegate/uplink/carrier"
	"github.com/tidegate/tidegate/uplink/onelink"
)

// commands is the way down: nil in a Daemon whose configuration allows none.
type commands struct {
	part
	desk     *command.Desk
	outlet   *orders
	couriers []*courier
	counter  *counter
}

// courier is a way down under supervision.
type courier struct {
	name, kind, target string
	route              part // that runs path
	courier            command.Courier
	clerk              *command.Clerk
	path               *carrier.Path
	lane               reading.Lane
	beside             string // the uplink with whose acknowledgements commands come; empty for none
	wake               chan struct{}
}

// orders lets the desk publish on the broker: neither knows the other, and the one
// may be replaced while the other stays.
type orders struct{ broker atomic.Pointer[mqttin.Source] }

func (o *orders) Publish(ctx context.Context, c command.Command, topic string, left time.Duration, rs []reading.Reading, notes ...reading.Note) (ingest.Receipt, int, error) {
	return o.broker.Load().Publish(ctx, mqttin.Order{
		ID: c.ID, Topic: topic, Payload: c.Payload, QoS: c.QoS, Retain: c.Retain, Expiry: left,
	}, rs, notes...)
}

// onelinkDial is a Dial as couriers know it.
func onelinkDial(dial uplink.Dial) onelink.Dial { return onelink.Dial(dial) }

// buildCommands makes the desk, which the broker tells of deliveries, and those who
// bring commands, unless they are there.
func (b *builder) buildCommands() error {
	c := b.cfg.Command
	if !c.on() {
		return nil
	}
	made := of(c, b.madeOfCouriers())
	if old := b.old.commands; old != nil && old.is(made) {
		b.commands = old
		return nil
	}
	cfg, err := c.desk(b.gateway)
	if err != nil {
		return err
	}
	b.commands = &commands{part: part{name: "command", made: made}, outlet: &orders{}}
	ledger := ingest.NewIntake(custody{buffer: b.buffer}, b.hub, time.Now)
	b.commands.desk = command.New(cfg, b.commands.outlet, ledger, b.log.With("desk", "command"))
	b.commands.counter = newCounter(b.commands.desk)
	for _, t := range c.all() {
		if err := b.addCourier(t); err != nil {
			return fmt.Errorf("%s: %w", t.key, err)
		}
	}
	return nil
}

// madeOfCouriers is what couriers are made of beside [command].
func (b *builder) madeOfCouriers() (all []any) {
	all = of(keptFileAt(b.cfg.Command.KeyFile))
	for _, t := range b.cfg.Command.all() {
		all = append(all, b.network.made(t.below().Links), secrets(t.wayDown), keptFileAt(t.below().TLSCA))
	}
	return all
}

func (b *builder) addCourier(t downstream) error {
	below := t.below()
	log := b.log.With("courier", below.Name)
	secure, err := below.tlsClient(b.cfg.clockFloor(), log)
	if err != nil {
		return err
	}
	k := &courier{name: below.Name, kind: t.kind, target: withoutQuery(t.target()), lane: below.lane(), wake: make(chan struct{}, 1)}
	if h, ok := t.wayDown.(HTTPCommands); ok {
		k.beside = h.Beside
	}
	k.path = b.network.path(below.Links, k.rouse, log)
	b.commands.couriers = append(b.commands.couriers, k)
	if k.courier, err = t.courier(way{gateway: b.Daemon.gateway, dial: k.path.Dial, tls: secure, log: log}); err != nil {
		return err
	}
	k.clerk = b.commands.desk.Clerk(below.Name, below.narrow())
	return nil
}

// besides is who listens to the acknowledgements of an uplink of a configuration: a
// courier whose commands come with them. Nil is nobody.
func (d *Daemon) besides(c Config, u upstream) func(body []byte) {
	name := u.settings().Name
	if u.kind != "http" || !c.Command.on() || !c.Command.beside(name) {
		return nil
	}
	return func(body []byte) {
		for _, k := range d.current().commands.all() {
			if c, ok := k.courier.(*overhttp.Courier); ok && k.beside == name {
				c.Offer(body)
			}
		}
	}
}

// delivered is what the broker tells of deliveries to.
func (d *Daemon) delivered(order, client string) {
	if c := d.current().commands; c != nil {
		c.desk.Delivered(order, client)
	}
}

// all returns the couriers; none if there are no commands.
func (c *commands) all() []*courier {
	if c == nil {
		return nil
	}
	return c.couriers
}

// rouse lets the courier try at once.
func (k *courier) rouse() {
	select {
	case k.wake <- struct{}{}:
	default: // it knows already
	}
}

// runCommands brings commands until ctx ends.
func (d *Daemon) runCommands(ctx context.Context, c *commands) {
	if c == nil {
		return
	}
	c.begin(ctx, func(ctx context.Context) {
		var all sync.WaitGroup
		all.Go(func() { d.again(ctx, "desk", "command", func() error { return c.desk.Run(ctx) }) })
		for _, k := range c.couriers {
			all.Go(func() { d.superviseCourier(ctx, k) })
		}
		all.Wait()
	})
}

// courierMax is the longest pause between two tries to reach the other side. A
// link that comes up ends it.
const courierMax = 5 * time.Minute

// superviseCourier runs a courier while its link allows that, and again when it
// has returned. What is the same as the last time is not logged again: a link may
// be down for weeks.
func (d *Daemon) superviseCourier(ctx context.Context, k *courier) {
	wait := backoff.Backoff{Min: restartMin, Max: courierMax}
	log := d.log.With("courier", k.name)
	for ctx.Err() == nil {
		began := time.Now()
		err := k.runWhileAllowed(ctx)
		if ctx.Err() != nil {
			return
		}
		news := k.clerk.Down(err)
		if errors.Is(err, errNotAllowed) {
			continue // and it waits for that
		}
		if time.Since(began) > steady {
			wait.Reset()
		}
		pause := wait.Next()
		if news {
			log.Warn("commands do not come now", "in", pause.Round(time.Millisecond), "err", err)
		}
		if backoff.Sleep(ctx, pause, k.wake) != nil {
			return
		}
	}
}

var errNotAllowed = errors.New("the link allows no commands now — hint: see its schedule and its budget")

// runWhileAllowed waits until the link allows commands, and runs the courier until
// it does not.
func (k *courier) runWhileAllowed(ctx context.Context) error {
	for {
		permit, changed := k.path.Permit()
		if permit.Lanes.Has(k.lane) {
			break
		}
		k.clerk.Down(errNotAllowed)
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	inner, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var watching sync.WaitGroup
	watching.Go(func() {
		for {
			permit, changed := k.path.Permit()
			if !permit.Lanes.Has(k.lane) {
				cancel(errNotAllowed)
				return
			}
			select {
			case <-changed:
			case <-inner.Done():
				return
			}
		}
	})
	err := k.courier.Run(inner, k.clerk)
	if cause := context.Cause(inner); errors.Is(cause, errNotAllowed) {
		err = errNotAllowed
	}
	cancel(nil)
	watching.Wait()
	return err
}

// status is the state of the way down, nil if there is none.
func (c *commands) status() *dashboard.Commands {
	if c == nil {
		return nil
	}
	n := c.desk.Stats()
	s := &dashboard.Commands{
		Accepted: n.Accepted, Delivered: n.Delivered, Refused: n.Refused, Expired: n.Expired, Duplicates: n.Duplicates,
		Remembered: n.Remembered, Untold: n.Untold, Couriers: []dashboard.Courier{},
		LastID: n.Last.ID, LastState: string(n.Last.State), LastReason: n.Last.Reason, LastAt: unixMilli(n.Last.At),
	}
	for _, k := range c.couriers {
		about, fault, since := k.clerk.Link()
		s.Couriers = append(s.Couriers, dashboard.Courier{
			Name: k.name, Kind: k.kind, Target: k.target, Up: about != "", About: about, LastError: fault, Since: unixMilli(since),
		})
	}
	return s
}

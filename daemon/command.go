package daemon

import (
	"context"
	"errors"
	"fmt"
	"sync"
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
	desk     *command.Desk
	outlet   *orders
	couriers []*courier
	counter  *counter
}

// courier is a way down under supervision.
type courier struct {
	name, kind, target string
	courier            command.Courier
	clerk              *command.Clerk
	path               *carrier.Path
	lane               reading.Lane
	beside             string // the uplink with whose acknowledgements commands come; empty for none
	wake               chan struct{}
}

// orders lets the desk publish on the broker: neither knows the other.
type orders struct{ broker *mqttin.Source }

func (o *orders) Publish(ctx context.Context, c command.Command, topic string, left time.Duration, rs []reading.Reading, notes ...reading.Note) (ingest.Receipt, int, error) {
	return o.broker.Publish(ctx, mqttin.Order{
		ID: c.ID, Topic: topic, Payload: c.Payload, QoS: c.QoS, Retain: c.Retain, Expiry: left,
	}, rs, notes...)
}

// onelinkDial is a Dial as couriers know it.
func onelinkDial(dial uplink.Dial) onelink.Dial { return onelink.Dial(dial) }

// buildCommands makes the desk, which the broker tells of deliveries, and those who
// bring commands.
func (d *Daemon) buildCommands() error {
	c := d.cfg.Command
	if !c.on() {
		return nil
	}
	cfg, err := c.desk(d.gateway)
	if err != nil {
		return err
	}
	d.commands = &commands{outlet: &orders{}}
	ledger := ingest.NewIntake(custody{d.buffer}, d.hub, time.Now)
	d.commands.desk = command.New(cfg, d.commands.outlet, ledger, d.log.With("desk", "command"))
	d.commands.counter = newCounter(d.commands.desk)
	for _, t := range c.all() {
		b := t.below()
		log := d.log.With("courier", b.Name)
		secure, err := b.tlsClient(d.cfg.clockFloor(), log)
		if err != nil {
			return fmt.Errorf("%s: %w", t.key, err)
		}
		k := &courier{name: b.Name, kind: t.kind, target: t.target(), lane: b.lane(), wake: make(chan struct{}, 1)}
		if h, ok := t.wayDown.(HTTPCommands); ok {
			k.beside = h.Beside
		}
		k.path = d.network.path(b.Links, k.rouse, log)
		if k.courier, err = t.courier(way{gateway: d.gateway, dial: k.path.Dial, tls: secure, log: log}); err != nil {
			return fmt.Errorf("%s: %w", t.key, err)
		}
		k.clerk = d.commands.desk.Clerk(b.Name, b.narrow())
		d.commands.couriers = append(d.commands.couriers, k)
	}
	return nil
}

// besides is who listens to the acknowledgements of an uplink: a courier whose
// commands come with them. Nil is nobody.
func (d *Daemon) besides(u upstream) func(body []byte) {
	name := u.settings().Name
	if u.kind != "http" || !d.cfg.Command.on() || !d.cfg.Command.beside(name) {
		return nil
	}
	return func(body []byte) {
		for _, k := range d.commands.all() { // which are there before the first Send
			if c, ok := k.courier.(*overhttp.Courier); ok && k.beside == name {
				c.Offer(body)
			}
		}
	}
}

// delivered is what the broker tells of deliveries to; nil where nobody asks.
func (c *commands) delivered() func(order, client string) {
	if c == nil {
		return nil
	}
	return c.desk.Delivered
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
func (d *Daemon) runCommands(ctx context.Context, all *sync.WaitGroup) {
	if d.commands == nil {
		return
	}
	all.Go(func() { d.again(ctx, "desk", "command", func() error { return d.commands.desk.Run(ctx) }) })
	for _, k := range d.commands.couriers {
		all.Go(func() { d.superviseCourier(ctx, k) })
	}
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

// commandStatus is the state of the way down, nil if there is none.
func (d *Daemon) commandStatus() *dashboard.Commands {
	if d.commands == nil {
		return nil
	}
	n := d.commands.desk.Stats()
	s := &dashboard.Commands{
		Accepted: n.Accepted, Delivered: n.Delivered, Refused: n.Refused, Expired: n.Expired, Duplicates: n.Duplicates,
		Remembered: n.Remembered, Untold: n.Untold, Couriers: []dashboard.Courier{},
		LastID: n.Last.ID, LastState: string(n.Last.State), LastReason: n.Last.Reason, LastAt: unixMilli(n.Last.At),
	}
	for _, k := range d.commands.couriers {
		about, fault, since := k.clerk.Link()
		s.Couriers = append(s.Couriers, dashboard.Courier{
			Name: k.name, Kind: k.kind, Target: k.target, Up: about != "", About: about, LastError: fault, Since: unixMilli(since),
		})
	}
	return s
}

package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	firmwaresim "github.com/tidegate/tidegate/firmware-sim"
)

// calm is how long a gateway is left alone before its memory is looked at.
const calm = 5 * time.Second

// rss measures resident memory. The processes are this program, whose
// code is larger than a gateway's; what it does not run takes next to nothing.
func (b *bench) rss(ctx context.Context) error {
	return errors.Join(b.rssBacklog(ctx), b.rssCrowd(ctx))
}

// rssBacklog looks at an idle gateway, fills it, and starts it again.
func (b *bench) rssBacklog(ctx context.Context) (err error) {
	dir, remove, err := b.folder("rss")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	messages := pick(b, uint64(250_000), 2_500_000)

	g, err := b.startGateway(ctx, dir, asConfigured, nowhere)
	if err != nil {
		return err
	}
	idle, err := g.memoryAfter(ctx, calm)
	if err == nil {
		err = fill(ctx, crowd(g.addr), messages)
	}
	full, failed := g.memoryAfter(ctx, calm)
	if err = errors.Join(err, failed, b.waitsFor(ctx, g, messages), g.stop()); err != nil {
		return err
	}

	if g, err = b.startGateway(ctx, dir, asConfigured, nowhere); err != nil {
		return err
	}
	first, err := g.firstAck(ctx)
	again, failed := g.memoryAfter(ctx, calm)
	if err = errors.Join(err, failed, g.stop()); err != nil {
		return err
	}
	what := thousands(messages*metrics) + " readings waiting"
	b.report.add("rss", "idle", idle, "MiB", most(25))
	b.report.add("rss", what, full, "MiB", most(60))
	b.report.add("rss", "the same after a restart", again, "MiB", most(60))
	b.report.add("rss", "from that start to the first acknowledgement", first.Seconds(), "s", most(1))
	return nil
}

// waitsFor makes sure that the backlog is what it should be.
func (b *bench) waitsFor(ctx context.Context, g *gateway, messages uint64) error {
	s, err := g.status(ctx)
	if err != nil {
		return err
	}
	b.say("%d readings wait in %d kB", s.Buffer.Waiting, s.Buffer.BytesUsed/1000)
	if s.Buffer.Waiting != messages*metrics {
		return fmt.Errorf("%d of %d readings wait", s.Buffer.Waiting, messages*metrics)
	}
	return nil
}

// rssCrowd looks at a gateway with many clients.
func (b *bench) rssCrowd(ctx context.Context) (err error) {
	dir, remove, err := b.folder("rss")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	g, err := b.startGateway(ctx, dir, asConfigured, nowhere)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.stop()) }()
	fleet, err := firmwaresim.NewFleet(paced(1000, 1)(g.addr), nil)
	if err != nil {
		return err
	}
	most1000 := 0.0
	err = during(ctx, fleet.Run, func() error {
		for range pick(b, 5, 20) {
			now, err := g.memoryAfter(ctx, time.Second)
			if err != nil {
				return err
			}
			most1000 = max(most1000, now)
		}
		if online := fleet.Stats().Online; online != 1000 {
			return fmt.Errorf("%d of 1000 clients are connected", online)
		}
		return nil
	})
	b.report.add("rss", "1,000 clients, a message a second each", most1000, "MiB", most(90))
	return err
}

func (g *gateway) memoryAfter(ctx context.Context, d time.Duration) (float64, error) {
	if err := let(ctx, d); err != nil {
		return 0, err
	}
	return g.memory()
}

// firstAck publishes one message and returns how long after the start of the
// process it was acknowledged.
func (g *gateway) firstAck(ctx context.Context) (time.Duration, error) {
	err := fill(ctx, firmwaresim.FleetConfig{Addr: g.addr, QoS: 1, Topic: jsonTopic, Prefix: "first-"}, 1)
	return time.Since(g.began), err
}

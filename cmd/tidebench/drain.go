package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tidegate/tidegate/dashboard"
	firmwaresim "github.com/tidegate/tidegate/firmware-sim"
)

// metrics is how many readings a message brings that is decoded.
const metrics = 4

// backlog is what waits, and for what link.
type backlog struct {
	messages uint64
	buffer   string // settings of the gateway
	fleet    func(addr string) firmwaresim.FleetConfig
	shape    func(*firmwaresim.Link)
}

// ebb is how a backlog left.
type ebb struct {
	noticed time.Duration // from the link's return to the gateway's next try
	took    time.Duration // from there to the last acknowledgement
	cpu     time.Duration // of the gateway, meanwhile
}

// drain measures how fast a long outage is caught up on.
func (b *bench) drain(ctx context.Context) error {
	for _, d := range []struct {
		what     backlog
		how      string
		mostTime bar
		mostCPU  bar
	}{
		{backlog{pick(b, uint64(100_000), 1_000_000), forSpeed, crowd, wideOpen}, "", pick(b, noBar(), most(3)), most(0.3)},
		{backlog{pick(b, uint64(10_000), 100_000), forSpeed, patientCrowd, wideOpen}, " that came one by one", noBar(), noBar()},
	} {
		ebbs, err := b.ebbs(ctx, d.what)
		if err != nil {
			return err
		}
		name := thousands(d.what.messages) + " messages" + d.how
		cpu := medianOf(ebbs, func(e ebb) float64 { return e.cpu.Seconds() }) / float64(d.what.messages) * 1e5
		b.report.add("drain", name+": until the last is acknowledged", medianOf(ebbs, tookSeconds), "s", d.mostTime)
		b.report.add("drain", name+": CPU of the gateway for 100,000", cpu, "s", d.mostCPU)
	}
	return nil
}

// slow measures the same over a link as thin as the oldest modems.
func (b *bench) slow(ctx context.Context) error {
	what := backlog{messages: pick(b, uint64(1_000), 10_000), fleet: paced(100, 10), shape: thin}
	for _, s := range []struct{ name, buffer string }{{"balanced", asConfigured}, {"commit_interval 1s", `commit_interval = "1s"`}} {
		what.buffer = s.buffer
		ebbs, err := b.ebbs(ctx, what)
		if err != nil {
			return err
		}
		b.report.add("slow", thousands(what.messages)+" messages over 256 kbit/s and 300 ms, "+s.name,
			medianOf(ebbs, tookSeconds), "s", pick(b, noBar(), most(2.5)))
	}
	return nil
}

func wideOpen(*firmwaresim.Link) {}

func thin(l *firmwaresim.Link) {
	l.Bandwidth(256_000 / 8)
	l.Delay(150 * time.Millisecond)
}

// ebbs lets a backlog leave several times.
func (b *bench) ebbs(ctx context.Context, what backlog) ([]ebb, error) {
	var all []ebb
	for range pick(b, 1, 3) {
		e, err := b.ebb(ctx, what)
		if err != nil {
			return nil, err
		}
		b.say("%d messages left in %v, %v after the link was back", what.messages, e.took, e.noticed)
		all = append(all, e)
	}
	return all, nil
}

// ebb fills a gateway behind a link that is cut, lets it drain, and counts what
// has arrived.
func (b *bench) ebb(ctx context.Context, what backlog) (e ebb, err error) {
	s, err := b.openShore(ctx, what.buffer, ordinary, nil)
	if err != nil {
		return e, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	what.shape(s.link)
	if err := fill(ctx, what.fleet(s.gateway.addr), what.messages); err != nil {
		return e, err
	}
	if e, err = s.release(ctx); err != nil {
		return e, err
	}
	stored, err := s.stored()
	if want := what.messages * metrics; err == nil && stored != want {
		err = fmt.Errorf("the cloud has %d of %d readings", stored, want)
	}
	return e, err
}

// release restores the link and watches the backlog leave.
func (s *shore) release(ctx context.Context) (ebb, error) {
	return s.gateway.release(ctx, func() error {
		s.link.Restore()
		return nil
	})
}

// release watches the backlog leave. Time and CPU count from the last look at which
// the gateway had not tried the link yet.
func (g *gateway) release(ctx context.Context, restore func() error) (e ebb, err error) {
	restored, began := time.Now(), time.Now()
	used, err := g.cpu()
	if err != nil {
		return e, err
	}
	if err := restore(); err != nil {
		return e, err
	}
	err = g.until(ctx, "the gateway tries again", func(l dashboard.Link) (bool, error) {
		if l.InFlight > 0 || l.Acked > 0 {
			return true, nil
		}
		began = time.Now()
		used, err = g.cpu()
		return false, err
	})
	if err != nil {
		return e, err
	}
	if err := g.untilDelivered(ctx); err != nil {
		return e, err
	}
	e.noticed, e.took = began.Sub(restored), time.Since(began)
	usedAfter, err := g.cpu()
	e.cpu = usedAfter - used
	return e, err
}

func tookSeconds(e ebb) float64 { return e.took.Seconds() }

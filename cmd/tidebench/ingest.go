package main

import (
	"context"
	"fmt"
	"time"

	firmwaresim "github.com/tidegate/tidegate/firmware-sim"
)

// size is the load of an ingest cell.
type size struct{ clients, window int }

func (s size) String() string { return fmt.Sprintf("%dx%d", s.clients, s.window) }

// ingestSizes are the sizes of the run: a quick one leaves out what has no bar.
func ingestSizes(b *bench) []size {
	return pick(b,
		[]size{{1, 100}, {10, 100}, {100, 1}, {100, 100}},
		[]size{{1, 1}, {1, 100}, {10, 100}, {100, 1}, {100, 100}})
}

// contender is a system and the payload that it is given.
type contender struct {
	name, kind string
	topic      string
	shape      firmwaresim.Shape
}

func contenders() []contender {
	return []contender{
		{"plain", "plain", rawTopic, firmwaresim.Opaque},
		{"tidegate opaque", "tidegate", rawTopic, firmwaresim.Opaque},
		{"tidegate json4", "tidegate", jsonTopic, firmwaresim.JSON4},
		{"naive", "naive", rawTopic, firmwaresim.Opaque},
		{"blocking", "blocking", rawTopic, firmwaresim.Opaque},
	}
}

// pairing is a ratio of two contenders at a size.
type pairing struct {
	size     size
	who, via string
	bar      bar
}

func pairings() []pairing {
	return []pairing{
		{size{10, 100}, "tidegate opaque", "plain", least(1.2)},
		{size{10, 100}, "tidegate json4", "plain", least(0.9)},
		{size{100, 100}, "tidegate opaque", "plain", least(1.2)},
		{size{100, 100}, "tidegate json4", "plain", least(0.9)},
		{size{100, 1}, "tidegate opaque", "naive", least(10)},
		{size{100, 1}, "tidegate opaque", "plain", noBar()},
		{size{100, 1}, "tidegate opaque", "blocking", noBar()},
		{size{1, 100}, "tidegate opaque", "blocking", least(10)},
	}
}

// rate is what a contender did in a round.
type rate struct {
	perSecond float64 // acknowledged messages
	cpu       float64 // seconds of the server for 100,000 of them
	p50, p99  time.Duration
}

// ingest measures how fast messages are acknowledged while the link is down.
func (b *bench) ingest(ctx context.Context) error {
	t := table{Cell: "ingest", Columns: []string{"clients x window", "system", "messages/s", "CPU s/100k", "ack p50 ms", "ack p99 ms"}}
	for _, s := range ingestSizes(b) {
		rounds := map[string][]rate{}
		for round := range pick(b, 1, 3) {
			if err := b.ingestRound(ctx, s, round, rounds); err != nil {
				return fmt.Errorf("%v: %w", s, err)
			}
		}
		for _, c := range contenders() {
			r := rounds[c.name]
			t.Rows = append(t.Rows, row{[]string{s.String(), c.name}, []float64{
				medianOf(r, func(r rate) float64 { return r.perSecond }),
				medianOf(r, func(r rate) float64 { return r.cpu }),
				medianOf(r, func(r rate) float64 { return milliseconds(r.p50) }),
				medianOf(r, func(r rate) float64 { return milliseconds(r.p99) }),
			}})
		}
		for _, p := range pairings() {
			if p.size == s {
				b.report.add("ingest", fmt.Sprintf("%v %s / %s", s, p.who, p.via), ratio(rounds[p.who], rounds[p.via]), "x", p.bar)
			}
		}
	}
	b.report.Tables = append(b.report.Tables, t)
	return nil
}

// ingestRound gives every contender its turn. Each round begins with another
// one, so that nobody always comes after the same neighbour.
func (b *bench) ingestRound(ctx context.Context, s size, round int, rounds map[string][]rate) error {
	all := contenders()
	for i := range all {
		c := all[(i+round)%len(all)]
		r, err := b.ingestOnce(ctx, c, s)
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		rounds[c.name] = append(rounds[c.name], r)
		b.say("%v %s: %.0f messages/s", s, c.name, r.perSecond)
	}
	return nil
}

func (b *bench) ingestOnce(ctx context.Context, c contender, s size) (rate, error) {
	dir, remove, err := b.folder(c.kind)
	if err != nil {
		return rate{}, err
	}
	defer remove()
	server, err := b.startContender(ctx, c, dir)
	if err != nil {
		return rate{}, err
	}
	defer server.stop()
	return watchLoad(ctx, server, firmwaresim.FleetConfig{
		Addr: server.addr, Devices: s.clients, QoS: 1, Shape: c.shape, Topic: c.topic,
		Client: firmwaresim.ClientConfig{Window: s.window},
	}, pick(b, time.Second, 3*time.Second))
}

func (b *bench) startContender(ctx context.Context, c contender, dir string) (*child, error) {
	if c.kind == "tidegate" {
		g, err := b.startGateway(ctx, dir, forSpeed, nowhere)
		if err != nil {
			return nil, err
		}
		return g.child, nil
	}
	addr, err := freeAddress()
	if err != nil {
		return nil, err
	}
	return b.start(ctx, c.kind, addr, dir)
}

// warmUp is how long a load runs before it counts.
const warmUp = 500 * time.Millisecond

// watchLoad puts the load on the server and measures for the given time.
func watchLoad(ctx context.Context, server *child, cfg firmwaresim.FleetConfig, span time.Duration) (rate, error) {
	fleet, err := firmwaresim.NewFleet(cfg, nil)
	if err != nil {
		return rate{}, err
	}
	var r rate
	err = during(ctx, fleet.Run, func() error {
		if err := let(ctx, warmUp); err != nil {
			return err
		}
		began, before := time.Now(), fleet.Stats()
		used, err := server.cpu()
		if err != nil {
			return err
		}
		if err := let(ctx, span); err != nil {
			return err
		}
		took, after := time.Since(began), fleet.Stats()
		usedAfter, err := server.cpu()
		if err != nil {
			return err
		}
		acked := float64(after.Acked - before.Acked)
		r = rate{
			perSecond: acked / took.Seconds(),
			cpu:       (usedAfter - used).Seconds() / max(acked, 1) * 1e5,
			p50:       after.Latency.Quantile(0.5),
			p99:       after.Latency.Quantile(0.99),
		}
		return server.failure()
	})
	return r, err
}

// ratio is the median of the rounds' ratios of speed.
func ratio(who, via []rate) float64 {
	var values []float64
	for i := range who {
		values = append(values, who[i].perSecond/max(via[i].perSecond, 1))
	}
	return median(values)
}

package main

import (
	"context"
	"errors"
	"time"

	firmwaresim "github.com/tidegate/tidegate/firmware-sim"
)

// fair measures what a quiet client notices of one that floods the gateway: how
// long its acknowledgements take, beside the flood and without it.
func (b *bench) fair(ctx context.Context) error {
	for _, f := range []struct {
		name  string
		flood firmwaresim.FleetConfig
	}{
		{"QoS 0", firmwaresim.FleetConfig{QoS: 0}},
		{"QoS 1, 100 in flight", firmwaresim.FleetConfig{QoS: 1, Client: firmwaresim.ClientConfig{Window: 100}}},
		{"QoS 1, 65,535 in flight", firmwaresim.FleetConfig{QoS: 1, Client: firmwaresim.ClientConfig{Window: 65_535}}},
	} {
		var ratios []float64
		t := table{Cell: "fair", Columns: []string{"flood", "ack p50 ms", "ack p99 ms", "messages/s of the flood"}}
		for range pick(b, 1, 3) {
			alone, err := b.quiet(ctx, nil)
			if err != nil {
				return err
			}
			beside, err := b.quiet(ctx, &f.flood)
			if err != nil {
				return err
			}
			ratios = append(ratios, beside.p50/alone.p50)
			t.Rows = append(t.Rows, row{[]string{"none"}, alone.values()}, row{[]string{f.name}, beside.values()})
		}
		b.report.Tables = append(b.report.Tables, t)
		b.report.add("fair", "a quiet client's p50 beside a flood of "+f.name+" / alone", median(ratios), "x", noBar())
	}
	return nil
}

// quietness is what a quiet client has seen: milliseconds, and messages a second.
type quietness struct{ p50, p99, flood float64 }

func (q quietness) values() []float64 { return []float64{q.p50, q.p99, q.flood} }

// quiet lets a client publish fifty messages a second for a while, beside a flood
// if there is one.
func (b *bench) quiet(ctx context.Context, flood *firmwaresim.FleetConfig) (q quietness, err error) {
	dir, remove, err := b.folder("fair")
	if err != nil {
		return q, err
	}
	defer func() { err = errors.Join(err, remove()) }()
	g, err := b.startGateway(ctx, dir, forSpeed, nowhere)
	if err != nil {
		return q, err
	}
	defer func() { err = errors.Join(err, g.stop()) }()
	d := pick(b, 3*time.Second, 10*time.Second)
	listen := func() error {
		fleet, err := firmwaresim.NewFleet(firmwaresim.FleetConfig{Addr: g.addr, Rate: 50, QoS: 1, Topic: jsonTopic, Prefix: "quiet-"}, nil)
		if err != nil {
			return err
		}
		err = during(ctx, fleet.Run, func() error { return let(ctx, d) })
		latency := fleet.Stats().Latency
		q.p50, q.p99 = milliseconds(latency.Quantile(0.5)), milliseconds(latency.Quantile(0.99))
		return err
	}
	if flood == nil {
		return q, listen()
	}
	flood.Addr, flood.Topic, flood.Prefix = g.addr, jsonTopic, "flood-"
	noise, err := firmwaresim.NewFleet(*flood, nil)
	if err != nil {
		return q, err
	}
	err = during(ctx, noise.Run, listen)
	q.flood = float64(noise.Stats().Published) / d.Seconds()
	return q, err
}

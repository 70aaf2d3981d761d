package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/tidegate/tidegate/cloud"
	firmwaresim "github.com/tidegate/tidegate/firmware-sim"
)

// tally counts deliveries.
type tally struct {
	messages, readings, body atomic.Int64
}

func (t *tally) add(d cloud.Delivery) {
	t.messages.Add(1)
	t.readings.Add(int64(d.Fresh))
	t.body.Add(d.Bytes)
}

// waited is readings that wait for the link, so that they travel in company.
type waited struct {
	name     string
	buffer   string // settings of the gateway
	devices  int
	messages uint64
	bar      bar
}

// flowing is readings that are sent as they come.
type flowing struct {
	name  string
	rate  float64 // messages a second of each of 100 devices
	shape func(*firmwaresim.Link)
}

// wire measures how many bytes a reading costs on the link.
func (b *bench) wire(ctx context.Context) error {
	for _, w := range []waited{
		{"ten samples of 400 series, commit_interval 1s", `commit_interval = "1s"`, 100, 1000, most(1.3)},
		{"ten samples of 400 series, commits as they come", asConfigured, 100, 1000, most(1.3)},
		{"one sample of 4,000 series", asConfigured, 1000, 1000, most(4)},
		{"one sample of 400 series", asConfigured, 100, 100, most(4)},
	} {
		bytes, err := b.waitedBytes(ctx, w)
		if err != nil {
			return fmt.Errorf("%s: %w", w.name, err)
		}
		b.report.add("wire", w.name, bytes, "B/reading", w.bar)
	}
	for _, f := range []flowing{
		{"live, 100 messages/s", 1, wideOpen},
		{"live, 1,000 messages/s", 10, wideOpen},
		{"live, 1,000 messages/s, 300 ms", 10, func(l *firmwaresim.Link) { l.Delay(150 * time.Millisecond) }},
	} {
		body, all, err := b.flowingBytes(ctx, f)
		if err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
		b.report.add("wire", f.name+": bodies", body, "B/reading", noBar())
		b.report.add("wire", f.name+": with HTTP headers", all, "B/reading", noBar())
	}
	return nil
}

// waitedBytes is the size of the bodies for a reading, when the link comes back
// after a second a sample.
func (b *bench) waitedBytes(ctx context.Context, w waited) (bytes float64, err error) {
	var t tally
	s, err := b.openShore(ctx, w.buffer, ordinary, t.add)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	if err := fill(ctx, paced(w.devices, 1)(s.gateway.addr), w.messages); err != nil {
		return 0, err
	}
	if _, err := s.release(ctx); err != nil {
		return 0, err
	}
	b.say("%s: %d messages to the cloud", w.name, t.messages.Load())
	if got := uint64(t.readings.Load()); got != w.messages*metrics {
		return 0, fmt.Errorf("the cloud has %d of %d readings", got, w.messages*metrics)
	}
	return float64(t.body.Load()) / float64(t.readings.Load()), nil
}

// flowingBytes is the size for a reading, of the bodies and of everything that
// goes up, while the link is there.
func (b *bench) flowingBytes(ctx context.Context, f flowing) (body, all float64, err error) {
	var t tally
	s, err := b.openShore(ctx, asConfigured, ordinary, t.add)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	f.shape(s.link)
	s.link.Restore()
	seconds := pick(b, 3.0, 15.0)
	messages := uint64(100 * f.rate * seconds)
	if err := fill(ctx, paced(100, f.rate)(s.gateway.addr), messages); err != nil {
		return 0, 0, err
	}
	if err := s.gateway.untilDelivered(ctx); err != nil {
		return 0, 0, err
	}
	b.say("%s: %.1f messages to the cloud a second", f.name, float64(t.messages.Load())/seconds)
	up, _ := s.link.Bytes()
	readings := float64(t.readings.Load())
	return float64(t.body.Load()) / readings, float64(up) / readings, nil
}

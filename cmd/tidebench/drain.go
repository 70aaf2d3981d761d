package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/tidegate/tidegate/dashboard"
	firmwaresim "github.com/tidegate/tidegate/firmware-sim"
)

// shore is a gateway and a cloud with a link between them.
type shore struct {
	gateway *gateway
	link    *firmwaresim.Link
	close   func() error
}

// openShore starts a cloud in a process of its own, a link that is cut, and a
// gateway.
func (b *bench) openShore(ctx context.Context, dir, buffer string) (*shore, error) {
	addr, err := freeAddress()
	if err != nil {
		return nil, err
	}
	cloud, err := b.start(ctx, "cloud", addr, dir)
	if err != nil {
		return nil, err
	}
	link, err := firmwaresim.OpenLink("127.0.0.1:0", addr)
	if err != nil {
		cloud.stop()
		return nil, err
	}
	link.Cut()
	closeLink := background(link.Run)
	g, err := b.startGateway(ctx, dir, buffer, ingestURL(link.Addr()))
	if err != nil {
		cloud.stop()
		return nil, errors.Join(err, closeLink())
	}
	return &shore{g, link, func() error {
		g.stop()
		err := closeLink()
		cloud.stop()
		return err
	}}, nil
}

func ingestURL(addr string) string { return "http://" + addr + "/v1/ingest" }

// background runs f until the function returned is called.
func background(f func(context.Context) error) (stop func() error) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- f(ctx) }()
	return func() error {
		cancel()
		return <-ended
	}
}

// ebb is how long a backlog took to leave.
type ebb struct {
	noticed time.Duration // from the link's return to the gateway's next try
	took    time.Duration // from there to the last acknowledgement
	cpu     time.Duration // of the gateway, meanwhile
}

// release restores the link and watches the backlog leave.
func (s *shore) release(ctx context.Context) (ebb, error) {
	var e ebb
	restored := time.Now()
	s.link.Restore()
	err := s.gateway.until(ctx, "the gateway tries again", func(l dashboard.Link) bool { return l.InFlight > 0 || l.Acked > 0 })
	if err != nil {
		return e, err
	}
	began := time.Now()
	used, err := s.gateway.cpu()
	if err != nil {
		return e, err
	}
	err = s.gateway.until(ctx, "the backlog is gone", func(l dashboard.Link) bool { return l.Waiting == 0 })
	if err != nil {
		return e, err
	}
	e.noticed, e.took = began.Sub(restored), time.Since(began)
	usedAfter, err := s.gateway.cpu()
	e.cpu = usedAfter - used
	return e, err
}

// drain measures how fast a long outage is caught up on.
func (b *bench) drain(ctx context.Context) error {
	messages := pick(b, uint64(100_000), 1_000_000)
	var seconds, cpu, noticed []float64
	for range pick(b, 1, 3) {
		e, err := b.drainOnce(ctx, forSpeed, nil, func(addr string) error { return fill(ctx, crowd(addr), messages) })
		if err != nil {
			return err
		}
		b.say("%d messages left in %v", messages, e.took)
		seconds = append(seconds, e.took.Seconds())
		noticed = append(noticed, e.noticed.Seconds())
		cpu = append(cpu, e.cpu.Seconds()/float64(messages)*1e5)
	}
	what := fmt.Sprintf("%d messages of four metrics", messages)
	b.report.add("drain", what+": until the last is acknowledged", median(seconds), "s", pick(b, noBar(), most(3)))
	b.report.add("drain", "CPU of the gateway for 100,000 messages", median(cpu), "s", most(0.3))
	b.report.add("drain", "before: until the gateway tried the link again", median(noticed), "s", noBar())
	return nil
}

// slow measures the same over a link as thin as the oldest modems.
func (b *bench) slow(ctx context.Context) error {
	messages := pick(b, uint64(1_000), 10_000)
	thin := func(l *firmwaresim.Link) {
		l.Bandwidth(256_000 / 8)
		l.Delay(150 * time.Millisecond)
	}
	var seconds []float64
	for range pick(b, 1, 3) {
		e, err := b.drainOnce(ctx, asConfigured, thin, func(addr string) error {
			fleet := crowd(addr)
			fleet.Rate = 10
			return fill(ctx, fleet, messages)
		})
		if err != nil {
			return err
		}
		b.say("%d messages left in %v", messages, e.took)
		seconds = append(seconds, e.took.Seconds())
	}
	what := fmt.Sprintf("%d messages of four metrics over 256 kbit/s and 300 ms", messages)
	b.report.add("slow", what, median(seconds), "s", pick(b, noBar(), most(2.5)))
	return nil
}

// drainOnce fills a gateway behind a link that is cut, and lets it drain.
func (b *bench) drainOnce(ctx context.Context, buffer string, shape func(*firmwaresim.Link), fill func(addr string) error) (ebb, error) {
	dir, remove, err := b.folder("shore")
	if err != nil {
		return ebb{}, err
	}
	defer remove()
	s, err := b.openShore(ctx, filepath.Clean(dir), buffer)
	if err != nil {
		return ebb{}, err
	}
	if shape != nil {
		shape(s.link)
	}
	var e ebb
	if err = fill(s.gateway.addr); err == nil {
		e, err = s.release(ctx)
	}
	return e, errors.Join(err, s.close())
}

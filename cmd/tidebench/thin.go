package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tidegate/tidegate/cloud"
	"github.com/tidegate/tidegate/dashboard"
	firmwaresim "github.com/tidegate/tidegate/firmware-sim"
)

// The thinnest link that a gateway should fill: a modem over a satellite.
const (
	thinBytes = 64_000 / 8 // a second
	thinTrip  = 600 * time.Millisecond
)

// watched is what the cloud has got, and when.
type watched struct {
	tally
	*passage
}

// arrived runs when a delivery is synced, before the cloud answers.
func (w *watched) arrived(d cloud.Delivery) {
	w.passage.arrived(d)
	w.add(d)
}

// waiting is how many of the readings that waited have not come yet; those that
// are published meanwhile bring as many each.
func (w *watched) waiting(messages uint64) int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return int64(messages*metrics) - (w.readings.Load() - int64(len(w.stored)*metrics))
}

// thin lets a backlog leave over a thin link while a reading comes each second.
func (b *bench) thin(ctx context.Context) error {
	for _, d := range []struct {
		name   string
		uplink func(addr string) string
	}{
		{"http", nil},
		{"websocket", func(addr string) string {
			return fmt.Sprintf("[[uplink.websocket]]\nname = \"cloud\"\nurl = \"ws://%s/v1/ingest\"\n", addr)
		}},
	} {
		if err := b.thinOnce(ctx, d.name, d.uplink); err != nil {
			return fmt.Errorf("%s: %w", d.name, err)
		}
	}
	return nil
}

func (b *bench) thinOnce(ctx context.Context, name string, uplink func(addr string) string) (err error) {
	messages := pick(b, uint64(100_000), 400_000)
	w := &watched{passage: newPassage()}
	is := ordinary
	is.uplink = uplink
	s, err := b.openShore(ctx, asConfigured, is, w.arrived)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	s.link.Bandwidth(thinBytes)
	s.link.Delay(thinTrip / 2)
	if err := fill(ctx, crowd(s.gateway.addr), messages); err != nil {
		return err
	}
	s.link.Restore()
	err = s.gateway.until(ctx, "the gateway tries again", func(l dashboard.Link) (bool, error) { return l.InFlight > 0, nil })
	if err != nil {
		return err
	}
	var look usage
	err = during(ctx, func(ctx context.Context) error { return w.eachSecond(ctx, s.gateway.addr) }, func() error {
		look.begin(s.link)
		return poll(ctx, 5*time.Millisecond, 10*time.Minute, "the backlog is there", func() (bool, error) {
			look.at(s.link)
			return w.waiting(messages) <= 0, w.failure()
		})
	})
	if err != nil {
		return err
	}
	b.thinReport(name, w, look)
	return nil
}

// found is how long the gateway has to find out what a link is like.
const found = 15 * time.Second

// usage is how many bytes went up by when, from the beginning and from when the
// gateway should have found out what the link is like.
type usage struct {
	began, settled, ended       time.Time
	atFirst, whenSettled, atEnd int64
}

func (u *usage) begin(l *firmwaresim.Link) {
	u.began = time.Now()
	u.atFirst, _ = l.Bytes()
	u.settled, u.whenSettled = u.began, u.atFirst
}

func (u *usage) at(l *firmwaresim.Link) {
	u.ended = time.Now()
	u.atEnd, _ = l.Bytes()
	if u.ended.Sub(u.began) <= found {
		u.settled, u.whenSettled = u.ended, u.atEnd
	}
}

// share is how much of what the link could have carried it has.
func (u *usage) share() float64 {
	return float64(u.atEnd-u.atFirst) / (thinBytes * u.ended.Sub(u.began).Seconds())
}

// settledShare is the same, since the link was found out about.
func (u *usage) settledShare() float64 {
	return float64(u.atEnd-u.whenSettled) / (thinBytes * u.ended.Sub(u.settled).Seconds())
}

// failure is what could not be read.
func (w *watched) failure() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.broken
}

func (b *bench) thinReport(name string, w *watched, u usage) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var later []time.Duration
	for i, sent := range w.sent {
		if sent > u.settled.Sub(w.began) {
			later = append(later, w.stored[i])
		}
	}
	took := u.ended.Sub(u.began)
	b.say("%s: %d bytes in %v, %d messages, %d live ones", name, u.atEnd-u.atFirst, took.Round(time.Millisecond), w.messages.Load(), len(w.stored))
	add := func(what string, value float64, unit string, r bar) {
		b.report.add("thin", name+": "+what, value, unit, r)
	}
	add("of the link, used", 100*u.settledShare(), "%", least(95))
	add("the first 15 s with it", 100*u.share(), "%", noBar())
	add("of that, bodies of messages", 100*float64(w.body.Load())/float64(u.atEnd-u.atFirst), "%", noBar())
	add("a new reading until the cloud has it, p50", quantile(later, 0.50).Seconds(), "s", noBar())
	add("the same, p95", quantile(later, 0.95).Seconds(), "s", most(2*thinTrip.Seconds()))
	add("the same, at the most", quantile(later, 1).Seconds(), "s", noBar())
	add("the first 15 s with it, p50", quantile(w.stored, 0.50).Seconds(), "s", noBar())
	add("the same, p95", quantile(w.stored, 0.95).Seconds(), "s", noBar())
	add("the same, at the most", quantile(w.stored, 1).Seconds(), "s", noBar())
}

// eachSecond publishes a message a second.
func (w *watched) eachSecond(ctx context.Context, addr string) error {
	c := firmwaresim.NewClient(firmwaresim.ClientConfig{Addr: addr, ClientID: "live", OnAck: w.acknowledged})
	return during(ctx, c.Run, func() error {
		const forEver = 1 << 30
		w.publishEvery(ctx, c, "live", time.Second, forEver)
		return nil
	})
}

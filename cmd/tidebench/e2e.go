package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/tidegate/tidegate/cloud"
	firmwaresim "github.com/tidegate/tidegate/firmware-sim"
	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/wire"
)

// sentMetric carries when a message was published, in nanoseconds since the
// beginning of the cell.
const sentMetric = "sent"

// passage follows messages from their publisher to the cloud.
type passage struct {
	began time.Time

	mu      sync.Mutex
	acked   []time.Duration // publish → PUBACK
	stored  []time.Duration // publish → synced by the cloud
	sent    []time.Duration // when those were published, since began
	decoder *wire.Decoder
	rows    []reading.Reading
	broken  error
}

func newPassage() *passage { return &passage{began: time.Now(), decoder: wire.NewDecoder()} }

// e2e measures the way of a reading while all is well: a thousand messages a
// second from a hundred clients.
func (b *bench) e2e(ctx context.Context) error {
	p := newPassage()
	messages := pick(b, 3_000, 20_000)
	if err := b.pass(ctx, p, messages); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.broken != nil {
		return p.broken
	}
	if len(p.stored) != messages || len(p.acked) != messages {
		return fmt.Errorf("%d of %d messages acknowledged, %d stored", len(p.acked), messages, len(p.stored))
	}
	b.report.add("e2e", "publish to stored in the cloud, p50", milliseconds(quantile(p.stored, 0.50)), "ms", most(5))
	b.report.add("e2e", "publish to stored in the cloud, p99", milliseconds(quantile(p.stored, 0.99)), "ms", most(50))
	b.report.add("e2e", "publish to acknowledged, p50", milliseconds(quantile(p.acked, 0.50)), "ms", noBar())
	b.report.add("e2e", "publish to acknowledged, p99", milliseconds(quantile(p.acked, 0.99)), "ms", noBar())
	return nil
}

// pass lets the messages pass, and returns when the cloud has them all.
func (b *bench) pass(ctx context.Context, p *passage, messages int) (err error) {
	s, err := b.openShore(ctx, asConfigured, ordinary, p.arrived)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	s.link.Restore()
	const clients = 100
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var running, publishing sync.WaitGroup
	defer running.Wait()
	defer cancel()
	for i := range clients {
		c := firmwaresim.NewClient(firmwaresim.ClientConfig{
			Addr: s.gateway.addr, ClientID: fmt.Sprintf("e2e-%d", i), OnAck: p.acknowledged,
		})
		running.Go(func() { c.Run(ctx) })
		publishing.Go(func() { p.publish(ctx, c, i, clients, messages/clients) })
	}
	publishing.Wait()
	return poll(ctx, 5*time.Millisecond, time.Minute, "all has arrived", func() (bool, error) {
		p.mu.Lock()
		defer p.mu.Unlock()
		return len(p.stored) >= messages || p.broken != nil, nil
	})
}

// publish sends the messages of one client, ten a second, and waits for their
// acknowledgements. Clients take turns.
func (p *passage) publish(ctx context.Context, c *firmwaresim.Client, client, clients, messages int) {
	const period = 100 * time.Millisecond
	if let(ctx, period*time.Duration(client)/time.Duration(clients)) != nil {
		return
	}
	p.publishEvery(ctx, c, fmt.Sprintf("e2e-%d", client), period, messages)
	c.Drain(ctx)
}

// publishEvery publishes messages of a device.
func (p *passage) publishEvery(ctx context.Context, c *firmwaresim.Client, device string, period time.Duration, messages int) {
	topic := fmt.Sprintf("site/sim/dev/%s/telemetry", device)
	tick := time.NewTicker(period)
	defer tick.Stop()
	for i := range messages {
		payload := fmt.Appendf(nil, `{"ts":%d,"temp":%d.%d,"hum":%d.5,"bat":3.61,%q:%d}`,
			time.Now().UnixMilli(), 20+i%3, len(device)%10, 40+i%7, sentMetric, time.Since(p.began).Nanoseconds())
		if c.Publish(ctx, firmwaresim.Message{Topic: topic, Payload: payload, QoS: 1}) != nil {
			return
		}
		c.Flush()
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (p *passage) acknowledged(_ uint64, took time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.acked = append(p.acked, took)
}

// arrived runs when a delivery is synced, before the cloud answers.
func (p *passage) arrived(d cloud.Delivery) {
	now := time.Since(p.began)
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, b := range d.Chunk.Blocks {
		rows, err := p.decoder.Decode(p.rows[:0], b)
		p.rows, p.broken = rows, errors.Join(p.broken, err)
		for _, r := range rows {
			if r.Metric == sentMetric {
				sent, _ := r.Value.Number()
				p.stored = append(p.stored, now-time.Duration(sent))
				p.sent = append(p.sent, time.Duration(sent))
			}
		}
	}
}

// quantile returns the duration that the given share does not exceed.
func quantile(all []time.Duration, share float64) time.Duration {
	if len(all) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(all))
	return sorted[min(int(share*float64(len(sorted))), len(sorted)-1)]
}

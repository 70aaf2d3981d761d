package uplink_test

import (
	"context"
	"fmt"
	"log/slog"
	"testing"

	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/uplink"
	"github.com/tidegate/tidegate/uplink/encode"
	"github.com/tidegate/tidegate/wire"
)

// BenchmarkDrain empties a backlog of 800,000 readings into a sink that takes
// everything at once: what the Forwarder and the encoder cost.
func BenchmarkDrain(b *testing.B) {
	for _, perBlock := range []int{40, 800, 8000} {
		b.Run(fmt.Sprintf("readings=%d", perBlock), func(b *testing.B) {
			const total = 800_000
			tank := newTank()
			for range total / perBlock {
				tank.pour(reading.Normal, perBlock)
			}
			blocks := tank.blocks[reading.Normal]
			var stats uplink.Stats
			for b.Loop() {
				stats = drain(b, blocks, total)
			}
			took := b.Elapsed().Seconds() / float64(b.N)
			b.ReportMetric(total/took/1e6, "Mreadings/s")
			b.ReportMetric(float64(stats.SentMessages), "messages")
			b.ReportMetric(float64(stats.SentBytes)/total, "B/reading")
		})
	}
}

func drain(b *testing.B, blocks []wire.Block, last uint64) uplink.Stats {
	tank := newTank()
	tank.blocks[reading.Normal] = blocks
	all := make(chan struct{})
	f := uplink.New(uplink.Config{Gateway: "gw"}, ackAlarm{tank, last, all}, encode.NewPacked("gw"), instant{}, &shelf{}, slog.New(slog.DiscardHandler))
	ctx, stop := context.WithCancel(b.Context())
	ended := make(chan error)
	go func() { ended <- f.Run(ctx) }()
	<-all
	stop()
	if err := <-ended; err != nil {
		b.Fatal(err)
	}
	return f.Stats()
}

// BenchmarkLive sends one block after the other, each when the one before is
// acked: what the Forwarder adds to the latency of a lone message.
func BenchmarkLive(b *testing.B) {
	tank := newTank()
	for range 10_000 {
		tank.pour(reading.Normal, 4)
	}
	blocks, next := tank.blocks[reading.Normal], make(chan wire.Block)
	acked := make(chan struct{})
	f := uplink.New(uplink.Config{Gateway: "gw"}, dripping{next, acked}, encode.NewPacked("gw"), instant{}, &shelf{}, slog.New(slog.DiscardHandler))
	ctx, stop := context.WithCancel(b.Context())
	ended := make(chan error)
	go func() { ended <- f.Run(ctx) }()
	i := 0
	for b.Loop() {
		next <- blocks[i%len(blocks)]
		<-acked
		i++
	}
	stop()
	if err := <-ended; err != nil {
		b.Fatal(err)
	}
}

// instant takes everything at once.
type instant struct{}

func (instant) Send(context.Context, uplink.Message) error { return nil }

// ackAlarm closes all when last is acked.
type ackAlarm struct {
	*tank
	last uint64
	all  chan struct{}
}

func (a ackAlarm) Ack(_ reading.Lane, _, last uint64) error {
	if last == a.last {
		close(a.all)
	}
	return nil
}

// dripping gives out one block at a time.
type dripping struct {
	next  chan wire.Block
	acked chan struct{}
}

func (d dripping) NextLive(ctx context.Context, lanes reading.LaneSet, limit int) ([]wire.Block, error) {
	return d.Next(ctx, lanes, limit)
}

func (d dripping) Next(ctx context.Context, _ reading.LaneSet, _ int) ([]wire.Block, error) {
	select {
	case b := <-d.next:
		return []wire.Block{b}, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (d dripping) Ack(reading.Lane, uint64, uint64) error {
	d.acked <- struct{}{}
	return nil
}

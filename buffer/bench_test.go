package buffer

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/tidegate/tidegate/reading"
)

// BenchmarkAccept has sources that each wait for their receipt before they go
// on: what a commit costs, and how many share one.
func BenchmarkAccept(b *testing.B) {
	for _, sources := range []int{1, 10, 100, 1000} {
		b.Run(fmt.Sprintf("sources=%d", sources), func(b *testing.B) {
			buf, err := Open(Config{Dir: b.TempDir(), MaxBytes: 256 << 20, Clock: testClock()}, slog.New(slog.DiscardHandler))
			if err != nil {
				b.Fatal(err)
			}
			ctx, cancel := context.WithCancel(context.Background())
			ended := make(chan error, 1)
			go func() { ended <- buf.Run(ctx) }()
			b.ResetTimer()
			ingest(b, buf, sources, b.N)
			b.StopTimer()
			s := buf.Stats()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "acks/s")
			b.ReportMetric(float64(s.FlashBytes)/float64(s.Commits), "flash-B/commit")
			b.ReportMetric(float64(s.Accepted)/float64(s.Commits), "readings/commit")
			cancel()
			if err := <-ended; err != nil {
				b.Fatal(err)
			}
		})
	}
}

// ingest takes so many batches of four, each of which waits for its receipt.
func ingest(b *testing.B, buf *Buffer, sources, batches int) {
	var all sync.WaitGroup
	for s := range sources {
		all.Go(func() {
			rs := make([]reading.Reading, 4)
			for i := 0; i < batches; i += sources {
				for m := range rs {
					rs[m] = reading.Reading{Device: fmt.Sprintf("dev-%04d", s), Metric: metrics[m], Time: int64(i+1) * 1e6, Value: reading.Float(float64(i+m) / 10)}
				}
				receipt, err := buf.Accept(b.Context(), rs)
				if err == nil {
					err = receipt.Wait(b.Context())
				}
				if err != nil {
					panic(err)
				}
			}
		})
	}
	all.Wait()
}

// BenchmarkAdd is what an Accept of four readings does under the lock.
func BenchmarkAdd(b *testing.B) {
	rs := make([]reading.Reading, 4)
	g, now := newGroup(), time.Now()
	b.ReportAllocs()
	for b.Loop() {
		if g.add(rs, 40, now); g.full() {
			g = g.reuse()
		}
	}
}

var metrics = [4]string{"temp", "hum", "bat", "rssi"}

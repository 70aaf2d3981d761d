package buffer

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/tidegate/tidegate/reading"
)

// BenchmarkAcceptBesideHistory has a hundred sources that each wait for their
// receipt, with nobody else, with one who reads all of the history without a
// pause, and with one who looks for a series again and again. One CPU or several
// make all the difference.
func BenchmarkAcceptBesideHistory(b *testing.B) {
	look := map[string]func(context.Context, *Buffer, *uint64){
		"beside": func(ctx context.Context, buf *Buffer, read *uint64) {
			_, _ = buf.History(ctx, Query{}, func(Entry) error { *read++; return nil })
		},
		"series": func(ctx context.Context, buf *Buffer, read *uint64) {
			q := SeriesQuery{Series: reading.Series{Device: "dev-0007", Metric: "hum"}, NewestFirst: true, Within: time.Second}
			_, _ = buf.Series(ctx, q, func(Sample) error { *read++; return nil })
		},
	}
	for _, beside := range []string{"alone", "beside", "series"} {
		b.Run(beside, func(b *testing.B) {
			buf, err := Open(Config{Dir: b.TempDir(), MaxBytes: 256 << 20, Clock: testClock()}, slog.New(slog.DiscardHandler))
			if err != nil {
				b.Fatal(err)
			}
			ctx, cancel := context.WithCancel(context.Background())
			ended := make(chan error, 1)
			go func() { ended <- buf.Run(ctx) }()
			ingest(b, buf, 100, 200_000) // something to read
			looking, stop := context.WithCancel(ctx)
			var read uint64
			var all sync.WaitGroup
			if look := look[beside]; look != nil {
				all.Go(func() {
					for looking.Err() == nil {
						look(looking, buf, &read)
					}
				})
			}
			b.ResetTimer()
			ingest(b, buf, 100, b.N)
			b.StopTimer()
			stop()
			all.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "acks/s")
			b.ReportMetric(float64(read)/b.Elapsed().Seconds(), "read/s")
			cancel()
			if err := <-ended; err != nil {
				b.Fatal(err)
			}
		})
	}
}

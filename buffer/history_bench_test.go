package buffer

import (
	"context"
	"log/slog"
	"sync"
	"testing"
)

// BenchmarkAcceptBesideHistory has a hundred sources that each wait for their
// receipt, with nobody else, and with one who reads all of the history without
// a pause. One CPU or several make all the difference.
func BenchmarkAcceptBesideHistory(b *testing.B) {
	for _, readers := range []int{0, 1} {
		b.Run(map[int]string{0: "alone", 1: "beside"}[readers], func(b *testing.B) {
			buf, err := Open(Config{Dir: b.TempDir(), MaxBytes: 256 << 20, Clock: testClock()}, slog.New(slog.DiscardHandler))
			if err != nil {
				b.Fatal(err)
			}
			ctx, cancel := context.WithCancel(context.Background())
			ended := make(chan error, 1)
			go func() { ended <- buf.Run(ctx) }()
			ingest(b, buf, 100, 200_000) // something to read
			reading, stop := context.WithCancel(ctx)
			var read uint64
			var all sync.WaitGroup
			for range readers {
				all.Go(func() {
					for reading.Err() == nil {
						_, _ = buf.History(reading, Query{}, func(Entry) error { read++; return nil })
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

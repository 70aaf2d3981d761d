package dashboard

import (
	"context"
	"fmt"
	"testing"
	"time"
)

// BenchmarkPublish floods the hub from as many goroutines as there are cores;
// the metric is what a door pays for one reading.
func BenchmarkPublish(b *testing.B) {
	for _, size := range []int{4, 400} {
		for _, viewers := range []int{0, 32} {
			b.Run(fmt.Sprintf("batch=%d/viewers=%d", size, viewers), func(b *testing.B) {
				benchmarkPublish(b, size, viewers)
			})
		}
	}
}

func benchmarkPublish(b *testing.B, size, viewers int) {
	h := NewHub(Config{}, func() Status { return Status{} })
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- h.Run(ctx) }()
	for range viewers {
		v, err := h.join()
		if err != nil {
			b.Fatal(err)
		}
		go func() {
			for range v.frames { // ends with the hub
			}
		}()
	}
	begin := time.Now()
	b.RunParallel(func(pb *testing.PB) {
		rs := batch("device", size, 1)
		for pb.Next() {
			h.Publish(rs)
		}
	})
	readings := float64(b.N) * float64(size)
	b.ReportMetric(time.Since(begin).Seconds()*1e9/readings, "ns/reading")
	b.ReportMetric(0, "ns/op")
	cancel()
	if err := <-ended; err != nil {
		b.Fatal(err)
	}
}

// BenchmarkTurn is one tick of a full budget over many series with a viewer
// that keeps up and one that has just come: the cost of the hub's own
// goroutine, four times a second.
func BenchmarkTurn(b *testing.B) {
	h := NewHub(Config{}, func() Status { return Status{} })
	v, err := h.join()
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		for device := range 625 {
			h.Publish(batch(fmt.Sprint("device", device), 8, 1))
		}
		if err := h.turn(); err != nil {
			b.Fatal(err)
		}
		<-v.frames
	}
}

package dashboard

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/tidegate/tidegate/reading"
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
		v, err := h.join(0, false)
		if err != nil {
			b.Fatal(err)
		}
		go func() {
			for range v.frames { // ends with the hub
				v.more()
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

// BenchmarkTurn is one tick with a full budget over 5,000 series and a viewer
// who keeps up: what the dashboard costs at the most, four times a second.
func BenchmarkTurn(b *testing.B) {
	h := NewHub(Config{}, func() Status { return Status{} })
	v, err := h.join(0, false)
	if err != nil {
		b.Fatal(err)
	}
	h.tell(Status{})
	var batches [625][]reading.Reading
	for i := range batches {
		batches[i] = batch(fmt.Sprint("device", i), 8, 21.5)
	}
	b.ReportAllocs()
	for b.Loop() {
		for _, rs := range batches {
			h.Show(rs) // which no budget bounds
		}
		if _, err := h.turn(); err != nil {
			b.Fatal(err)
		}
		<-v.frames
		v.more()
	}
}

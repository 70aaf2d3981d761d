package fileout

import (
	"sync"
	"testing"
)

// BenchmarkSync is what a message costs on this disk: alone with a sync of its own,
// and with those beside it that share one. The times are the disk's, the ratio ours.
func BenchmarkSync(b *testing.B) {
	for _, c := range []struct {
		name    string
		senders int
	}{{"Alone", 1}, {"Four", 4}, {"Sixteen", 16}, {"SixtyFour", 64}} {
		b.Run(c.name, func(b *testing.B) {
			s := newSink(b, Config{MaxSize: 1 << 30})
			syncs := 0
			whole := s.disk.open
			s.disk.open = func(path string, fresh bool) (handle, error) {
				syncs++
				return whole(path, fresh)
			}
			m := packed(b, 1, 1000)
			b.SetBytes(int64(len(m.Body)))
			b.ReportAllocs()
			var tasks sync.WaitGroup
			todo := make(chan struct{}, c.senders)
			for range c.senders {
				tasks.Go(func() {
					for range todo {
						if err := s.Send(b.Context(), m); err != nil {
							b.Error(err)
						}
					}
				})
			}
			n := 0
			for b.Loop() {
				todo <- struct{}{}
				n++
			}
			close(todo)
			tasks.Wait()
			b.ReportMetric(float64(n)/float64(syncs), "messages/sync")
		})
	}
}

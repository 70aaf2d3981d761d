package buffer

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tidegate/tidegate/reading"
)

var seriesBytes = flag.Int64("seriesbytes", 32<<20, "bytes of the buffer in which BenchmarkSeries looks")

// BenchmarkSeries looks for one series of four hundred that come once a second, in
// a buffer of -seriesbytes: its last hour, its last day, all of it, and one that
// was never there. It takes turns with nobody, but rests as beside commits.
func BenchmarkSeries(b *testing.B) {
	buf, err := Open(Config{Dir: b.TempDir(), MaxBytes: 8 * *seriesBytes, Clock: testClock()}, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- buf.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			b.Fatal(err)
		}
	}()
	end := fillSeconds(b, buf, *seriesBytes)
	b.Logf("%d bytes hold %s of 400 series", buf.index.size(), time.Duration(end))
	one := reading.Series{Device: "dev-0007", Metric: "hum"}
	for _, c := range []struct {
		name   string
		series reading.Series
		last   time.Duration
	}{
		{"hour", one, time.Hour}, {"day", one, 24 * time.Hour}, {"all", one, 0},
		{"all/absent", reading.Series{Device: "dev-0007", Metric: "hun"}, 0},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			found, pages, first := 0, 0, time.Duration(0)
			before := busy(b)
			var peak uint64
			for b.Loop() {
				q := SeriesQuery{Series: c.series, NewestFirst: true, Within: time.Second}
				if c.last > 0 {
					q.From = max(end-int64(c.last), 1)
				}
				began := time.Now()
				for found, pages = 0, 0; ; {
					page, err := buf.Series(b.Context(), q, func(Sample) error { found++; return nil })
					if err != nil {
						b.Fatal(err)
					}
					if pages++; pages == 1 {
						first = time.Since(began)
					}
					var m runtime.MemStats
					runtime.ReadMemStats(&m)
					peak = max(peak, m.HeapInuse)
					if q.After = page.Next; q.After == "" {
						break
					}
				}
			}
			b.ReportMetric(float64((busy(b)-before).Milliseconds())/float64(b.N), "cpu-ms/op")
			b.ReportMetric(float64(found), "readings")
			b.ReportMetric(float64(pages), "pages")
			b.ReportMetric(float64(first.Milliseconds()), "ms-to-first-page")
			b.ReportMetric(float64(peak)/1e6, "heap-MB")
		})
	}
}

// busy is the processor time that the process has taken.
func busy(b *testing.B) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// fillSeconds takes a second's readings after the other until the buffer has so
// many bytes, a few seconds a commit, and returns the time of the last.
func fillSeconds(b *testing.B, buf *Buffer, bytes int64) (at int64) {
	devices := make([]string, 200)
	for d := range devices {
		devices[d] = fmt.Sprintf("dev-%04d", d)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	rs := make([]reading.Reading, 0, 2*len(devices))
	for s := int64(1); buf.index.size() < bytes; s++ {
		rs = rs[:0]
		for d, name := range devices {
			at = s*1e9 + int64(d*4)*1e6 + int64(rng.IntN(30))*1e6
			x := float64(s)/300 + float64(d)
			rs = append(rs,
				reading.Reading{Device: name, Metric: "temp", Unit: "Cel", Time: at, Value: reading.Float(math.Round(2000+500*math.Sin(x)+20*rng.NormFloat64()) / 100)},
				reading.Reading{Device: name, Metric: "hum", Unit: "", Time: at, Value: reading.Float(math.Round(600+200*math.Cos(x/3)+3*rng.NormFloat64()) / 10)})
		}
		receipt, err := buf.Accept(b.Context(), rs)
		if err == nil && s%10 == 0 {
			err = receipt.Wait(b.Context())
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	return at
}

package cloud

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/wire"
)

// fleet returns n readings of four metrics of 200 devices, with noise in times
// and values; the number of the first is its seed.
func fleet(first uint64, n int) []reading.Reading {
	rs := make([]reading.Reading, 0, n)
	rng := rand.New(rand.NewPCG(first, 1))
	for i := 0; len(rs) < n; i++ {
		step := int(first)/4 + i
		at := 1_700_000_000_000_000_000 + int64(step)*5_000_000 + int64(rng.IntN(30))*1_000_000
		for m, metric := range []string{"bat", "hum", "rssi", "temp"} {
			v := math.Round(2000+300*math.Sin(float64(step*(m+1))/977)+10*rng.NormFloat64()) / 100
			rs = append(rs, reading.Reading{Device: fmt.Sprintf("dev-%03d", step%200), Metric: metric, Time: at, Value: reading.Float(v)})
		}
	}
	return rs[:n]
}

// bodies returns chunks of n readings each, one after the other.
func bodies(b *testing.B, gateway string, n, count int) [][]byte {
	enc := wire.NewEncoder()
	list := make([][]byte, count)
	for i := range list {
		first := uint64(i*n + 1)
		raw, err := enc.AppendBlock(nil, wire.Header{Epoch: epoch, First: first}, fleet(first, n))
		if err != nil {
			b.Fatal(err)
		}
		blk, _, err := wire.ParseBlock(raw)
		if err != nil {
			b.Fatal(err)
		}
		list[i] = encode(b, wire.Chunk{Gateway: gateway, Blocks: []wire.Block{blk}})
	}
	return list
}

// deliver posts a body and wants an acknowledgement.
func deliver(b *testing.B, url string, body []byte) {
	res, err := http.Post(url+"/v1/ingest", ChunkType, bytes.NewReader(body))
	if err != nil {
		b.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, res.Body); err != nil || res.StatusCode != 200 {
		b.Fatal(res.Status, err)
	}
	res.Body.Close()
}

// BenchmarkDrain delivers a backlog in chunks of 8,192 readings, over HTTP and
// with real syncs.
func BenchmarkDrain(b *testing.B) {
	const n = 8192
	list := bodies(b, "g", n, 64)
	for b.Loop() {
		b.StopTimer()
		s := openStore(b)
		s.db.NoSync = false
		server := serve(b, s, ReceiverConfig{})
		b.StartTimer()
		for _, body := range list {
			deliver(b, server.URL, body)
		}
	}
	b.ReportMetric(float64(b.N*n*len(list))/b.Elapsed().Seconds(), "readings/s")
	b.ReportMetric(float64(len(list[1]))/n, "B/reading")
}

// BenchmarkSync is the disk alone, for comparison: 4 KiB written and synced
// twice, as in a commit of bbolt.
func BenchmarkSync(b *testing.B) {
	f, err := os.Create(filepath.Join(b.TempDir(), "f"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	page := make([]byte, 4096)
	var took []time.Duration
	for b.Loop() {
		began := time.Now()
		for at := range int64(2) {
			if _, err := f.WriteAt(page, at*4096); err != nil {
				b.Fatal(err)
			}
			if err := f.Sync(); err != nil {
				b.Fatal(err)
			}
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
}

// BenchmarkLive delivers chunks of eight readings one at a time and reports the
// median time to the acknowledgement.
func BenchmarkLive(b *testing.B) {
	s := openStore(b)
	s.db.NoSync = false
	server := serve(b, s, ReceiverConfig{})
	list := bodies(b, "g", 8, 3000)
	var took []time.Duration
	for i := 0; b.Loop(); i++ {
		began := time.Now()
		deliver(b, server.URL, list[i%len(list)])
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
}

// BenchmarkCrowd delivers small chunks of many gateways at once.
func BenchmarkCrowd(b *testing.B) {
	s := openStore(b)
	s.db.NoSync = false
	server := serve(b, s, ReceiverConfig{})
	http.DefaultTransport.(*http.Transport).MaxIdleConnsPerHost = 100
	var next atomic.Int64
	lists := make([][][]byte, 64)
	for i := range lists {
		lists[i] = bodies(b, fmt.Sprintf("g%d", i), 8, 400)
	}
	b.SetParallelism(32)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		mine := lists[int(next.Add(1)-1)%len(lists)]
		for i := 0; pb.Next(); i++ {
			deliver(b, server.URL, mine[i%len(mine)])
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "chunks/s")
	b.ReportMetric(float64(lastTransaction(b, s))/float64(b.N), "commits/chunk")
}

// BenchmarkExport exports a million readings.
func BenchmarkExport(b *testing.B) {
	s := openStore(b)
	const n = 8192
	for _, body := range bodies(b, "g", n, 123) {
		c, err := wire.ParseChunk(body)
		if err != nil {
			b.Fatal(err)
		}
		receive(b, s, c, n, 0)
	}
	for b.Loop() {
		if err := s.Export(b.Context(), io.Discard, Filter{}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N*n*123)/b.Elapsed().Seconds(), "rows/s")
}

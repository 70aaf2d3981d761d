package firmwaresim

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"
)

// BenchmarkFleet measures the generator against a server that only
// acknowledges: acknowledged QoS 1 messages a second, clients x window.
func BenchmarkFleet(b *testing.B) {
	for _, size := range []struct{ devices, window int }{{1, 1}, {1, 100}, {10, 100}, {100, 1}, {100, 100}, {1000, 100}} {
		b.Run(fmt.Sprintf("%dx%d", size.devices, size.window), func(b *testing.B) {
			benchmarkFleet(b, FleetConfig{Devices: size.devices, Shape: Opaque, Client: ClientConfig{Window: size.window}}, nil)
		})
	}
	b.Run("100x100 with ledger", func(b *testing.B) {
		ledger, err := CreateLedger(filepath.Join(b.TempDir(), "ledger"))
		if err != nil {
			b.Fatal(err)
		}
		defer ledger.Close()
		benchmarkFleet(b, FleetConfig{Devices: 100, Client: ClientConfig{Window: 100}}, ledger)
	})
}

func benchmarkFleet(b *testing.B, cfg FleetConfig, ledger *Ledger) {
	cfg.Addr, cfg.QoS, cfg.Count = ackServer(b), 1, uint64(b.N)
	fleet, err := NewFleet(cfg, ledger)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	began := time.Now()
	if err := fleet.Run(b.Context()); err != nil {
		b.Fatal(err)
	}
	s := fleet.Stats()
	if s.Acked != uint64(b.N) {
		b.Fatalf("%d of %d acknowledged", s.Acked, b.N)
	}
	b.ReportMetric(float64(b.N)/time.Since(began).Seconds(), "acks/s")
	b.ReportMetric(float64(s.Latency.Quantile(.5).Microseconds()), "p50-us")
}

func BenchmarkDeviceAppend(b *testing.B) {
	for _, shape := range Shapes() {
		b.Run(string(shape), func(b *testing.B) {
			device, at := NewDevice(1, 0, shape, shape != Opaque), time.UnixMilli(1_700_000_000_000)
			var payload []byte
			b.ReportAllocs()
			for b.Loop() {
				payload = device.Append(payload[:0], at)
			}
			b.ReportMetric(float64(len(payload)), "bytes")
		})
	}
}

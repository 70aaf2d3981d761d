package firmwaresim

import (
	"fmt"
	"testing"
	"time"
)

// BenchmarkFleet measures the generator against a server that only
// acknowledges: acknowledged QoS 1 messages a second, clients x window.
func BenchmarkFleet(b *testing.B) {
	for _, size := range []struct{ devices, window int }{{1, 1}, {1, 100}, {10, 100}, {100, 1}, {100, 100}, {1000, 100}} {
		b.Run(fmt.Sprintf("%dx%d", size.devices, size.window), func(b *testing.B) {
			fleet, err := NewFleet(FleetConfig{
				Addr: ackServer(b), Devices: size.devices, QoS: 1, Shape: Opaque, Count: uint64(b.N),
				Client: ClientConfig{Window: size.window},
			}, nil)
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
		})
	}
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

package serialin

import (
	"context"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/internal/ptytest"
	"github.com/tidegate/tidegate/internal/serialport"
	"github.com/tidegate/tidegate/reading"
)

// BenchmarkFrames is beside a bare loop that reads the same bytes.
func BenchmarkFrames(b *testing.B) {
	const burst = 1000
	text := strings.Repeat("{\"temp\":21.5,\"hum\":40}\n", burst)
	write := func(b *testing.B, device *os.File) {
		go func() {
			for n := 0; n < b.N; n += burst {
				if _, err := device.WriteString(text); err != nil {
					return
				}
			}
		}()
	}
	b.Run("door", func(b *testing.B) {
		device, path := ptytest.New(b)
		s := newSource(b, Config{Port: serialport.Config{Path: path}})
		run(b, s, nowhere{})
		isOpen(b, s)
		b.ReportAllocs()
		b.ResetTimer()
		write(b, device)
		before := cpu(b)
		until(b, "all are read", func() bool { return s.Stats().Frames >= uint64(b.N) })
		b.ReportMetric(float64(cpu(b)-before)/float64(b.N), "cpu-ns/op")
	})
	b.Run("bare", func(b *testing.B) {
		device, path := ptytest.New(b)
		port, err := serialport.Open(serialport.Config{Path: path})
		if err != nil {
			b.Fatal(err)
		}
		defer port.Close()
		buf := make([]byte, 4096)
		b.ReportAllocs()
		b.ResetTimer()
		write(b, device)
		before := cpu(b)
		for left := (b.N + burst - 1) / burst * len(text); left > 0; {
			n, err := port.ReadTimeout(buf, -1)
			if err != nil {
				b.Fatal(err)
			}
			left -= n
		}
		b.ReportMetric(float64(cpu(b)-before)/float64(b.N), "cpu-ns/op")
	})
}

// cpu is the time that this process has used, the writer's included.
func cpu(b *testing.B) int64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}

// nowhere is a custody that keeps nothing.
type nowhere struct{}

func (nowhere) Accept(context.Context, []reading.Reading, ...reading.Note) (ingest.Receipt, error) {
	return nowhere{}, nil
}
func (nowhere) Notes(context.Context, string, func(reading.Note) error) error { return nil }
func (nowhere) Wait(context.Context) error                                    { return nil }

// BenchmarkLookingForAnAbsentDevice is what a device that is away costs, four
// times a second.
func BenchmarkLookingForAnAbsentDevice(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		serialport.Host{}.Find("/dev/serial/by-id/usb-nobody", serialport.Identity{Vendor: "0403", Product: "6001", Serial: "X"})
	}
}

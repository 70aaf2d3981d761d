package refine

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/wire"
)

// ptr returns a pointer to a value, as a Step has them.
func ptr[T any](v T) *T { return &v }

// fleet is a payload of several fields of each of several devices, whose values
// go on as sensors' do.
type fleet struct {
	random   *rand.Rand
	readings []reading.Reading
	now      int64
}

func newFleet(devices int, metrics ...string) *fleet {
	f := &fleet{random: rand.New(rand.NewPCG(1, 2)), now: 1_800_000_000e9}
	for d := range devices {
		for _, m := range metrics {
			f.readings = append(f.readings, reading.Reading{Device: fmt.Sprintf("plant/press-%d", d), Metric: m, Value: reading.Float(215)})
		}
	}
	return f
}

// next goes on by a second. The values are in tenths, as of a cheap sensor that
// is good to about two of them.
func (f *fleet) next() []reading.Reading {
	f.now += int64(time.Second)
	for i := range f.readings {
		tenths := 215 + 20*float64(i%7) + float64(f.random.IntN(5)-2) + float64(f.now/60e9%40)
		f.readings[i].Time, f.readings[i].Value = f.now, reading.Float(tenths)
	}
	return f.readings
}

var benchMetrics = []string{"temp", "temp.inlet", "humidity", "pressure", "motor.current", "motor.rpm", "volt.a", "volt.b"}

func BenchmarkRefine(b *testing.B) {
	deadband := Step{Metric: "temp*", Scale: 0.1, Deadband: ptr(0.5), Heartbeat: 10 * time.Minute}
	many := []Step{
		{Metric: "*", Heartbeat: time.Hour, Deadband: ptr(0.0)}, {Metric: "t_*", Rename: "temp.*"}, deadband,
		{Metric: "humidity", Scale: 0.1, Min: ptr(0.0), Max: ptr(100.0)}, {Metric: "volt.?", Unit: "V", Scale: 0.01, DeadbandPercent: ptr(1.0)},
		{Metric: "motor.*", Device: "plant/*", MinInterval: 5 * time.Second}, {Metric: "pressure", Offset: -1.5, Unit: "kPa"},
		{Metric: "debug.*", Drop: true}, {Metric: "temp", AlarmAbove: ptr(80.0), Hysteresis: 5}, {Metric: "*.rpm", Lane: ptr(reading.Bulk)},
	}
	for _, c := range []struct {
		name  string
		steps []Step
	}{
		{"none", nil},
		{"no match", []Step{{Metric: "nothing.*", Deadband: ptr(1.0)}}},
		{"1 step", []Step{{Metric: "*", Scale: 0.1, Deadband: ptr(0.5), Heartbeat: 10 * time.Minute}}},
		{"10 steps", many},
	} {
		b.Run(c.name, func(b *testing.B) {
			chain, err := New(Config{Steps: c.steps})
			if err != nil {
				b.Fatal(err)
			}
			f := newFleet(20, benchMetrics...)
			work := make([]reading.Reading, 0, 2*len(f.readings))
			b.ReportAllocs()
			for b.Loop() {
				work = append(work[:0], f.next()...)
				if c.steps != nil {
					work = chain.Refine(work, 0, f.now)
				}
			}
			perReading := float64(b.N * len(f.readings))
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/perReading, "ns/reading")
			b.ReportMetric(float64(chain.Stats().Kept)/perReading, "kept/reading")
		})
	}
}

// BenchmarkWireBytes tells what a deadband saves on the wire: an hour of 20
// devices with 8 noisy fields each second, in blocks of a minute.
func BenchmarkWireBytes(b *testing.B) {
	for _, c := range []struct {
		name string
		step Step
	}{
		{"everything", Step{Scale: 0.1}},
		{"deadband 0.1", Step{Scale: 0.1, Deadband: ptr(0.1)}},
		{"deadband 0.2", Step{Scale: 0.1, Deadband: ptr(0.2)}},
		{"deadband 0.5, heartbeat 10m", Step{Scale: 0.1, Deadband: ptr(0.5), Heartbeat: 10 * time.Minute}},
		{"deadband 2%", Step{Scale: 0.1, DeadbandPercent: ptr(2.0)}},
		{"min interval 10s", Step{Scale: 0.1, MinInterval: 10 * time.Second}},
	} {
		b.Run(c.name, func(b *testing.B) {
			var came, size int
			for b.Loop() {
				var err error
				if came, size, err = hour(c.step); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(size)/float64(came), "bytes/reading")
			b.ReportMetric(float64(size), "bytes/hour")
		})
	}
}

// hour returns how many readings came in an hour, and how many bytes blocks take
// of what was kept.
func hour(s Step) (came, size int, err error) {
	chain, err := New(Config{Steps: []Step{s}})
	if err != nil {
		return 0, 0, err
	}
	f, encoder := newFleet(20, benchMetrics...), wire.NewEncoder()
	var group []reading.Reading
	var block []byte
	first := uint64(1)
	for second := range 3600 {
		came += len(f.readings)
		from := len(group)
		group = chain.Refine(append(group, f.next()...), from, f.now)
		if second%60 < 59 || len(group) == 0 {
			continue
		}
		if block, err = encoder.AppendBlock(block[:0], wire.Header{Epoch: 1, First: first}, group); err != nil {
			return 0, 0, err
		}
		size, first, group = size+len(block), first+uint64(len(group)), group[:0]
	}
	return came, size, nil
}

// What a deadband above the noise is for.
func TestADeadbandAboveTheNoiseSavesBytes(t *testing.T) {
	_, all, err := hour(Step{Scale: 0.1})
	if err != nil {
		t.Fatal(err)
	}
	_, few, err := hour(Step{Scale: 0.1, Deadband: ptr(0.5), Heartbeat: 10 * time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	if few*10 > all {
		t.Errorf("%d bytes with a deadband, %d without", few, all)
	}
}

package sizing

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidegate/tidegate/buffer"
	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/wire"
)

// tolerance is how far the model may be from what is measured.
const tolerance = 0.25

func within(t *testing.T, what string, model, measured float64) {
	t.Helper()
	t.Logf("%s: %.4g, measured %.4g: %+.0f %%", what, model, measured, 100*(model/measured-1))
	if off := model/measured - 1; math.Abs(off) > tolerance || math.IsNaN(off) {
		t.Errorf("%s: the model says %.4g, and %.4g was measured", what, model, measured)
	}
}

// fleet are devices whose values drift.
type fleet struct {
	rng    *rand.Rand
	values [][]float64 // by device
	next   int
}

func newFleet(l Load) *fleet {
	f := &fleet{rng: rand.New(rand.NewPCG(1, 2))}
	for range l.Devices {
		values := make([]float64, l.Metrics)
		for i := range values {
			values[i] = 20 + float64(f.rng.IntN(500))/10
		}
		f.values = append(f.values, values)
	}
	return f
}

// message is the next device's.
func (f *fleet) message(now time.Time) []reading.Reading {
	names, steps := []string{"temperature", "humidity", "battery", "rssi"}, []float64{0.1, 0.1, 0.01, 1}
	device, values := f.next, f.values[f.next]
	f.next = (f.next + 1) % len(f.values)
	var all []reading.Reading
	for m := range values {
		values[m] = math.Round((values[m]+steps[m%4]*float64(f.rng.IntN(3)-1))*100) / 100
		name := names[m%4]
		if m >= 4 {
			name = fmt.Sprintf("%s-%d", name, m/4)
		}
		all = append(all, reading.Reading{Device: fmt.Sprintf("device-%04d", device), Metric: name,
			Time: now.UnixMilli() * int64(time.Millisecond), Value: reading.Float(values[m])})
	}
	return all
}

// folder is in memory, where that goes: no time is measured, and syncs are many.
func folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "sizing")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// play runs a buffer with the load in virtual time, and returns what it did after
// skip.
func play(t *testing.T, dir string, l Load, p Pace, skip, span time.Duration) (from, to buffer.Stats) {
	t.Helper()
	clock := buffer.Clock{Boot: 1, Uptime: func() time.Duration { return 0 }, State: func() wire.ClockState { return wire.Synced }}
	b, err := buffer.Open(buffer.Config{Dir: dir, MaxBytes: 1 << 30, FlashBudget: p.Budget, MaxAckDelay: p.Delay, Pace: p.Interval, Clock: clock}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx) }()
	began, f := time.Now(), newFleet(l)
	for at := time.Duration(0); at < skip+span; at = time.Since(began) {
		if at <= skip {
			from = b.Stats()
		}
		if _, err := b.Accept(ctx, f.message(time.Now())); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(float64(time.Second) / l.messages()))
	}
	to = b.Stats()
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	return from, to
}

func TestModelAgreesWithTheBuffer(t *testing.T) {
	speed, balanced, gentle := Pace{}, Pace{Budget: 4e9, Delay: 250 * time.Millisecond}, Pace{Budget: 1e9, Delay: time.Second}
	each := func(d time.Duration) Pace { return Pace{Interval: d} }
	for _, c := range []struct {
		Load
		Pace
		skip, span time.Duration
	}{
		{Load{4, 1, 4}, speed, 0, time.Hour},
		{Load{1, 1, 1}, balanced, 0, time.Hour},
		{Load{20, 50, 4}, gentle, 90 * time.Minute, time.Hour}, // the budget rules
		{Load{8, 1, 8}, gentle, 0, 30 * time.Minute},
		{Load{40, 100, 4}, Pace{Budget: 30e6, Delay: time.Minute}, 30 * time.Minute, 2 * time.Hour},
		{Load{400, 100, 4}, Pace{Budget: 60e6, Delay: time.Second}, 2 * time.Minute, 10 * time.Minute}, // the delay forces commits
		{Load{4000, 100, 4}, each(time.Second), 0, 2 * time.Minute},
		{Load{4000, 1000, 4}, each(time.Second), 0, 2 * time.Minute},
		{Load{4000, 100, 4}, each(250 * time.Millisecond), 0, 2 * time.Minute},
		{Load{4000, 1000, 4}, each(20 * time.Millisecond), 0, time.Minute},
		{Load{160, 20, 8}, each(time.Second), 0, 5 * time.Minute},
	} {
		t.Run(fmt.Sprintf("%v %v", c.Load, c.Pace), func(t *testing.T) {
			dir := folder(t)
			synctest.Test(t, func(t *testing.T) {
				from, to := play(t, dir, c.Load, c.Pace, c.skip, c.span)
				day, seconds := c.Load.Day(c.Pace), c.span.Seconds()
				commits := float64(to.Commits - from.Commits)
				within(t, "commits a second", day.Commits, commits/seconds)
				written := float64(to.FlashBytes-from.FlashBytes) / seconds * daySeconds
				if step := 256 << 10 / seconds * daySeconds; written > day.High+step || written < day.Low*(1-tolerance) {
					within(t, "bytes of flash a day", day.High, written)
				}
				t.Logf("bytes of flash a day: %.4g to %.4g, measured %.4g", day.Low, day.High, written)
				within(t, "bytes of a reading", day.Fresh, (float64(to.HeldBytes-from.HeldBytes)+commits*record)/float64(to.Held-from.Held))
			})
		})
	}
}

// TestModelAgreesWithMergedBlocks makes merged blocks of small ones.
func TestModelAgreesWithMergedBlocks(t *testing.T) {
	for _, l := range []Load{{4, 1, 4}, {1, 1, 1}, {20, 1, 20}, {20, 5, 2}, {8, 10, 4}, {20, 50, 4}, {40, 100, 4}, {100, 400, 4}} {
		f, enc := newFleet(l), wire.NewEncoder()
		now, first := time.Unix(1_800_000_000, 0), uint64(1)
		var blocks []wire.Block
		for first+uint64(l.Metrics) <= joined+1 {
			raw, err := enc.AppendBlock(nil, wire.Header{First: first, Epoch: 1, Boot: 1}, f.message(now))
			if err != nil {
				t.Fatal(err)
			}
			b, _, err := wire.ParseBlock(raw)
			if err != nil {
				t.Fatal(err)
			}
			blocks, first = append(blocks, b), first+uint64(b.Count)
			now = now.Add(time.Duration(float64(time.Second) / l.messages()))
		}
		raw, err := wire.NewMerger().Merge(nil, blocks)
		if err != nil {
			t.Fatal(err)
		}
		within(t, fmt.Sprintf("%v: bytes of a merged reading", l), l.Kept(l.Day(Pace{})), float64(len(raw))/float64(first-1))
	}
}

// TestBufferHoldsWhatIsPromised fills a buffer until it loses something.
func TestBufferHoldsWhatIsPromised(t *testing.T) {
	const size, most = 1000, 8 * segment
	clock := buffer.Clock{Boot: 1, Uptime: func() time.Duration { return 0 }, State: func() wire.ClockState { return wire.Synced }}
	b, err := buffer.Open(buffer.Config{Dir: folder(t), MaxBytes: most, Clock: clock}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx) }()
	b.Cursor("cloud") // who has nothing
	noise, rng, n := make([]byte, size), rand.NewChaCha8([32]byte{}), 0
	for ; b.Stats().Lost == 0; n += 10 {
		var some []reading.Reading
		for i := range 10 {
			rng.Read(noise)
			some = append(some, reading.Reading{Device: "camera", Metric: "frame", Time: int64(n+i) + 1, Value: reading.Bytes(string(noise))})
		}
		receipt, err := b.Accept(ctx, some)
		if err == nil {
			err = receipt.Wait(ctx)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	promised := Holds(most, 1, size+20, size+20).Seconds()
	within(t, "readings until the first is lost", promised, float64(n))
	if promised > float64(n) {
		t.Errorf("%v readings were promised, the first was lost after %d", promised, n)
	}
	cancel()
	<-ended
}

// TestModelAgreesWithTheBenchmarks holds it against docs/understand/benchmarks.md: what a device
// of its own was given, and what was on the line.
func TestModelAgreesWithTheBenchmarks(t *testing.T) {
	lone, fleet, many := Load{40, 100, 4}, Load{4000, 100, 4}, Load{4000, 1000, 4}
	given := func(l Load, p Pace) float64 {
		d := l.Day(p)
		return (d.Low + d.FileSystem()) / daySeconds / d.Commits
	}
	gentle := Pace{Interval: time.Second}
	within(t, "bytes of a lone commit", given(lone, Pace{}), 4424)
	within(t, "bytes of a commit, gentle", given(fleet, gentle), 8397)
	within(t, "bytes of a commit, gentle, 1,000 devices", given(many, gentle), 11674)
	within(t, "bytes of a commit each 20 ms", given(fleet, Pace{Interval: 20 * time.Millisecond}), 4472)
	within(t, "bytes of a commit each 250 ms", given(fleet, Pace{Interval: 250 * time.Millisecond}), 5703)
	for kind, perReading := range map[string]float64{"http": 157, "websocket": 92, "mqtt": 85.8, "kafka": 134, "amqp": 113, "amqp1": 299, "stomp": 111, "redis": 130, "nats": 133} {
		bytes, known := Load{400, 100, 4}.Wire(kind, 0, 0)
		if !known {
			t.Errorf("%s is not known", kind)
		}
		within(t, kind+": bytes of a reading on the line", bytes/daySeconds/400, perReading)
	}
	within(t, "memory with 1,000 clients", Load{4000, 1000, 4}.Memory()/(1<<20), 52.3+14.2)
}

func TestMoreTimeNeedsMoreRoomAndGetsIt(t *testing.T) {
	for _, outage := range []time.Duration{time.Minute, 6 * time.Hour, 7 * 24 * time.Hour, 400 * 24 * time.Hour} {
		for _, rate := range []float64{0.01, 20, 5000} {
			for _, kept := range []float64{0.4, 3, 33} {
				bytes := Needs(outage, rate, 33, kept)
				if bytes%segment != 0 || bytes < 4*segment {
					t.Errorf("a buffer of %d bytes", bytes)
				}
				if got := Holds(bytes, rate, 33, kept); got < outage {
					t.Errorf("%v at %v a second: %d bytes hold %v", outage, rate, bytes, got)
				}
			}
		}
	}
}

func TestWaitingForCompanySavesBytes(t *testing.T) {
	l := Load{Readings: 20, Devices: 50, Metrics: 4}
	last := math.Inf(1)
	for _, wait := range []time.Duration{0, time.Second, time.Minute, 10 * time.Minute} {
		bytes, _ := l.Wire("http", wait, 1<<20)
		if bytes >= last {
			t.Errorf("%v: %v bytes, not less than %v", wait, bytes, last)
		}
		last = bytes
	}
	if full, _ := l.Wire("http", time.Hour, 1000); full <= last {
		t.Errorf("messages of 1,000 bytes take %v, those of ten minutes %v", full, last)
	}
	if _, known := l.Wire("pigeon", 0, 0); known {
		t.Error("pigeons were not measured")
	}
}

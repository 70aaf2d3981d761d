package dashboard

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidegate/tidegate/internal/base/leaktest"
	"github.com/tidegate/tidegate/reading"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

func TestPublishLooksAtNoMoreThanItsBudget(t *testing.T) {
	inBubble(t, Config{Budget: 100}, func(h *Hub) {
		h.shown.Lock() // no turn comes between them, which would make room for a few more
		h.Publish(batch("device", 1000, 1))
		h.Publish(batch("device", 10, 2))
		h.Show(batch("gateway", 1, 3)) // whatever else comes
		h.shown.Unlock()
		if f := everything(t, h); f.Readings != 1010 || f.Skipped != 910 || f.metric("gateway", "m0") == nil {
			t.Errorf("readings %d, skipped %d, %+v; want 1010, 910, and the gateway's own", f.Readings, f.Skipped, f.metric("gateway", "m0"))
		}
		h.Publish(batch("device", 10, 7))
		f := everything(t, h)
		if f.Readings != 1020 || f.Skipped != 910 {
			t.Errorf("after a quiet time: readings %d, skipped %d; want 1020, 910", f.Readings, f.Skipped)
		}
		if got := f.metric("device", "m0").Value; got != 7.0 {
			t.Errorf("value %v after the flood, want 7", got)
		}
	})
}

func TestBudgetIsForAQuarterOfASecond(t *testing.T) {
	inBubble(t, Config{Budget: 100}, func(h *Hub) {
		for range 1000 { // ten seconds of 1,000 a second
			h.Publish(batch("device", 10, 1))
			time.Sleep(10 * time.Millisecond)
		}
		f := everything(t, h)
		if looked := f.Readings - f.Skipped; looked < 3900 || looked > 4200 {
			t.Errorf("%d of %d readings were looked at, want about 400 a second", looked, f.Readings)
		}
	})
}

// Who joins in a flood has the inbox emptied before time has made room in it again. To
// whom only values are shown, no heartbeat comes that would look once more.
func TestAFloodIsNotTheLastThatIsShown(t *testing.T) {
	inBubble(t, Config{Budget: 100}, func(h *Hub) {
		join := func() *viewer {
			v, err := h.join(0, true)
			if err != nil {
				t.Fatal(err)
			}
			nextFrame(t, v)
			return v
		}
		v := join()
		defer h.leave(v)
		h.Publish(batch("device", 1000, 1))
		h.leave(join()) // at once, and so without a single reading's worth of time
		time.Sleep(time.Minute)
		h.Publish(batch("device", 10, 7))
		synctest.Wait()
		time.Sleep(time.Second)
		for {
			select {
			case m := <-v.frames:
				v.more()
				if f := parse(t, m.text); f.metric("device", "m0") != nil && f.metric("device", "m0").Value == 7.0 {
					return
				}
				synctest.Wait()
				time.Sleep(time.Second)
			default:
				t.Fatal("what comes a minute after a flood is not shown")
			}
		}
	})
}

func TestTableIsBounded(t *testing.T) {
	config := Config{MaxDevices: 10, MaxMetrics: 4, MaxSeries: 30}
	inBubble(t, config, func(h *Hub) {
		for d := range 20 {
			h.Publish(batch(fmt.Sprint("device", d), 8, 1))
		}
		h.Publish([]reading.Reading{
			{Device: strings.Repeat("x", maxName+1), Metric: "m"},
			{Device: "\xff", Metric: "m"},
			{Device: "device0", Metric: "\xff"},
		})
		f := everything(t, h)
		series := 0
		for _, d := range f.Devices {
			series += len(d.Metrics)
			if len(d.Metrics) > config.MaxMetrics {
				t.Errorf("%s shows %d metrics", d.Name, len(d.Metrics))
			}
		}
		if len(f.Devices) > config.MaxDevices || series != config.MaxSeries {
			t.Errorf("%d devices, %d series shown", len(f.Devices), series)
		}
		if want := uint64(20*8 + 3 - 30); f.Hidden != want {
			t.Errorf("hidden %d, want %d", f.Hidden, want)
		}
	})
}

func TestFullTableStaysBelowItsBound(t *testing.T) {
	const bound = 8 << 20 // bytes, as the package comment says
	heap := func() int64 {
		var stats runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&stats)
		return int64(stats.HeapAlloc)
	}
	batches := make([][]reading.Reading, 1000)
	for d := range batches {
		batches[d] = batch(fmt.Sprintf("%0*d", maxName, d), 10, 21.5)
		for i := range batches[d] {
			batches[d][i].Metric = fmt.Sprintf("%0*d", maxName, i)
		}
	}
	before := heap()
	table := newTable(Config{}.withDefaults())
	for tick := range uint64(maxPoints + 5) {
		for _, rs := range batches {
			table.apply(rs, tick+1, int64(tick))
		}
	}
	if grown := heap() - before; grown > bound {
		t.Errorf("%d series take %d bytes, more than %d", table.series, grown, bound)
	} else {
		t.Logf("%d series take %d bytes", table.series, grown)
	}
	runtime.KeepAlive(table)
	runtime.KeepAlive(batches)
}

func TestSilentDevicesMakeRoomForNewOnes(t *testing.T) {
	inBubble(t, Config{MaxDevices: 2}, func(h *Hub) {
		h.Publish(batch("gone", 1, 1))
		h.Publish(batch("stays", 1, 1))
		h.Publish(batch("early", 1, 1))
		if f := everything(t, h); len(f.Devices) != 2 || f.Hidden != 1 {
			t.Fatalf("%d devices, %d hidden; want 2, 1", len(f.Devices), f.Hidden)
		}
		time.Sleep(time.Hour)
		h.Publish(batch("stays", 1, 2))
		time.Sleep(time.Minute)
		h.Publish(batch("new", 1, 3))
		f := everything(t, h)
		if f.metric("gone", "m0") != nil || f.metric("stays", "m0") == nil || f.metric("new", "m0") == nil {
			t.Errorf("shown: %+v", f.Devices)
		}
	})
}

func TestForgettingADeviceSendsEverythingAgain(t *testing.T) {
	config := Config{MaxDevices: 1}.withDefaults()
	h := NewHub(config, func() Status { return Status{} })
	v := mustJoin(t, h)
	v.since = 41
	h.table.apply(batch("gone", 1, 1), 1, 0)
	h.Publish(batch("new", 1, 2))
	h.started = h.started.Add(-2 * time.Hour)
	h.tell(Status{})
	if _, err := h.turn(); err != nil {
		t.Fatal(err)
	}
	if f := nextFrame(t, v); f.From != 0 || len(f.Devices) != 1 || f.Devices[0].Name != "new" {
		t.Errorf("from %d: %+v; want everything, which is the new device", f.From, f.Devices)
	}
}

func TestFramesAddUpUnderConcurrentPublish(t *testing.T) {
	const publishers, rounds = 4, 200
	h := NewHub(Config{Interval: time.Millisecond, Budget: 1 << 20}, func() Status { return Status{} })
	defer run(t, h)()
	v := mustJoin(t, h)
	var wg sync.WaitGroup
	for p := range publishers {
		wg.Go(func() {
			for i := range rounds {
				h.Publish(batch(fmt.Sprint("device", p), 8, float64(i)))
			}
		})
	}
	wg.Wait()
	page := make(model)
	for page.readings() < publishers*rounds*8 {
		page.apply(t, nextFrame(t, v))
	}
	for p := range publishers {
		for m := range 8 {
			if got := page[fmt.Sprintf("device%d/m%d", p, m)]; got != float64(rounds-1) {
				t.Errorf("device%d/m%d = %v, want %d", p, m, got, rounds-1)
			}
		}
	}
	h.leave(v)
}

func TestPublishDoesNotKeepTheSlice(t *testing.T) {
	inBubble(t, Config{}, func(h *Hub) {
		rs := batch("device", 1, 1)
		h.Publish(rs)
		rs[0] = reading.Reading{Device: "someone else"}
		if f := everything(t, h); f.metric("device", "m0") == nil {
			t.Errorf("shown: %+v", f.Devices)
		}
	})
}

func TestHostileValuesReachThePage(t *testing.T) {
	long := strings.Repeat("a", maxText-1) + "é and more"
	tests := []struct {
		name  string
		value reading.Value
		want  any
	}{
		{"NaN", reading.Float(math.NaN()), "NaN"},
		{"infinity", reading.Float(math.Inf(-1)), "-Inf"},
		{"largest float", reading.Float(math.MaxFloat64), math.MaxFloat64},
		{"integer beyond 2^53", reading.Int(1<<53 + 1), "9007199254740993"},
		{"integer", reading.Int(-3), -3.0},
		{"boolean", reading.Bool(true), true},
		{"markup", reading.String("<script>"), "<script>"},
		{"long text", reading.String(long), strings.Repeat("a", maxText-1) + "…"},
		{"not UTF-8", reading.String("\xff"), "\ufffd"},
		{"bytes", reading.Bytes("\x00\x01\x02"), "3 bytes"},
	}
	inBubble(t, Config{}, func(h *Hub) {
		for _, tt := range tests {
			h.Publish([]reading.Reading{{Device: "d", Metric: tt.name, Value: tt.value}})
		}
		f := everything(t, h)
		for _, tt := range tests {
			if got := f.metric("d", tt.name); got == nil || got.Value != tt.want {
				t.Errorf("%s: %+v, want %v", tt.name, got, tt.want)
			}
		}
	})
}

func TestSparklineHasFourPointsASecond(t *testing.T) {
	table := newTable(Config{}.withDefaults())
	tick, up := uint64(0), int64(0)
	say := func(value float64, later int64) {
		tick++
		table.apply(batch("device", 1, value), tick, up)
		up += later
	}
	for i := range maxPoints + 5 {
		say(-1, 100) // overtaken
		say(-2, 20)
		say(float64(i), 130)
	}
	points := table.devices[0].metrics[0].history()
	if len(points) != maxPoints {
		t.Fatalf("%d points, want %d", len(points), maxPoints)
	}
	for i, p := range points {
		if p != float32(i+5) {
			t.Fatalf("point %d is %v, want %d: %v", i, p, i+5, points)
		}
	}
}

func TestIntervalFollowsTheDevice(t *testing.T) {
	inBubble(t, Config{}, func(h *Hub) {
		for range 30 {
			for metric := range 4 { // one by one, as some devices do
				h.Publish(batch("device", metric+1, 1))
				time.Sleep(60 * time.Millisecond)
			}
			time.Sleep(time.Minute - 240*time.Millisecond)
		}
		d := everything(t, h).Devices[0]
		if d.Every != 60_000 || d.Seen < 29*60_000+180 || d.Seen > 29*60_000+300 {
			t.Errorf("every %d ms, seen at %d ms", d.Every, d.Seen)
		}
	})
}

// inBubble runs a Hub and f with the bubble's clock, on which sleeping costs
// nothing.
func inBubble(t *testing.T, config Config, f func(h *Hub)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		h := NewHub(config, func() Status { return Status{} })
		defer run(t, h)()
		time.Sleep(h.config.Interval / 2) // what f does falls between two ticks
		f(h)
	})
}

// run starts h and returns the function that stops it.
func run(t *testing.T, h *Hub) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- h.Run(ctx) }()
	return func() {
		t.Helper()
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("hub: %v", err)
		}
	}
}

// everything is what a new viewer is shown after a while.
func everything(t *testing.T, h *Hub) *frame {
	t.Helper()
	time.Sleep(time.Second)
	v := mustJoin(t, h)
	defer h.leave(v)
	return nextFrame(t, v)
}

func mustJoin(t *testing.T, h *Hub) *viewer {
	t.Helper()
	v, err := h.join(0, false)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func nextFrame(t *testing.T, v *viewer) *frame {
	t.Helper()
	m := <-v.frames
	v.more()
	return parse(t, m.text)
}

func parse(t *testing.T, message []byte) *frame {
	t.Helper()
	f := new(frame)
	if err := json.Unmarshal(message, f); err != nil {
		t.Fatalf("frame: %v\n%.200s", err, message)
	}
	return f
}

// batch makes n readings of one device with the metrics m0, m1, ….
func batch(device string, n int, value float64) []reading.Reading {
	rs := make([]reading.Reading, n)
	for i := range rs {
		rs[i] = reading.Reading{Device: device, Metric: fmt.Sprint("m", i), Value: reading.Float(value)}
	}
	return rs
}

func (f *frame) metric(device, name string) *metricFrame {
	for _, d := range f.Devices {
		for i := range d.Metrics {
			if d.Name == device && d.Metrics[i].Name == name {
				return &d.Metrics[i]
			}
		}
	}
	return nil
}

// model does what the page does with frames: values by "device/metric".
type model map[string]any

func (m model) apply(t *testing.T, f *frame) {
	t.Helper()
	if seq, _ := m["seq"].(uint64); f.From != 0 && f.From != seq {
		t.Fatalf("gap: frame continues %d after %d", f.From, seq)
	}
	if f.From == 0 {
		clear(m)
	}
	m["seq"], m["readings"] = f.Seq, f.Readings
	for _, d := range f.Devices {
		for _, metric := range d.Metrics {
			m[d.Name+"/"+metric.Name] = metric.Value
		}
	}
}

func (m model) readings() uint64 {
	n, _ := m["readings"].(uint64)
	return n
}

package refine

import (
	"fmt"
	"math"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidegate/tidegate/reading"
)

func TestStepsChangeReadings(t *testing.T) {
	f := reading.Float
	in := reading.Reading{Device: "plant/p1", Metric: "t_inlet", Unit: "x", Time: 5, Value: f(215), Flags: reading.Stamped.WithQoS(1), Lane: reading.Bulk}
	with := func(change func(r *reading.Reading)) reading.Reading {
		r := in
		change(&r)
		return r
	}
	for name, c := range map[string]struct {
		steps []Step
		want  reading.Reading
	}{
		"nothing matches":       {[]Step{{Metric: "temp", Unit: "Cel"}, {Device: "hall/*", Unit: "Cel"}}, in},
		"scale":                 {[]Step{{Scale: 0.1}}, with(func(r *reading.Reading) { r.Value = f(21.5) })},
		"offset":                {[]Step{{Offset: -15}}, with(func(r *reading.Reading) { r.Value = f(200) })},
		"scale, then offset":    {[]Step{{Scale: 0.1, Offset: -1.5}}, with(func(r *reading.Reading) { r.Value = f(20) })},
		"unit":                  {[]Step{{Unit: "Cel"}}, with(func(r *reading.Reading) { r.Unit = "Cel" })},
		"rename":                {[]Step{{Metric: "t_*", Rename: "temp.*"}}, with(func(r *reading.Reading) { r.Metric = "temp.inlet" })},
		"plain name":            {[]Step{{Metric: "t_*", Rename: "temp"}}, with(func(r *reading.Reading) { r.Metric = "temp" })},
		"an empty name is none": {[]Step{{Metric: "t_inlet*", Rename: "*"}}, in},
		"lane":                  {[]Step{{Lane: ptr(reading.Normal)}}, with(func(r *reading.Reading) { r.Lane = reading.Normal })},
		"device":                {[]Step{{Device: "plant/*", Unit: "Cel"}}, with(func(r *reading.Reading) { r.Unit = "Cel" })},
		"the next step sees the new name and value": {
			[]Step{{Metric: "t_*", Rename: "temp.*", Scale: 0.1}, {Metric: "t_*", Unit: "wrong"}, {Metric: "temp.*", Max: ptr(20.0)}},
			with(func(r *reading.Reading) {
				r.Metric, r.Value, r.Flags = "temp.inlet", f(20), r.Flags|reading.Uncertain
			}),
		},
		"the last lane and the last unit win": {
			[]Step{{Lane: ptr(reading.Normal), Unit: "V"}, {Lane: ptr(reading.Alarm), Unit: "Cel"}},
			with(func(r *reading.Reading) { r.Lane, r.Unit = reading.Alarm, "Cel" }),
		},
	} {
		chain := newChain(t, c.steps...)
		full, err := New(Config{Steps: c.steps, MaxSeries: 1})
		if err != nil {
			t.Fatal(err)
		}
		full.Refine([]reading.Reading{{}}, 0, 1)
		for how, chain := range map[string]*Chain{"new": chain, "known": chain, "beyond the bound": full} {
			if got := chain.Refine([]reading.Reading{in}, 0, 1); !slices.Equal(got, []reading.Reading{c.want}) {
				t.Errorf("%s, %s:\ngot  %+v\nwant %+v", name, how, got, c.want)
			}
		}
	}
}

func TestRanges(t *testing.T) {
	clamp := Step{Min: ptr(0.0), Max: ptr(100.0)}
	bad, drop := clamp, clamp
	bad.OutOfRange, drop.OutOfRange = MarkBad, Discard
	tellAll(t, map[string]storyCase{
		"clamp": {clamp, "0s 0, 1s 100, 2s 100.1, 3s -1?, 4s 850!, 5s NaN, 6s Inf, 7s -Inf",
			"0s 0, 1s 100, 2s 100?, 3s 0?, 4s 850!, 5s NaN!, 6s 100?, 7s 0?"},
		"bad":               {bad, "0s 50, 1s 101, 2s -1?, 3s 850!, 4s NaN", "0s 50, 1s 101!, 2s -1!, 3s 850!, 4s NaN!"},
		"drop":              {drop, "0s 50, 1s 101, 2s -1?, 3s 850!, 4s NaN, h5s 101", "0s 50"},
		"one end":           {Step{Max: ptr(10.0)}, "0s -1e9, 1s 11", "0s -1e+09, 1s 10?"},
		"integers":          {clamp, "0s #101, 1s #-1, 2s #50", "0s #100?, 1s #0?, 2s #50"},
		"between integers":  {Step{Max: ptr(10.5)}, "0s #11", "0s 10.5?"},
		"no numbers":        {drop, "0s true, 1s on, 2s 0xff", "0s true, 1s on, 2s 0xff"},
		"after scaling":     {Step{Scale: 0.1, Max: ptr(10.0)}, "0s 100, 1s 101", "0s 10, 1s 10?"},
		"historical, too":   {clamp, "h0s 101", "h0s 100?"},
		"with a deadband":   {Step{Max: ptr(10.0), Deadband: ptr(0.0)}, "0s 10, 1s 11, 2s 12, 3s 10", "0s 10, 1s 10?, 3s 10"},
		"bad, and an alarm": {Step{Max: ptr(100.0), OutOfRange: MarkBad, AlarmAbove: ptr(90.0)}, "0s 91, 1s 850, 2s 89", "0s 91^, 0s .alarm=above^, 1s 850!, 2s 89^, 2s .alarm=normal^"},
		"clamped, and an alarm": {Step{Max: ptr(100.0), AlarmAbove: ptr(90.0)}, "0s 850, 1s 89",
			"0s 100?^, 0s .alarm=above?^, 1s 89^, 1s .alarm=normal^"},
	})
}

func TestTheLastStepThatSaysHowFilters(t *testing.T) {
	chain := newChain(t,
		Step{Deadband: ptr(5.0), Heartbeat: time.Minute, MinInterval: 2 * time.Second},
		Step{Metric: "m", Deadband: ptr(0.5)},
		Step{Metric: "other", Deadband: ptr(0.0)},
	)
	// The deadband of the second, without heartbeat, and the interval of the first.
	if got, want := story("0s 20, 1s 30, 2s 20.6, 4s 20.7, 70s 20.8").tell(t, chain), "0s 20, 2s 20.6"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	chain = newChain(t, Step{AlarmAbove: ptr(10.0)}, Step{Scale: 10}, Step{AlarmAbove: ptr(1000.0)})
	if got, want := story("0s 20, 1s 101").tell(t, chain), "0s 200, 0s .alarm=normal^, 1s 1010^, 1s .alarm=above^"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestAlarmsCarryTheNewNameAndTheSameTime(t *testing.T) {
	chain := newChain(t, Step{Metric: "t_*", Rename: "temp.*", Scale: 0.1, Unit: "Cel", Lane: ptr(reading.Bulk), AlarmAbove: ptr(80.0)})
	flags := reading.Stamped.WithQoS(1)
	rs := []reading.Reading{
		{Metric: "before"},
		{Device: "d", Metric: "t_a", Time: 7, Flags: flags, Value: reading.Float(900)},
		{Device: "d", Metric: "t_b", Time: 7, Flags: flags, Value: reading.Float(100)},
		{Device: "d", Metric: "plain", Time: 7},
	}
	got := chain.Refine(rs, 1, 9)
	alarm := func(metric, text string) reading.Reading {
		return reading.Reading{Device: "d", Metric: metric, Time: 7, Flags: flags, Lane: reading.Alarm, Value: reading.String(text)}
	}
	want := []reading.Reading{
		{Metric: "before"},
		{Device: "d", Metric: "temp.a", Unit: "Cel", Time: 7, Flags: flags, Value: reading.Float(90), Lane: reading.Alarm},
		{Device: "d", Metric: "temp.b", Unit: "Cel", Time: 7, Flags: flags, Value: reading.Float(10), Lane: reading.Bulk},
		{Device: "d", Metric: "plain", Time: 7},
		alarm("temp.a.alarm", "above"), alarm("temp.b.alarm", "normal"),
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestEverySeriesIsFilteredByItself(t *testing.T) {
	chain := newChain(t, Step{Deadband: ptr(1.0)})
	var rs []reading.Reading
	for _, k := range []key{{"a", "m", ""}, {"b", "m", ""}, {"a", "n", ""}, {"a", "m", "V"}} {
		for range 3 {
			rs = append(rs, reading.Reading{Device: k.device, Metric: k.metric, Unit: k.unit, Time: noon})
		}
	}
	if got := chain.Refine(rs, 0, noon); len(got) != 4 {
		t.Errorf("%d were kept: %v", len(got), got)
	}
	if s := chain.Stats(); s.Kept != 4 || s.Unchanged != 8 || s.Series != 4 {
		t.Errorf("%+v", s)
	}
}

func TestEverythingIsCounted(t *testing.T) {
	var seen []string
	chain, err := New(Config{
		Steps: []Step{
			{Metric: "debug", Drop: true}, {Metric: "m", Max: ptr(100.0), OutOfRange: Discard}, {Metric: "c", Max: ptr(1.0)},
			{Metric: "b", Max: ptr(1.0), OutOfRange: MarkBad}, {Metric: "m", Deadband: ptr(0.0), MinInterval: time.Second, AlarmAbove: ptr(90.0), AlarmBelow: ptr(1.0)},
		},
		Observe: func(r reading.Reading, why Reason) { seen = append(seen, fmt.Sprint(r.Metric, " ", r.Value, " ", why)) },
	})
	if err != nil {
		t.Fatal(err)
	}
	story("0s 20, 1s 20, 1.5s 101, 2s 21, 2.5s 22, 3s 91, 4s 0, 5s 20, 0s 20, -1h@6s 20, -58m@90s 20").tell(t, chain)
	chain.Refine([]reading.Reading{{Metric: "debug"}, {Metric: "c", Value: reading.Float(2)}, {Metric: "b", Value: reading.Float(2)}}, 0, noon)
	want := Stats{
		Kept: 10, Dropped: 1, OutOfRange: 1, Unchanged: 1, TooSoon: 1, Clamped: 1, MarkedBad: 1,
		Raised: 2, Cleared: 2, Announced: 4, Late: 2, SetBack: 1, Series: 4,
	}
	if got := chain.Stats(); got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if got := chain.Stats().Filtered(); got != 4 {
		t.Errorf("%d filtered", got)
	}
	if got, want := strings.Join(seen, ", "), "m 20 unchanged, m 101 out of range, m 22 too soon, debug 0 dropped"; got != want {
		t.Errorf("observed %s, want %s", got, want)
	}
}

func TestStepsThatMatchNothingAreKnown(t *testing.T) {
	chain := newChain(t, Step{Metric: "a", Rename: "b"}, Step{Metric: "a", Unit: "V"}, Step{Metric: "b", Unit: "V"}, Step{Device: "x", Drop: true})
	if got := chain.Unmatched(); !slices.Equal(got, []int{0, 1, 2, 3}) {
		t.Errorf("%v", got)
	}
	chain.Refine([]reading.Reading{{Metric: "a"}}, 0, noon)
	if got := chain.Unmatched(); !slices.Equal(got, []int{1, 3}) {
		t.Errorf("%v", got)
	}
}

func TestSeriesBeyondTheBoundPassUnfilteredAndAreCounted(t *testing.T) {
	chain, err := New(Config{Steps: []Step{{Scale: 0.1, Deadband: ptr(1.0), AlarmAbove: ptr(0.0)}}, MaxSeries: 3})
	if err != nil {
		t.Fatal(err)
	}
	one := func(device string) []reading.Reading {
		return chain.Refine([]reading.Reading{{Device: device, Value: reading.Float(-215), Time: noon}}, 0, noon)
	}
	for i := range 5 {
		one(fmt.Sprint(i))
	}
	for i := range 5 {
		if got := one(fmt.Sprint(i)); (len(got) == 0) != (i < 3) || i >= 3 && got[0].Value != reading.Float(-21.5) {
			t.Errorf("series %d: %v", i, got)
		}
	}
	if got := one(strings.Repeat("x", maxName+1)); len(got) != 1 {
		t.Errorf("long name: %v", got)
	}
	if s := chain.Stats(); s.Series != 3 || s.Untracked != 5 || s.Unchanged != 3 || s.Kept != 8 {
		t.Errorf("%+v", s)
	}
}

// Names that nobody uses any more, as those of clients that choose a new one each
// time, do not take the room for ever.
func TestSeriesThatAreGoneMakeRoom(t *testing.T) {
	const most = 10
	chain, err := New(Config{Steps: []Step{{Deadband: ptr(1.0)}}, MaxSeries: most})
	if err != nil {
		t.Fatal(err)
	}
	one := func(device string) bool {
		return len(chain.Refine([]reading.Reading{{Device: device, Time: noon}}, 0, noon)) == 1
	}
	for i := range most {
		one(fmt.Sprint("gone ", i))
	}
	for range idle * most {
		one("gone 0")
	}
	for range 2 {
		one("new")
	}
	if one("new") {
		t.Error("the new series is not filtered")
	}
	if one("gone 0") {
		t.Error("the one that was seen all the time made room")
	}
	if s := chain.Stats(); s.Series != most || len(chain.known) != most {
		t.Errorf("%+v, %d known", s, len(chain.known))
	}
}

func TestKnownSeriesCostNoAllocation(t *testing.T) {
	chain := newChain(t,
		Step{Metric: "t_*", Rename: "temp.*", Scale: 0.1, Offset: 0.3, Unit: "Cel", Max: ptr(25.0)},
		Step{Metric: "temp.*", Deadband: ptr(0.1), Heartbeat: time.Minute, MinInterval: time.Second, AlarmAbove: ptr(24.0), Hysteresis: 1, Delay: time.Second},
		Step{Metric: "text", Deadband: ptr(0.0)},
	)
	values := []reading.Value{
		reading.Float(215), reading.Float(260), reading.Float(math.Pi), reading.Int(99), reading.Int(math.MaxInt64 - 1), reading.Float(math.NaN()),
		reading.String("on"), reading.Bool(true), reading.Float(1e300), reading.Float(0.30000000000000004),
	}
	dst, now, i := make([]reading.Reading, 0, 8), noon, 0
	step := func() {
		v := values[i/2%len(values)]
		now, i = now+int64(time.Second), i+1
		rs := append(dst, reading.Reading{Device: "d", Metric: "t_a", Time: now, Value: v}, reading.Reading{Device: "d", Metric: "text", Value: v})
		chain.Refine(rs, 0, now)
	}
	step()
	if n := testing.AllocsPerRun(1000, step); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if s := chain.Stats(); s.Raised == 0 || s.Clamped == 0 || s.Unchanged == 0 {
		t.Errorf("the test has not seen everything: %+v", s)
	}
}

func TestManyMayRefineAtOnce(t *testing.T) {
	chain := newChain(t, Step{Deadband: ptr(0.0), AlarmAbove: ptr(500.0)})
	const doors, rounds = 8, 1000
	var all sync.WaitGroup
	for d := range doors {
		all.Go(func() {
			for i := range rounds {
				chain.Refine([]reading.Reading{{Device: fmt.Sprint(d), Value: reading.Float(float64(i))}, {Device: "shared"}}, 0, noon+int64(i))
				if i%100 == 0 {
					chain.Forget()
					chain.Stats()
				}
			}
		})
	}
	all.Wait()
	if s := chain.Stats(); s.Kept+s.Filtered() != 2*doors*rounds || s.Series != doors+1 {
		t.Errorf("%+v", s)
	}
}

func TestStatsAddUp(t *testing.T) {
	var one, sum Stats
	v := reflect.ValueOf(&one).Elem()
	for i := range v.NumField() {
		if v.Field(i).CanUint() {
			v.Field(i).SetUint(uint64(i + 1))
		} else {
			v.Field(i).SetInt(int64(i + 1))
		}
	}
	sum.Add(one)
	if sum != one {
		t.Errorf("%+v, want %+v", sum, one)
	}
}

// What a chain remembers is bounded in bytes, too.
func TestSeriesAreSmall(t *testing.T) {
	chain := newChain(t, Step{Metric: "*", Deadband: ptr(1.0), AlarmAbove: ptr(1.0)})
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range DefaultSeries {
		chain.Refine([]reading.Reading{{Device: fmt.Sprintf("plant/press-%d", i/8), Metric: benchMetrics[i%8], Time: noon}}, 0, noon)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	each := (after.HeapAlloc - before.HeapAlloc) / DefaultSeries
	if t.Logf("%d bytes a series", each); each > 1024 || chain.Stats().Series != DefaultSeries {
		t.Errorf("%d bytes a series, %+v", each, chain.Stats())
	}
}

// Whoever keeps the slice for the next readings must not keep texts with it.
func TestNothingIsLeftBehindWhatIsKept(t *testing.T) {
	chain := newChain(t, Step{Deadband: ptr(0.0), AlarmEquals: ptr("on")})
	rs := make([]reading.Reading, 0, 16)
	for range 6 {
		rs = append(rs, reading.Reading{Metric: "m", Time: noon, Value: reading.String("on")})
	}
	out := chain.Refine(rs, 0, noon)
	if len(out) != 2 {
		t.Fatalf("%d are kept", len(out))
	}
	for i, r := range out[len(out):cap(out)] {
		if r != (reading.Reading{}) {
			t.Errorf("%d behind them is %+v", i, r)
		}
	}
}

package refine

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tidegate/tidegate/reading"
)

// sample is a reading of one series, in tenths, so that a test can count exactly.
type sample struct {
	t      int64
	tenths int64
}

func (s sample) reading() reading.Reading {
	return reading.Reading{Device: "d", Metric: "m", Time: s.t, Value: reading.Float(float64(s.tenths) / 10)}
}

// pass lets a sample through a chain, and returns whether it was kept and what
// its alarm says, if anything.
func pass(c *Chain, s sample) (kept bool, alarm string) {
	rs := c.Refine([]reading.Reading{s.reading()}, 0, s.t)
	for _, r := range rs {
		if r.Metric == "m.alarm" {
			alarm = r.Value.Text()
		} else {
			kept = true
		}
	}
	return kept, alarm
}

// walk draws samples whose times go on and whose values wander.
func walk(t *rapid.T) []sample {
	steps := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) sample {
		return sample{rapid.Int64Range(0, 20e9).Draw(t, "after"), rapid.Int64Range(-12, 12).Draw(t, "by")}
	}), 1, 200).Draw(t, "walk")
	at := sample{noon, rapid.Int64Range(-300, 300).Draw(t, "from")}
	for i, s := range steps {
		at = sample{at.t + s.t, at.tenths + s.tenths}
		steps[i] = at
	}
	return steps
}

func abs(i int64) int64 { return max(i, -i) }

// Whoever holds the value of the last reading kept is never wrong by more than
// the deadband, and never for longer than the heartbeat.
func TestWhatIsKeptStandsForTheRest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		band := rapid.Int64Range(0, 30).Draw(t, "deadband")
		heartbeat := rapid.Int64Range(0, 60).Draw(t, "heartbeat") * 1e9
		chain := newChainFor(t, Step{Deadband: ptr(float64(band) / 10), Heartbeat: time.Duration(heartbeat)})
		var last sample
		for i, s := range walk(t) {
			kept, _ := pass(chain, s)
			switch {
			case kept && i > 0 && abs(s.tenths-last.tenths) <= band && (heartbeat == 0 || s.t-last.t < heartbeat):
				t.Fatalf("%+v was kept after %+v", s, last)
			case !kept && abs(s.tenths-last.tenths) > band:
				t.Fatalf("%+v was left out after %+v", s, last)
			case !kept && heartbeat > 0 && s.t-last.t >= heartbeat:
				t.Fatalf("the heartbeat of %+v was left out after %+v", s, last)
			}
			if kept {
				last = s
			}
		}
	})
}

func newChainFor(t *rapid.T, steps ...Step) *Chain {
	c, err := New(Config{Steps: steps})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestPercentagesAreOfTheLastOneKept(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		percent := rapid.Int64Range(1, 100).Draw(t, "percent")
		chain := newChainFor(t, Step{DeadbandPercent: ptr(float64(percent))})
		var last sample
		for i, s := range walk(t) {
			kept, _ := pass(chain, s)
			if want := i == 0 || abs(s.tenths-last.tenths)*100 > abs(last.tenths)*percent; kept != want {
				t.Fatalf("%+v after %+v: kept %v", s, last, kept)
			}
			if kept {
				last = s
			}
		}
	})
}

func TestNothingIsKeptWithinTheInterval(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		interval := rapid.Int64Range(1, 60e9).Draw(t, "interval")
		chain := newChainFor(t, Step{MinInterval: time.Duration(interval)})
		last := int64(0)
		for _, s := range walk(t) {
			if kept, _ := pass(chain, s); kept != (s.t-last >= interval) {
				t.Fatalf("%v after the last: kept %v", time.Duration(s.t-last), kept)
			} else if kept {
				last = s.t
			}
		}
	})
}

// Between two turns of an alarm, the value has come all the way, and whatever
// filters there are, every turn is told with the reading that caused it.
func TestAlarmsDoNotFlap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		hysteresis := rapid.Int64Range(0, 40).Draw(t, "hysteresis")
		delay := rapid.Int64Range(0, 40e9).Draw(t, "delay")
		chain := newChainFor(t, Step{
			AlarmAbove: ptr(2.0), Hysteresis: float64(hysteresis) / 10, Delay: time.Duration(delay),
			Deadband: ptr(100.0), MinInterval: time.Hour,
		})
		raised, since := false, int64(-1) // since when it has been above
		for _, s := range walk(t) {
			kept, alarm := pass(chain, s)
			if s.tenths <= 20 {
				since = -1
			} else if since < 0 {
				since = s.t
			}
			switch {
			case alarm != "" && !kept:
				t.Fatalf("%+v turned the alarm %s and was left out", s, alarm)
			case raised && alarm == "above", !raised && alarm == "above" && (s.tenths <= 20 || s.t-since < delay):
				t.Fatalf("%+v raised an alarm", s)
			case alarm == "normal" && raised && s.tenths > 20-hysteresis, alarm == "normal" && s.tenths > 20:
				t.Fatalf("%+v cleared an alarm", s)
			case !raised && alarm != "above" && s.tenths > 20 && s.t-since >= delay:
				t.Fatalf("%+v raised no alarm", s)
			case raised && alarm != "normal" && s.tenths <= 20-hysteresis:
				t.Fatalf("%+v did not clear the alarm", s)
			}
			raised = alarm == "above" || raised && alarm == ""
		}
	})
}

// Whichever clock jumps, wherever to: soon the series is filtered as ever, and
// changes come through.
func TestNoJumpOfAClockSilencesOrFloods(t *testing.T) {
	const day = int64(24 * time.Hour)
	rapid.Check(t, func(t *rapid.T) {
		jump := rapid.OneOf(rapid.Int64Range(-20*365*day, 20*365*day), rapid.Int64Range(-day, day), rapid.Int64Range(-60e9, 60e9)).Draw(t, "jump")
		period := rapid.Int64Range(1e9, 60e9).Draw(t, "period")
		gateways := rapid.Bool().Draw(t, "the gateway's clock")
		chain := newChainFor(t, Step{Deadband: ptr(0.5), Heartbeat: 30 * 24 * time.Hour, MinInterval: time.Second})
		now, own := noon, noon
		send := func(value float64) bool {
			now, own = now+period, own+period
			r := reading.Reading{Time: own, Value: reading.Float(value)}
			if gateways {
				r.Time = 0
			}
			return len(chain.Refine([]reading.Reading{r}, 0, now)) == 1
		}
		for range 20 {
			send(20)
		}
		own += jump
		if gateways {
			now += jump
		}
		flood, sent := 0, 0
		for span := int64(0); span <= int64(2*time.Minute)+2*period; span += period {
			sent++
			if send(20) {
				flood++
			}
		}
		if most := int(int64(time.Minute)/period) + 3; flood > most {
			t.Errorf("%d of %d were kept, more than %d", flood, sent, most)
		}
		if send(20) {
			t.Error("the series is not filtered any more")
		}
		if !send(30) {
			t.Error("a change was left out")
		}
		if send(30) {
			t.Error("and now it is not filtered")
		}
	})
}

// Whatever comes in, in whatever order: everything is kept or counted, and
// nothing that is late is left out.
func TestEverythingIsKeptOrCounted(t *testing.T) {
	kinds := rapid.SampledFrom([]reading.Value{
		reading.Float(1), reading.Float(1.4), reading.Float(99), reading.Int(1), reading.Bool(true), reading.String("on"), reading.Bytes("x"),
	})
	flags := rapid.SampledFrom([]reading.Flags{0, reading.Bad, reading.Uncertain, reading.Historical, reading.Historical | reading.Bad})
	rapid.Check(t, func(t *rapid.T) {
		chain := newChainFor(t, Step{Deadband: ptr(0.5), Heartbeat: time.Minute, MinInterval: 5 * time.Second, AlarmAbove: ptr(50.0), Delay: 3 * time.Second})
		in, newestKept := 0, int64(0)
		for range rapid.IntRange(1, 100).Draw(t, "readings") {
			r := reading.Reading{
				Metric: "m", Time: noon + rapid.Int64Range(-100e9, 100e9).Draw(t, "time"), Value: kinds.Draw(t, "value"), Flags: flags.Draw(t, "flags"),
			}
			now := noon + rapid.Int64Range(-10e9, 10e9).Draw(t, "now")
			out := chain.Refine([]reading.Reading{r}, 0, now)
			in++
			if late := r.Flags&reading.Historical != 0 || r.Time < newestKept; len(out) == 0 && late && chain.Stats().SetBack == 0 {
				t.Fatalf("%+v is late and was left out", r)
			}
			if len(out) > 0 && r.Flags&reading.Historical == 0 && r.Value.Kind() != reading.KindBytes {
				newestKept = max(newestKept, r.Time)
			}
			for _, extra := range out[min(1, len(out)):] {
				if extra.Metric != "m.alarm" || extra.Time != r.Time || extra.Lane != reading.Alarm {
					t.Fatalf("%+v was added to %+v", extra, r)
				}
			}
			if rapid.IntRange(0, 20).Draw(t, "forget") == 0 {
				chain.Forget()
				newestKept = 0
			}
		}
		if s := chain.Stats(); s.Kept+s.Filtered() != uint64(in) {
			t.Fatalf("%d came in: %+v", in, fmt.Sprintf("%+v", s))
		}
	})
}

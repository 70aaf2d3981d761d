package refine

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tidegate/tidegate/reading"
)

// noon is when stories begin, in nanoseconds.
const noon = int64(1_800_000_000e9)

// A story is a series of readings in words, "10s 21.5, 20s 21.6!, -@30s on":
// when it was measured ("-" for no time), after @ when it came if that is not the
// same, and the value; h before the time makes it historical, ? and ! behind the
// value uncertain and bad, and ^ stands for lane alarm.
type story string

// tell lets the readings of a story go through a chain, and returns what comes
// out, likewise. "forget" in it is a failed commit.
func (s story) tell(t *testing.T, c *Chain) string {
	t.Helper()
	var out []string
	for event := range strings.SplitSeq(string(s), ", ") {
		if event == "forget" {
			c.Forget()
			continue
		}
		r, now := parseEvent(t, event)
		before := []reading.Reading{{Metric: "before"}}
		rs := c.Refine(append(before, r), 1, now)
		if rs[0] != before[0] {
			t.Fatalf("the reading before became %+v", rs[0])
		}
		for _, r := range rs[1:] {
			out = append(out, formatEvent(r))
		}
	}
	return strings.Join(out, ", ")
}

func parseEvent(t *testing.T, event string) (r reading.Reading, now int64) {
	t.Helper()
	when, value, _ := strings.Cut(event, " ")
	r = reading.Reading{Device: "d", Metric: "m"}
	if rest, historical := strings.CutPrefix(when, "h"); historical {
		when, r.Flags = rest, reading.Historical
	}
	own, came, _ := strings.Cut(when, "@")
	instant := func(text string) int64 {
		d, err := time.ParseDuration(text)
		if err != nil {
			t.Fatal(err)
		}
		return noon + int64(d)
	}
	if own != "-" {
		r.Time = instant(own)
	}
	if now = r.Time; came != "" {
		now = instant(came)
	}
	value, bad := strings.CutSuffix(value, "!")
	value, uncertain := strings.CutSuffix(value, "?")
	switch {
	case bad:
		r.Flags |= reading.Bad
	case uncertain:
		r.Flags |= reading.Uncertain
	}
	r.Value = parseValue(value)
	return r, now
}

func parseValue(text string) reading.Value {
	if bytes, ok := strings.CutPrefix(text, "0x"); ok {
		return reading.Bytes(bytes)
	}
	if whole, ok := strings.CutPrefix(text, "#"); ok {
		i, _ := strconv.ParseInt(whole, 10, 64)
		return reading.Int(i)
	}
	if text == "true" || text == "false" {
		return reading.Bool(text == "true")
	}
	if f, err := strconv.ParseFloat(text, 64); err == nil {
		return reading.Float(f)
	}
	return reading.String(text)
}

func formatEvent(r reading.Reading) string {
	text := "-"
	if r.Time != 0 {
		text = time.Duration(r.Time - noon).String()
	}
	if r.Flags&reading.Historical != 0 {
		text = "h" + text
	}
	switch name := strings.TrimPrefix(r.Metric, "m"); {
	case name != "":
		text += " " + name + "=" + r.Value.String()
	case r.Value.Kind() == reading.KindBytes:
		text += " 0x" + r.Value.Text()
	case r.Value.Kind() == reading.KindInt:
		text += " #" + r.Value.String()
	default:
		text += " " + r.Value.String()
	}
	switch r.Flags.Quality() {
	case reading.Uncertain:
		text += "?"
	case reading.Bad:
		text += "!"
	}
	if r.Lane == reading.Alarm {
		text += "^"
	}
	return text
}

func newChain(t testing.TB, steps ...Step) *Chain {
	t.Helper()
	c, err := New(Config{Steps: steps})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

type storyCase struct {
	step Step
	in   story
	want string
}

func tellAll(t *testing.T, cases map[string]storyCase) {
	t.Helper()
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if got := c.in.tell(t, newChain(t, c.step)); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestFilters(t *testing.T) {
	band, percent := Step{Deadband: ptr(0.5)}, Step{DeadbandPercent: ptr(10.0)}
	change := Step{Deadband: ptr(0.0)}
	beat := Step{Deadband: ptr(0.5), Heartbeat: time.Minute}
	rare := Step{MinInterval: 10 * time.Second}
	both := Step{Deadband: ptr(0.5), MinInterval: 10 * time.Second, Heartbeat: time.Minute}
	tellAll(t, map[string]storyCase{
		"within the deadband of the last one kept":     {band, "0s 20, 1s 20.5, 2s 19.5, 3s 20.6, 4s 20.2, 5s 20", "0s 20, 3s 20.6, 5s 20"},
		"decimal steps are all alike":                  {Step{Deadband: ptr(0.1)}, "0s 21.4, 1s 21.5, 2s 21.4, 3s 21.3, 4s 21.6, 5s 21.7", "0s 21.4, 4s 21.6"},
		"a deadband of nothing keeps every change":     {change, "0s 1, 1s 1, 2s 1.0000001, 3s 1", "0s 1, 2s 1.0000001, 3s 1"},
		"per cent of the last one kept":                {percent, "0s 100, 1s 110, 2s 90, 3s 111, 4s 100, 5s 99", "0s 100, 3s 111, 5s 99"},
		"per cent of something negative":               {percent, "0s -100, 1s -110, 2s -111", "0s -100, 2s -111"},
		"per cent of nothing is nothing":               {percent, "0s 0, 1s 0, 2s 0.001", "0s 0, 2s 0.001"},
		"integers":                                     {change, "0s #9007199254740993, 1s #9007199254740993, 2s #9007199254740994", "0s #9007199254740993, 2s #9007199254740994"},
		"an integer becomes a float":                   {change, "0s #5, 1s 5, 2s 5.5", "0s #5, 2s 5.5"},
		"booleans":                                     {band, "0s true, 1s true, 2s false, 3s false, 4s true", "0s true, 2s false, 4s true"},
		"texts":                                        {band, "0s on, 1s on, 2s off, 3s offf", "0s on, 2s off, 3s offf"},
		"the kind changes":                             {band, "0s true, 1s 1, 2s on, 3s 1, 4s true", "0s true, 1s 1, 2s on, 3s 1, 4s true"},
		"not a number":                                 {band, "0s NaN, 1s NaN, 2s 1, 3s NaN", "0s NaN, 2s 1, 3s NaN"},
		"infinite":                                     {band, "0s Inf, 1s Inf, 2s -Inf, 3s 1", "0s +Inf, 2s -Inf, 3s 1"},
		"opaque bytes always":                          {both, "0s 0xab, 1s 0xab, 2s 1, 3s 0xab, 4s 1", "0s 0xab, 1s 0xab, 2s 1, 3s 0xab"},
		"the quality changes":                          {band, "0s 20, 1s 20!, 2s 20!, 3s 20?, 4s 20, 5s 20", "0s 20, 1s 20!, 3s 20?, 4s 20"},
		"heartbeat":                                    {beat, "0s 20, 59s 20, 60s 20, 61s 20, 119s 20, 121s 20", "0s 20, 1m0s 20, 2m1s 20"},
		"heartbeat counts from any reading kept":       {beat, "0s 20, 30s 21, 60s 21, 90s 21", "0s 20, 30s 21, 1m30s 21"},
		"interval":                                     {rare, "0s 1, 1s 2, 9.999s 3, 10s 4, 15s 5, 20s 6", "0s 1, 10s 4, 20s 6"},
		"interval and deadband":                        {both, "0s 1, 1s 9, 10s 1, 12s 9, 15s 1, 80s 1", "0s 1, 12s 9, 1m20s 1"},
		"a change of quality does not break intervals": {both, "0s 1, 1s 1!, 10s 1!", "0s 1, 10s 1!"},
	})
}

func TestTime(t *testing.T) {
	band, rare := Step{Deadband: ptr(0.5), Heartbeat: time.Hour}, Step{MinInterval: 10 * time.Second}
	tellAll(t, map[string]storyCase{
		"no time is the time of arrival":       {rare, "-@0s 1, -@9s 2, -@10s 3, -@12s 4", "- 1, - 3"},
		"impossible times are none":            {rare, "-1800000001s@0s 1, -1800000001s@9s 2", "-500000h0m1s 1"},
		"late readings are kept":               {band, "0s 20, 100s 21, 50s 21, 60s 21, 101s 21", "0s 20, 1m40s 21, 50s 21, 1m0s 21"},
		"late readings change nothing":         {rare, "100s 1, 50s@101s 2, 108s 3, 110s 4", "1m40s 1, 50s 2, 1m50s 4"},
		"historical readings are kept":         {band, "0s 20, h5s 20, h-5s 20, 6s 20", "0s 20, h5s 20, h-5s 20"},
		"historical readings are no beginning": {band, "h0s 20, 1s 20, 2s 20", "h0s 20, 1s 20"},
		"out of order, newer than the last one kept": {
			band, "0s 20, 10s 20, 5s 20, 7s 21, 12s 21", "0s 20, 7s 21",
		},
		"what was stored for hours comes in a moment": {
			band, "0s@3h 20, 1h@3h 20, 2h@3h 20, -2h@3h 20, -1h@3h 20, 3h 20", "0s 20, 1h0m0s 20, 2h0m0s 20, -2h0m0s 20, -1h0m0s 20, 3h0m0s 20",
		},
		"stored readings that trickle in beside live ones stay late": {
			band, "0s 20, -10h@40s 20, 41s 20, -9h@80s 20, 81s 20, -8h@120s 20, 121s 20",
			"0s 20, -10h0m0s 20, -9h0m0s 20, -8h0m0s 20",
		},
		"stored readings that come faster than they were measured stay late": {
			band, "0s 20, -10h@40s 20, -9h@80s 20, -8h@120s 20, -7h@160s 20, 161s 20",
			"0s 20, -10h0m0s 20, -9h0m0s 20, -8h0m0s 20, -7h0m0s 20",
		},
		"the newest first stay late": {
			band, "0s 20, -1m@40s 20, -2m@120s 20, -3m@200s 20, 201s 20", "0s 20, -1m0s 20, -2m0s 20, -3m0s 20",
		},
		"from 1970 into the present": {
			band, "-499999h@-499999h 20, -499998h59m@-499998h59m 20, 0s 20, 1s 20", "-499999h0m0s 20, 0s 20",
		},
		"from the present to 1970, which is impossible, then on": {
			rare, "0s 1, -499999h@1s 2, -499998h59m@61s 3, -499998h58m57s@64s 4, -499998h58m50s@71s 5, 72s 6",
			"0s 1, -499999h0m0s 2, -499998h59m0s 3, -499998h58m50s 5, 1m12s 6",
		},
		"an hour back: a minute of everything, then as before": {
			band, "0s 20, -1h@10s 20, -59m50s@20s 20, -59m10s@60s 20, -59m@70s 20, -58m50s@80s 20, -58m40s@90s 21, -58m30s@100s 21",
			"0s 20, -1h0m0s 20, -59m50s 20, -59m10s 20, -59m0s 20, -58m40s 21",
		},
		"the gateway's own clock an hour back": {
			band, "-@0s 20, -@-1h 20, -@-59m30s 20, -@-59m 20, -@-58m50s 20, -@-58m40s 20", "- 20, - 20, - 20, - 20",
		},
		"the gateway's clock back and forth while waiting": {
			band, "0s 20, -1h@10s 20, -59m@-5h 20, -58m@-4h59m 20, -57m50s@-4h58m50s 20", "0s 20, -1h0m0s 20, -59m0s 20, -58m0s 20",
		},
		"a clock that stands still": {
			rare, "0s@0s 1, 0s@9s 2, 0s@10s 3, 0s@19s 4, 0s@20s 5", "0s 1, 0s 3, 0s 5",
		},
		"heartbeat of a clock that stands still": {
			band, "0s@0s 20, 0s@59m 20, 0s@1h 20, 0s@1h1m 20", "0s 20, 0s 20",
		},
		"a batch with one time is not a clock that stands still": {
			rare, "0s@1h 1, 0s@1h 2, 20s@1h 3, 20s@1h 4", "0s 1, 20s 3",
		},
	})
}

func TestAfterForgettingTheNextReadingIsKept(t *testing.T) {
	step := Step{Deadband: ptr(0.5), MinInterval: time.Minute, AlarmAbove: ptr(80.0)}
	got := story("0s 20, 1s 20, forget, 2s 20, 3s 20, 100s 90, 101s 90, forget, forget, 102s 90, 103s 90, forget, 104s 20, 105s 20, forget, -5s 20, 106s 20, 107s 20").tell(t, newChain(t, step))
	want := "0s 20, 0s .alarm=normal^, 2s 20, 2s .alarm=normal^, 1m40s 90^, 1m40s .alarm=above^, " +
		"1m42s 90^, 1m42s .alarm=above^, 1m44s 20, 1m44s .alarm=normal^, -5s 20, 1m46s 20, 1m46s .alarm=normal^"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// What raised an alarm is urgent also when it is sent again behind what was newer,
// and no reading of before says how it is now.
func TestAlarmsThatWereLostAreRaisedAgain(t *testing.T) {
	above, quiet := Step{AlarmAbove: ptr(80.0)}, Step{AlarmAbove: ptr(80.0), Deadband: ptr(100.0)}
	const begin = "0s 20, 0s .alarm=normal^, "
	const pulse = "10s 81^, 10s .alarm=above^, 20s 20^, 20s .alarm=normal^, "
	tellAll(t, map[string]storyCase{
		"it came and went": {quiet, "0s 20, 10s 81, 20s 20, 30s 20, forget, 10s 81, 20s 20, 30s 20",
			begin + pulse + pulse + "30s 20, 30s .alarm=normal^"},
		"it is on": {above, "0s 20, 10s 81, 20s 82, forget, 10s 81, 20s 82, 30s 20",
			begin + "10s 81^, 10s .alarm=above^, 20s 82, 10s 81^, 10s .alarm=above^, 20s 82^, 20s .alarm=above^, 30s 20^, 30s .alarm=normal^"},
		"not out of order": {above, "0s 20, 10s 81, 20s 20, 30s 20, forget, 20s 20, 10s 81, 40s 20",
			begin + pulse + "30s 20, 20s 20, 10s 81, 40s 20, 40s .alarm=normal^"},
		"not twice": {above, "0s 20, 10s 81, 20s 20, forget, 10s 81, 11s 81, 20s 20, 15s 81",
			begin + pulse + "10s 81^, 10s .alarm=above^, 11s 81, 20s 20, 20s .alarm=normal^, 15s 81"},
		"not what was stored for long": {above, "0s 20, 10s 81, 20s 20, forget, h10s 81, 20s 20",
			begin + pulse + "h10s 81, 20s 20, 20s .alarm=normal^"},
	})
}

func TestAlarms(t *testing.T) {
	above, below := Step{AlarmAbove: ptr(80.0)}, Step{AlarmBelow: ptr(5.0)}
	soft := Step{AlarmAbove: ptr(80.0), Hysteresis: 5}
	slow := Step{AlarmAbove: ptr(80.0), Delay: 30 * time.Second}
	both := Step{AlarmAbove: ptr(80.0), AlarmBelow: ptr(5.0), Hysteresis: 1}
	bothSlow := Step{AlarmAbove: ptr(80.0), AlarmBelow: ptr(5.0), Delay: 10 * time.Second}
	quiet := Step{AlarmAbove: ptr(80.0), Deadband: ptr(100.0), MinInterval: time.Hour}
	open := Step{AlarmEquals: ptr("open")}
	const begin = "0s 20, 0s .alarm=normal^, "
	tellAll(t, map[string]storyCase{
		"above":                    {above, "0s 20, 1s 80, 2s 80.1, 3s 90, 4s 80, 5s 81", begin + "1s 80, 2s 80.1^, 2s .alarm=above^, 3s 90, 4s 80^, 4s .alarm=normal^, 5s 81^, 5s .alarm=above^"},
		"below":                    {below, "0s 20, 1s 5, 2s 4, 3s 5", begin + "1s 5, 2s 4^, 2s .alarm=below^, 3s 5^, 3s .alarm=normal^"},
		"hysteresis":               {soft, "0s 20, 1s 81, 2s 79, 3s 75.1, 4s 81, 5s 75, 6s 79", begin + "1s 81^, 1s .alarm=above^, 2s 79, 3s 75.1, 4s 81, 5s 75^, 5s .alarm=normal^, 6s 79"},
		"from one into the other":  {both, "0s 81, 1s 4, 2s 5.9, 3s 6", "0s 81^, 0s .alarm=above^, 1s 4^, 1s .alarm=below^, 2s 5.9, 3s 6^, 3s .alarm=normal^"},
		"delay":                    {slow, "0s 20, 10s 81, 39s 81, 40s 90, 41s 20", begin + "10s 81, 39s 81, 40s 90^, 40s .alarm=above^, 41s 20^, 41s .alarm=normal^"},
		"delay that is broken off": {slow, "0s 20, 10s 81, 39s 80, 40s 81, 69s 81, 70s 81", begin + "10s 81, 39s 80, 40s 81, 1m9s 81, 1m10s 81^, 1m10s .alarm=above^"},
		"delay from the start on":  {slow, "0s 81, 10s 81, 15s 20, 20s 81, 50s 81", "0s 81, 10s 81, 15s 20, 15s .alarm=normal^, 20s 81, 50s 81^, 50s .alarm=above^"},
		"delay into the other": {bothSlow, "0s 20, 1s 81, 11s 81, 20s 1, 29s 1, 30s 1", begin +
			"1s 81, 11s 81^, 11s .alarm=above^, 20s 1^, 20s .alarm=normal^, 29s 1, 30s 1^, 30s .alarm=below^"},
		"one condition after the other is no delay": {bothSlow, "0s 20, 1s 81, 6s 1, 12s 1, 16s 1", begin + "1s 81, 6s 1, 12s 1, 16s 1^, 16s .alarm=below^"},
		"late readings do not interrupt a delay":    {slow, "0s 20, 10s 81, 5s@20s 20, h12s 20, 40s 81", begin + "10s 81, 5s 20, h12s 20, 40s 81^, 40s .alarm=above^"},
		"late readings neither raise nor clear":     {above, "10s 81, 5s 20, h20s 20, 21s 20, 15s 90, h22s 90", "10s 81^, 10s .alarm=above^, 5s 20, h20s 20, 21s 20^, 21s .alarm=normal^, 15s 90, h22s 90"},
		"filters do not hold them back":             {quiet, "0s 20, 1s 79, 2s 81, 3s 82, 4s 20, 5s 21", begin + "2s 81^, 2s .alarm=above^, 4s 20^, 4s .alarm=normal^"},
		"bad readings say nothing":                  {above, "0s 20, 1s 99!, 2s 81?, 3s 1!, 4s 81", begin + "1s 99!, 2s 81?^, 2s .alarm=above?^, 3s 1!, 4s 81"},
		"what is no number says nothing":            {above, "0s true, 1s on, 2s NaN, 3s Inf, 4s NaN, 5s 0xff", "0s true, 1s on, 2s NaN, 3s +Inf^, 3s .alarm=above^, 4s NaN, 5s 0xff"},
		"no time":                                   {above, "-@1s 81, -@2s 20", "- 81^, - .alarm=above^, - 20^, - .alarm=normal^"},
		"equal":                                     {open, "0s shut, 1s open, 2s open, 3s opened", "0s shut, 0s .alarm=normal^, 1s open^, 1s .alarm=equal^, 2s open, 3s opened^, 3s .alarm=normal^"},
		"equal boolean":                             {Step{AlarmEquals: ptr("true"), Delay: time.Second}, "0s true, 1s true, 2s false", "0s true, 1s true^, 1s .alarm=equal^, 2s false^, 2s .alarm=normal^"},
		"equal number":                              {Step{AlarmEquals: ptr("7")}, "0s 7, 1s #7, 2s 8", "0s 7^, 0s .alarm=equal^, 1s #7, 2s 8^, 2s .alarm=normal^"},
		"a number is not equal to a text":           {open, "0s 7, 1s open", "0s 7, 0s .alarm=normal^, 1s open^, 1s .alarm=equal^"},
		"the clock is set an hour back": {
			slow, "0s 20, -1h@10s 81, -59m30s@40s 81, -59m@70s 81, -58m40s@90s 81, -58m29s@101s 81",
			begin + "-1h0m0s 81, -59m30s 81, -59m0s 81, -58m40s 81, -58m29s 81^, -58m29s .alarm=above^",
		},
		"the clock jumps forward": {
			slow, "-499999h@-499999h 81, 0s 81", "-499999h0m0s 81, 0s 81^, 0s .alarm=above^",
		},
	})
}

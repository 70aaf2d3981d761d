package daemon

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/tidegate/tidegate/buffer"
	"github.com/tidegate/tidegate/dashboard"
)

func TestAClockThatIsSetIsNoticed(t *testing.T) {
	var c clockWatch
	booted := time.Date(1970, 1, 1, 0, 0, 10, 0, time.UTC)
	at := func(up time.Duration) time.Time { return booted.Add(up) }
	look := func(up time.Duration, synced bool) (time.Time, *dashboard.ClockSet) {
		return c.look(at(up), up, synced)
	}
	for _, up := range []time.Duration{0, time.Minute, time.Hour} {
		if since, set := look(up, false); !since.IsZero() || set != nil {
			t.Fatalf("after %v: since %v, %+v", up, since, set)
		}
	}
	booted = booted.Add(400 * time.Millisecond) // as time services do gently
	if _, set := look(2*time.Hour, false); set != nil {
		t.Errorf("a small step counts: %+v", set)
	}
	booted = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	since, set := look(3*time.Hour, true)
	if !since.Equal(at(3*time.Hour)) || set == nil || set.Times != 1 || set.Last != at(3*time.Hour).UnixMilli() || set.Seconds < 56*365*86400 {
		t.Errorf("set: since %v, %+v", since, set)
	}
	first := *set
	booted = booted.Add(-90 * time.Second)
	later, again := look(4*time.Hour, true)
	if !later.Equal(since) || again.Times != 2 || again.Seconds != -90 {
		t.Errorf("set back: since %v, %+v", later, again)
	}
	if step := c.news(); step != again || c.news() != nil {
		t.Errorf("the log is told of %+v, or twice", step)
	}
	if *set != first {
		t.Error("what was told before has changed")
	}
}

func TestClockInWords(t *testing.T) {
	at := time.Date(2026, 11, 28, 12, 0, 0, 0, time.Local).UnixMilli()
	for _, tt := range []struct {
		s    dashboard.Status
		want string
	}{
		{dashboard.Status{Clock: "synced"}, "synced"},
		{dashboard.Status{Clock: "synced", ClockSince: at, ClockSet: &dashboard.ClockSet{Times: 1, Last: at, Seconds: 7200.4}},
			"synced since 2026-11-28 12:00:00, set forward by 2h0m0s at 2026-11-28 12:00:00"},
		{dashboard.Status{Clock: "unsynced", ClockSet: &dashboard.ClockSet{Times: 3, Last: at, Seconds: -90}},
			"unsynced, set back by 1m30s at 2026-11-28 12:00:00 (3 times since the start)"},
	} {
		if got := clockText(tt.s); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}

func TestTheHostIsNamed(t *testing.T) {
	now := time.Now()
	h := hostStatus(now, time.Hour)
	if !strings.HasPrefix(h.Go, "go1.") || !strings.HasPrefix(h.System, "linux/") || !strings.HasPrefix(h.Kernel, "Linux ") || h.Booted != now.Add(-time.Hour).UnixMilli() {
		t.Errorf("%+v", h)
	}
}

func TestBreaksOfDoorsAreCounted(t *testing.T) {
	d := &Daemon{}
	begun := time.Unix(1e9, 0)
	s := dashboard.Door{Name: "mqtt", State: dashboard.OK}
	d.spells.begin("source", "mqtt", begun)
	d.spells.begin("sink", "mqtt", begun.Add(time.Hour)) // another one of that name
	if d.spellOf(&s); s.Since != begun.UnixMilli() || s.Breaks != 0 || s.State != dashboard.OK {
		t.Errorf("since its start: %+v", s)
	}
	d.spells.end("source", "mqtt", errors.New("address in use — hint: look"))
	if d.spellOf(&s); s.Breaks != 1 || s.State != "address in use — hint: look" || s.LastError != s.State || s.BrokeAt == 0 || s.Since != s.BrokeAt {
		t.Errorf("broken: %+v", s)
	}
	line := dashboard.Door{Name: "mqtt", State: "went away", Line: &dashboard.Line{}}
	if d.spellOf(&line); line.State != "went away" {
		t.Errorf("a line knows better: %+v", line)
	}
	d.spells.end("source", "mqtt", nil)
	again := time.Now().Add(time.Second)
	d.spells.begin("source", "mqtt", again)
	s.State = dashboard.OK
	if d.spellOf(&s); s.Breaks != 2 || s.State != dashboard.OK || s.Since != again.UnixMilli() || s.LastError != "it ended without a word" {
		t.Errorf("mended: %+v", s)
	}
}

// What was set aside or discarded on purpose is not what a larger buffer mends.
func TestLossesAreToldByReason(t *testing.T) {
	got := lossProblems(dashboard.Buffer{LostBy: map[string]uint64{
		buffer.ReasonQuarantined: 5, buffer.ReasonPurged: 6, buffer.ReasonEvicted: 1, buffer.ReasonDamaged: 4,
	}})
	if len(got) != 2 || !strings.HasPrefix(got[0], "1 reading was lost (evicted) and reported upstream — hint: raise buffer.max_bytes") ||
		!strings.HasPrefix(got[1], "4 readings were lost (damaged) and reported upstream — hint: see dmesg") {
		t.Errorf("%q", got)
	}
	if got := lossProblems(dashboard.Buffer{}); got != nil {
		t.Errorf("%q of nothing", got)
	}
}

// A full buffer says itself what to do; a problem has one hint.
func TestProblemOfTheBufferHasOneHint(t *testing.T) {
	for _, state := range []string{"nothing is acknowledged: no space left", "nothing is acknowledged: full — hint: raise buffer.max_bytes"} {
		got := problems(dashboard.Status{Buffer: dashboard.Buffer{State: state}})[0]
		if !strings.HasPrefix(got, state) || strings.Count(got, " — hint: ") != 1 {
			t.Errorf("%q of %q", got, state)
		}
	}
}

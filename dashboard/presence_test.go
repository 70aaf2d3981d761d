package dashboard

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/tidegate/tidegate/reading"
)

func TestADeviceIsQuietWhenItMissesItsRhythm(t *testing.T) {
	table := newTable(Config{}.withDefaults())
	tick := uint64(0)
	hear := func(up int64, names ...string) {
		tick++
		for _, name := range names {
			table.apply([]reading.Reading{{Device: name, Metric: "m", Value: reading.Int(1)}}, tick, up)
		}
	}
	hear(0, "slow", "fast", "once")
	hear(2_000, "fast")
	hear(20_000, "slow")
	for _, c := range []struct {
		up   int64
		want Presence
	}{
		{17_000, Presence{Heard: 3}},           // fast: silent for 15 s
		{17_001, Presence{Heard: 2, Quiet: 1}}, // and more
		{80_000, Presence{Heard: 2, Quiet: 1}}, // slow: three times 20 s
		{80_001, Presence{Heard: 1, Quiet: 2}},
		{300_000, Presence{Heard: 1, Quiet: 2}}, // once: its rhythm is not known
		{300_001, Presence{Quiet: 3}},
	} {
		if got := table.presence(c.up); got != c.want {
			t.Errorf("after %d ms: %+v, want %+v", c.up, got, c.want)
		}
	}
	hear(300_100, "slow", "fast", "once")
	if got := table.presence(300_100); got != (Presence{Heard: 3}) {
		t.Errorf("heard again: %+v", got)
	}
}

// TestThePageCallsTheSameDevicesQuiet compares the two places that say when.
func TestThePageCallsTheSameDevicesQuiet(t *testing.T) {
	script, err := os.ReadFile("assets/state.js")
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("{ quietFactor: %d, quietLeast: %d, quietUnknown: %d }", quietFactor, quietLeast.Milliseconds(), quietUnknown.Milliseconds())
	if !strings.Contains(strings.ReplaceAll(string(script), "_", ""), want) {
		t.Errorf("state.js does not say %s", want)
	}
}

package daemon

import (
	"strings"
	"testing"
	"time"

	"github.com/tidegate/tidegate/dashboard"
	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/ingest/ingesttest"
	"github.com/tidegate/tidegate/ingest/refine"
	"github.com/tidegate/tidegate/ingest/route"
	"github.com/tidegate/tidegate/reading"
)

const refinedConfig = `
[[refine]]
name = "quiet"
deadband = 0
[[refine]]
name = "units"
scale = 0.1
[[refine]]
name = "unused"
unit = "V"
[[ingest.mqtt.route]]
topic = "a/#"
refine = ["units", "quiet"]
[[ingest.mqtt.route]]
topic = "b/#"
refine = ["quiet"]
[[ingest.mqtt.route]]
topic = "c/#"
`

// What one route has kept does not stand for what comes on another.
func TestEveryRouteHasAChainOfItsOwn(t *testing.T) {
	c, err := Parse("refined", []byte(refinedConfig))
	if err != nil {
		t.Fatal(err)
	}
	v, err := c.vocabulary()
	if err != nil {
		t.Fatal(err)
	}
	var seen []refine.Reason
	v.chains.observe = func(_ reading.Reading, why refine.Reason) { seen = append(seen, why) }
	table, err := v.table(c.Ingest.MQTT.Routes)
	if err != nil {
		t.Fatal(err)
	}
	in := ingest.NewIntake(ingesttest.NewCustody(), nil, time.Now)
	send := func(topic string) []reading.Reading {
		target, _ := table.Resolve(topic)
		target.Device = "one"
		rs, _, err := target.Read(nil, []byte(`{"m":215}`), route.Arrival{Intake: in, Now: in.Now()})
		if err != nil {
			t.Fatal(err)
		}
		return rs
	}
	for _, want := range []struct {
		topic string
		value float64
	}{{"a/x", 21.5}, {"b/x", 215}, {"c/x", 215}, {"c/x", 215}} {
		if got := send(want.topic); len(got) != 1 || got[0].Value != reading.Float(want.value) {
			t.Errorf("%s: %v, want %v", want.topic, got, want.value)
		}
	}
	if got := append(send("a/y"), send("b/y")...); len(got) != 0 {
		t.Errorf("repeats were kept: %v", got)
	}
	if s := v.chains.status(); s == nil || s.Kept != 2 || s.Unchanged != 2 || len(seen) != 2 || seen[0] != refine.Unchanged {
		t.Errorf("%+v, observed %v", s, seen)
	}
	for _, forget := range table.Filters() {
		forget()
	}
	if got := send("a/x"); len(got) != 1 {
		t.Errorf("after a loss: %v", got)
	}
}

func TestCheckNamesRefinementsThatNothingUses(t *testing.T) {
	c, err := Parse("refined", []byte(refinedConfig))
	if err != nil {
		t.Fatal(err)
	}
	k := &checklist{}
	k.refinements(c)
	if len(k.findings) != 1 || k.findings[0].Level != Warn || !strings.Contains(k.findings[0].What, `"unused"`) || k.findings[0].Hint == "" {
		t.Errorf("%+v", k.findings)
	}
}

func TestStatusWordsWhatWasRefined(t *testing.T) {
	for want, s := range map[string]*dashboard.Refined{
		"":                        nil,
		"refined: 1 reading kept": {Kept: 1},
		"refined: 2 readings kept, 10 left out: 1 unchanged, 2 too soon, 3 out of range, 4 dropped; 5 clamped, 6 marked bad, 7 late; 1 alarm raised, 0 cleared; clocks set back 8 times": {
			Kept: 2, Unchanged: 1, TooSoon: 2, OutOfRange: 3, Dropped: 4, Clamped: 5, MarkedBad: 6, Late: 7, Raised: 1, SetBack: 8,
		},
	} {
		if got := refined(s); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	s := dashboard.Status{Refined: &dashboard.Refined{Untracked: 3}, Links: []dashboard.Link{{}}, Buffer: dashboard.Buffer{State: dashboard.OK}}
	if all := problems(s); len(all) != 1 || !strings.Contains(all[0], "3 readings passed their filters") {
		t.Errorf("%q", all)
	}
}

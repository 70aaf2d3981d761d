package route

import (
	"errors"
	"strings"
	"testing"

	"github.com/tidegate/tidegate/ingest/decode"
	"github.com/tidegate/tidegate/reading"
)

func newTable(t *testing.T, rules ...Rule) *Table {
	t.Helper()
	table, err := NewTable(rules, decode.NewJSON(decode.JSONConfig{}))
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func TestFirstRuleThatMatchesWins(t *testing.T) {
	json := decode.NewJSON(decode.JSONConfig{})
	table := newTable(t,
		Rule{Topic: "site/{site}/dev/{device}/telemetry", Device: "{site}/{device}", Decoder: json},
		Rule{Topic: "alarm/{device}/{metric}", Lane: reading.Alarm, Decoder: json, KeepOpaque: true},
		Rule{Topic: "site/#", Metric: "frame", Lane: reading.Bulk, Decoder: decode.Raw{}},
	)
	for topic, want := range map[string]Target{
		"site/a/dev/b/telemetry": {Device: "a/b", Decoder: json},
		"alarm/b/smoke":          {Device: "b", Metric: "smoke", Lane: reading.Alarm, Decoder: json, KeepOpaque: true},
		"site/a/dev/b":           {Device: "site/a/dev/b", Metric: "frame", Lane: reading.Bulk, Decoder: decode.Raw{}},
	} {
		want.Topic = topic
		if got, ok := table.Resolve(topic); !ok || got != want {
			t.Errorf("%s: got %+v, want %+v", topic, got, want)
		}
	}
}

func TestTopicWithoutRuleNamesDeviceOrMetricByItsPayload(t *testing.T) {
	table := newTable(t)
	for _, c := range []struct{ topic, payload, device, metric string }{
		{"home/kitchen/temp", "21.5", "home/kitchen", "temp"},
		{"home/kitchen/door", ` "open"`, "home/kitchen", "door"},
		{"home/kitchen", `{"temp":21.5}`, "home/kitchen", "temp"},
		{"home/kitchen", ` [{"temp":21.5}]`, "home/kitchen", "temp"},
		{"temp", "21.5", "temp", "value"},
		{"/temp", "21.5", "/temp", "value"},
		{"home/", "21.5", "home", "value"},
	} {
		target, ok := table.Resolve(c.topic)
		if !ok || !target.KeepOpaque || target.Lane != reading.Normal {
			t.Errorf("%s: %+v, %v", c.topic, target, ok)
			continue
		}
		f := decode.Frame{Device: target.Device, Metric: target.Metric, Payload: []byte(c.payload)}
		rs, err := target.Decoder.Decode(nil, f)
		if err != nil || len(rs) != 1 || rs[0].Device != c.device || rs[0].Metric != c.metric {
			t.Errorf("%s %s: %v, %v", c.topic, c.payload, rs, err)
		}
	}
	target, _ := table.Resolve("home/kitchen")
	if _, err := target.Decoder.Decode(nil, decode.Frame{}); !errors.Is(err, decode.ErrMalformed) {
		t.Errorf("empty payload: %v", err)
	}
}

func TestTheBrokersOwnTopicsNeverResolve(t *testing.T) {
	table := newTable(t, Rule{Topic: "#", Decoder: decode.Raw{}})
	for _, topic := range []string{"$SYS/broker/uptime", "$share/g/a", "$"} {
		if target, ok := table.Resolve(topic); ok {
			t.Errorf("%s: %+v", topic, target)
		}
	}
	if _, ok := table.Resolve("price/$"); !ok {
		t.Error("price/$ does not resolve")
	}
}

func TestEveryWrongRuleIsReported(t *testing.T) {
	_, err := NewTable([]Rule{
		{Topic: "a/{device"},
		{Topic: "a/{device}"},
		{Topic: "a/{device}", Device: "{dev}"},
		{Topic: "a/{device}", Metric: "{metric}"},
	}, decode.Raw{})
	if err == nil {
		t.Fatal("no error")
	}
	got := strings.Split(err.Error(), "\n")
	want := []string{`route 1: topic template "a/{device": level 2`, "route 3: device: pattern", "route 4: metric: pattern"}
	if len(got) != len(want) {
		t.Fatalf("got %q", got)
	}
	for i := range want {
		if !strings.HasPrefix(got[i], want[i]) {
			t.Errorf("got %q, want %q", got[i], want[i])
		}
	}
}

func TestRulesMayNameTheUser(t *testing.T) {
	json := decode.NewJSON(decode.JSONConfig{})
	table := newTable(t,
		Rule{Topic: "own/{user}", Device: "{user}", Decoder: json, Users: true},
		Rule{Topic: "s/{metric}", Device: "{user}", Decoder: json, Users: true},
		Rule{Topic: "s/#", Device: "nobody", Decoder: json},
	)
	for _, c := range []struct{ topic, user, device, metric string }{
		{"s/temp", "boiler", "boiler", "temp"},
		{"s/temp", "", "nobody", ""},
		{"own/a", "b", "a", ""},
		{"own/a", "", "a", ""},
	} {
		if got, ok := table.ResolveFor(c.topic, c.user); !ok || got.Device != c.device || got.Metric != c.metric {
			t.Errorf("%s for %q: %+v, %v", c.topic, c.user, got, ok)
		}
	}
	if _, err := NewTable([]Rule{{Topic: "a", Device: "{user}"}}, json); err == nil {
		t.Error("{user} was taken where nobody has a name")
	}
}

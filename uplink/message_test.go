package uplink_test

import (
	"strings"
	"testing"

	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/uplink"
)

func TestPartsHaveKeysOfTheirOwn(t *testing.T) {
	m := uplink.Message{Key: uplink.Key{Gateway: "gw", Epoch: 7, Lane: reading.Alarm, First: 10, Last: 19}, Count: 10, Body: []byte("ab")}
	if p := m.Pieces(); len(p) != 1 || m.PartKey(p[0]) != m.Key.String() || string(p[0].Body) != "ab" {
		t.Errorf("a whole message is %+v", p)
	}
	m.Parts = []uplink.Part{
		{First: 10, Last: 12, Count: 3},
		{First: 10, Last: 14, Count: 3, Device: "hall/7"},
		{First: 13, Last: 19, Count: 2, Device: "ä\n", Metric: "t°"},
		{First: 15, Last: 15, Count: 1, Device: "x", Metric: "y"},
	}
	for i, want := range []string{
		"gw/0000000000000007/alarm/10-12",
		"gw/0000000000000007/alarm/10-14/hall%2F7",
		"gw/0000000000000007/alarm/13-19/%C3%A4%0A/t%C2%B0",
		"gw/0000000000000007/alarm/15-15",
	} {
		if got := m.PartKey(m.Pieces()[i]); got != want {
			t.Errorf("part %d has the key %s, want %s", i, got, want)
		}
	}
}

func TestTemplatesExpand(t *testing.T) {
	m := uplink.Message{Key: uplink.Key{Gateway: "gw", Epoch: 7, Lane: reading.Bulk}}
	p := uplink.Part{Device: "a b", Metric: "t"}
	for text, want := range map[string]struct{ address, needs string }{
		"":                                 {"", ""},
		"plain":                            {"plain", ""},
		"{lane}":                           {"bulk", ""},
		"x/{gateway}/{device}":             {"x/gw/a_b", "device"},
		"{metric}.{device}.{epoch}{lane}!": {"t.a_b.0000000000000007bulk!", "metric"},
	} {
		parsed, err := uplink.ParseTemplate(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := parsed.Expand(m, p, func(s string) string { return strings.ReplaceAll(s, " ", "_") }); got != want.address {
			t.Errorf("%q gives %q, want %q", text, got, want.address)
		}
		if parsed.Needs() != want.needs || parsed.String() != text {
			t.Errorf("%q needs %q, want %q", parsed, parsed.Needs(), want.needs)
		}
	}
}

func TestTemplatesRefuseWhatTheyDoNotKnow(t *testing.T) {
	for _, text := range []string{"{", "}", "a{b", "a}b", "{}", "{user}", "{device", "{{device}}", "{device}}"} {
		if _, err := uplink.ParseTemplate(text); err == nil || !strings.Contains(err.Error(), "hint") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

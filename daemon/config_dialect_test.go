package daemon

import (
	"testing"

	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/ingest/dialect"
	"github.com/tidegate/tidegate/ingest/ingesttest"
	"github.com/tidegate/tidegate/ingest/route"
)

// deviceOf returns the device of what a Tasmota says on a topic.
func deviceOf(t *testing.T, table *route.Table, topic string) string {
	t.Helper()
	target, ok := table.Resolve(topic)
	if !ok {
		t.Fatal(topic)
	}
	in := ingest.NewIntake(ingesttest.NewCustody(), nil, nil)
	rs, _, err := target.Read(nil, []byte(`{"A":{"Temperature":21.5}}`), route.Arrival{Intake: in})
	if err != nil || len(rs) != 1 {
		t.Fatal(rs, err)
	}
	return rs[0].Device
}

func TestDialectsComeBehindRoutesAndCanBeLeftOut(t *testing.T) {
	v, err := Default().vocabulary()
	if err != nil {
		t.Fatal(err)
	}
	own := []Route{{Topic: "tele/{device}/SENSOR", Device: "mine/{device}", Decode: "json", Lane: "normal", Undecodable: "keep"}}
	for _, c := range []struct {
		routes   []Route
		dialects []string
		want     string
	}{
		{nil, Default().Ingest.MQTT.Dialects, "plug"},
		{nil, []string{"homie", "tasmota"}, "plug"},
		{nil, []string{"homie"}, "tele/plug/SENSOR"},
		{nil, nil, "tele/plug/SENSOR"},
		{own, Default().Ingest.MQTT.Dialects, "mine/plug"},
	} {
		table, err := v.table(c.routes, c.dialects...)
		if err != nil {
			t.Fatal(err)
		}
		if got := deviceOf(t, table, "tele/plug/SENSOR"); got != c.want {
			t.Errorf("%v: got %q, want %q", c.dialects, got, c.want)
		}
	}
}

// Every dialect is a decoder that routes can name.
func TestRoutesCanNameEveryDialect(t *testing.T) {
	v, err := Default().vocabulary()
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range dialect.Known() {
		if v.decoders[d.Name] == nil {
			t.Errorf("%s is no decoder", d.Name)
		}
	}
}

package dialect

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/tidegate/tidegate/ingest/ingesttest"
	"github.com/tidegate/tidegate/reading"
)

// told returns what a payload gave, in a text each.
func (g *gateway) told(topic, payload string) (all []string) {
	g.Helper()
	rs, _ := g.publish(topic, []byte(payload))
	for _, r := range rs {
		all = append(all, strings.TrimSpace(fmt.Sprintf("%s %s=%s %s", r.Device, r.Metric, r.Value, r.Unit)))
	}
	return all
}

func opaque(s string) string { return "raw=" + reading.Bytes(s).String() }

// Whoever publishes below a prefix of a dialect without speaking it loses nothing
// by that, and is given no units that he did not mean.
func TestOrdinaryPublishersLoseNothingBelowADialectsPrefix(t *testing.T) {
	for _, c := range []struct {
		topic, payload string
		want           []string
	}{
		{"homeassistant/binary_sensor/pump/status", "true", []string{"homeassistant/binary_sensor/pump status=true"}},
		{"homeassistant/boiler/status", `{"t":61}`, []string{"homeassistant/boiler/status t=61"}},
		{"homeassistant/status", "online", nil},
		{"homeassistant/config", "5", []string{"homeassistant config=5"}},
		{"homeassistant/a/b/c/d/config", "5", []string{"homeassistant/a/b/c/d config=5"}},
		{"spBv1.0/weather/roof", `{"t":21}`, []string{"spBv1.0/weather/roof t=21"}},
		{"spBv1.0/G/NDAT/n", "21", []string{"spBv1.0/G/NDAT n=21"}},
		{"tele/scale/weight", `{"v":3,"weightUnit":"kg"}`, []string{"scale v=3", "scale weightUnit=kg"}},
		{"tele/scale/weights", `[{"kg":3},{"kg":4}]`, []string{"scale kg=3", "scale kg=4"}},
		{"tele/meter/data", `{"Voltage":3300,"Current":20,"Power":1,"Humidity":1}`, []string{"meter Voltage=3300", "meter Current=20", "meter Power=1", "meter Humidity=1"}},
		{"tele/x/SENSOR", `{"INA219":{"Voltage":4.5,"Current":0.02}}`, []string{"x INA219.Voltage=4.5 V", "x INA219.Current=0.02 A"}},
		{"homie/a/b/c", `{"t":1,"h":{"x":2}}`, []string{"a b.c.t=1", "a b.c.h.x=2"}},
		{"homie/a/b/c", `{"t":`, []string{"a b.c=" + reading.String(`{"t":`).String()}},
		{"homie/a/b/c", `{}`, []string{"a b.c=" + reading.String(`{}`).String()}},
		{"te/a/b/c/d/e", "5", []string{"te/a/b/c/d e=5"}},
		{"te/a/b/c/d/m", "5", []string{"te/a/b/c/d m=5"}},
	} {
		g := newGateway(t, ingesttest.NewCustody())
		if got := g.told(c.topic, c.payload); !slices.Equal(got, c.want) {
			t.Errorf("%s %s: %q, want %q", c.topic, c.payload, got, c.want)
		}
	}
}

package dialect

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/ingest/decode"
	"github.com/tidegate/tidegate/ingest/ingesttest"
	"github.com/tidegate/tidegate/reading"
)

// Aliases are given to everything that a birth names, and data may use them all:
// Eclipse Tahu's examples answer the command to be born again by the alias of
// Node Control/Rebirth.
func TestAliasesOfWhatIsAboutTheProtocolAreKnown(t *testing.T) {
	g := newGateway(t, ingesttest.NewCustody())
	if rs, err := g.sparkplug("spBv1.0/g/NBIRTH/n", `{"metrics":[{"name":"bdSeq","alias":9,"type":8,"long":0},
		{"name":"Node Control/Rebirth","alias":0,"type":11,"boolean":false},{"name":"A","alias":1,"type":3,"int":1}]}`); err != nil || len(rs) != 2 {
		t.Fatal(rs, err)
	}
	rs, err := g.sparkplug("spBv1.0/g/NDATA/n", `{"metrics":[{"alias":0,"boolean":false},{"alias":9,"long":1},{"alias":1,"int":2}]}`)
	if err != nil || len(rs) != 1 || rs[0].Metric != "A" {
		t.Error(rs, err)
	}
}

// Births that are over, or never asked for again, cost no memory for ever.
func TestParsedBirthsAreBounded(t *testing.T) {
	var s birthCache
	note := func(metrics int) []byte {
		b := &birth{generation: 1, metrics: make([]announced, metrics)}
		for i := range b.metrics {
			b.metrics[i].name = fmt.Sprint(i)
		}
		return b.note()
	}
	big, small := note(10_000), note(1)
	for i := range 100 {
		key := fmt.Sprint(i)
		if b := s.parse(key, big); len(b.metrics) != 10_000 || s.parse(key, big) != b {
			t.Fatal(i)
		}
		if i%3 == 0 {
			s.parse(key, small)
		}
		total := 0
		for _, p := range s.known {
			total += len(p.birth.metrics)
		}
		if total != s.metrics || total > maxParsed {
			t.Fatalf("%d metrics are kept, and %d are counted", total, s.metrics)
		}
	}
	for i := range 3 * maxSeen {
		s.parse(fmt.Sprint(i), small)
	}
	if len(s.known) > maxSeen || s.parse("x", nil) != nil {
		t.Error(len(s.known))
	}
}

// A field on a topic of its own has the unit that it has in the state.
func TestAttributesOfZigbee2MQTTHaveTheirUnits(t *testing.T) {
	g := newGateway(t, ingesttest.NewCustody())
	g.told("zigbee2mqtt/bridge/devices", `[{"friendly_name":"a/b","definition":{"exposes":[{"property":"temperature","unit":"°C"}]}}]`)
	for payload, want := range map[string]string{"21.5": "a/b temperature=21.5 Cel", `{"x":1}`: "a/b/temperature x=1"} {
		if got := g.told("zigbee2mqtt/a/b/temperature", payload); len(got) != 1 || got[0] != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// A datatype that nobody knows says nothing about a value.
func TestUnknownDatatypesOfHomieAreGuessed(t *testing.T) {
	g := newGateway(t, ingesttest.NewCustody())
	g.told("homie/d/lamp/level/$datatype", "percent")
	if got := g.told("homie/d/lamp/level", "50"); len(got) != 1 || got[0] != "d lamp.level=50" {
		t.Errorf("%q", got)
	}
}

// A birth of the edge node ends those of all its devices, also of more than are
// listed.
func TestBirthsOfMoreDevicesThanAreListedEnd(t *testing.T) {
	g := newGateway(t, ingesttest.NewCustody())
	publish := func(topic, message string) error {
		_, err := g.sparkplug(topic, message)
		return err
	}
	err := publish("spBv1.0/g/NBIRTH/n", birthOfA)
	const length = 400 // of a name
	for i := 0; i <= maxDeviceBytes/length && err == nil; i++ {
		err = publish(fmt.Sprintf("spBv1.0/g/DBIRTH/n/%0*d", length, i), birthOfB)
	}
	last := fmt.Sprintf("spBv1.0/g/DDATA/n/%0*d", length, maxDeviceBytes/length)
	if err = errors.Join(err, publish(last, oneIsTwo), publish("spBv1.0/g/NBIRTH/n", birthOfB)); err != nil {
		t.Fatal(err)
	}
	if err := publish(last, oneIsTwo); !errors.Is(err, decode.ErrMalformed) {
		t.Errorf("%v: an alias of the birth before is believed", err)
	}
}

func TestWhatAMessageSaysOfAMetricCountsBeforeTheBirth(t *testing.T) {
	g := newGateway(t, ingesttest.NewCustody())
	if _, err := g.sparkplug("spBv1.0/g/NBIRTH/n", birthOfA); err != nil { // A is an Int32
		t.Fatal(err)
	}
	rs, err := g.sparkplug("spBv1.0/g/NDATA/n", `{"metrics":[{"alias":1,"type":7,"int":4294967295}]}`)
	if err != nil || len(rs) != 1 || rs[0].Value.Float() != 4294967295 {
		t.Error(rs, err)
	}
}

// What is historical is so with all its members.
func TestMembersOfHistoricalTemplatesAreHistorical(t *testing.T) {
	g := newGateway(t, ingesttest.NewCustody())
	rs, err := g.sparkplug("spBv1.0/g/NDATA/n", `{"metrics":[{"name":"T","type":19,"historical":true,"template":{"metrics":[{"name":"a","type":3,"int":1}]}}]}`)
	if err != nil || len(rs) != 1 || rs[0].Metric != "T.a" || rs[0].Flags&reading.Historical == 0 {
		t.Error(rs, err)
	}
}

func TestHumidityOfHomeAssistantIsRelative(t *testing.T) {
	g := newGateway(t, ingesttest.NewCustody())
	g.told("homeassistant/sensor/a/config", `{"stat_t":"a/t","unit_of_meas":"%","val_tpl":"{{ value_json.h }}","dev_cla":"humidity"}`)
	g.told("homeassistant/sensor/b/config", `{"stat_t":"a/t","unit_of_meas":"%","val_tpl":"{{ value_json.b }}","dev_cla":"battery"}`)
	if got := strings.Join(g.told("a/t", `{"h":1,"b":2}`), ", "); got != "a/t h=1 %RH, a/t b=2 %" {
		t.Error(got)
	}
}

func TestWithoutRoomForDatatypesThoseBeforeAreForgotten(t *testing.T) {
	g := newGateway(t, ingesttest.NewCustody())
	g.told("homie/5/d/$description", `{"nodes":{"n":{"properties":{"x":{"datatype":"string"}}}}}`)
	for i := range ingest.MaxMemoryBytes/reading.MaxNoteValue + 1 {
		for size := reading.MaxNoteValue - 1000; size > 0; size /= 2 {
			g.intake.Memory().Remember(fmt.Sprint(i, " ", size), make([]byte, size))
		}
	}
	g.told("homie/5/d/$description", `{"nodes":{"n":{"properties":{"x":{"datatype":"integer"},"`+strings.Repeat("y", 500)+`":{"datatype":"string"}}}}}`)
	if rs, err := g.publish("homie/5/d/n/x", []byte("1")); err != nil || rs[0].Value.Kind() == reading.KindString {
		t.Error(rs, err)
	}
}

func TestMessagesThatInflateTooMuchAreRefused(t *testing.T) {
	g := newGateway(t, ingesttest.NewCustody())
	names := make([]string, 3000)
	for i := range names {
		names[i] = `{"name":"a","type":3,"int":1}`
	}
	many := strings.Join(names, ",")
	for text, hint := range map[string]string{
		`{"compress":"GZIP","metrics":[` + many + `]}`: "inflates to more than",
	} {
		if rs, err := g.sparkplug("spBv1.0/g/NDATA/n", text); err == nil || !strings.Contains(err.Error(), hint) || len(rs) != 1 {
			t.Errorf("%d readings, %v", len(rs), err)
		}
	}
}

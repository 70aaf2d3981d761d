package dialect

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/ingest/decode"
	"github.com/tidegate/tidegate/ingest/ingesttest"
	"github.com/tidegate/tidegate/reading"
)

const (
	birthOfA = `{"ts":1772366400000,"metrics":[{"name":"A","alias":1,"type":3,"int":1,"properties":{"engUnit":{"of":12,"string":"V"}}}]}`
	birthOfB = `{"ts":1772366401000,"metrics":[{"name":"B","alias":1,"type":3,"int":1}]}`
	oneIsTwo = `{"ts":1772366402000,"metrics":[{"alias":1,"int":2}]}`
)

func (g *gateway) sparkplug(topic, message string) ([]reading.Reading, error) {
	g.Helper()
	return g.publish(topic, encodeSparkplug(g, message))
}

func TestWhatWasAcknowledgedBeforeACrashExplainsWhatComesAfterIt(t *testing.T) {
	custody := ingesttest.NewCustody()
	g := newGateway(t, custody)
	if _, err := g.sparkplug("spBv1.0/g/NBIRTH/n", birthOfA); err != nil {
		t.Fatal(err)
	}
	for topic, payload := range map[string]string{
		"te/device/a///m/t/meta":         `{"x":{"unit":"V"}}`,
		"zigbee2mqtt/bridge/devices":     `[{"friendly_name":"d","definition":{"exposes":[{"property":"x","unit":"V"}]}}]`,
		"homeassistant/sensor/x/config":  `{"stat_t":"d","unit_of_meas":"V","val_tpl":"{{ value_json.x }}"}`,
		"homie/5/d/$description":         `{"nodes":{"n":{"properties":{"x":{"datatype":"string","unit":"V"}}}}}`,
		"homie/old/engine/temp/$unit":    "V",
		"homie/old/engine/ref/$datatype": "string",
	} {
		if rs, err := g.publish(topic, []byte(payload)); err != nil || len(rs) > 0 {
			t.Fatal(topic, rs, err)
		}
	}
	custody.Commit()
	g = newGateway(t, custody.Crash())
	rs, err := g.sparkplug("spBv1.0/g/NDATA/n", oneIsTwo)
	if err != nil || len(rs) != 1 || rs[0].Metric != "A" || rs[0].Unit != "V" {
		t.Error(rs, err)
	}
	for topic, payload := range map[string]string{
		"te/device/a///m/t":     `{"x":1}`,
		"zigbee2mqtt/d":         `{"x":1}`,
		"d":                     `{"x":1}`,
		"homie/5/d/n/x":         "1",
		"homie/old/engine/temp": "1",
	} {
		rs, err := g.publish(topic, []byte(payload))
		if err != nil || len(rs) != 1 || rs[0].Unit != "V" {
			t.Error(topic, rs, err)
		}
	}
	if rs, err := g.publish("homie/old/engine/ref", []byte("1")); err != nil || rs[0].Value != reading.String("1") {
		t.Error(rs, err)
	}
}

func TestABirthThatWasNeverCommittedNamesNothingAfterACrash(t *testing.T) {
	custody := ingesttest.NewCustody()
	g := newGateway(t, custody)
	if _, err := g.sparkplug("spBv1.0/g/NBIRTH/n", birthOfA); err != nil {
		t.Fatal(err)
	}
	custody.Commit()
	if _, err := g.sparkplug("spBv1.0/g/NBIRTH/n", birthOfB); err != nil {
		t.Fatal(err)
	}
	if rs, err := g.sparkplug("spBv1.0/g/NDATA/n", oneIsTwo); err != nil || rs[0].Metric != "B" {
		t.Fatal(rs, err)
	}
	// Nobody was told that B was born, and everybody that A was.
	g = newGateway(t, custody.Crash())
	if rs, err := g.sparkplug("spBv1.0/g/NDATA/n", oneIsTwo); err != nil || rs[0].Metric != "A" {
		t.Fatal(rs, err)
	}
}

// A birth that does not fit must not leave the one before in force: its aliases
// would name other metrics.
func TestWithoutRoomForABirthItsDataAreKeptWhole(t *testing.T) {
	custody := ingesttest.NewCustody()
	custody.CommitAtOnce()
	g := newGateway(t, custody)
	if _, err := g.sparkplug("spBv1.0/g/NBIRTH/n", birthOfA); err != nil {
		t.Fatal(err)
	}
	for i := range ingest.MaxMemoryBytes/reading.MaxNoteValue + 1 {
		for size := reading.MaxNoteValue - 1000; size > 0; size /= 2 {
			g.intake.Memory().Remember(fmt.Sprint(i, " ", size), make([]byte, size))
		}
	}
	before := g.intake.Memory().Refused()
	large := strings.Replace(birthOfB, `"B"`, `"`+strings.Repeat("B", 300)+`"`, 1)
	if rs, err := g.sparkplug("spBv1.0/g/NBIRTH/n", large); err != nil || len(rs) != 2 {
		t.Fatal(rs, err)
	}
	if g.intake.Memory().Refused() == before {
		t.Fatal("there was room")
	}
	rs, err := g.sparkplug("spBv1.0/g/NDATA/n", oneIsTwo)
	if !errors.Is(err, decode.ErrMalformed) || len(rs) != 1 || rs[0].Metric != "raw" {
		t.Error(rs, err)
	}
}

func TestRoutesNameDevicesOfDialects(t *testing.T) {
	for _, c := range []struct{ name, topic, payload, want string }{
		{"tasmota", "plug/tele/SENSOR", `{"A":{"Temperature":1}}`, "pump"},
		{"tasmota", "site/plug/tele/LWT", `Online`, "pump"},
		{"zigbee2mqtt", "home/z2m/attic", `{"a":1}`, "pump"},
		{"homie", "devices/car/engine/temp", "1", "pump"},
		{"thin-edge", "te/device/main///m/x", `{"a":1}`, "pump"},
		{"homeassistant", "other/topic", `{"a":1}`, "pump"},
		{"sparkplug", "x/y/spBv1.0/g/DDEATH/n/d", "", "g/n/d"},
	} {
		for _, d := range Known() {
			if d.Name != c.name {
				continue
			}
			f := decode.Frame{Topic: c.topic, Device: "pump", Payload: []byte(c.payload)}
			rs, err := d.New().Decode(nil, f)
			if err != nil || len(rs) != 1 || rs[0].Device != c.want {
				t.Errorf("%s: %v, %v", c.topic, rs, err)
			}
		}
	}
}

func TestDecodersAreSafeForManyGoroutines(t *testing.T) {
	custody := ingesttest.NewCustody()
	custody.CommitAtOnce()
	g := newGateway(t, custody)
	data := encodeSparkplug(t, oneIsTwo)
	var all sync.WaitGroup
	for i := range 4 {
		topic := fmt.Sprintf("spBv1.0/g/NDATA/n%d", i%2)
		birth := encodeSparkplug(t, birthOfA)
		if _, err := g.publish(strings.Replace(topic, "NDATA", "NBIRTH", 1), birth); err != nil {
			t.Fatal(err)
		}
		all.Go(func() {
			for range 200 {
				for _, f := range []frame{{topic, data}, {"tele/x/SENSOR", []byte(`{"A":{"Temperature":1},"TempUnit":"C"}`)}, {"te/device/a///m/t", []byte(`{"a":1}`)}} {
					if rs, err := g.publish(f.topic, f.payload); err != nil || len(rs) != 1 {
						t.Errorf("%s: %v, %v", f.topic, rs, err)
						return
					}
				}
			}
		})
	}
	all.Wait()
}

func TestTopicsBeyondThoseThatAreKeptStillDecode(t *testing.T) {
	d := NewTasmota()
	for i := range 3 * maxSeen {
		topic := fmt.Sprintf("tele/plug-%d/LWT", i%(2*maxSeen))
		rs, err := d.Decode(nil, decode.Frame{Topic: topic, Device: topic, Payload: []byte("Online")})
		if want := fmt.Sprintf("plug-%d", i%(2*maxSeen)); err != nil || len(rs) != 1 || rs[0].Device != want {
			t.Fatal(rs, err)
		}
	}
	if n := len(d.topics.seen.known); n > maxSeen {
		t.Errorf("%d topics are kept", n)
	}
}

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

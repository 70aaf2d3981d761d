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

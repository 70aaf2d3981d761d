package daemon

import (
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// spoken is one message of a dialect. Behind hex: stands one of Sparkplug.
type spoken struct{ topic, text string }

// announcements are what devices say once for all.
var announcements = []spoken{
	// At 1772366400000, name Temp, alias 7, datatype Float, 21.5, engUnit "°C".
	{"spBv1.0/plant/NBIRTH/gw", "hex:08809494caca3312230a0454656d70100720094a120a07656e67556e69741207080c4203c2b043650000ac411800"},
	{"te/device/child01///m/battery/meta", `{"voltage":{"unit":"V"}}`},
	{"zigbee2mqtt/bridge/devices", `[{"friendly_name":"attic","definition":{"exposes":[{"property":"temperature","unit":"°C"}]}}]`},
	{"homeassistant/sensor/cellar/config", `{"stat_t":"home/cellar","unit_of_meas":"hPa","val_tpl":"{{ value_json.p }}"}`},
	{"homie/5/car/$description", `{"nodes":{"engine":{"properties":{"temp":{"datatype":"float","unit":"°C"},"plate":{"datatype":"string"}}}}}`},
}

// telemetry is what they say from then on.
var telemetry = []spoken{
	{"spBv1.0/plant/NDATA/gw", "hex:08e89b94caca3312071007650000b4411801"}, // alias 7 is 22.5
	{"te/device/child01///m/battery", `{"voltage":12.6}`},
	{"te/device/child01///a/fire", `{"severity":"critical"}`},
	{"tele/plug/SENSOR", `{"Time":"2019-11-03T20:45:37","DS18B20":{"Temperature":20.6},"TempUnit":"C"}`},
	{"zigbee2mqtt/attic", `{"temperature":27.5}`},
	{"home/cellar", `{"p":1013.5}`},
	{"homie/5/car/engine/temp", "80.5"},
	{"homie/5/car/engine/plate", "0042"},
	{"ours/tele/SENSOR", `{"SI7021":{"Humidity":50}}`}, // has a route
}

// said is what the cloud is told of it.
var said = []string{
	`plant/gw online  true`, `plant/gw Temp Cel 21.5`, `plant/gw Temp Cel 22.5`,
	`device/child01// battery.voltage V 12.6`, `device/child01// fire.severity  "critical" alarm`,
	`plug DS18B20.Temperature Cel 20.6`, `attic temperature Cel 27.5`, `home/cellar p hPa 1013.5`,
	`car engine.temp Cel 80.5`, `car engine.plate  "0042"`, `ours SI7021.Humidity %RH 50`,
}

// Devices that nobody has configured are understood, also when the gateway was
// killed after they had said what their names and units are.
func TestDialectsAreUnderstoodUnconfiguredAndAfterKillNine(t *testing.T) {
	if _, err := exec.LookPath("mosquitto_pub"); err != nil {
		t.Skip("mosquitto_pub is missing: apt-get install mosquitto-clients")
	}
	s := newSite(t)
	s.more = "[[ingest.mqtt.route]]\ntopic = \"{device}/tele/+\"\ndecode = \"tasmota\"\n"
	s.configure("http://"+s.cloud+"/v1/ingest", "5s")
	gateway := s.startGateway()
	s.eventually("the broker listens", func() bool { return listens(s.mqtt) })
	s.speak(announcements, "-r")
	for range 2 {
		gateway.kill()
		gateway = s.startGateway()
		s.eventually("the broker listens", func() bool { return listens(s.mqtt) })
	}
	s.speak(telemetry)
	s.startCloud()
	s.eventuallyDelivered()
	var got []string
	for _, r := range s.export("") {
		text := fmt.Sprintf("%s %s %s %s", r.Device, r.Metric, r.Unit, r.Value)
		if r.Lane != "normal" {
			text += " " + r.Lane
		}
		got = append(got, text)
	}
	slices.Sort(got)
	want := slices.Sorted(slices.Values(said))
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// speak publishes messages, with acknowledgements.
func (s *site) speak(all []spoken, options ...string) {
	s.Helper()
	for i, m := range all {
		payload := []byte(m.text)
		if digits, ok := strings.CutPrefix(m.text, "hex:"); ok {
			var err error
			if payload, err = hex.DecodeString(digits); err != nil {
				s.Fatal(err)
			}
		}
		file := filepath.Join(s.dir, fmt.Sprint("payload-", i))
		if err := os.WriteFile(file, payload, 0o600); err != nil {
			s.Fatal(err)
		}
		s.mosquitto("mosquitto_pub", "mqttv311", append(options, "-q", "1", "-t", m.topic, "-f", file)...)
	}
}

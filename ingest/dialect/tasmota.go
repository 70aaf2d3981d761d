package dialect

import (
	"bytes"
	"slices"
	"strings"

	"github.com/tidegate/tidegate/ingest/decode"
	"github.com/tidegate/tidegate/reading"
)

// Tasmota decodes what Tasmota's firmware publishes: tele/DEVICE/SENSOR and the
// like, also where a user has set another order of topics, DEVICE/tele/SENSOR.
//
// Readings of one sensor are named by the sensor and the field, as they stand in
// the payload: "DS18B20.Temperature". Units come from TempUnit and its kin, and
// from what Tasmota documents of its fields. Times without a zone are local to
// wherever the device believes to be, so its readings are dated on arrival
// unless SetOption52 makes it tell the zone.
type Tasmota struct {
	json   *decode.JSON
	topics topics[tasmotaTopic]
}

// tasmotaTopic is what a topic says.
type tasmotaTopic struct {
	device string
	prefix string // tele or stat; empty if the topic carries no readings
	kind   string // the last level, SENSOR and so on
	// strange says that the topic is none of Tasmota's.
	strange bool
}

// NewTasmota returns a decoder. It is safe for concurrent use.
func NewTasmota() *Tasmota {
	return &Tasmota{
		json:   decode.NewJSON(decode.JSONConfig{TimeKeys: []string{"time", "epoch"}}),
		topics: topics[tasmotaTopic]{learn: learnTasmota},
	}
}

func learnTasmota(topic string) tasmotaTopic {
	levels := strings.Split(topic, "/")
	if len(levels) > 1 && levels[0] == "tasmota" && levels[1] == "discovery" {
		return tasmotaTopic{}
	}
	for i, level := range levels {
		if level != "tele" && level != "stat" && level != "cmnd" {
			continue
		}
		rest := slices.Delete(slices.Clone(levels), i, i+1)
		last := len(rest) - 1
		if last < 1 {
			break
		}
		t := tasmotaTopic{device: strings.Join(rest[:last], "/"), prefix: level, kind: rest[last]}
		if level == "cmnd" || t.kind == "LOGGING" {
			t.prefix = ""
		}
		return t
	}
	return tasmotaTopic{strange: true}
}

// Decode implements decode.Decoder.
func (d *Tasmota) Decode(dst []reading.Reading, f decode.Frame) ([]reading.Reading, error) {
	t := d.topics.find(f.Topic)
	if t.strange {
		return ordinary(d.json, dst, f)
	}
	if t.prefix == "" || len(f.Payload) == 0 {
		return dst, nil
	}
	f.Device = device(f, t.device)
	if t.kind == "LWT" {
		return lifeSign(dst, f)
	}
	if isObject(f.Payload) {
		return d.object(dst, f)
	}
	if f.Payload[0] == '[' { // not Tasmota's, which sends objects
		f.Metric = t.kind
		if rs, err := d.json.Decode(dst, f); err == nil {
			return rs, nil
		}
	}
	return append(dst, reading.Reading{Device: f.Device, Metric: t.kind, Value: d.plain(t.kind, f)}), nil
}

// lifeSign reads a last will, Online or Offline in any case.
func lifeSign(dst []reading.Reading, f decode.Frame) ([]reading.Reading, error) {
	online := bytes.EqualFold(f.Payload, []byte("online"))
	if !online && !bytes.EqualFold(f.Payload, []byte("offline")) {
		return dst, refuse(f, "neither online nor offline", "these are what this topic tells")
	}
	return append(dst, reading.Reading{Device: f.Device, Metric: "online", Value: reading.Bool(online)}), nil
}

// plain reads a payload that is no object: POWER ON, for example, or a text.
func (d *Tasmota) plain(kind string, f decode.Frame) reading.Value {
	f.Metric = kind
	if rs, err := d.json.Decode(nil, f); err == nil && len(rs) == 1 && rs[0].Metric == kind {
		return rs[0].Value
	}
	if on, ok := power(kind, string(f.Payload)); ok {
		return on
	}
	return text(f.Payload)
}

// power reads the state of a relay.
func power(metric, state string) (reading.Value, bool) {
	if !strings.HasPrefix(metric, "POWER") {
		return reading.Value{}, false
	}
	switch state {
	case "ON":
		return reading.Bool(true), true
	case "OFF":
		return reading.Bool(false), true
	}
	return reading.Value{}, false
}

// results are the names that Tasmota puts around what it also sends without.
var results = []string{"StatusSNS.", "StatusSTS."}

// object reads an object: names as they are, units from beside them.
func (d *Tasmota) object(dst []reading.Reading, f decode.Frame) ([]reading.Reading, error) {
	first := len(dst)
	dst, err := orNothing(d.json.Decode(dst, f))
	if err != nil {
		return dst, err
	}
	var told map[string]string
	kept := dst[:first]
	for _, r := range dst[first:] {
		for _, around := range results {
			r.Metric = strings.TrimPrefix(r.Metric, around)
		}
		last := lastOf(r.Metric, ".")
		if slices.Contains(unitNames, r.Metric) && r.Value.Kind() == reading.KindString {
			if told == nil {
				told = map[string]string{}
			}
			told[r.Metric] = r.Value.Text()
			continue
		}
		if last == "Time" && r.Value.Kind() == reading.KindString {
			continue // local to nobody knows where
		}
		if on, ok := power(last, r.Value.Text()); ok {
			r.Value = on
		}
		kept = append(kept, r)
	}
	for i := first; i < len(kept); i++ {
		kept[i].Unit = tasmotaUnit(kept[i].Metric, told)
	}
	return kept, nil
}

// unitNames are the fields that tell the units of others.
var unitNames = []string{"TempUnit", "PressureUnit", "SpeedUnit"}

// tasmotaUnits are the units of fields, by the last part of their names. Those
// in braces stand in the payload, under that name.
var tasmotaUnits = map[string]string{
	"Temperature": "{TempUnit}", "DewPoint": "{TempUnit}", "Humidity": "%RH",
	"Pressure": "{PressureUnit}", "SeaPressure": "{PressureUnit}", "QNH": "{PressureUnit}",
	"Illuminance": "lx", "CarbonDioxide": "ppm", "eCO2": "ppm", "TVOC": "ppb",
	"Total": "kWh", "Yesterday": "kWh", "Today": "kWh", "Power": "W", "ApparentPower": "VA", "ReactivePower": "var",
	"Voltage": "V", "Current": "A", "Frequency": "Hz",
	"Speed": "{SpeedUnit}", "Signal": "dBm", "UptimeSec": "s",
}

// energyOnly are those of them that mean this in ENERGY alone.
var energyOnly = []string{"Total", "Yesterday", "Today"}

func tasmotaUnit(metric string, told map[string]string) string {
	outer, last := "", metric
	if dot := strings.LastIndexByte(metric, '.'); dot >= 0 {
		outer, last = metric[:dot], metric[dot+1:]
	}
	// A meter of several phases has a list: ENERGY.Voltage.0.
	if strings.HasPrefix(outer, "ENERGY.") && isNumber(last) {
		return tasmotaUnit(outer, told)
	}
	unit := tasmotaUnits[last]
	switch {
	case outer != "ENERGY" && slices.Contains(energyOnly, last):
		return ""
	case outer == "" && !strings.HasPrefix(unit, "{") && last != "UptimeSec":
		return "" // Tasmota puts the name of a sensor around what it measures
	}
	switch unit {
	case "{TempUnit}":
		switch told["TempUnit"] {
		case "C":
			return "Cel"
		case "F":
			return "°F"
		}
		return ""
	case "{PressureUnit}":
		return senml(told["PressureUnit"], metric)
	case "{SpeedUnit}":
		return senml(told["SpeedUnit"], metric)
	}
	return unit
}

func isNumber(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

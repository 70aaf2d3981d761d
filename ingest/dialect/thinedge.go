package dialect

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/tidegate/tidegate/ingest/decode"
	"github.com/tidegate/tidegate/reading"
)

// ThinEdge decodes what thin-edge.io speaks (its MQTT API): te/IDENTIFIER/…,
// where the identifier has four levels, some of them empty:
// "device/main//". It is the device.
//
// Measurements, events, alarms, twin data and health are named by their type and
// their field, "environment.temperature". Alarms have the alarm lane; one that is
// cleared has the severity "cleared". Units come from …/m/TYPE/meta. An object
// with an "@type" on an identifier registers an entity and is no reading.
type ThinEdge struct {
	json   *decode.JSON
	topics topics[thinEdgeTopic]
	joined joined
}

// thinEdgeTopic is what a topic says.
type thinEdgeTopic struct {
	device  string
	channel string // m, e, a, twin or status; empty for what carries no readings
	typ     string
	meta    bool // units of the type are announced here
	strange bool // the topic is none of thin-edge's
	entity  bool // the topic is an identifier, or the beginning of one
}

// NewThinEdge returns a decoder. It is safe for concurrent use.
func NewThinEdge() *ThinEdge {
	return &ThinEdge{
		json:   decode.NewJSON(decode.JSONConfig{TimeKeys: []string{"time"}}),
		topics: topics[thinEdgeTopic]{learn: learnThinEdge},
	}
}

// identifierLevels is how many levels an identifier has.
const identifierLevels = 4

func learnThinEdge(topic string) thinEdgeTopic {
	levels := after(strings.Split(topic, "/"), "te")
	if len(levels) <= identifierLevels {
		return thinEdgeTopic{entity: true}
	}
	t := thinEdgeTopic{device: strings.Join(levels[:identifierLevels], "/")}
	channel := levels[identifierLevels:]
	switch channel[0] {
	case "m", "e", "a", "twin", "status":
	case "cmd", "signal":
		return t
	default:
		return thinEdgeTopic{strange: true}
	}
	switch {
	case len(channel) == 1: // without a type, some leave out the slash, too
		t.channel = channel[0]
	case len(channel) == 2:
		t.channel, t.typ = channel[0], channel[1]
	case len(channel) == 3 && channel[2] == "meta":
		t.channel, t.typ, t.meta = channel[0], channel[1], true
	default:
		t.channel, t.typ = channel[0], strings.Join(channel[1:], ".")
	}
	t.strange = len(t.typ) > maxPrefix
	return t
}

// Decode implements decode.Decoder.
func (d *ThinEdge) Decode(dst []reading.Reading, f decode.Frame) ([]reading.Reading, error) {
	t := d.topics.find(f.Topic)
	switch {
	case t.strange, t.typ == "" && t.channel != "" && len(f.Payload) > 0 && !isObject(f.Payload), t.entity && len(f.Payload) > 0 && !bytes.Contains(f.Payload, []byte(`"@type"`)):
		return ordinary(d.json, dst, f)
	case t.meta:
		return dst, d.learnUnits(f, &t)
	case t.channel == "a":
		return d.alarm(dst, f, &t)
	case t.channel == "" || len(f.Payload) == 0:
		return dst, nil
	}
	return d.fields(dst, f, &t)
}

// fields reads an object whose fields belong to a type.
func (d *ThinEdge) fields(dst []reading.Reading, f decode.Frame, t *thinEdgeTopic) ([]reading.Reading, error) {
	first := len(dst)
	f.Device, f.Metric = device(f, t.device), ""
	plain := !isObject(f.Payload)
	if plain {
		f.Metric = t.typ // twin data may be one plain value
	}
	dst, err := orNothing(d.json.Decode(dst, f))
	if err != nil || plain && t.typ != "" {
		return dst, err
	}
	for i := first; i < len(dst); i++ {
		dst[i].Metric = d.joined.with(t.typ, dst[i].Metric)
	}
	return dst, nil
}

// alarm reads an alarm. Clearing one empties its retained message.
func (d *ThinEdge) alarm(dst []reading.Reading, f decode.Frame, t *thinEdgeTopic) ([]reading.Reading, error) {
	first := len(dst)
	severity := reading.Reading{Device: device(f, t.device), Metric: d.joined.with(t.typ, "severity")}
	if len(f.Payload) == 0 {
		severity.Value, severity.Lane = reading.String("cleared"), reading.Alarm
		return append(dst, severity), nil
	}
	dst, err := d.fields(dst, f, t)
	if err != nil {
		return dst, err
	}
	told := false
	for i := first; i < len(dst); i++ {
		dst[i].Lane = reading.Alarm
		told = told || dst[i].Metric == severity.Metric
		severity.Time = dst[i].Time
	}
	if !told { // it is raised all the same
		severity.Value, severity.Lane = reading.String("unknown"), reading.Alarm
		dst = append(dst, severity)
	}
	return dst, nil
}

// learnUnits remembers the units of a type, in either form that thin-edge has
// had: {"units":{"temperature":"°C"}} and {"temperature":{"unit":"°C"}}. No
// payload at all takes them back.
func (d *ThinEdge) learnUnits(f decode.Frame, t *thinEdgeTopic) error {
	units := map[string]string{}
	if len(f.Payload) > 0 {
		var meta map[string]json.RawMessage
		if err := json.Unmarshal(f.Payload, &meta); err != nil {
			return notJSON(f, err)
		}
		for metric, raw := range meta {
			var described struct{ Unit string }
			if json.Unmarshal(raw, &described) == nil && described.Unit != "" {
				units[d.joined.with(t.typ, metric)] = described.Unit
			}
		}
		var all map[string]string
		if json.Unmarshal(meta["units"], &all) == nil {
			for metric, unit := range all {
				units[d.joined.with(t.typ, metric)] = unit
			}
		}
	}
	if t.channel == "m" {
		replaceUnits(f, strings.TrimSuffix(f.Topic, "/meta"), units)
	}
	return nil
}

// notJSON is the error for an announcement that is not what it should be.
func notJSON(f decode.Frame, err error) error {
	return fmt.Errorf("%w: an announcement of %d bytes is not the JSON that it should be: %v — hint: see what the project of the device documents for this topic",
		decode.ErrMalformed, len(f.Payload), err)
}

// isObject says whether a payload is a JSON object, if it is JSON at all.
func isObject(payload []byte) bool {
	for _, c := range payload {
		switch c {
		case ' ', '\t', '\r', '\n':
		default:
			return c == '{'
		}
	}
	return false
}

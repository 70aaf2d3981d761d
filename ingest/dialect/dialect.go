// Package dialect understands publishers that exist: conventions of topics and
// payloads over MQTT that devices speak out of the box. Each is a decoder like
// any other, except that it looks at the topic, and remembers what devices
// announce about themselves: names behind numbers, types, units. Known lists
// them with the topics that they are spoken on, for which they need no
// configuration.
//
// What a dialect does not know about a topic below its prefix is decoded as if
// nobody had described the topic. Commands to devices, and descriptions of them,
// are no readings. An empty payload is how a retained message is removed, and is
// none either. A payload is taken whole or refused whole, as everywhere.
//
// docs/connect/dialects.md has what becomes of each topic.
package dialect

import (
	"errors"
	"strings"

	"github.com/tidegate/tidegate/ingest/decode"
	"github.com/tidegate/tidegate/reading"
)

// Dialect is one of them.
type Dialect struct {
	// Name is what configurations call it.
	Name string
	// Topics are the templates of the topics that it is spoken on.
	Topics []string
	// New returns a decoder, which knows where in a topic its dialect begins:
	// at the level that names it, or else after the first.
	New func() decode.Decoder
}

// Known returns all dialects. Their topics have none in common.
func Known() []Dialect {
	return []Dialect{
		{"sparkplug", []string{"spBv1.0/#"}, func() decode.Decoder { return NewSparkplug() }},
		{"thin-edge", []string{"te/#"}, func() decode.Decoder { return NewThinEdge() }},
		{"tasmota", []string{"tele/#", "stat/#", "cmnd/#", "tasmota/discovery/#"}, func() decode.Decoder { return NewTasmota() }},
		{"zigbee2mqtt", []string{"zigbee2mqtt/#"}, func() decode.Decoder { return NewZigbee2MQTT() }},
		{"homeassistant", []string{"homeassistant/#"}, func() decode.Decoder { return NewHomeAssistant() }},
		{"homie", []string{"homie/#"}, func() decode.Decoder { return NewHomie() }},
	}
}

// after returns the levels of a topic behind the one of that name, or behind the
// first if none has it and there are more.
func after(levels []string, name string) []string {
	for i, l := range levels {
		if l == name {
			return levels[i+1:]
		}
	}
	return levels[min(1, len(levels)-1):]
}

// device returns who a frame is from: whom its route names, or else who the
// topic says.
func device(f decode.Frame, said string) string {
	if f.Device != "" && f.Device != f.Topic || said == "" {
		return f.Device
	}
	return said
}

// ordinary decodes payloads of topics that a dialect does not know.
func ordinary(json *decode.JSON, dst []reading.Reading, f decode.Frame) ([]reading.Reading, error) {
	if f.Device == "" || f.Device == f.Topic {
		f.Device = f.Topic
		return decode.Leaf{Decoder: json}.Decode(dst, f)
	}
	return json.Decode(dst, f)
}

// orNothing makes no readings of a payload that is well formed and has no value:
// devices send such when what they measure is not known.
func orNothing(rs []reading.Reading, err error) ([]reading.Reading, error) {
	if errors.Is(err, decode.ErrNoValue) {
		return rs, nil
	}
	return rs, err
}

// maxPrefix bounds in bytes what a topic puts before each name of a payload.
const maxPrefix = 128

// lastOf returns what stands behind the last separator of a name.
func lastOf(name, separator string) string {
	return name[strings.LastIndex(name, separator)+1:]
}

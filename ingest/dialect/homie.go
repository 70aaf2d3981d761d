package dialect

import (
	"fmt"
	"strings"

	"github.com/tidegate/tidegate/ingest/decode"
	"github.com/tidegate/tidegate/reading"
)

// Homie decodes the Homie convention, 5 and 4: homie/5/DEVICE/NODE/PROPERTY and
// homie/DEVICE/NODE/PROPERTY, whose metric is NODE.PROPERTY. Units and datatypes
// come from the $description of version 5, or the $unit and $datatype of version
// 4. Before anybody has told the datatype, numbers, booleans and objects are told
// by how they look.
//
// $state, $log and $alert are readings of that name, $stats of version 4 too;
// alerts have the alarm lane, and one that is over is an empty text.
type Homie struct {
	json   *decode.JSON
	topics topics[homieTopic]
}

// homieTopic is what a topic says.
type homieTopic struct {
	device, metric string
	kind           homieKind
	base           string // the topic of the device
	property       string // NODE/PROPERTY
}

type homieKind uint8

const (
	homieStrange homieKind = iota // none of Homie's
	homieNothing                  // commands, and attributes that do not matter here
	homieValue                    // of a property
	homieText                     // about a device
	homieAlert
	homieStats
	homieDescription
	homieUnit
	homieDatatype
)

// NewHomie returns a decoder. It is safe for concurrent use.
func NewHomie() *Homie {
	return &Homie{
		json:   decode.NewJSON(decode.JSONConfig{}),
		topics: topics[homieTopic]{learn: learnHomie},
	}
}

func learnHomie(topic string) homieTopic {
	levels := after(strings.Split(topic, "/"), "homie")
	if len(levels) > 0 && levels[0] == "5" {
		levels = levels[1:]
	}
	if len(levels) < 2 {
		return homieTopic{}
	}
	within := levels[1:]
	t := homieTopic{device: levels[0], metric: strings.Join(within, ".")}
	t.base = strings.TrimSuffix(topic, "/"+strings.Join(within, "/"))
	t.property = strings.Join(within[:min(2, len(within))], "/")
	switch n := len(within); {
	case levels[0] == "$broadcast":
		t.kind = homieNothing
	case n == 1 && within[0] == "$state", n == 2 && within[0] == "$log":
		t.kind = homieText
	case n == 2 && within[0] == "$alert":
		t.kind = homieAlert
	case n == 2 && within[0] == "$stats":
		t.kind = homieStats
	case n == 1 && within[0] == "$description":
		t.kind = homieDescription
	case n == 2 && !strings.HasPrefix(within[0], "$") && !strings.HasPrefix(within[1], "$"):
		t.kind = homieValue
	case n == 3 && within[2] == "$unit":
		t.kind = homieUnit
	case n == 3 && within[2] == "$datatype":
		t.kind = homieDatatype
	case strings.Contains(topic, "/$"), n == 3 && within[2] == "set":
		t.kind = homieNothing
	}
	return t
}

// Decode implements decode.Decoder.
func (d *Homie) Decode(dst []reading.Reading, f decode.Frame) ([]reading.Reading, error) {
	t := d.topics.find(f.Topic)
	if t.kind == homieStrange && len(f.Payload) > 0 {
		return ordinary(d.json, dst, f)
	}
	f.Device = device(f, t.device)
	one := reading.Reading{Device: f.Device, Metric: t.metric}
	switch {
	case t.kind <= homieNothing:
		return dst, nil
	case t.kind == homieDescription:
		return dst, t.describe(f)
	case t.kind == homieUnit:
		t.announceUnit(f, t.property, string(f.Payload))
		return dst, nil
	case t.kind == homieDatatype:
		t.announceType(f, string(f.Payload))
		return dst, nil
	case t.kind == homieAlert:
		one.Lane, one.Value = reading.Alarm, text(f.Payload)
		return append(dst, one), nil
	case len(f.Payload) == 0:
		return dst, nil
	case t.kind == homieText:
		one.Value = text(f.Payload)
		return append(dst, one), nil
	case t.kind == homieStats:
		return d.guess(dst, f, one)
	}
	return d.value(dst, f, &t, one)
}

// value reads the value of a property.
func (d *Homie) value(dst []reading.Reading, f decode.Frame, t *homieTopic, one reading.Reading) ([]reading.Reading, error) {
	if string(f.Payload) == "\x00" { // version 5 writes an empty text like this
		one.Value = reading.String("")
		return append(dst, one), nil
	}
	switch typ := datatype(f.Recall(t.key()), t.property); typ {
	case "integer", "float", "boolean":
		f.Metric = one.Metric
		first := len(dst)
		out, err := d.json.Decode(dst, f)
		if err != nil {
			return dst, err
		}
		if kind := out[first].Value.Kind(); len(out) > first+1 || kind == reading.KindString || (kind == reading.KindBool) != (typ == "boolean") {
			return dst, refuse(f, "no "+typ, "that is what the device says of this property")
		}
		return out, nil
	case "json":
		return d.fields(dst, f, one)
	case "string", "enum", "color", "datetime", "duration":
		one.Value = text(f.Payload)
		return append(dst, one), nil
	}
	return d.guess(dst, f, one)
}

// fields reads a value of datatype json, whose names go behind the metric's.
func (d *Homie) fields(dst []reading.Reading, f decode.Frame, one reading.Reading) ([]reading.Reading, error) {
	first := len(dst)
	if !isObject(f.Payload) {
		f.Metric = one.Metric
		return orNothing(d.json.Decode(dst, f))
	}
	if len(one.Metric) > maxPrefix {
		return dst, refuse(f, "an object on too long a topic", fmt.Sprintf("node and property may have %d bytes", maxPrefix))
	}
	dst, err := orNothing(d.json.Decode(dst, f))
	if err != nil {
		return dst, err
	}
	for i := first; i < len(dst); i++ {
		dst[i].Metric = one.Metric + "." + dst[i].Metric
	}
	return dst, nil
}

// guess reads a number, a boolean, or an object or array in JSON; anything else is
// a text.
func (d *Homie) guess(dst []reading.Reading, f decode.Frame, one reading.Reading) ([]reading.Reading, error) {
	if f.Payload[0] != '"' {
		if rs, err := d.fields(dst, f, one); err == nil && len(rs) > len(dst) {
			return rs, nil
		}
	}
	one.Value = text(f.Payload)
	return append(dst, one), nil
}

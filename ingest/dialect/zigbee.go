package dialect

import (
	"encoding/json"
	"path"
	"strings"

	"github.com/tidegate/tidegate/ingest/decode"
	"github.com/tidegate/tidegate/reading"
)

// Zigbee2MQTT decodes what Zigbee2MQTT publishes: zigbee2mqtt/NAME with the state
// of a device or a group, of the friendly name NAME, which may have slashes. Its
// fields are the metrics, last_seen is their time. Units come from
// zigbee2mqtt/bridge/devices, which describes all devices.
type Zigbee2MQTT struct {
	json   *decode.JSON
	topics topics[zigbeeTopic]
}

// zigbeeTopic is what a topic says.
type zigbeeTopic struct {
	device string
	kind   zigbeeKind
	base   string // the topic before the friendly name
}

type zigbeeKind uint8

const (
	zigbeeState   zigbeeKind = iota
	zigbeeOnline             // whether a device or the bridge is
	zigbeeDevices            // the descriptions of all devices
	zigbeeNothing            // commands, and what the bridge says about itself
)

// NewZigbee2MQTT returns a decoder. It is safe for concurrent use.
func NewZigbee2MQTT() *Zigbee2MQTT {
	return &Zigbee2MQTT{
		json:   decode.NewJSON(decode.JSONConfig{TimeKeys: []string{"last_seen"}}),
		topics: topics[zigbeeTopic]{learn: learnZigbee},
	}
}

func learnZigbee(topic string) zigbeeTopic {
	levels := strings.Split(topic, "/")
	name := after(levels, "zigbee2mqtt")
	t := zigbeeTopic{device: strings.Join(name, "/")}
	t.base = strings.TrimSuffix(topic, t.device)
	last := len(name) - 1
	switch {
	case last < 0: // there is no name
	case name[0] == "bridge":
		t.device = "bridge"
		t.kind = zigbeeNothing
		switch t.rest(topic) {
		case "bridge/state":
			t.kind = zigbeeOnline
		case "bridge/devices":
			t.kind = zigbeeDevices
		}
	case last > 0 && name[last] == "availability":
		t.kind = zigbeeOnline
		t.device = strings.Join(name[:last], "/")
	case last > 0 && (name[last] == "set" || name[last] == "get"),
		last > 1 && (name[last-1] == "set" || name[last-1] == "get"):
		t.kind = zigbeeNothing
	}
	return t
}

func (t *zigbeeTopic) rest(topic string) string { return strings.TrimPrefix(topic, t.base) }

// Decode implements decode.Decoder.
func (d *Zigbee2MQTT) Decode(dst []reading.Reading, f decode.Frame) ([]reading.Reading, error) {
	t := d.topics.find(f.Topic)
	if t.kind == zigbeeNothing || len(f.Payload) == 0 {
		return dst, nil
	}
	switch t.kind {
	case zigbeeDevices:
		return dst, t.devices(f)
	case zigbeeOnline:
		f.Device = device(f, t.device)
		return online(dst, f)
	}
	if f.Device == "" || f.Device == f.Topic {
		f.Device = device(f, t.device)
		return t.attribute(dst, f, d.json)
	}
	return orNothing(d.json.Decode(dst, f))
}

// attribute reads a state, or one field of it on a topic of its own, which has the
// unit that it has in the state.
func (t *zigbeeTopic) attribute(dst []reading.Reading, f decode.Frame, json *decode.JSON) ([]reading.Reading, error) {
	first := len(dst)
	dst, err := orNothing(decode.Leaf{Decoder: json}.Decode(dst, f))
	state, field := path.Split(f.Topic)
	if f.Memory != nil && len(dst) == first+1 && dst[first].Unit == "" && dst[first].Metric == field {
		dst[first].Unit = f.Memory.Units(strings.TrimSuffix(state, "/"))[field]
	}
	return dst, err
}

// online reads {"state":"online"}, and the plain word that older releases send.
func online(dst []reading.Reading, f decode.Frame) ([]reading.Reading, error) {
	if isObject(f.Payload) {
		var said struct{ State string }
		if err := json.Unmarshal(f.Payload, &said); err != nil {
			return dst, notJSON(f, err)
		}
		f.Payload = []byte(said.State)
	}
	return lifeSign(dst, f)
}

// zigbeeDevice is an entry of bridge/devices, as far as it matters here.
type zigbeeDevice struct {
	FriendlyName string `json:"friendly_name"`
	Definition   struct{ Exposes []expose }
}

// expose is a capability. Those with features have no value of their own, but
// may be the object that the features' values stand in.
type expose struct {
	Property, Unit string
	Features       []expose
}

// devices remembers the units of all devices.
func (t *zigbeeTopic) devices(f decode.Frame) error {
	var all []zigbeeDevice
	if err := json.Unmarshal(f.Payload, &all); err != nil {
		return notJSON(f, err)
	}
	for _, d := range all {
		for _, e := range d.Definition.Exposes {
			e.remember(f, t.base+d.FriendlyName, "")
		}
	}
	return nil
}

func (e expose) remember(f decode.Frame, topic, outer string) {
	metric := e.Property
	if outer != "" && metric != "" {
		metric = outer + "." + metric
	} else if metric == "" {
		metric = outer
	}
	if len(metric) > maxMetricName {
		return
	}
	if e.Unit != "" && metric != "" {
		rememberUnit(f, topic, metric, e.Unit)
	}
	for _, feature := range e.Features {
		feature.remember(f, topic, metric)
	}
}

package dialect

import (
	"encoding/json"
	"strings"

	"github.com/tidegate/tidegate/ingest/decode"
	"github.com/tidegate/tidegate/internal/inorder"
	"github.com/tidegate/tidegate/reading"
)

// HomeAssistant reads the discovery messages that devices send for Home
// Assistant, homeassistant/COMPONENT/[NODE/]OBJECT/config and
// homeassistant/device/ID/config, and remembers which unit the values on which
// state topic have. They give no readings; those come on the state topics, as
// whatever these mean.
//
// A unit belongs to one field if the value template is no more than a path to
// it, {{ value_json.a.b }} or {{ value_json['a'] }}, filters that round or
// convert aside. Without a template it belongs to the plain value, which is named
// by the last level of its topic.
type HomeAssistant struct{ json *decode.JSON }

// NewHomeAssistant returns a decoder. It is safe for concurrent use.
func NewHomeAssistant() *HomeAssistant {
	return &HomeAssistant{decode.NewJSON(decode.JSONConfig{})}
}

// Decode implements decode.Decoder.
func (d *HomeAssistant) Decode(dst []reading.Reading, f decode.Frame) ([]reading.Reading, error) {
	levels := after(strings.Split(f.Topic, "/"), "homeassistant")
	switch n := len(levels); {
	case (n == 3 || n == 4) && levels[n-1] == "config":
		return dst, d.config(f)
	case n == 1 && levels[0] == "status": // of Home Assistant itself
		return dst, nil
	case len(f.Payload) == 0:
		return dst, nil
	}
	return ordinary(d.json, dst, f) // some devices send their states here, too
}

// entity is what a discovery message says of one, as far as it matters here. Keys have
// a short form each.
type entity map[string]json.RawMessage

// text returns the string under either of a key's forms; empty if there is none.
func (e entity) text(long, short string) string {
	var s string
	for _, key := range []string{long, short} {
		if json.Unmarshal(e[key], &s) == nil {
			return s
		}
	}
	return ""
}

// topic is text for topics, in which "~" at either end stands for a base.
func (e entity) topic(base string) string {
	t := e.text("state_topic", "stat_t")
	if rest, ok := strings.CutPrefix(t, "~"); ok {
		t = base + rest
	}
	if rest, ok := strings.CutSuffix(t, "~"); ok {
		t = rest + base
	}
	return t
}

// measured is a value with a unit.
type measured struct{ topic, metric, unit string }

// config learns what a message announces, and forgets what the one before did.
func (d *HomeAssistant) config(f decode.Frame) error {
	var now []measured
	if len(f.Payload) > 0 {
		var all entity
		if err := json.Unmarshal(f.Payload, &all); err != nil {
			return notJSON(f, err)
		}
		now = all.measured()
	}
	key := "homeassistant/" + f.Topic
	stays := make(map[measured]bool, len(now))
	for _, m := range now {
		stays[measured{topic: m.topic, metric: m.metric}] = true
	}
	for _, m := range announcedBefore(f.Recall(key)) {
		if f.Memory != nil && !stays[m] {
			f.Memory.RememberUnit(m.topic, m.metric, "")
		}
	}
	var note []byte
	for _, m := range now {
		rememberUnit(f, m.topic, m.metric, m.unit)
		note = append(note, m.topic+"\x00"+m.metric+"\n"...)
	}
	f.Remember(key, note)
	return nil
}

// announcedBefore is what a note says: a topic and a metric a line.
func announcedBefore(note []byte) (before []measured) {
	for line := range strings.Lines(string(note)) {
		topic, metric, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\x00")
		before = append(before, measured{topic: topic, metric: metric})
	}
	return before
}

// measured returns the values with units of a message about one entity, or about
// all components of a device, which share the base and maybe the topic.
func (e entity) measured() []measured {
	base := e.text("~", "~")
	shared := e.topic(base)
	components := map[string]entity{}
	for _, key := range []string{"components", "cmps"} {
		var some map[string]entity
		if json.Unmarshal(e[key], &some) == nil {
			for id, c := range some {
				components[id] = c
			}
		}
	}
	var all []measured
	all = e.appendTo(all, shared)
	for _, c := range components {
		own := c.text("~", "~")
		if own == "" {
			own = base
		}
		topic := c.topic(own)
		if topic == "" {
			topic = shared
		}
		all = c.appendTo(all, topic)
	}
	inorder.Sort(all, func(a, b measured) int { return strings.Compare(a.topic+"\x00"+a.metric, b.topic+"\x00"+b.metric) })
	return all
}

func (e entity) appendTo(all []measured, topic string) []measured {
	unit := e.text("unit_of_measurement", "unit_of_meas")
	metric, ok := metricOf(e.text("value_template", "val_tpl"), topic)
	if unit == "" || topic == "" || !ok || len(metric) > maxMetricName || strings.ContainsAny(topic+metric, "\x00\n") {
		return all
	}
	if unit == "%" && e.text("device_class", "dev_cla") == "humidity" {
		unit = "%RH"
	}
	return append(all, measured{topic, metric, unit})
}

package uplink

import (
	"fmt"
	"strings"
)

// Template makes an address (a topic, a routing key, a subject, a stream) out of
// what is in a message:
//
//	plant/{gateway}/{device}
//
// The names are gateway, epoch, lane, device and metric. The last two are known
// of parts only.
type Template struct {
	text  string
	names []string // in their order
	texts []string // before, between and after the names
}

// templateNames are the names that a Template may have.
const templateNames = "{gateway}, {epoch}, {lane}, {device} and {metric}"

// ParseTemplate parses the text of a template. An empty one expands to "".
func ParseTemplate(text string) (Template, error) {
	t, rest := Template{text: text}, text
	for {
		before, after, found := strings.Cut(rest, "{")
		if strings.Contains(before, "}") {
			return Template{}, fmt.Errorf("%q has a } without a { — hint: names stand in braces: %s", text, templateNames)
		}
		t.texts = append(t.texts, before)
		if !found {
			return t, nil
		}
		name, tail, closed := strings.Cut(after, "}")
		if !closed {
			return Template{}, fmt.Errorf("%q has a { without a } — hint: names stand in braces: %s", text, templateNames)
		}
		switch name {
		case "gateway", "epoch", "lane", "device", "metric":
		default:
			return Template{}, fmt.Errorf("%q has the name {%s} — hint: the names are %s", text, name, templateNames)
		}
		t.names, rest = append(t.names, name), tail
	}
}

// String returns the template's text.
func (t Template) String() string { return t.text }

// Needs says what a message must be cut by for the template to have all its
// names: "" for nothing, "device" or "metric".
func (t Template) Needs() string {
	needs := ""
	for _, name := range t.names {
		if name == "metric" || name == "device" && needs == "" {
			needs = name
		}
	}
	return needs
}

// Expand returns the address of a part of the message. escape is given each
// name's value, and returns what may stand in an address; nil takes it as it is.
func (t Template) Expand(m Message, p Part, escape func(string) string) string {
	if len(t.names) == 0 {
		return t.text
	}
	var b strings.Builder
	for i, name := range t.names {
		b.WriteString(t.texts[i])
		value := t.value(name, m, p)
		if escape != nil {
			value = escape(value)
		}
		b.WriteString(value)
	}
	b.WriteString(t.texts[len(t.names)])
	return b.String()
}

func (Template) value(name string, m Message, p Part) string {
	switch name {
	case "gateway":
		return m.Gateway
	case "epoch":
		return fmt.Sprintf("%016x", m.Epoch)
	case "lane":
		return m.Lane.String()
	case "device":
		return p.Device
	}
	return p.Metric
}

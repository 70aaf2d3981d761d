package encode

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/tidegate/tidegate/internal/inorder"
	"github.com/tidegate/tidegate/reading"
)

// place is where a text stands in a line, which decides what must be escaped.
type place uint8

const (
	inMeasurement place = iota
	inTag               // keys and values of tags, and names of fields
	inText              // a value in quotes
)

// escape appends s as it must be written. Line ends cannot be written in names
// at all: "_" stands for them there, as for every control character, and for a
// backslash before the end or before what is escaped: InfluxDB takes two of them for
// two, VictoriaMetrics for one that escapes nothing more, and then it passes the line
// over, and says 204. Texts may hold line
// ends, but not every reader finds the end of such a line; they are written as a
// backslash and a letter.
func escape(dst []byte, s string, in place) []byte {
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\ufffd")
	}
	for i := range len(s) {
		c := s[i]
		switch {
		case in == inText && (c == '"' || c == '\\'):
			dst = append(dst, '\\', c)
		case in == inText && c == '\n':
			dst = append(dst, `\\n`...)
		case in == inText && c == '\r':
			dst = append(dst, `\\r`...)
		case in == inText:
			dst = append(dst, c)
		case c < ' ' || c == 0x7f, c == '\\' && (i == len(s)-1 || isEscaped(s[i+1], in)):
			dst = append(dst, '_')
		case isEscaped(c, in):
			dst = append(dst, '\\', c)
		default:
			dst = append(dst, c)
		}
	}
	return dst
}

// isEscaped reports whether a backslash stands before the character in a name.
func isEscaped(c byte, in place) bool { return c == ',' || c == ' ' || c == '=' && in == inTag }

// template is a text with the names of what a reading puts there.
type template []segment

// segment is a literal text or a name.
type segment struct{ text, name string }

// parseTemplate reads "text {name} text".
func parseTemplate(text string) (template, error) {
	names := []string{"gateway", "lane", "device", "metric", "unit"}
	var t template
	for rest := text; rest != ""; {
		literal, behind, found := strings.Cut(rest, "{")
		if literal != "" {
			t = append(t, segment{text: literal})
		}
		if !found {
			break
		}
		name, after, closed := strings.Cut(behind, "}")
		if !closed || !slices.Contains(names, name) {
			return nil, fmt.Errorf("%q is no template — hint: {%s} may stand in it", text, strings.Join(names, "}, {"))
		}
		t, rest = append(t, segment{name: name}), after
	}
	return t, nil
}

// append appends what the template says of a reading.
func (t template) append(dst []byte, h *head, r *reading.Reading, in place) []byte {
	for _, s := range t {
		text := s.text
		switch s.name {
		case "gateway":
			text = h.gateway
		case "lane":
			text = h.lane.String()
		case "device":
			text = r.Device
		case "metric":
			text = r.Metric
		case "unit":
			text = r.Unit
		}
		dst = escape(dst, text, in)
	}
	return dst
}

// newLine returns the format, or what is wrong with its configuration.
func newLine(cfg LineConfig) (format, error) {
	l := line{kindsApart: cfg.KindsApart, lineState: new(lineState)}
	var err error
	if l.measurement, err = parseTemplate(orElse(cfg.Measurement, DefaultMeasurement)); err != nil {
		return nil, err
	}
	if l.field, err = parseTemplate(orElse(cfg.Field, DefaultField)); err != nil {
		return nil, err
	}
	tags := cfg.Tags
	if len(tags) == 0 {
		tags = DefaultTags()
	}
	for _, text := range tags {
		tag, err := parseTag(text)
		if err != nil {
			return nil, err
		}
		l.tags = append(l.tags, tag)
	}
	// The order that InfluxDB has them in itself.
	inorder.Sort(l.tags, func(a, b lineTag) int { return strings.Compare(a.key, b.key) })
	for i := 1; i < len(l.tags); i++ {
		if l.tags[i].key == l.tags[i-1].key {
			return nil, fmt.Errorf("tag %q is there twice — hint: give each a key of its own", l.tags[i].key)
		}
	}
	return l, nil
}

func parseTag(text string) (lineTag, error) {
	key, value, found := strings.Cut(text, "=")
	switch {
	case !found || key == "" || value == "":
		return lineTag{}, fmt.Errorf(`%q is no tag — hint: write for example "device={device}"`, text)
	case key == "time" || strings.HasPrefix(key, "_"):
		return lineTag{}, fmt.Errorf("tag key %q is kept for InfluxDB itself — hint: choose another", key)
	case strings.ContainsAny(key, "{}"):
		return lineTag{}, errors.New("a tag key cannot be a template — hint: names go behind the =")
	}
	t, err := parseTemplate(value)
	if err != nil {
		return lineTag{}, fmt.Errorf("tag %s: %w", key, err)
	}
	return lineTag{string(escape(nil, key, inTag)), t}, nil
}

func orElse(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

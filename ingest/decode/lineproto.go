package decode

import (
	"bytes"
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/tidegate/tidegate/reading"
)

// LineProtocolConfig says what measurements, tags and fields become. The zero
// value takes what Telegraf sends.
type LineProtocolConfig struct {
	// DeviceTags are tags that name the device; the first of them that a line
	// has counts, and Frame.Device if it has none. Empty means device and host.
	DeviceTags []string `toml:"device_tags"`
	// KeepDevice says that every reading is of Frame.Device, whatever the tags
	// say. No tag names the device then.
	KeepDevice bool `toml:"keep_device"`
	// Metric is what the metrics are called: "measurement.field" or "field".
	// Empty means the former.
	Metric string `toml:"metric"`
	// SkipTags are tags that are left out; "*" stands for all. The values of the
	// others stand in the metric's name before the field, in the order of the
	// tags' keys: "cpu,host=a,cpu=cpu0 idle=3" is cpu.cpu0.idle of a.
	SkipTags []string `toml:"skip_tags"`
	// TimeUnit is the unit of the timestamps.
	TimeUnit TimeUnit `toml:"time_unit"`
	// MaxReadings bounds the readings of one payload. Zero means 4096.
	MaxReadings int `toml:"max_readings"`
}

// LineProtocol decodes InfluxDB's line protocol, one or several lines in a
// payload: measurement,tag=value field=1.5,other=2i 1556813561098000000. Each
// field is a reading; integers (2i) and unsigned ones (2u) are KindInt, except
// those beyond 2^63, which are floats. Comments and blank lines are left out.
// A timestamp that is no plausible time counts as none.
//
// A payload is taken whole or refused whole. Refused are: lines that do not
// follow the grammar, names with control characters, texts that are not UTF-8,
// numbers that are too large, metrics of more than 256 bytes, more than 64 tags
// in a line, more than MaxReadings, and payloads that hold no line.
type LineProtocol struct {
	*textReader
	devices   []string
	skip      map[string]bool
	skipAll   bool
	fieldOnly bool
}

const maxTags = 64

// NewLineProtocol returns a decoder. It is safe for concurrent use.
func NewLineProtocol(cfg LineProtocolConfig) (*LineProtocol, error) {
	text, err := newTextReader(TextConfig{TimeUnit: cfg.TimeUnit, MaxReadings: cfg.MaxReadings})
	if err != nil {
		return nil, err
	}
	d := &LineProtocol{textReader: text, devices: cfg.DeviceTags, skip: make(map[string]bool)}
	if cfg.KeepDevice && len(cfg.DeviceTags) > 0 {
		return nil, fmt.Errorf("keep_device is set, and device_tags as well — hint: set one of them")
	}
	if len(d.devices) == 0 && !cfg.KeepDevice {
		d.devices = []string{"device", "host"}
	}
	switch cfg.Metric {
	case "", "measurement.field":
	case "field":
		d.fieldOnly = true
	default:
		return nil, fmt.Errorf("metric is %q — hint: \"measurement.field\" or \"field\"", cfg.Metric)
	}
	for _, tag := range cfg.SkipTags {
		if slices.Contains(d.devices, tag) {
			return nil, fmt.Errorf("skip_tags: %q names the device — hint: take it out of skip_tags, or of device_tags", tag)
		}
		d.skip[tag] = true
	}
	d.skipAll = d.skip["*"]
	return d, nil
}

// Decode implements Decoder.
func (d *LineProtocol) Decode(dst []reading.Reading, f Frame) ([]reading.Reading, error) {
	p := lineParser{LineProtocol: d, payload: withoutNUL(f.Payload), out: dst, own: f.Device, room: d.maxReadings}
	for p.more() {
		if problem, hint := p.line(); problem != "" {
			line := 1 + bytes.Count(p.payload[:min(p.pos, len(p.payload))], []byte("\n"))
			return dst, malformed(fmt.Sprintf("line %d: %s", line, problem), p.pos, f.Payload, hint)
		}
	}
	if len(p.out) == len(dst) {
		return dst, malformed("no line found", p.pos, f.Payload, "a payload needs at least one line with a field")
	}
	return p.out, nil
}

// tag is one tag of a line.
type tag struct{ key, value []byte }

// lineParser walks one payload.
type lineParser struct {
	*LineProtocol
	payload []byte
	pos     int
	out     []reading.Reading
	own     string
	room    int
	scratch []byte // of names and texts with escapes in them

	// of the line at hand
	tags   [maxTags]tag
	count  int
	path   [maxName]byte // the metric up to the field
	length int
}

const grammarHint = "a line is written measurement,tag=value field=1.5,other=2i timestamp"

// more skips blank lines and comments and says whether a line follows.
func (p *lineParser) more() bool {
	for p.pos < len(p.payload) {
		switch c := p.payload[p.pos]; c {
		case ' ', '\n', '\r':
			p.pos++
		case '#':
			end := bytes.IndexByte(p.payload[p.pos:], '\n')
			if end < 0 {
				end = len(p.payload) - p.pos
			}
			p.pos += end
		default:
			return true
		}
	}
	return false
}

// line takes one line.
func (p *lineParser) line() (problem, hint string) {
	p.scratch = p.scratch[:0]
	p.count = 0
	measurement, ok := p.name(", ", " ,")
	if !ok || len(measurement) == 0 {
		return "no name of a measurement", grammarHint
	}
	for p.at(',') {
		if problem := p.tag(); problem != "" {
			return problem, grammarHint
		}
	}
	device, ok := p.begin(measurement)
	if !ok {
		return "a name of more than 256 bytes", "names of measurement, tags and field together may have 256 bytes"
	}
	first := len(p.out)
	if !p.blanks() {
		return "no fields", grammarHint
	}
	for more := true; more; more = p.at(',') {
		if problem, hint := p.field(device); problem != "" {
			return problem, hint
		}
	}
	at, problem := p.timestamp()
	for i := first; i < len(p.out); i++ {
		p.out[i].Time = at
	}
	return problem, grammarHint
}

// at takes a character, if it is next.
func (p *lineParser) at(c byte) bool {
	if p.pos < len(p.payload) && p.payload[p.pos] == c {
		p.pos++
		return true
	}
	return false
}

// blanks takes one blank or more.
func (p *lineParser) blanks() bool {
	start := p.pos
	for p.at(' ') {
	}
	return p.pos > start
}

// name takes a name that ends before one of the characters in ends, of which a
// backslash before one in escapes makes a part of the name. ok is false if the
// name is not UTF-8 or has control characters.
func (p *lineParser) name(ends, escapes string) (name []byte, ok bool) {
	start, first := p.pos, len(p.scratch)
	plain := true
scan:
	for ; p.pos < len(p.payload); p.pos++ {
		c := p.payload[p.pos]
		switch {
		case c == '\\' && p.pos+1 < len(p.payload) && contains(escapes, p.payload[p.pos+1]):
			p.scratch = append(p.scratch, p.payload[start:p.pos]...)
			p.pos++
			start = p.pos
		case c < ' ' || c == 0x7f:
			if c == '\n' || c == '\r' {
				break scan
			}
			return nil, false
		case c >= utf8.RuneSelf:
			plain = false
		case contains(ends, c):
			break scan
		}
	}
	name = p.payload[start:p.pos]
	if len(p.scratch) > first {
		p.scratch = append(p.scratch, name...)
		name = p.scratch[first:]
	}
	return name, plain || utf8.Valid(name)
}

func contains(set string, c byte) bool {
	for i := range len(set) {
		if set[i] == c {
			return true
		}
	}
	return false
}

// tag takes a tag behind its comma and keeps the tags in the order of their
// keys, in which most clients send them.
func (p *lineParser) tag() (problem string) {
	key, ok := p.name(",= ", ",= ")
	if !ok || len(key) == 0 || !p.at('=') {
		return "no key of a tag"
	}
	value, ok := p.name(",= ", ",= ")
	if !ok || len(value) == 0 {
		return "no value of the tag " + quote(key)
	}
	if p.count == maxTags {
		return "more than 64 tags"
	}
	i := p.count
	for ; i > 0 && bytes.Compare(p.tags[i-1].key, key) > 0; i-- {
		p.tags[i] = p.tags[i-1]
	}
	p.tags[i] = tag{key, value}
	p.count++
	return ""
}

// begin finds the device, and the beginning of the metrics.
func (p *lineParser) begin(measurement []byte) (device string, ok bool) {
	device = p.own
	by := -1
	for _, name := range p.devices {
		by = slices.IndexFunc(p.tags[:p.count], func(t tag) bool { return string(t.key) == name })
		if by < 0 {
			continue
		}
		if len(p.tags[by].value) > maxName {
			return "", false
		}
		device = p.names.find(p.tags[by].value).name
		break
	}
	p.length = 0
	if !p.fieldOnly && !p.enter(measurement) {
		return "", false
	}
	for i, t := range p.tags[:p.count] {
		if i != by && !p.skipAll && !p.skip[string(t.key)] && !p.enter(t.value) {
			return "", false
		}
	}
	return device, true
}

// enter appends a part to the metric.
func (p *lineParser) enter(part []byte) bool {
	if p.length > 0 && p.length < maxName {
		p.path[p.length] = '.'
		p.length++
	}
	if p.length+len(part) > maxName {
		return false
	}
	p.length += copy(p.path[p.length:], part)
	return true
}

// field takes a field.
func (p *lineParser) field(device string) (problem, hint string) {
	key, ok := p.name(",= ", ",= ")
	if !ok || len(key) == 0 || !p.at('=') {
		return "no key of a field", grammarHint
	}
	v, problem := p.value()
	if problem != "" {
		return "field " + quote(key) + ": " + problem, grammarHint
	}
	if p.room == 0 {
		return "too many readings", "split the payload, or raise max_readings"
	}
	p.room--
	length := p.length
	if !p.enter(key) {
		return "a name of more than 256 bytes", "names of measurement, tags and field together may have 256 bytes"
	}
	metric := p.names.find(p.path[:p.length]).name
	p.length = length
	p.out = append(p.out, reading.Reading{Device: device, Metric: metric, Value: v})
	return "", ""
}

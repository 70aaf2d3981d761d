package encode

import (
	"bytes"
	"slices"
	"strconv"

	"github.com/tidegate/tidegate/reading"
)

// LineConfig says how readings become points of InfluxDB's line protocol:
//
//	tidegate,device=boiler,gateway=north-7 temp=21.37,on=true 1700000000123000000
//
// Measurement and the values of tags are templates with the names {gateway},
// {lane}, {device}, {metric} and {unit}.
type LineConfig struct {
	// Measurement names the measurement. Empty stands for "tidegate".
	Measurement string
	// Tags are "key=template"; none stand for DefaultTags. A tag whose value is
	// empty is left out.
	Tags []string
	// Field names the field. Empty stands for "{metric}".
	Field string
	// KindsApart gives texts a field of their own, with "_text" behind the
	// name, and booleans one with "_bool": InfluxDB refuses a point in whose
	// field it has seen another kind.
	KindsApart bool
}

// The defaults of LineConfig.
const (
	DefaultMeasurement = "tidegate"
	DefaultField       = "{metric}"
)

// DefaultTags returns the tags that tell a device from all others.
func DefaultTags() []string { return []string{"device={device}", "gateway={gateway}"} }

// Check returns what is wrong with a configuration; its errors end in a hint.
func (c LineConfig) Check() error {
	_, err := newLine(c)
	return err
}

// line writes line protocol. Consecutive readings of one series of tags and one
// time share a line. All numbers are floats, so that a metric that reads 21 now
// and 21.5 next stays one field; those beyond 2^53 are rounded by whoever reads
// them. NaN, infinities and opaque bytes have no representation and are left
// out. Times are in nanoseconds.
//
// InfluxDB keeps one value a series, field and time, so what is sent again
// changes nothing. Two readings of one metric at the same nanosecond become one
// there.
type line struct {
	measurement template
	tags        []lineTag
	field       template
	kindsApart  bool
	*lineState
}

type lineTag struct {
	key   string
	value template
}

// lineState is working memory.
type lineState struct {
	key, next []byte   // measurement and tags of the open line, and of a reading
	name      []byte   // of a field
	fields    [][]byte // names of the open line's fields; each keeps its memory
	used      int      // of fields
	time      int64    // of the open line
}

func (line) contentType() string { return TextType }

func (l line) append(dst []byte, p piece) ([]byte, int) {
	left := 0
	l.used = 0
	for i := range p.len() {
		_, r := p.at(i)
		if !sayable(r.Value) {
			left++
			continue
		}
		l.next = l.appendKey(l.next[:0], p.head, r)
		l.name = l.appendField(l.name[:0], p.head, r)
		switch {
		case l.used == 0:
			dst = l.open(dst, r.Time)
		case r.Time != l.time || l.used == maxRow || !bytes.Equal(l.key, l.next) || l.has(l.name):
			dst = l.open(l.close(dst), r.Time)
		default:
			dst = append(dst, ',')
		}
		l.note(l.name)
		dst = append(append(dst, l.name...), '=')
		dst = appendLineValue(dst, r.Value)
	}
	if l.used > 0 {
		dst = l.close(dst)
	}
	return dst, left
}

// sayable says whether line protocol has such values.
func sayable(v reading.Value) bool {
	switch v.Kind() {
	case reading.KindBytes:
		return false
	case reading.KindFloat:
		return finite(v.Float())
	}
	return true
}

// open begins a line with the next key.
func (s *lineState) open(dst []byte, at int64) []byte {
	s.key, s.next = s.next, s.key
	s.time, s.used = at, 0
	return append(append(dst, s.key...), ' ')
}

func (s *lineState) close(dst []byte) []byte {
	dst = strconv.AppendInt(append(dst, ' '), s.time, 10)
	return append(dst, '\n')
}

func (s *lineState) has(name []byte) bool {
	return slices.ContainsFunc(s.fields[:s.used], func(f []byte) bool { return bytes.Equal(f, name) })
}

func (s *lineState) note(name []byte) {
	if s.used == len(s.fields) {
		s.fields = append(s.fields, nil)
	}
	s.fields[s.used] = append(s.fields[s.used][:0], name...)
	s.used++
}

// appendKey appends the measurement and the tags.
func (l line) appendKey(dst []byte, h *head, r *reading.Reading) []byte {
	start := len(dst)
	dst = l.measurement.append(dst, h, r, inMeasurement)
	switch {
	case len(dst) == start:
		dst = append(dst, DefaultMeasurement...)
	case dst[start] == '#': // a line that begins with it is a comment
		dst[start] = '_'
	}
	for _, t := range l.tags {
		before := len(dst)
		dst = append(append(append(dst, ','), t.key...), '=')
		value := len(dst)
		if dst = t.value.append(dst, h, r, inTag); len(dst) == value {
			dst = dst[:before]
		}
	}
	return dst
}

// appendField appends the name of the field.
func (l line) appendField(dst []byte, h *head, r *reading.Reading) []byte {
	dst = l.field.append(dst, h, r, inTag)
	switch string(dst) {
	case "":
		dst = append(dst, "value"...)
	case "time": // InfluxDB drops a field of this name
		dst = append(dst, '_')
	}
	if l.kindsApart {
		switch r.Value.Kind() {
		case reading.KindString:
			dst = append(dst, "_text"...)
		case reading.KindBool:
			dst = append(dst, "_bool"...)
		}
	}
	return dst
}

func appendLineValue(dst []byte, v reading.Value) []byte {
	if v.Kind() != reading.KindString {
		return appendPlain(dst, v)
	}
	dst = append(dst, '"')
	dst = escape(dst, v.Text(), inText)
	return append(dst, '"')
}

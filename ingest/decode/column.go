package decode

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/tidegate/tidegate/reading"
)

// Column says what a named part of a text means: a column of a CSV, a key, a
// group of a regular expression.
type Column struct {
	// Name is what the text calls it. For a CSV without header the order of the
	// columns counts, and Name is the metric.
	Name string `toml:"name"`
	// Metric names the readings. Empty means Name.
	Metric string `toml:"metric"`
	// Type is what stands there:
	//
	//	""        a number, true or false, or else a text
	//	"number"  a number, or none
	//	"text"    a text, also when it looks like a number
	//	"bool"    true, on, yes, 1 or false, off, no, 0 and the configured words
	//	"time"    the time of the other values; several are joined with a blank
	//	"device"  the name of the device that the other values are of
	//	"metric"  the name of the other values
	//	"unit"    the unit of those that are numbers
	//	"skip"    nothing that anybody wants
	Type string `toml:"type"`
	// Unit is the unit of the readings, as in reading.Reading.
	Unit string `toml:"unit"`
}

// kind is a Column's Type.
type kind uint8

const (
	anyKind kind = iota
	numberKind
	textKind
	boolKind
	timeKind
	deviceKind
	metricKind
	unitKind
	skipKind

	hexKind // of fields of JSON only
	base64Kind
)

// kinds are the names of the kinds of columns in their order.
var kinds = []string{"", "number", "text", "bool", "time", "device", "metric", "unit", "skip"}

// column is a Column that is ready for use; its name is empty if nobody has
// named it.
type column struct {
	name, metric, unit string
	kind               kind
}

// maxColumns bounds the columns of a configuration and of a row.
const maxColumns = 512

func compileColumns(list []Column) ([]column, error) {
	if len(list) > maxColumns {
		return nil, fmt.Errorf("columns: %d of them — hint: at most %d", len(list), maxColumns)
	}
	columns := make([]column, 0, len(list))
	for i, c := range list {
		k := slices.Index(kinds, c.Type)
		if k < 0 {
			return nil, fmt.Errorf("column %d (%q): type %q is not known — hint: number, text, bool, time, device, metric, unit, skip, or none for whatever is there", i+1, c.Name, c.Type)
		}
		if kind(k) >= timeKind && (c.Unit != "" || c.Metric != "") {
			return nil, fmt.Errorf("column %d (%q): a column of type %q gives no reading — hint: leave metric and unit out", i+1, c.Name, c.Type)
		}
		made := column{name: c.Name, metric: c.Metric, unit: c.Unit, kind: kind(k)}
		if made.metric == "" {
			made.metric = c.Name
		}
		if len(made.metric) > maxName || !utf8.ValidString(made.metric) {
			return nil, fmt.Errorf("column %d: the name %q is too long or not UTF-8 — hint: names may have %d bytes", i+1, made.metric, maxName)
		}
		columns = append(columns, made)
	}
	return columns, nil
}

// isLone says whether a name says no more than that there is a value.
func isLone(name string) bool {
	return strings.EqualFold(name, "v") || strings.EqualFold(name, "val") || strings.EqualFold(name, "value")
}

// row takes the cells of one sample and appends its readings.
type row struct {
	*textReader
	out    []reading.Reading
	first  int    // the row's first reading
	room   int    // readings that may still be added
	own    string // device and time of rows that tell none
	at     int64
	device string
	metric string
	unit   string
	clock  [maxTimeText]byte // the cells of type time, with blanks between them
	length int               // of what is in clock
	told   int64             // the time of the row, once it has ended
}

// begin starts a row.
func (r *row) begin() {
	r.first, r.device, r.metric, r.unit, r.length, r.told = len(r.out), r.own, "", "", 0, r.at
}

// take adds a cell. What is wrong with it is returned, "" if nothing is.
func (r *row) take(c *column, text []byte, quoted bool) (problem string) {
	switch c.kind {
	case skipKind:
		return ""
	case timeKind:
		return r.takeTime(text)
	case deviceKind, metricKind:
		return r.takeName(c.kind, text)
	case unitKind:
		if len(text) == 0 {
			return ""
		}
		var ok bool
		if r.unit, ok = r.textReader.unit(text); !ok {
			return quote(text) + " is no unit"
		}
		return ""
	}
	v, unit, ok, problem := r.value(c.kind, text, quoted)
	if !ok {
		return problem
	}
	if r.room == 0 {
		return "too many readings"
	}
	if unit == "" {
		unit = c.unit
	}
	r.room--
	r.out = append(r.out, reading.Reading{Metric: c.metric, Unit: unit, Value: v})
	return ""
}

func (r *row) takeTime(text []byte) string {
	if r.length > 0 && r.length < len(r.clock) && len(text) > 0 {
		r.clock[r.length] = ' '
		r.length++
	}
	if r.length+len(text) > len(r.clock) {
		return "the time is too long"
	}
	r.length += copy(r.clock[r.length:], text)
	return ""
}

// takeName keeps who or what the row is about; empty is nothing new.
func (r *row) takeName(k kind, text []byte) string {
	if len(text) == 0 {
		return ""
	}
	if len(text) > maxName || !utf8.Valid(text) {
		return "a name is not UTF-8 or longer than 256 bytes"
	}
	name := r.names.find(text).name
	if k == deviceKind {
		r.device = name
	} else {
		r.metric = name
	}
	return ""
}

// value reads a value of the kind. ok is false if there is none, and problem
// then says whether something is wrong with that.
func (t *textReader) value(k kind, text []byte, quoted bool) (v reading.Value, unit string, ok bool, problem string) {
	if len(text) == 0 && !(quoted && k == textKind) {
		return v, "", false, ""
	}
	if k == textKind || quoted && k == anyKind && t.meaning(text) != meansMissing {
		return textValue(text)
	}
	number := k == numberKind || k == anyKind
	if number && !t.numericWords {
		if v, ok = t.number(text); ok {
			return v, "", true, ""
		}
	}
	means := t.meaning(text)
	switch {
	case means == meansMissing:
		return v, "", false, ""
	case k == boolKind:
		if v, ok = truth(means, text); !ok {
			problem = quote(text) + " is neither true nor false"
		}
		return v, "", ok, problem
	case k == anyKind && means != noMeaning:
		return reading.Bool(means == meansTrue), "", true, ""
	case t.numericWords:
		if v, ok = t.number(text); ok {
			return v, "", true, ""
		}
	}
	if t.units {
		if v, unit, ok = t.measured(text); ok {
			return v, unit, true, ""
		}
	}
	if k == numberKind {
		return v, "", false, quote(text) + " is not a number"
	}
	return textValue(text)
}

func textValue(text []byte) (v reading.Value, unit string, ok bool, problem string) {
	if !utf8.Valid(text) {
		return v, "", false, quote(text) + " is not UTF-8"
	}
	return reading.String(string(text)), "", true, ""
}

// truth reads the words that a column of truth values may hold.
func truth(means meaning, text []byte) (v reading.Value, ok bool) {
	switch means {
	case meansTrue, meansFalse:
		return reading.Bool(means == meansTrue), true
	}
	for _, word := range [...]string{"1", "on", "yes", "t", "y"} {
		if len(text) == len(word) && bytes.EqualFold(text, []byte(word)) {
			return reading.Bool(true), true
		}
	}
	for _, word := range [...]string{"0", "off", "no", "f", "n"} {
		if len(text) == len(word) && bytes.EqualFold(text, []byte(word)) {
			return reading.Bool(false), true
		}
	}
	return v, false
}

// end gives the row's readings what the row says about all of them.
func (r *row) end() (problem string) {
	if clock := r.clock[:r.length]; len(clock) > 0 && r.meaning(clock) != meansMissing {
		var ok bool
		if r.told, ok = r.times.read(clock); !ok {
			return quote(clock) + " is not a time"
		}
	}
	for i := r.first; i < len(r.out); i++ {
		out := &r.out[i]
		out.Device, out.Time = r.device, r.told
		if r.unit != "" && (out.Value.Kind() == reading.KindFloat || out.Value.Kind() == reading.KindInt) {
			out.Unit = r.unit // a truth or a text has none
		}
		if r.metric == "" {
			continue
		}
		if out.Metric == "" || isLone(out.Metric) {
			out.Metric = r.metric
			continue
		}
		var ok bool
		if out.Metric, ok = r.joined(r.metric, out.Metric); !ok {
			return "a name is longer than 256 bytes"
		}
	}
	return ""
}

// joined returns two names with a dot between them.
func (t *textReader) joined(head, tail string) (name string, ok bool) {
	var path [maxName]byte
	if len(head)+1+len(tail) > len(path) {
		return "", false
	}
	n := copy(path[:], head)
	path[n] = '.'
	n += 1 + copy(path[n+1:], tail)
	return t.names.find(path[:n]).name, true
}

// hintFor says what to do about a problem of a row.
func hintFor(problem string) string {
	switch {
	case strings.HasPrefix(problem, "too many readings"):
		return "split the payload, or raise max_readings"
	case strings.HasSuffix(problem, "is not a time"):
		return "time_unit is for times that are numbers, time_format for texts; a time that is no time needs another type"
	case strings.HasSuffix(problem, "is not a number"):
		return "check decimal_comma, units, missing and the type"
	case strings.HasSuffix(problem, "neither true nor false"):
		return "list further words in true and false"
	case strings.HasSuffix(problem, "not UTF-8"):
		return "texts must be UTF-8; raw keeps other bytes"
	}
	return "check what the device sends"
}

// utf8Name says whether text can be the name of something.
func utf8Name(text []byte) bool {
	return len(text) > 0 && len(text) <= maxName && utf8.Valid(text)
}

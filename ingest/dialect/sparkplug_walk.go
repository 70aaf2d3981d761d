package dialect

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/tidegate/tidegate/ingest/decode"
	"github.com/tidegate/tidegate/ingest/sparkplug"
	"github.com/tidegate/tidegate/reading"
)

const (
	// maxMetricName bounds names in bytes, those of templates included.
	maxMetricName = 512
	// maxTemplateDepth bounds templates within templates.
	maxTemplateDepth = 8
	// maxReadings and maxNames bound what one message may say, and how many
	// bytes its names and units have: aliases are short, what they stand for is
	// not, and custody takes a message whole or not at all.
	maxReadings = 16 << 10
	maxNames    = 1 << 20
)

// walk goes through the metrics of a message.
type walk struct {
	out    []reading.Reading
	device string
	at     int64  // the time of the message, zero if it tells none
	room   int    // how many elements of arrays and cells of tables may still come
	left   int    // how many readings may
	names  int    // and how many bytes of their names
	known  *birth // what explains the metrics; may be nil
	born   *birth // what they are written down in; nil for data
}

// source is what the readings of one metric have in common.
type source struct {
	name, unit string
	typ        sparkplug.Type
	at         int64
	flags      reading.Flags
}

func (w *walk) online(device string, online bool, at int64) {
	w.out = append(w.out, reading.Reading{Device: device, Metric: "online", Value: reading.Bool(online), Time: at})
}

func (w *walk) metrics(p *sparkplug.Payload) error {
	var m sparkplug.Metric
	for {
		ok, err := p.Next(&m)
		if !ok {
			return err
		}
		if w.book(&m) {
			continue
		}
		s, err := w.identify(&m, "", w.at)
		if err != nil {
			return err
		}
		if booked(s.name) { // said by its alias
			continue
		}
		if err := w.metric(&m, s, 0); err != nil {
			return fmt.Errorf("metric %.100q: %w", s.name, err)
		}
	}
}

// booked says whether a metric is about the protocol itself.
func booked(name string) bool {
	return name == "bdSeq" || name == "Node Control/Rebirth" || name == "Device Control/Rebirth"
}

// book takes such metrics. They have aliases, too, which data may use.
func (w *walk) book(m *sparkplug.Metric) bool {
	if !booked(string(m.Name)) {
		return false
	}
	if w.born == nil {
		return true
	}
	if v, err := m.Value.Scalar(sparkplug.UInt64); err == nil && string(m.Name) == "bdSeq" {
		n, _ := v.Number()
		w.born.session = uint64(n) + 1
	}
	if m.HasAlias {
		w.write(m, &source{name: string(m.Name), typ: m.Type})
	}
	return true
}

// identify finds out what a metric is. outer is the name of the template that it
// is a member of, if any, and at that template's time.
func (w *walk) identify(m *sparkplug.Metric, outer string, at int64) (source, error) {
	s := source{typ: m.Type, at: at}
	var known *announced
	switch {
	case len(m.Name) > 0 && outer == "" && w.known != nil:
		known = w.known.byName[string(m.Name)]
	case len(m.Name) == 0 && m.HasAlias && w.known != nil:
		known = w.known.aliased(m.Alias)
	}
	switch {
	case known != nil:
		s.name = known.name
	case len(m.Name) == 0 && m.HasAlias:
		return s, fmt.Errorf("%w: no birth that is in force says what alias %d of %s stands for — hint: ask for one, with the command Node Control/Rebirth", decode.ErrMalformed, m.Alias, w.device)
	case len(m.Name) == 0:
		return s, fmt.Errorf("%w: a metric has neither name nor alias — hint: it needs one", decode.ErrMalformed)
	case len(outer)+len(m.Name) >= maxMetricName:
		return s, fmt.Errorf("%w: a name is too long — hint: names may have less than %d bytes, those of templates included", decode.ErrMalformed, maxMetricName)
	case outer != "":
		s.name = outer + "." + string(m.Name)
		if w.known != nil {
			known = w.known.byName[s.name]
		}
	default:
		s.name = string(m.Name)
	}
	if known != nil {
		s.unit = known.unit
		if s.typ == sparkplug.Unknown {
			s.typ = known.typ
		}
	}
	return s, w.describe(m, &s)
}

// describe adds what the metric says about itself.
func (w *walk) describe(m *sparkplug.Metric, s *source) error {
	if s.typ == sparkplug.Unknown {
		s.typ = m.Value.DefaultType()
	}
	if at, ok := decode.Milliseconds.Time(m.Timestamp); ok {
		s.at = at
	}
	if m.Historical {
		s.flags |= reading.Historical
	}
	properties, err := m.Properties.All()
	if err != nil {
		return err
	}
	for i := range properties {
		p := &properties[i]
		t := p.Type
		if t == sparkplug.Unknown {
			t = p.Value.DefaultType()
		}
		if v, err := p.Value.Scalar(t); err == nil {
			s.property(string(p.Key), v)
		}
	}
	return nil
}

// unitKeys are how properties call a unit, in lower case without spaces and
// underscores.
var unitKeys = map[string]bool{
	"engunit": true, "engunits": true, "engineeringunit": true, "engineeringunits": true,
	"unit": true, "units": true, "uom": true, "unitofmeasure": true,
}

// property takes a unit and Sparkplug's Quality (§6.4.18): 0 is bad, 500 stale.
func (s *source) property(key string, v reading.Value) {
	if key == "Quality" {
		n, isNumber := v.Number()
		switch {
		case isNumber && n == 0:
			s.flags |= reading.Bad
		case isNumber && n == 500:
			s.flags |= reading.Uncertain
		}
		return
	}
	plain := strings.NewReplacer(" ", "", "_", "").Replace(strings.ToLower(key))
	if unitKeys[plain] && v.Kind() == reading.KindString && len(v.Text()) <= maxUnit {
		s.unit = senml(v.Text(), lastOf(s.name, "/"))
	}
}

// metric appends the readings of a metric.
func (w *walk) metric(m *sparkplug.Metric, s source, depth int) error {
	w.write(m, &s)
	if m.Null || !m.Value.IsSet() {
		return nil
	}
	switch {
	case s.typ == sparkplug.Template:
		return w.template(m, s, depth)
	case s.typ == sparkplug.DataSet:
		return w.table(m, s)
	case s.typ.IsArray():
		return w.array(m, s)
	}
	v, err := m.Value.Scalar(s.typ)
	if err != nil {
		return err
	}
	return w.add(s.name, &s, v)
}

func (w *walk) add(name string, s *source, v reading.Value) error {
	w.left--
	w.names -= len(name) + len(s.unit)
	if w.left < 0 || w.names < 0 {
		return fmt.Errorf("%w: a message with too many metrics — hint: send it in parts, of at most %d metrics, with %d bytes of names",
			decode.ErrMalformed, maxReadings, maxNames)
	}
	w.out = append(w.out, reading.Reading{Device: w.device, Metric: name, Unit: s.unit, Time: s.at, Value: v, Flags: s.flags})
	return nil
}

// write notes what a birth says of a metric.
func (w *walk) write(m *sparkplug.Metric, s *source) {
	if w.born == nil {
		return
	}
	known := m.HasAlias && m.Alias < math.MaxUint64
	w.born.metrics = append(w.born.metrics, announced{name: s.name, unit: s.unit, typ: s.typ, alias: m.Alias, hasAlias: known})
}

func (w *walk) array(m *sparkplug.Metric, s source) error {
	elements, err := m.Value.Elements(s.typ)
	if err != nil {
		return err
	}
	if err := w.take(len(elements)); err != nil {
		return err
	}
	for i, v := range elements {
		if err := w.add(s.name+"."+strconv.Itoa(i), &s, v); err != nil {
			return err
		}
	}
	return nil
}

// take bounds what is made of a message whose parts are smaller than readings.
func (w *walk) take(n int) error {
	if w.room -= n; w.room < 0 {
		return fmt.Errorf("%w: too many elements of arrays and cells of data sets — hint: a message may have %d", decode.ErrMalformed, sparkplug.MaxElements)
	}
	return nil
}

func (w *walk) table(m *sparkplug.Metric, s source) error {
	t, err := m.Value.Table()
	if err != nil {
		return err
	}
	for i, row := range t.Rows {
		if err := w.take(len(row)); err != nil {
			return err
		}
		for j := range row {
			if !row[j].IsSet() {
				continue
			}
			v, err := row[j].Scalar(t.Types[j])
			if err != nil {
				return fmt.Errorf("row %d, column %.100q: %w", i, t.Columns[j], err)
			}
			if len(s.name)+len(t.Columns[j]) > maxMetricName {
				return fmt.Errorf("%w: the name of column %d is too long — hint: names may have %d bytes", decode.ErrMalformed, j, maxMetricName)
			}
			if err := w.add(s.name+"."+strconv.Itoa(i)+"."+t.Columns[j], &s, v); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *walk) template(m *sparkplug.Metric, s source, depth int) error {
	members, err := m.Value.Members()
	if err != nil || members.IsDefinition {
		return err
	}
	if depth == maxTemplateDepth {
		return fmt.Errorf("%w: templates are nested too deeply — hint: at most %d levels are taken", decode.ErrMalformed, maxTemplateDepth)
	}
	var member sparkplug.Metric
	for {
		ok, err := members.Next(&member)
		if !ok {
			return err
		}
		in, err := w.identify(&member, s.name, s.at)
		if err != nil {
			return err
		}
		in.flags |= s.flags
		if err := w.metric(&member, in, depth+1); err != nil {
			return err
		}
	}
}

// Package promtext writes metrics as Prometheus reads them: the text format 0.0.4
// (prometheus.io/docs/instrumenting/exposition_formats), and OpenMetrics 1.0.0 for
// those who ask for it.
//
// A page is filled in any order; it stands together by family, as both formats
// want it. What could not be read is mended rather than written: letters that a
// name may not have become "_", labels that are given twice count once, and so do
// samples of the same labels.
package promtext

import (
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Page is the metrics at one moment.
type Page struct {
	families []*family
	byName   map[string]*family
	scratch  []byte
}

// family is all samples of one name.
type family struct {
	name, kind, help string
	samples          []sample
	labels           map[string]bool // as they are written
}

type sample struct {
	labels string // {…} or nothing
	value  float64
}

// New returns an empty page.
func New() *Page { return &Page{byName: make(map[string]*family)} }

// Gauge adds a value that goes up and down. labels are names and values, by turns.
func (p *Page) Gauge(name, help string, value float64, labels ...string) {
	p.add(name, "gauge", help, value, labels)
}

// total is how the names of counters end.
const total = "_total"

// Counter adds a value that only grows. Its name ends in _total, which is added
// where it is missing.
func (p *Page) Counter(name, help string, value float64, labels ...string) {
	p.add(strings.TrimSuffix(name, total)+total, "counter", help, value, labels)
}

// Announce tells of a gauge that may have no sample yet.
func (p *Page) Announce(name, help string) { p.family(mend(name, true), "gauge", help) }

// add enters a sample.
func (p *Page) add(name, kind, help string, value float64, labels []string) {
	f := p.family(mend(name, true), kind, help)
	text := p.write(labels)
	if f.kind != kind || f.labels[text] {
		return
	}
	f.labels[text] = true
	f.samples = append(f.samples, sample{text, value})
}

// family returns that of the name. The first who asks says what it is.
func (p *Page) family(name, kind, help string) *family {
	f := p.byName[name]
	if f == nil {
		f = &family{name: name, kind: kind, help: help, labels: make(map[string]bool)}
		p.byName[name] = f
		p.families = append(p.families, f)
	}
	return f
}

// mend returns a name that the format takes; colons are for metrics only.
func mend(name string, colons bool) string {
	good := func(i int, c byte) bool {
		return c == '_' || c == ':' && colons || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' && i > 0
	}
	for i := range len(name) {
		if good(i, name[i]) {
			continue
		}
		mended := []byte(name)
		for i, c := range mended {
			if !good(i, c) {
				mended[i] = '_'
			}
		}
		return string(mended)
	}
	if name == "" {
		return "_"
	}
	return name
}

// label is a name and a value.
type label struct{ name, value string }

// write writes labels in the order of their names. One without a value is as good
// as none, for Prometheus too.
func (p *Page) write(labels []string) string {
	all := make([]label, 0, len(labels)/2)
	for i := 0; i+1 < len(labels); i += 2 {
		if labels[i+1] != "" {
			all = insert(all, label{mend(labels[i], false), labels[i+1]})
		}
	}
	if len(all) == 0 {
		return ""
	}
	dst := append(p.scratch[:0], '{')
	for i, l := range all {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(append(dst, l.name...), '=', '"')
		dst = append(escape(dst, l.value, true), '"')
	}
	p.scratch = append(dst, '}')
	return string(p.scratch)
}

// insert puts a label into its place, unless there is one of the name.
func insert(all []label, l label) []label {
	at := len(all)
	for at > 0 && all[at-1].name >= l.name {
		at--
	}
	if at < len(all) && all[at].name == l.name {
		return all
	}
	return slices.Insert(all, at, l)
}

// escape appends a text in which a backslash, a line feed and, where they end the
// text, quotation marks are escaped. What is not UTF-8 is marked as such.
func escape(dst []byte, text string, quotes bool) []byte {
	for _, c := range text {
		switch {
		case c == '\\':
			dst = append(dst, `\\`...)
		case c == '\n':
			dst = append(dst, `\n`...)
		case c == '"' && quotes:
			dst = append(dst, `\"`...)
		default:
			dst = utf8.AppendRune(dst, c)
		}
	}
	return dst
}

// The media types of the two formats.
const (
	TextType        = "text/plain; version=0.0.4; charset=utf-8"
	OpenMetricsType = "application/openmetrics-text; version=1.0.0; charset=utf-8"
)

// Text appends the page in the text format.
func (p *Page) Text(dst []byte) []byte { return p.append(dst, false) }

// OpenMetrics appends the page in that format.
func (p *Page) OpenMetrics(dst []byte) []byte { return append(p.append(dst, true), "# EOF\n"...) }

func (p *Page) append(dst []byte, open bool) []byte {
	for _, f := range p.families {
		title := f.name
		if open && f.kind == "counter" {
			title = strings.TrimSuffix(title, total)
		}
		dst = append(append(append(dst, "# HELP "...), title...), ' ')
		dst = escape(dst, f.help, open)
		dst = append(append(append(dst, "\n# TYPE "...), title...), ' ')
		dst = append(append(dst, f.kind...), '\n')
		for _, s := range f.samples {
			dst = append(append(append(dst, f.name...), s.labels...), ' ')
			dst = append(number(dst, s.value), '\n')
		}
	}
	return dst
}

// number appends a value; the formats want +Inf where Go agrees.
func number(dst []byte, value float64) []byte { return strconv.AppendFloat(dst, value, 'g', -1, 64) }

package decode

import (
	"bytes"
	"math"
	"strconv"
	"unicode/utf8"

	"github.com/tidegate/tidegate/reading"
)

// value takes the value of a field.
func (p *lineParser) value() (v reading.Value, problem string) {
	if p.at('"') {
		return p.text()
	}
	start := p.pos
	for p.pos < len(p.payload) && !contains(", \r\n", p.payload[p.pos]) {
		p.pos++
	}
	text := p.payload[start:p.pos]
	switch string(text) {
	case "":
		return v, "no value"
	case "t", "T", "true", "True", "TRUE":
		return reading.Bool(true), ""
	case "f", "F", "false", "False", "FALSE":
		return reading.Bool(false), ""
	}
	ok := text[0] != '+'
	switch last := text[len(text)-1]; {
	case !ok:
	case last == 'i' || last == 'u':
		v, ok = whole(text[:len(text)-1], last == 'i')
	default:
		v, ok = p.float(text)
	}
	if !ok {
		return v, quote(text) + " is no number, boolean or text in quotes"
	}
	return v, ""
}

// float reads a number that says that it is a float: it has no letter behind
// it, however whole it may be.
func (p *lineParser) float(text []byte) (v reading.Value, ok bool) {
	n, ok := p.parse(text)
	if !ok {
		return v, false
	}
	f, ok := n.float()
	return reading.Float(f), ok
}

// whole reads an integer; what is beyond 2^63 is a float.
func whole(text []byte, signed bool) (v reading.Value, ok bool) {
	if signed {
		i, err := strconv.ParseInt(string(text), 10, 64)
		return reading.Int(i), err == nil
	}
	u, err := strconv.ParseUint(string(text), 10, 64)
	if u > math.MaxInt64 {
		return reading.Float(float64(u)), err == nil
	}
	return reading.Int(int64(u)), err == nil
}

// text takes a text behind its quote.
func (p *lineParser) text() (v reading.Value, problem string) {
	start, first := p.pos, len(p.scratch)
	for ; p.pos < len(p.payload); p.pos++ {
		switch c := p.payload[p.pos]; {
		case c == '\\' && p.pos+1 < len(p.payload) && (p.payload[p.pos+1] == '"' || p.payload[p.pos+1] == '\\'):
			p.scratch = append(p.scratch, p.payload[start:p.pos]...)
			p.pos++
			start = p.pos
		case c == '"':
			text := p.payload[start:p.pos]
			if len(p.scratch) > first {
				p.scratch = append(p.scratch, text...)
				text = p.scratch[first:]
			}
			p.pos++
			if !utf8.Valid(text) {
				return v, "a text that is not UTF-8"
			}
			return reading.String(string(text)), ""
		}
	}
	return v, "a text without end"
}

// timestamp takes what may stand behind the fields, and the end of the line.
func (p *lineParser) timestamp() (at int64, problem string) {
	blank := p.blanks()
	start := p.pos
	for p.pos < len(p.payload) && p.payload[p.pos] != '\n' && p.payload[p.pos] != '\r' {
		p.pos++
	}
	text := bytes.TrimRight(p.payload[start:p.pos], " ")
	if len(text) == 0 {
		return 0, ""
	}
	n, rest, ok := parseNumber(text)
	if !blank || !ok || len(rest) > 0 || !n.whole || text[0] == '+' {
		p.pos = start
		return 0, quote(text) + " behind the fields"
	}
	at, _ = n.time(p.times.unit)
	return at, ""
}

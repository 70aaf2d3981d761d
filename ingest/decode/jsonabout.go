package decode

import (
	"strings"

	"github.com/tidegate/tidegate/reading"
)

// time reads the next value into at if it is a plausible time, and otherwise
// stays before it.
func (p *parser) time(at *int64) bool {
	start := p.pos
	if p.next() == '"' {
		if text, err := p.quoted(); err == nil {
			if ns, ok := p.textTime(text); ok {
				*at = ns
				return true
			}
		}
	} else if n, rest, ok := parseNumber(p.text[p.pos:]); ok {
		if ns, ok := n.time(p.unit); ok {
			*at = ns
			p.pos = len(p.text) - len(rest)
			return true
		}
	}
	p.pos = start
	return false
}

// textTime reads a time that is a text: RFC 3339 and numbers, and whatever the
// configuration adds to that.
func (p *parser) textTime(text []byte) (ns int64, ok bool) {
	if ns, ok = textTime(text, p.unit); ok || p.times == nil {
		return ns, ok
	}
	ns, ok = p.times.read(text)
	return ns, ok && ns != 0
}

// name reads the next value into named if it is a text or a number that can
// be a name, and otherwise stays before it.
func (p *parser) name() bool {
	start := p.pos
	if p.next() == '"' {
		if text, err := p.quoted(); err == nil && utf8Name(text) {
			p.named = p.devices.find(text).name
			return true
		}
	} else if n, rest, ok := parseNumber(p.text[p.pos:]); ok && len(n.text) <= maxName {
		p.named = p.devices.find(n.text).name
		p.pos = len(p.text) - len(rest)
		return true
	}
	p.pos = start
	return false
}

// date gives the time at to the readings from first on that have none.
func (p *parser) date(first int, at int64) {
	if at == 0 {
		return
	}
	for i := first; i < len(p.out); i++ {
		if p.out[i].Time == 0 {
			p.out[i].Time = at
		}
	}
}

// own gives the device to the readings from first on that have none.
func (p *parser) own(first int, device string) {
	for i := first; i < len(p.out); i++ {
		if p.out[i].Device == "" {
			p.out[i].Device = device
		}
	}
}

// nameLone calls the only reading of a sample Frame.Metric if its own name says
// no more than "value".
func (p *parser) nameLone(first int) {
	if p.metric == "" || len(p.out) != first+1 {
		return
	}
	lone := &p.out[first]
	for _, name := range [...]string{"v", "val", "value"} {
		if strings.EqualFold(lone.Metric, name) {
			lone.Metric = p.metric
			return
		}
	}
}

// textOrNumber returns the value of a string.
func (p *parser) textOrNumber(text []byte) reading.Value {
	if p.numberStrings {
		if n, rest, ok := parseNumber(trimmed(text)); ok && len(rest) == 0 {
			if v, ok := n.value(); ok {
				return v
			}
		}
	}
	return reading.String(string(text))
}

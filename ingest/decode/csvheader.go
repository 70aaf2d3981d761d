package decode

import (
	"bytes"
	"fmt"
	"strings"
)

// csvHeader is what a header says. A device sends the same one all day, so the
// last one is kept.
type csvHeader struct {
	text    string // as it stands in the payload, its line end included
	columns []column
}

// readHeader finds the names of the columns and leaves the parser behind the
// header, if there is one.
func (p *csvParser) readHeader(f Frame) error {
	if p.header == noHeader {
		if len(p.CSV.columns) > 0 {
			p.columns = p.CSV.columns
		}
		return nil
	}
	if !p.more() {
		if p.header == firstHeader {
			return p.fail(p.pos, "no header", "the first line must name the columns")
		}
		return nil
	}
	start := p.pos
	if known := p.last.Load(); known != nil && bytes.HasPrefix(p.payload[start:], []byte(known.text)) && endsLine(known.text) {
		p.columns = known.columns
		p.pos += len(known.text)
		p.heard = known.text
		return nil
	}
	words, err := p.wordsOnly()
	if err != nil {
		return err
	}
	if !words && p.header == autoHeader {
		return p.recallHeader(f)
	}
	if p.columns, err = p.compileHeader(); err != nil {
		return err
	}
	text := string(p.payload[start:p.pos])
	p.last.Store(&csvHeader{text, p.columns})
	p.heard = text
	return nil
}

func endsLine(text string) bool {
	return strings.HasSuffix(text, "\n")
}

// headerKey is the key under which a Memory holds the header of a topic and
// device.
func headerKey(f Frame) string { return "csv/" + f.Topic + "\x00" + f.Device }

// rememberHeader keeps the header of a payload that was taken for payloads
// without one.
func (p *csvParser) rememberHeader(f Frame) {
	if p.header != autoHeader || p.heard == "" || f.Memory == nil {
		return
	}
	if key := headerKey(f); string(f.Memory.Recall(key)) != p.heard {
		f.Memory.Remember(key, []byte(p.heard))
	}
}

// recallHeader finds the columns of a payload without header: those that an
// earlier one has named, or else those of the configuration.
func (p *csvParser) recallHeader(f Frame) error {
	var text []byte
	if f.Memory != nil {
		text = f.Memory.Recall(headerKey(f))
	}
	if text == nil {
		if len(p.CSV.columns) > 0 {
			p.columns = p.CSV.columns
		}
		return nil
	}
	if known := p.last.Load(); known != nil && known.text == string(text) {
		p.columns = known.columns
		return nil
	}
	earlier := csvParser{CSV: p.CSV, payload: text}
	columns, err := earlier.compileHeader()
	if err != nil {
		return p.fail(p.pos, "the header that was sent before no longer makes sense", "send it again")
	}
	p.columns = columns
	p.last.Store(&csvHeader{string(text), columns})
	return nil
}

// wordsOnly says whether each cell of the next line is a word, and leaves the
// parser before it. A word that is alone in its payload is none of a header but a
// value: open, OK.
func (p *csvParser) wordsOnly() (bool, error) {
	start, cells := p.pos, 0
	defer func() { p.pos = start }()
	for last := false; !last; cells++ {
		text, _, end, err := p.cell()
		if err != nil {
			return false, err
		}
		last = end
		_, number := p.textReader.number(text)
		_, _, measured := p.measured(text)
		_, time := p.times.read(text)
		if len(text) == 0 || number || measured || time || p.meaning(text) != noMeaning {
			return false, nil
		}
	}
	return cells > 1 || p.more(), nil
}

// compileHeader takes a header of headerLines lines.
func (p *csvParser) compileHeader() ([]column, error) {
	start := p.pos
	columns := make([]column, 0, len(p.CSV.columns))
	for last := false; !last; {
		text, _, end, err := p.cell()
		if err != nil {
			return nil, err
		}
		if last = end; last && len(text) == 0 && len(columns) > 0 {
			break // a delimiter at the end of the line
		}
		if !utf8Name(text) || len(columns) == maxColumns {
			return nil, p.fail(start, fmt.Sprintf("header with the name %s", quote(text)), "names are UTF-8 and have 1 to 256 bytes; there are 512 columns at the most")
		}
		columns = append(columns, p.headed(text))
	}
	if p.headerLines > 1 {
		if err := p.unitLine(columns); err != nil {
			return nil, err
		}
	}
	for range p.headerLines - 2 {
		p.skipLine()
	}
	return columns, nil
}

// headed returns the column with the name in a header.
func (p *csvParser) headed(text []byte) column {
	name, unit := string(text), ""
	if p.headerUnits {
		name, unit = p.splitUnit(name)
	}
	for _, c := range p.CSV.columns {
		if c.name != name {
			continue
		}
		if c.unit == "" && c.kind < timeKind {
			c.unit = unit
		}
		return c
	}
	c := column{name: name, metric: name, unit: unit}
	switch strings.ToLower(name) {
	case "ts", "time", "timestamp", "datetime":
		c.kind = timeKind
	}
	if p.onlyListed {
		c.kind = skipKind
	}
	return c
}

// splitUnit takes the unit from names such as "temp [°C]".
func (p *csvParser) splitUnit(name string) (rest, unit string) {
	for _, pair := range [...]string{"[]", "()"} {
		head, inner, ok := strings.Cut(name, pair[:1])
		inner, closed := strings.CutSuffix(inner, pair[1:])
		head = strings.TrimRight(head, " ")
		if !ok || !closed || head == "" {
			continue
		}
		if unit, ok := p.unit([]byte(inner)); ok {
			return head, unit
		}
	}
	return name, ""
}

// unitLine takes the second line of a header.
func (p *csvParser) unitLine(columns []column) error {
	start := p.pos
	for i, last := 0, p.pos == len(p.payload); !last; i++ {
		text, _, end, err := p.cell()
		if err != nil {
			return err
		}
		last = end
		if i >= len(columns) {
			if len(text) == 0 {
				continue
			}
			return p.fail(start, "header with more units than names", "header_lines = 1 if there is no line of units")
		}
		if c := &columns[i]; c.unit == "" && c.kind < timeKind {
			if unit, ok := p.unit(text); ok {
				c.unit = unit
			}
		}
	}
	return nil
}

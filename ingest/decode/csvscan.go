package decode

import (
	"bytes"
	"fmt"
)

// more skips blank lines and comments and says whether a row follows.
func (p *csvParser) more() bool {
	for p.pos < len(p.payload) {
		end := p.pos
		for end < len(p.payload) && (p.payload[end] == ' ' || p.payload[end] == '\t' && p.delimiter != "\t") {
			end++
		}
		if end == len(p.payload) {
			p.pos = end
			return false
		}
		if c := p.payload[end]; c == '\r' || c == '\n' {
			p.pos = end + 1
			continue
		}
		if p.comment == "" || !bytes.HasPrefix(p.payload[end:], []byte(p.comment)) {
			return true
		}
		p.skipLine()
	}
	return false
}

// skipLine goes to the beginning of the next line.
func (p *csvParser) skipLine() {
	end := bytes.IndexAny(p.payload[p.pos:], "\r\n")
	if end < 0 {
		p.pos = len(p.payload)
		return
	}
	p.pos += end
	p.lineEnd()
}

// lineEnd takes a line end, if one is next.
func (p *csvParser) lineEnd() bool {
	if p.pos == len(p.payload) {
		return true
	}
	if p.payload[p.pos] == '\r' {
		p.pos++
		if p.pos < len(p.payload) && p.payload[p.pos] == '\n' {
			p.pos++
		}
		return true
	}
	if p.payload[p.pos] == '\n' {
		p.pos++
		return true
	}
	return false
}

// cell takes a cell and what ends it; last says that this was the end of its
// row. The text is valid until the next call.
func (p *csvParser) cell() (text []byte, quoted, last bool, err error) {
	p.skipBlanks()
	if p.pos < len(p.payload) && p.payload[p.pos] == '"' {
		if text, err = p.quoted(); err != nil {
			return nil, true, false, err
		}
		if last, err = p.cellEnd(); err != nil {
			return nil, true, false, err
		}
		return text, true, last, nil
	}
	start := p.pos
	for ; p.pos < len(p.payload); p.pos++ {
		c := p.payload[p.pos]
		if c == '"' {
			return nil, false, false, p.fail(p.pos, "quote within a cell", `a cell with quotes in it is quoted itself: "5"" pipe"`)
		}
		if c == '\n' || c == '\r' || p.delimits(c) {
			break
		}
	}
	text = trimmed(p.payload[start:p.pos])
	last, err = p.cellEnd()
	return text, false, last, err
}

// delimits says whether a delimiter is next; c is its first byte.
func (p *csvParser) delimits(c byte) bool {
	if p.blanks {
		return c == ' ' || c == '\t'
	}
	return c == p.delimiter[0] && (len(p.delimiter) == 1 || bytes.HasPrefix(p.payload[p.pos:], []byte(p.delimiter)))
}

// skipBlanks goes to the next character that is neither blank nor delimiter,
// or, if the delimiter is any run of blanks, that is not blank.
func (p *csvParser) skipBlanks() {
	for p.pos < len(p.payload) {
		c := p.payload[p.pos]
		if c != ' ' && c != '\t' || !p.blanks && p.delimits(c) {
			return
		}
		p.pos++
	}
}

// quoted takes a quoted text.
func (p *csvParser) quoted() ([]byte, error) {
	open := p.pos
	start := open + 1
	p.scratch = p.scratch[:0]
	for i := start; ; {
		end := bytes.IndexByte(p.payload[i:], '"')
		if end < 0 {
			return nil, p.fail(open, "quote without end", "the payload may have been cut short")
		}
		i += end + 1
		if i < len(p.payload) && p.payload[i] == '"' {
			p.scratch = append(p.scratch, p.payload[start:i]...)
			i++
			start = i
			continue
		}
		p.pos = i
		if len(p.scratch) == 0 {
			return p.payload[start : i-1], nil
		}
		p.scratch = append(p.scratch, p.payload[start:i-1]...)
		return p.scratch, nil
	}
}

// cellEnd takes what ends a cell.
func (p *csvParser) cellEnd() (last bool, err error) {
	if p.blanks || p.pos < len(p.payload) && !p.delimits(p.payload[p.pos]) {
		from := p.pos
		p.skipBlanks()
		if p.blanks && p.pos > from && p.pos < len(p.payload) && p.payload[p.pos] != '\r' && p.payload[p.pos] != '\n' {
			return false, nil
		}
	}
	if p.lineEnd() {
		return true, nil
	}
	if p.blanks || !p.delimits(p.payload[p.pos]) {
		return false, p.fail(p.pos, "text behind a closing quote", "a quote within a quoted cell is written twice")
	}
	p.pos += len(p.delimiter)
	return false, nil
}

func (p *csvParser) fail(at int, what, hint string) error {
	line := 1 + bytes.Count(p.payload[:at], []byte("\n"))
	return malformed(fmt.Sprintf("line %d: %s", line, what), at, p.payload, hint)
}

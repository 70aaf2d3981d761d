package decode

// valueOf takes the value behind a key's separator.
func (p *pairParser) valueOf() (text []byte, quoted bool, err error) {
	start := p.skipBlanks(p.pos)
	if start == len(p.payload) {
		p.pos = start
		return nil, false, nil
	}
	if c := p.payload[start]; c == '"' || c == '\'' {
		p.pos = start
		text, err = p.quoted(c)
		return text, true, err
	}
	if start > p.pos && p.pair[p.payload[p.pos]] && p.isKey(start) {
		return nil, false, nil // of "temp= hum=40"
	}
	end := start
	for end < len(p.payload) && !p.pair[p.payload[end]] {
		end++
	}
	text = trimmed(p.payload[start:end])
	p.pos = end
	if p.units && end > start {
		p.unitBehind(start, &text)
	}
	return text, false, nil
}

// isKey says whether a key and its separator stand at i.
func (p *pairParser) isKey(i int) bool {
	if c := p.payload[i]; c-'0' <= 9 || !isWordByte(c) {
		return false
	}
	end := p.skipBlanks(p.wordEnd(i))
	return end < len(p.payload) && p.key[p.payload[end]]
}

// unitBehind takes a unit that stands behind a number and a blank into text,
// which began at start.
func (p *pairParser) unitBehind(start int, text *[]byte) {
	from := p.skipBlanks(p.pos)
	if from == p.pos {
		return
	}
	end := p.wordEnd(from)
	if next := p.skipBlanks(end); next < len(p.payload) && p.key[p.payload[next]] {
		return
	}
	if _, number := p.number(*text); !number {
		return
	}
	if _, ok := p.unit(p.payload[from:end]); ok {
		*text, p.pos = p.payload[start:end], end
	}
}

// quoted takes a quoted value; what is behind it must separate.
func (p *pairParser) quoted(mark byte) ([]byte, error) {
	open := p.pos
	start, i := open+1, open+1
	p.scratch = p.scratch[:0]
	for ; i < len(p.payload) && p.payload[i] != mark; i++ {
		if p.payload[i] != '\\' || i+1 == len(p.payload) {
			continue
		}
		if next := p.payload[i+1]; next == mark || next == '\\' {
			p.scratch = append(p.scratch, p.payload[start:i]...)
			start = i + 1
			i++
		}
	}
	if i >= len(p.payload) {
		return nil, p.fail(open, "quote without end", "the payload may have been cut short")
	}
	text := p.payload[start:i]
	if len(p.scratch) > 0 || start > open+1 {
		p.scratch = append(p.scratch, text...)
		text = p.scratch
	}
	p.pos = i + 1
	if next := p.pos; next < len(p.payload) && !p.pair[p.payload[next]] && !isBlank(p.payload[next]) {
		return nil, p.fail(next, "text behind a closing quote", `a quote within a quoted value is written \"`)
	}
	return text, nil
}

// withClock returns a value that is a date with the time of day behind it, which
// a blank that separates pairs has cut off, and the time of a key that tells one
// with as many words as time_format has.
func (p *pairParser) withClock(key, text []byte) []byte {
	if !p.pair[' '] || len(text) == 0 || p.pos == len(p.payload) {
		return text
	}
	from, end := p.pos-len(text), p.pos
	clock := func(text []byte) bool { _, ok := isoTime(text, p.times.zone); return ok }
	more := 0
	if p.times.layout != "" && p.tellsTime(key) {
		more, clock = p.blanks, func(text []byte) bool { _, ok := p.times.read(text); return ok }
	} else if len(text) == len("2006-01-02") && skipDigits(text, 0) == 4 {
		more = 1
	}
	for range more {
		end = p.skipBlanks(end)
		for end < len(p.payload) && !p.pair[p.payload[end]] {
			end++
		}
	}
	if more == 0 || !clock(p.payload[from:end]) {
		return text
	}
	p.pos = end
	return p.payload[from:end]
}

// tellsTime says whether a key is one of those that tell the time.
func (p *pairParser) tellsTime(key []byte) bool {
	if c, ok := p.columns[string(key)]; ok {
		return c.kind == timeKind
	}
	return p.keys.find(key).role == timeField
}

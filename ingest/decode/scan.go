package decode

import (
	"bytes"
	"encoding/json"
	"fmt"
	"unicode/utf8"

	"github.com/tidegate/tidegate/reading"
)

const valueHint = "a value must stand here; JSON has no NaN and no bare texts, what is not known is null or left out"

// scanner takes the words of a JSON text from left to right.
type scanner struct {
	text []byte
	pos  int
}

// next skips white space and returns the byte that follows without taking it;
// zero at the end.
func (s *scanner) next() byte {
	for ; s.pos < len(s.text); s.pos++ {
		switch c := s.text[s.pos]; c {
		case ' ', '\t', '\n', '\r':
		default:
			return c
		}
	}
	return 0
}

// comma takes a comma, if one is next.
func (s *scanner) comma() bool {
	if s.next() != ',' {
		return false
	}
	s.pos++
	return true
}

// key takes the name of an object's member and the colon behind it. The name is
// only valid during the call of Decode.
func (s *scanner) key() ([]byte, error) {
	if s.next() != '"' {
		return nil, s.fail("unexpected "+s.found(), "a field's name in quotes must stand here")
	}
	name, err := s.quoted()
	if err != nil {
		return nil, err
	}
	if s.next() != ':' {
		return nil, s.fail("unexpected "+s.found(), `after a field's name, ":" must follow`)
	}
	s.pos++
	return name, nil
}

// quoted takes a string whose quote is next and returns its text, which is only
// valid during the call of Decode.
func (s *scanner) quoted() ([]byte, error) {
	start := s.pos + 1
	for i := start; i < len(s.text); i++ {
		c := s.text[i]
		if c == '"' {
			s.pos = i + 1
			return s.text[start:i], nil
		}
		if c == '\\' || c < ' ' || c >= utf8.RuneSelf {
			return s.quotedSlowly(start)
		}
	}
	return nil, s.fail("string without end", "the payload may have been cut short")
}

// quotedSlowly is quoted for text that is not plain ASCII.
func (s *scanner) quotedSlowly(start int) ([]byte, error) {
	end := start
	escaped := false
	for ; end < len(s.text) && s.text[end] != '"'; end++ {
		if s.text[end] == '\\' {
			escaped = true
			end++
		}
	}
	if end >= len(s.text) {
		return nil, s.fail("string without end", "the payload may have been cut short")
	}
	text := s.text[start:end]
	if !utf8.Valid(text) {
		return nil, s.fail("string is not UTF-8", "raw bytes belong into a payload of their own")
	}
	if escaped || bytes.ContainsFunc(text, isControl) {
		var unescaped string
		if json.Unmarshal(s.text[start-1:end+1], &unescaped) != nil {
			return nil, s.fail("bad escape or control character in string", `JSON writes a line break as \n`)
		}
		text = []byte(unescaped)
	}
	s.pos = end + 1
	return text, nil
}

func isControl(r rune) bool { return r < ' ' }

// number takes a number.
func (s *scanner) number() (reading.Value, error) {
	n, rest, ok := parseNumber(s.text[s.pos:])
	if !ok {
		return reading.Value{}, s.fail("unexpected "+s.found(), valueHint)
	}
	v, ok := n.value()
	if !ok {
		return reading.Value{}, s.fail("number too large", "floats end at 1.8e308")
	}
	s.pos = len(s.text) - len(rest)
	return v, nil
}

// word takes true, false or null.
func (s *scanner) word(w string) error {
	rest := s.text[s.pos:]
	if len(rest) < len(w) || string(rest[:len(w)]) != w {
		return s.fail("unexpected "+s.found(), valueHint)
	}
	s.pos += len(w)
	return nil
}

// end makes sure that nothing but white space and NUL bytes is left.
func (s *scanner) end() error {
	s.next()
	if rest := bytes.Trim(s.text[s.pos:], "\x00"); len(rest) > 0 {
		return s.fail("unexpected "+s.found(), "nothing may follow the value")
	}
	return nil
}

// found names what stands at pos.
func (s *scanner) found() string {
	if s.pos >= len(s.text) {
		return "end"
	}
	return fmt.Sprintf("%q", s.text[s.pos])
}

func (s *scanner) fail(what, hint string) error {
	return fmt.Errorf("%w: %s at byte %d of %d — hint: %s", ErrMalformed, what, s.pos, len(s.text), hint)
}

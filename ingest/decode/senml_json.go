package decode

import (
	"encoding/base64"

	"github.com/tidegate/tidegate/internal/scalar"
	"github.com/tidegate/tidegate/reading"
)

// SenMLJSON decodes SenML in JSON (RFC 8428 §5, application/senml+json and
// application/sensml+json); SenML says how. Numbers in the habits of C firmware
// are taken as JSON takes them.
type SenMLJSON struct{ SenML }

// NewSenMLJSON returns a decoder. It is safe for concurrent use.
func NewSenMLJSON(cfg SenMLConfig) (*SenMLJSON, error) {
	s, err := newSenML(cfg)
	if err != nil {
		return nil, err
	}
	return &SenMLJSON{*s}, nil
}

// Decode implements Decoder.
func (s *SenMLJSON) Decode(dst []reading.Reading, f Frame) ([]reading.Reading, error) {
	j := senmlJSON{s.pack(dst, f)}
	if err := j.read(); err != nil {
		return dst, err
	}
	return j.out, nil
}

type senmlJSON struct{ pack }

func (j *senmlJSON) read() error {
	if j.next() != '[' {
		return j.fail("unexpected "+j.found(), "a pack is an array of records")
	}
	j.pos++
	had := len(j.out)
	for more := j.next() != ']'; more; more = j.comma() {
		var r record
		if err := j.record(&r); err != nil {
			return err
		}
		if err := j.add(&r); err != nil {
			return err
		}
	}
	if j.next() != ']' {
		return j.fail("unexpected "+j.found(), `after a record, "," or "]" must follow`)
	}
	j.pos++
	if err := j.finish(had); err != nil {
		return err
	}
	return j.end()
}

// record parses one object.
func (j *senmlJSON) record(r *record) error {
	if j.next() != '{' {
		return j.fail("unexpected "+j.found(), "a pack is an array of records, which are objects")
	}
	r.at = j.pos
	j.pos++
	for more := j.next() != '}'; more; more = j.comma() {
		key, err := j.key()
		if err != nil {
			return err
		}
		l, must := labelOf(key)
		if must {
			return j.fail("a label that must be understood", "labels that end in _ may not be passed over, and this one is not known")
		}
		if l == labelUnknown {
			if err := j.skip(maxDepth); err != nil {
				return err
			}
			continue
		}
		if r.has.has(l) {
			return j.fail("a label that occurs twice in a record", "each may be there once")
		}
		r.has |= 1 << l
		if err := j.field(r, l); err != nil {
			return err
		}
	}
	if j.next() != '}' {
		return j.fail("unexpected "+j.found(), `after a field, "," or "}" must follow`)
	}
	j.pos++
	return nil
}

// field parses the value of a label.
func (j *senmlJSON) field(r *record, l label) (err error) {
	switch l {
	case labelBaseName, labelName, labelBaseUnit, labelUnit, labelText, labelData:
		return j.textField(r, l)
	case labelBool:
		return j.boolField(r)
	}
	switch c := j.next(); {
	case c == '-', c == '+', c >= '0' && c <= '9':
	default:
		return j.fail("unexpected "+j.found(), "this label has a number")
	}
	n, rest, ok := parseNumber(j.text[j.pos:])
	if !ok {
		return j.fail("unexpected "+j.found(), valueHint)
	}
	v, ok := n.value()
	if !ok {
		return j.fail("number too large", "floats end at 1.8e308")
	}
	if l == labelBaseVersion {
		if !n.whole || n.negative || !senmlUnderstands(n.mantissa) {
			return j.fail("a version that is not known", versionHint)
		}
		r.version = int(n.mantissa)
	}
	exact := scalar.Decimal{Mantissa: n.mantissa, Exponent: n.exponent, Negative: n.negative}
	if n.cut {
		f, _ := v.Number()
		exact = scalar.FromFloat(f)
	}
	r.slot(l).Decimal = exact
	if l == labelValue {
		r.value = v
	}
	j.pos = len(j.text) - len(rest)
	return nil
}

func (j *senmlJSON) textField(r *record, l label) error {
	if j.next() != '"' {
		return j.fail("unexpected "+j.found(), "this label has a string")
	}
	text, err := j.quoted()
	if err != nil {
		return err
	}
	switch l {
	case labelBaseName:
		r.baseName = text
	case labelName:
		r.name = text
	case labelBaseUnit:
		r.baseUnit = text
	case labelUnit:
		r.unit = text
	case labelText:
		r.value = reading.String(string(text))
	case labelData:
		for len(text) > 0 && text[len(text)-1] == '=' {
			text = text[:len(text)-1] // the padding that should not be there
		}
		data := make([]byte, base64.RawURLEncoding.DecodedLen(len(text)))
		if _, err := base64.RawURLEncoding.Decode(data, text); err != nil {
			return j.fail("data that is not base64", "vd is in the alphabet for URLs, with - and _, without padding")
		}
		r.value = reading.Bytes(string(data))
	}
	return nil
}

func (j *senmlJSON) boolField(r *record) error {
	switch j.next() {
	case 't':
		r.value = reading.Bool(true)
		return j.word("true")
	case 'f':
		r.value = reading.Bool(false)
		return j.word("false")
	}
	return j.fail("unexpected "+j.found(), "vb is true or false")
}

// skip takes a value of any kind, of so many levels at the most.
func (j *senmlJSON) skip(levels int) error {
	if levels == 0 {
		return j.fail("nested too deeply", "at most 32 levels are taken")
	}
	switch c := j.next(); c {
	case '{', '[':
		end := c + 2
		j.pos++
		for more := j.next() != end; more; more = j.comma() {
			if c == '{' {
				if _, err := j.key(); err != nil {
					return err
				}
			}
			if err := j.skip(levels - 1); err != nil {
				return err
			}
		}
		if j.next() != end {
			return j.fail("unexpected "+j.found(), "a comma or the closing bracket must follow")
		}
		j.pos++
		return nil
	case '"':
		_, err := j.quoted()
		return err
	case 't':
		return j.word("true")
	case 'f':
		return j.word("false")
	case 'n':
		return j.word("null")
	}
	_, err := j.number()
	return err
}

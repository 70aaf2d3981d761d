package decode

import (
	"math"

	"github.com/tidegate/tidegate/reading"
)

// SenMLCBOR decodes SenML in CBOR (RFC 8428 §6, application/senml+cbor and
// application/sensml+cbor); SenML says how. Labels are integers, or the texts of
// JSON.
type SenMLCBOR struct{ SenML }

// NewSenMLCBOR returns a decoder. It is safe for concurrent use.
func NewSenMLCBOR(cfg SenMLConfig) (*SenMLCBOR, error) {
	s, err := newSenML(cfg)
	if err != nil {
		return nil, err
	}
	return &SenMLCBOR{*s}, nil
}

// Decode implements Decoder.
func (s *SenMLCBOR) Decode(dst []reading.Reading, f Frame) ([]reading.Reading, error) {
	c := senmlCBOR{s.pack(dst, f)}
	if err := c.read(); err != nil {
		return dst, err
	}
	return c.out, nil
}

type senmlCBOR struct{ pack }

func (c *senmlCBOR) reader() *cborReader { return (*cborReader)(&c.scanner) }

const selfDescribed = 55799 // RFC 8949 §3.4.6

func (c *senmlCBOR) read() error {
	in := c.reader()
	h, err := in.head()
	if err == nil && h.major == cborTag && h.arg == selfDescribed {
		h, err = in.head()
	}
	if err != nil {
		return err
	}
	if h.major != cborArray {
		return c.fail("a payload that is no array", "a pack is an array of records")
	}
	left, err := in.elements(h, 1)
	if err != nil {
		return err
	}
	had := len(c.out)
	for {
		more, err := in.more(&left)
		if err != nil {
			return err
		}
		if !more {
			break
		}
		var r record
		if err := c.record(&r); err != nil {
			return err
		}
		if err := c.add(&r); err != nil {
			return err
		}
	}
	if err := c.finish(had); err != nil {
		return err
	}
	if in.left() > 0 {
		return c.fail("bytes behind the pack", "a payload is one pack")
	}
	return nil
}

// record parses one map.
func (c *senmlCBOR) record(r *record) error {
	in := c.reader()
	r.at = c.pos
	h, err := in.head()
	if err != nil {
		return err
	}
	if h.major != cborMap {
		return c.fail("a record that is no map", "a pack is an array of records, which are maps")
	}
	left, err := in.elements(h, 2)
	if err != nil {
		return err
	}
	for {
		more, err := in.more(&left)
		if err != nil || !more {
			return err
		}
		l, err := c.label()
		if err != nil {
			return err
		}
		h, err := in.head()
		if err != nil {
			return err
		}
		if l == labelUnknown {
			if err := in.skip(h, maxDepth); err != nil {
				return err
			}
			continue
		}
		if r.has.has(l) {
			return c.fail("a label that occurs twice in a record", "each may be there once")
		}
		r.has |= 1 << l
		if err := c.field(r, l, h); err != nil {
			return err
		}
	}
}

func (c *senmlCBOR) label() (label, error) {
	in := c.reader()
	h, err := in.head()
	if err != nil {
		return labelUnknown, err
	}
	switch h.major {
	case cborUint, cborNegative:
		if h.arg > math.MaxInt16 {
			return labelUnknown, nil
		}
		if h.major == cborNegative {
			return labelOfInt(-1 - int(h.arg)), nil
		}
		return labelOfInt(int(h.arg)), nil
	case cborText:
		text, err := in.textOf(h)
		if err != nil {
			return labelUnknown, err
		}
		l, must := labelOf(text)
		if must {
			return l, c.fail("a label that must be understood", "labels that end in _ may not be passed over, and this one is not known")
		}
		return l, nil
	}
	return labelUnknown, c.fail("a label that is no integer and no text", "labels are integers, those of extensions texts")
}

// field parses the value of a label, whose head has been taken.
func (c *senmlCBOR) field(r *record, l label, h cborHead) (err error) {
	in := c.reader()
	switch l {
	case labelBaseName, labelName, labelBaseUnit, labelUnit, labelText:
		return c.textField(r, l, h)
	case labelData:
		if h.major != cborBytes {
			return c.fail("data that is no byte string", "vd has a byte string")
		}
		b, err := in.bytesOf(h)
		r.value = reading.Bytes(string(b))
		return err
	case labelBool:
		if h.major != cborSimple || h.info != 20 && h.info != 21 {
			return c.fail("vb without true or false", "vb is true or false")
		}
		r.value = reading.Bool(h.info == 21)
		return nil
	case labelBaseVersion:
		if h.major != cborUint || !senmlUnderstands(h.arg) {
			return c.fail("a version that is not known", versionHint)
		}
		r.version = int(h.arg)
		return nil
	}
	n, ok, err := in.numberOf(h, false)
	if err != nil {
		return err
	}
	if !ok {
		return c.fail("something else than a number", "this label has an integer, a float or a decimal fraction")
	}
	v, finite := n.value()
	*r.slot(l) = senmlNumber{n, !finite}
	if l == labelValue {
		r.value = v
	}
	return nil
}

func (c *senmlCBOR) textField(r *record, l label, h cborHead) error {
	in := c.reader()
	if h.major != cborText {
		return c.fail("something else than a text", "this label has a text")
	}
	text, err := in.textOf(h)
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
	}
	return nil
}

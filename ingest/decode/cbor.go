package decode

import (
	"fmt"
	"strconv"

	"github.com/tidegate/tidegate/reading"
)

// CBORConfig says how CBOR finds times and where it stops. The zero value is
// what most firmware needs.
type CBORConfig struct {
	// TimeKeys are the names of fields that tell the time, in any case. Empty
	// means ts, t, time, timestamp and datetime.
	TimeKeys []string `toml:"time_keys"`
	// TimeUnit is the unit of numeric times that no tag declares to be
	// seconds.
	TimeUnit TimeUnit `toml:"time_unit"`
	// ShortFloats takes floats of 16 and 32 bits as the decimal with the
	// fewest digits that is the same float: 21.37, where the exact value of
	// that f32 is 21.3700008392334. It is for firmware that computes in C's
	// float and writes what it has.
	ShortFloats bool `toml:"short_floats"`
	// MaxReadings bounds the readings of one payload. Zero means 4096.
	MaxReadings int `toml:"max_readings"`
}

// CBOR decodes payloads in CBOR (RFC 8949) as JSON decodes those in JSON: names,
// samples and times follow the same rules. Beyond these:
//
//   - Names are texts or integers; an integer is named by its digits.
//   - Byte strings become values of their kind. Strings may come in chunks.
//   - Floats of 16 and 32 bits have their exact value, unless ShortFloats says
//     otherwise. NaN and the infinities are no readings, as null and undefined.
//   - Bignums are taken up to 64 bits, decimal fractions (tag 4) and binary
//     ones (tag 5) at their exact value, rounded to a float once.
//   - A time may be tagged: a text (tag 0), or a number of seconds (tag 1)
//     whatever TimeUnit says. Under a name that is none of a time, it is a
//     reading.
//   - Other tags are passed over: what they stand before counts.
//
// A payload is one item: bytes behind it are refused, and so are simple values
// that nobody has defined. The other refusals are those of JSON.
type CBOR struct {
	like  *JSON
	short bool
}

// NewCBOR returns a decoder, or an error for configuration that makes no sense. It is safe for concurrent use.
func NewCBOR(cfg CBORConfig) (*CBOR, error) {
	like, err := NewJSONTemplate(JSONTemplateConfig{
		JSONConfig: JSONConfig{TimeKeys: cfg.TimeKeys, TimeUnit: cfg.TimeUnit, MaxReadings: cfg.MaxReadings},
	}, nil)
	if err != nil {
		return nil, err
	}
	return &CBOR{like: like, short: cfg.ShortFloats}, nil
}

// Decode implements Decoder.
func (c *CBOR) Decode(dst []reading.Reading, f Frame) ([]reading.Reading, error) {
	p := cborParser{
		short: c.short,
		parser: parser{
			scanner: scanner{text: f.Payload},
			JSON:    c.like,
			device:  f.Device,
			metric:  f.Metric,
			out:     dst,
			room:    c.like.maxReadings,
		},
	}
	if err := p.payload(); err != nil {
		return dst, err
	}
	if len(p.out) == len(dst) {
		return dst, p.fail("no value found", "a payload needs at least one value that is neither null nor a time")
	}
	return p.out, nil
}

// cborParser walks one payload as parser does; what is not about the notation
// is parser's.
type cborParser struct {
	parser
	short bool
}

func (p *cborParser) reader() *cborReader { return (*cborReader)(&p.scanner) }

func (p *cborParser) payload() error {
	h, err := p.untagged()
	if err != nil {
		return err
	}
	if h.major == cborMap {
		err = p.object(h)
	} else {
		err = p.unnamed(h)
	}
	if err != nil {
		return err
	}
	if p.pos < len(p.text) {
		return p.fail("bytes behind the value", "a payload is one item; several belong into an array")
	}
	return nil
}

// untagged takes the next head that is none of a tag without meaning here.
func (p *cborParser) untagged() (cborHead, error) {
	for range maxDepth {
		h, err := p.reader().head()
		if err != nil || h.major != cborTag || h.arg >= tagBignum && h.arg <= tagBinaryFloat {
			return h, err
		}
	}
	return cborHead{}, p.fail("too many tags", "at most 32 are taken before one value")
}

func (p *cborParser) deeper() error {
	if p.depth++; p.depth > maxDepth {
		return p.fail("nested too deeply", "at most 32 levels are taken")
	}
	return nil
}

func (p *cborParser) higher() { p.depth-- }

func (p *cborParser) unnamed(h cborHead) error {
	name := p.metric
	if name == "" {
		name = "value"
	}
	if err := p.enter([]byte(name)); err != nil {
		return err
	}
	return p.value(h, field{name: name, role: batchField}, 0)
}

// object parses the rest of a map, and dates what it added.
func (p *cborParser) object(h cborHead) error {
	if err := p.deeper(); err != nil {
		return err
	}
	r := p.reader()
	left, err := r.elements(h, 2)
	if err != nil {
		return err
	}
	first, outer := len(p.out), p.pathEnd
	var at int64
	for {
		more, err := r.more(&left)
		if err != nil {
			return err
		}
		if !more {
			break
		}
		f, err := p.name()
		if err != nil {
			return err
		}
		if f.role != timeField || at != 0 || !p.time(&at) {
			h, err := p.untagged()
			if err != nil {
				return err
			}
			if err := p.value(h, f, outer); err != nil {
				return err
			}
		}
		p.pathEnd = outer
	}
	p.date(first, at)
	if outer == 0 {
		p.nameLone(first)
	}
	p.higher()
	return nil
}

// array parses the rest of an array. The maps of a batch take the place of the
// array, whose own name began at outer.
func (p *cborParser) array(h cborHead, batch bool, outer int) error {
	if err := p.deeper(); err != nil {
		return err
	}
	r := p.reader()
	left, err := r.elements(h, 1)
	if err != nil {
		return err
	}
	own := p.pathEnd
	for index := 0; ; index++ {
		more, err := r.more(&left)
		if err != nil {
			return err
		}
		if !more {
			break
		}
		h, err := p.untagged()
		if err != nil {
			return err
		}
		if batch && h.major == cborMap {
			p.pathEnd = outer
			err = p.object(h)
		} else {
			err = p.element(h, index, own)
		}
		if err != nil {
			return err
		}
		p.pathEnd = own
	}
	p.higher()
	return nil
}

func (p *cborParser) element(h cborHead, index, outer int) error {
	var digits [20]byte
	if err := p.enter(strconv.AppendInt(digits[:0], int64(index), 10)); err != nil {
		return err
	}
	return p.value(h, p.names.find(p.path[:p.pathEnd]), outer)
}

// value parses the rest of any value; outer is where the name of f began in the
// path.
func (p *cborParser) value(h cborHead, f field, outer int) error {
	r := p.reader()
	switch h.major {
	case cborMap:
		return p.object(h)
	case cborArray:
		return p.array(h, f.role == batchField, outer)
	case cborText:
		text, err := r.textOf(h)
		if err != nil {
			return err
		}
		return p.add(f.name, reading.String(string(text)))
	case cborBytes:
		b, err := r.bytesOf(h)
		if err != nil {
			return err
		}
		return p.add(f.name, reading.Bytes(string(b)))
	}
	n, ok, err := r.numberOf(h, p.short)
	if err != nil {
		return err
	}
	if ok {
		if v, finite := n.value(); finite {
			return p.add(f.name, v)
		}
		return nil
	}
	switch h.info { // all that is left are simple values
	case 20, 21:
		return p.add(f.name, reading.Bool(h.info == 21))
	case 22, 23:
		return nil
	}
	return p.fail(fmt.Sprintf("simple value %d", h.arg), "of the simple values, false, true, null and undefined are defined")
}

// name parses a pair's name, and enters it.
func (p *cborParser) name() (field, error) {
	r := p.reader()
	h, err := r.head()
	if err != nil {
		return field{}, err
	}
	var digits [20]byte
	key := digits[:0]
	switch h.major {
	case cborText:
		if key, err = r.textOf(h); err != nil {
			return field{}, err
		}
	case cborUint:
		key = strconv.AppendUint(key, h.arg, 10)
	case cborNegative:
		if h.arg > 1<<62 {
			return field{}, p.fail("an integer as a name that is too long", "names are texts or small integers")
		}
		key = strconv.AppendInt(key, -1-int64(h.arg), 10)
	default:
		return field{}, p.fail("a name that is no text and no integer", "names are texts or integers")
	}
	if err := p.enter(key); err != nil {
		return field{}, err
	}
	return p.names.find(p.path[:p.pathEnd]), nil
}

// time reads the next value into at if it is a plausible time, and otherwise
// stays before it.
func (p *cborParser) time(at *int64) bool {
	start := p.pos
	if ns, ok := p.timeOf(); ok {
		*at = ns
		return true
	}
	p.pos = start
	return false
}

func (p *cborParser) timeOf() (ns int64, ok bool) {
	r := p.reader()
	h, err := r.head()
	if err != nil {
		return 0, false
	}
	unit := p.unit
	if h.major == cborTag && h.arg <= tagEpochTime {
		if h.arg == tagEpochTime {
			unit = Seconds
		}
		if h, err = r.head(); err != nil {
			return 0, false
		}
	}
	if h.major == cborText {
		text, err := r.textOf(h)
		if err != nil {
			return 0, false
		}
		return textTime(text, unit)
	}
	n, ok, err := r.numberOf(h, false)
	if err != nil || !ok {
		return 0, false
	}
	return n.time(unit)
}

package decode

import (
	"errors"
	"fmt"
	"math"
	"math/bits"
	"strconv"
	"unicode/utf8"

	"github.com/tidegate/tidegate/internal/scalar"
	"github.com/tidegate/tidegate/reading"
)

// Binary decodes payloads whose layout is configured: the fields that a vendor's
// manual lists. A payload is the Fields, and then, to its end, rows of Repeat or
// items of Cases.
//
// # Fields
//
// A field begins where the one before it ends, unless it says otherwise, and
// becomes a reading of its name. Its number is exact: with a scale of 0.1, the
// integer 215 is 21.5. What is listed as missing is no reading, and neither is a
// float that is no finite number. Whole numbers and floats follow the rule of
// reading.Value; a text must be UTF-8, and ends at its first NUL byte.
//
// # Rows and items
//
// A row is a sample: its names are those of the row before, unless Number gives
// each row's names its number, from 0 on. An item begins with a tag, which says
// by which case it goes on; a case may have rows of its own, which end with the
// item: at the length that stands behind the tag, and at the end of the payload
// where there is none. Items of tags that are not configured are passed over
// where they have a length.
//
// # Times
//
// A field that is a time dates the readings of its row or item, and one among
// the Fields all others. A time that is not plausible (before 2001-09-09 or
// after 2099, of a clock that was never set) dates nothing, and is a reading if
// the field has a name. With RowSeconds, a row without a time of its own has that
// of the Fields, or of the arrival, and so many seconds for each row before it.
//
// # Refusals
//
// A payload is taken whole or refused whole. Refused are payloads that end
// within a field, a row or an item, bytes behind the last field (unless Rest
// ignores them), tags that are not configured, half-bytes of BCD numbers that
// are no digits, texts that are not UTF-8, more than MaxReadings, and empty
// payloads. A payload of which every field is missing has no readings, and is no
// error.
//
// Decoding costs no allocation, except for texts and bytes.
type Binary struct {
	binaryLayout
	names       *names
	ignoreRest  bool
	maxReadings int
	rowStep     int64 // nanoseconds
	numbered    bool
}

// Scalar returns a number of package scalar by the rule of reading.Value.
func Scalar(v scalar.Value) reading.Value {
	switch v.Kind {
	case scalar.Int:
		return reading.Number(v.Int)
	case scalar.Truth:
		return reading.Bool(v.Int != 0)
	}
	return reading.Float(v.Float)
}

// Decode implements Decoder.
func (b *Binary) Decode(dst []reading.Reading, f Frame) ([]reading.Reading, error) {
	p := binaryParser{Binary: b, scanner: scanner{text: f.Payload}, frame: f, out: dst, room: b.maxReadings}
	if err := p.payload(); err != nil {
		return dst, err
	}
	return p.out, nil
}

type binaryParser struct {
	*Binary
	scanner
	frame Frame
	out   []reading.Reading
	room  int
	row   int
	rows  bool // within rows, whose names may be numbered
}

func (p *binaryParser) payload() error {
	first := len(p.out)
	end := len(p.text)
	if end == 0 {
		return p.fail("no payload", "there is nothing in it that could be read")
	}
	top, err := p.block(p.fields, end)
	if err != nil {
		return err
	}
	switch {
	case p.repeat.list != nil:
		err = p.repeated(p.repeat, end, top)
	case p.cases != nil:
		err = p.items(end, top)
	}
	if err != nil {
		return err
	}
	if p.pos < end && !p.ignoreRest {
		return p.fail(fmt.Sprintf("%d bytes behind the last field", end-p.pos), `the layout may lack fields; with rest = "ignore" they are passed over`)
	}
	p.date(first, top)
	return nil
}

// binaryTime is when something was measured, zero if nothing says so.
type binaryTime struct {
	ns    int64
	flags reading.Flags
}

// date gives the time to the readings from first on that have none.
func (p *binaryParser) date(first int, at binaryTime) {
	if at.ns == 0 {
		return
	}
	for i := first; i < len(p.out); i++ {
		if p.out[i].Time == 0 {
			p.out[i].Time = at.ns
			p.out[i].Flags |= at.flags
		}
	}
}

// block reads fields from the position on, which it moves behind the farthest
// of them.
func (p *binaryParser) block(fields binaryFields, end int) (at binaryTime, err error) {
	start := p.pos
	if end-start < fields.size {
		return at, p.fail(fmt.Sprintf("%d bytes where fields of %d must stand", end-start, fields.size), "the payload may have been cut short, or has another layout")
	}
	for i := range fields.list {
		f := &fields.list[i]
		from := start + f.at
		to := from + f.size
		if f.rest {
			to = end
		}
		p.pos = from
		if err := p.field(f, p.text[from:to], &at); err != nil {
			return at, err
		}
	}
	p.pos = start + fields.size
	if fields.rest {
		p.pos = end
	}
	return at, nil
}

// field reads one field of the bytes b.
func (p *binaryParser) field(f *binaryField, b []byte, at *binaryTime) error {
	switch f.kind {
	case binarySkip:
		return nil
	case binaryBytes:
		return p.add(f, reading.Bytes(string(b)))
	case binaryText:
		text, ok := scalar.Text(b, f.order)
		if !ok {
			return p.fail("text is not UTF-8", `the payload may have another layout; type = "bytes" takes any bytes`)
		}
		return p.add(f, reading.String(text))
	}
	v, err := f.codec.Get(b)
	if err == scalar.ErrMissing {
		return nil
	}
	if err != nil {
		return p.fail(err.Error(), "the payload may have another layout")
	}
	if f.kind == binaryTimestamp {
		if taken, err := p.time(f, v, at); taken || err != nil || f.name == "" {
			return err
		}
	}
	return p.add(f, Scalar(v))
}

// time takes a time, if it is a plausible one and none was there before.
func (p *binaryParser) time(f *binaryField, v scalar.Value, at *binaryTime) (taken bool, err error) {
	if at.ns != 0 {
		return false, nil
	}
	d := scalar.Decimal{Mantissa: uint64(v.Int)}
	switch {
	case v.Kind == scalar.Float:
		d = scalar.FromFloat(v.Float)
	case v.Int < 0:
		d = scalar.Decimal{Mantissa: -uint64(v.Int), Negative: true}
	}
	if !f.ago {
		as := number{mantissa: d.Mantissa, exponent: d.Exponent, negative: d.Negative}
		at.ns, taken = as.time(f.unit)
		if !taken {
			at.ns = 0
		}
		return taken, nil
	}
	ns, ok := d.Nanoseconds()
	if !ok {
		return false, nil
	}
	at.ns, err = p.fromNow(-ns)
	at.flags = reading.Stamped
	return true, err
}

// fromNow returns the time of the arrival and so many nanoseconds.
func (p *binaryParser) fromNow(offset int64) (int64, error) {
	ns, ok := fromNow(p.frame.Now, offset)
	if !ok {
		return 0, p.fail("a relative time that cannot be told", "it is too far from now, or the door knows no time")
	}
	return ns, nil
}

func (p *binaryParser) add(f *binaryField, v reading.Value) error {
	if p.room == 0 {
		return p.fail("too many readings", "split the payload")
	}
	p.room--
	name := f.name
	switch {
	case name == "" && p.frame.Metric != "":
		name = p.frame.Metric
	case name == "":
		name = "value"
	}
	if p.rows && p.numbered {
		var buffer [maxName]byte
		if len(name) > maxName-21 {
			return p.fail("name too long", "names may have 256 bytes, the number of the row included")
		}
		full := append(append(buffer[:0], name...), '.')
		name = p.names.find(strconv.AppendInt(full, int64(p.row), 10)).name
	}
	p.out = append(p.out, reading.Reading{Device: p.frame.Device, Metric: name, Unit: f.unitName, Value: v})
	return nil
}

// repeated reads rows up to the end.
func (p *binaryParser) repeated(fields binaryFields, end int, outer binaryTime) error {
	p.rows = true
	defer func() { p.rows = false }()
	for p.row = 0; p.pos < end; p.row++ {
		first := len(p.out)
		at, err := p.block(fields, end)
		if err != nil {
			return err
		}
		if at.ns == 0 && p.rowStep != 0 {
			if at, err = p.step(outer); err != nil {
				return err
			}
		}
		p.date(first, at)
	}
	return nil
}

// step returns the time of the row by its number.
func (p *binaryParser) step(outer binaryTime) (at binaryTime, err error) {
	high, low := bits.Mul64(uint64(max(p.rowStep, -p.rowStep)), uint64(p.row))
	if high != 0 || low > math.MaxInt64 {
		return at, p.fail("a row too far from the first", "row_seconds is the time from one row to the next")
	}
	offset := int64(low)
	if p.rowStep < 0 {
		offset = -offset
	}
	if outer.ns == 0 {
		ns, err := p.fromNow(offset)
		return binaryTime{ns, reading.Stamped}, err
	}
	if ns := outer.ns + offset; outer.flags != 0 || plausible(ns) {
		return binaryTime{max(ns, 1), outer.flags}, nil
	}
	return at, p.fail("a row before 2001 or after 2099", "row_seconds is the time from one row to the next")
}

// items reads items up to the end.
func (p *binaryParser) items(end int, top binaryTime) error {
	for p.pos < end {
		if end-p.pos < p.tagSize+p.lengthSize {
			return p.fail("an item cut short", "an item begins with a tag, and a length where there is one")
		}
		tag := p.text[p.pos : p.pos+p.tagSize]
		found := p.find(tag)
		itemEnd := end
		if p.lengthSize > 0 {
			length := bigEndian(p.text[p.pos+p.tagSize:][:p.lengthSize])
			if length > uint64(end-p.pos-p.tagSize-p.lengthSize) {
				return p.fail(fmt.Sprintf("an item of %d bytes", length), "the payload ends before; it may have been cut short")
			}
			itemEnd = p.pos + p.tagSize + p.lengthSize + int(length)
		}
		if found == nil {
			if p.lengthSize == 0 {
				return p.fail(fmt.Sprintf("the tag %x is not known", tag), "its length is not known either; give it a case, of a field to skip if need be")
			}
			p.pos = itemEnd
			continue
		}
		p.pos += p.tagSize + p.lengthSize
		if err := p.item(found, itemEnd, top); err != nil {
			return err
		}
	}
	return nil
}

func (p *binaryParser) item(c *binaryCase, end int, top binaryTime) error {
	first := len(p.out)
	at, err := p.block(c.fields, end)
	if err != nil {
		return err
	}
	if c.repeat.list != nil {
		outer := at
		if outer.ns == 0 {
			outer = top
		}
		if err := p.repeated(c.repeat, end, outer); err != nil {
			return err
		}
	}
	p.date(first, at)
	if p.lengthSize > 0 {
		p.pos = end // newer firmware may have more to say
	}
	return nil
}

func (p *binaryParser) find(tag []byte) *binaryCase {
	for i := range p.cases {
		if p.cases[i].tag == string(tag) {
			return &p.cases[i]
		}
	}
	return nil
}

func bigEndian(b []byte) (n uint64) {
	for _, c := range b {
		n = n<<8 | uint64(c)
	}
	return n
}

// validName says whether a configured name can be that of a metric.
func validName(name string) error {
	if len(name) > maxName || !utf8.ValidString(name) {
		return errors.New("a name that is too long, or not UTF-8 — hint: names may have 256 bytes")
	}
	return nil
}

package decode

import (
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/tidegate/tidegate/internal/scalar"
)

// BinaryConfig is a layout; see Binary.
type BinaryConfig struct {
	// Order is the byte order of fields that do not say theirs: "big" (or
	// empty), "little", "badc" or "cdab", see scalar.ParseOrder.
	Order string `toml:"order"`
	// Fields are at the beginning of the payload.
	Fields []BinaryField `toml:"fields"`
	// Repeat are the fields of a row; rows follow to the end of the payload.
	Repeat []BinaryField `toml:"repeat"`
	// Number gives the names of a row's readings the number of the row:
	// "current.0", "current.1".
	Number bool `toml:"number"`
	// RowSeconds is the time from one row to the next, negative where the
	// newest is the first.
	RowSeconds float64 `toml:"row_seconds"`
	// Cases are what an item may be, by its tag; items follow to the end of the
	// payload. There are either rows or items.
	Cases []BinaryCase `toml:"cases"`
	// LengthSize is the number of bytes, at most 4, of the length that stands
	// behind the tag of each item, most significant byte first. Zero: items
	// have no length.
	LengthSize int `toml:"length_size"`
	// Rest says what happens to bytes behind the last field: "refuse" (or
	// empty) or "ignore".
	Rest string `toml:"rest"`
	// MaxReadings bounds the readings of one payload. Zero means 4096.
	MaxReadings int `toml:"max_readings"`
}

// BinaryCase is what items of one tag are.
type BinaryCase struct {
	// Tag is in hexadecimal, of 1 to 4 bytes: "01", "0367". The tags of a
	// layout have the same length.
	Tag    string        `toml:"tag"`
	Fields []BinaryField `toml:"fields"`
	// Repeat are rows to the end of the item.
	Repeat []BinaryField `toml:"repeat"`
}

// BinaryField is one field. Its keys are those of scalar.Config where they have
// the same name.
type BinaryField struct {
	// Name is the metric's. Empty means Frame.Metric, or "value", and that a
	// time is no reading when it is not plausible.
	Name string `toml:"name"`
	// Type is one of scalar's (u8, i16, f32, bcd32…), "bool" (a byte, or one
	// bit of it), "string" or "bytes" (of Size bytes), or "skip".
	Type string `toml:"type"`
	// Size is the number of bytes of a string, of bytes or of what is skipped.
	// Zero takes the rest; nothing may follow then.
	Size int `toml:"size"`
	// At is where the field begins, counted from the beginning of the payload,
	// the row or the item's data. Without it, a field follows the one before.
	At *int `toml:"at"`
	// Same begins the field where the one before it begins, as bit fields of
	// one byte do.
	Same bool `toml:"same"`
	// Order is as in BinaryConfig. A string has the order in which it is read,
	// unless it has a key of its own: "badc" and "little" swap the bytes of each
	// word, as texts in registers need it.
	Order string `toml:"order"`
	// Bit is the lowest bit of a bit field, 0 being the least significant one of
	// the number. Width is how many bits it has; zero means one.
	Bit   *int `toml:"bit"`
	Width int  `toml:"width"`
	// Scale and Offset make the value of the number.
	Scale  float64 `toml:"scale"`
	Offset float64 `toml:"offset"`
	// Unit is in SenML notation.
	Unit string `toml:"unit"`
	// Missing are the numbers that mean "no reading".
	Missing []string `toml:"missing"`
	// Widen takes floats of 16 and 32 bits as they are.
	Widen bool `toml:"widen"`
	// Time makes the field a time: "s", "ms", "us" or "ns" since 1970, or
	// "ago", seconds before the arrival; all after Scale and Offset.
	Time string `toml:"time"`
}

// The bounds of a layout.
const (
	maxBinaryFields = 1024
	maxBinarySize   = 1 << 16
)

// binaryLayout is a BinaryConfig that was understood.
type binaryLayout struct {
	fields, repeat      binaryFields
	cases               []binaryCase
	tagSize, lengthSize int
}

type binaryCase struct {
	tag            string
	fields, repeat binaryFields
}

// binaryFields is a list of fields, and how many bytes they need.
type binaryFields struct {
	list []binaryField
	size int
	rest bool // the last takes what is left
}

type binaryKind uint8

const (
	binaryNumber binaryKind = iota
	binaryTimestamp
	binaryText
	binaryBytes
	binarySkip
)

type binaryField struct {
	name, unitName string
	codec          *scalar.Codec
	order          scalar.Order
	at, size       int
	unit           TimeUnit
	kind           binaryKind
	ago, rest      bool
}

// NewBinary returns a decoder, or an error for a layout that makes no sense. It
// is safe for concurrent use.
func NewBinary(cfg BinaryConfig) (*Binary, error) {
	most, err := bounded(cfg.MaxReadings)
	if err != nil {
		return nil, err
	}
	b := &Binary{names: newNames(nil, nil), numbered: cfg.Number, maxReadings: most}
	switch cfg.Rest {
	case "", "refuse":
	case "ignore":
		b.ignoreRest = true
	default:
		return nil, fmt.Errorf("rest %q is not known — hint: \"refuse\" or \"ignore\"", cfg.Rest)
	}
	step := cfg.RowSeconds * 1e9
	if math.IsNaN(step) || math.Abs(step) > 1e18 {
		return nil, fmt.Errorf("row_seconds %v — hint: the seconds from one row to the next", cfg.RowSeconds)
	}
	b.rowStep = int64(math.Round(step))
	if len(cfg.Fields)+len(cfg.Repeat)+len(cfg.Cases) == 0 {
		return nil, errors.New("fields, repeat and cases are all empty — hint: they say what stands in the payload")
	}
	if len(cfg.Repeat) > 0 && len(cfg.Cases) > 0 {
		return nil, errors.New("repeat and cases are both there — hint: rows and items exclude each other; a case may have a repeat of its own")
	}
	if b.fields, err = layFields(cfg.Fields, cfg.Order, "fields"); err != nil {
		return nil, err
	}
	if b.repeat, err = layRows(cfg.Repeat, cfg.Order, "repeat"); err != nil {
		return nil, err
	}
	if b.fields.rest && len(cfg.Repeat)+len(cfg.Cases) > 0 {
		return nil, errors.New("fields take the rest, and rows or items follow — hint: give the last field a size")
	}
	return b, b.layCases(cfg)
}

func (b *Binary) layCases(cfg BinaryConfig) error {
	if cfg.LengthSize < 0 || cfg.LengthSize > 4 {
		return fmt.Errorf("length_size is %d — hint: a length has 1 to 4 bytes, and 0 means that there is none", cfg.LengthSize)
	}
	b.lengthSize = cfg.LengthSize
	if len(cfg.Cases) > maxBinaryFields {
		return fmt.Errorf("cases: %d of them — hint: at most %d", len(cfg.Cases), maxBinaryFields)
	}
	for i, c := range cfg.Cases {
		key := fmt.Sprintf("cases.%d", i)
		tag, err := hex.DecodeString(strings.TrimPrefix(c.Tag, "0x"))
		if err != nil || len(tag) < 1 || len(tag) > 4 {
			return fmt.Errorf("%s: tag %q — hint: 1 to 4 bytes in hexadecimal, like \"0367\"", key, c.Tag)
		}
		if i > 0 && len(tag) != b.tagSize {
			return fmt.Errorf("%s: tag %q is not as long as the others — hint: the tags of a layout have the same length", key, c.Tag)
		}
		b.tagSize = len(tag)
		made := binaryCase{tag: string(tag)}
		for _, other := range b.cases {
			if other.tag == made.tag {
				return fmt.Errorf("%s: tag %q is there twice — hint: one case for each tag", key, c.Tag)
			}
		}
		if made.fields, err = layFields(c.Fields, cfg.Order, key+".fields"); err != nil {
			return err
		}
		if made.repeat, err = layRows(c.Repeat, cfg.Order, key+".repeat"); err != nil {
			return err
		}
		if made.fields.rest && len(c.Repeat) > 0 {
			return fmt.Errorf("%s: fields that take the rest, and rows after them — hint: give the last field a size", key)
		}
		b.cases = append(b.cases, made)
	}
	return nil
}

// layRows is layFields for what is repeated, which must get on.
func layRows(fields []BinaryField, order, key string) (binaryFields, error) {
	made, err := layFields(fields, order, key)
	if err == nil && len(fields) > 0 && (made.size == 0 || made.rest) {
		err = fmt.Errorf("%s: rows without a length — hint: each field of a row has one", key)
	}
	return made, err
}

// layFields finds the place of each field. key is how the configuration calls
// the list.
func layFields(fields []BinaryField, order, key string) (made binaryFields, err error) {
	if len(fields) > maxBinaryFields {
		return made, fmt.Errorf("%s: %d fields — hint: at most %d", key, len(fields), maxBinaryFields)
	}
	next, before := 0, 0
	for i, cfg := range fields {
		where := fmt.Sprintf("%s.%d", key, i)
		if cfg.Name != "" {
			where += " (" + cfg.Name + ")"
		}
		if cfg.Order == "" && cfg.Type != "string" {
			cfg.Order = order // the letters of a text are in theirs
		}
		f, err := newBinaryField(cfg)
		if err != nil {
			return made, fmt.Errorf("%s: %w", where, err)
		}
		f.at = next
		switch {
		case cfg.At != nil && cfg.Same:
			return made, fmt.Errorf("%s: both at and same — hint: one of them says where a field begins", where)
		case cfg.At != nil:
			f.at = *cfg.At
		case cfg.Same:
			f.at = before
		}
		if f.at < 0 || f.at > maxBinarySize {
			return made, fmt.Errorf("%s: at %d — hint: between 0 and %d", where, f.at, maxBinarySize)
		}
		if f.rest && i < len(fields)-1 {
			return made, fmt.Errorf("%s: takes the rest, and fields after it — hint: give it a size", where)
		}
		before, next = f.at, f.at+f.size
		made.rest = made.rest || f.rest
		made.size = max(made.size, next)
		made.list = append(made.list, f)
	}
	return made, nil
}

// newBinaryField understands one field, but for its place.
func newBinaryField(cfg BinaryField) (f binaryField, err error) {
	f = binaryField{name: cfg.Name, unitName: cfg.Unit, size: cfg.Size}
	if err := validName(cfg.Name); err != nil {
		return f, err
	}
	if err := validName(cfg.Unit); err != nil {
		return f, err
	}
	var ok bool
	if f.order, ok = scalar.ParseOrder(cfg.Order); !ok {
		return f, fmt.Errorf("order %q is not known — hint: \"big\", \"little\", \"badc\" or \"cdab\"", cfg.Order)
	}
	switch cfg.Type {
	case "string", "bytes", "skip":
		return layBytes(f, cfg)
	}
	if cfg.Size != 0 {
		return f, fmt.Errorf("a size of type %q — hint: sizes belong to strings, bytes and what is skipped", cfg.Type)
	}
	number := scalar.Config{
		Order: f.order, Width: cfg.Width, Scale: cfg.Scale,
		Offset: cfg.Offset, Missing: cfg.Missing, Widen: cfg.Widen,
	}
	if cfg.Bit != nil {
		number.Bit = *cfg.Bit
		if number.Width == 0 {
			number.Width = 1
		}
	}
	if cfg.Type == "bool" {
		number.Type, number.Truth = scalar.U8, true
	} else if number.Type, ok = scalar.ParseType(cfg.Type); !ok {
		return f, fmt.Errorf("type %q is not known — hint: a number like u16 or f32, \"bool\", \"string\", \"bytes\" or \"skip\"", cfg.Type)
	}
	if number.Type.Size() == 1 {
		number.Order = scalar.Big
	}
	if f.codec, err = scalar.New(number); err != nil {
		return f, err
	}
	f.size = f.codec.Size()
	return f, f.timed(cfg)
}

// layBytes understands what is not a number.
func layBytes(f binaryField, cfg BinaryField) (binaryField, error) {
	if cfg.Size < 0 || cfg.Size > maxBinarySize {
		return f, fmt.Errorf("size %d — hint: at most %d bytes, and 0 for the rest", cfg.Size, maxBinarySize)
	}
	if cfg.Bit != nil || cfg.Width != 0 || cfg.Scale != 0 || cfg.Offset != 0 || len(cfg.Missing) > 0 || cfg.Time != "" {
		return f, fmt.Errorf("keys of a number at type %q — hint: bit, width, scale, offset, missing and time belong to numbers", cfg.Type)
	}
	f.rest = cfg.Size == 0
	f.kind = map[string]binaryKind{"string": binaryText, "bytes": binaryBytes, "skip": binarySkip}[cfg.Type]
	return f, nil
}

// timed understands the key time.
func (f *binaryField) timed(cfg BinaryField) error {
	if cfg.Time == "" {
		return nil
	}
	f.kind, f.ago = binaryTimestamp, cfg.Time == "ago"
	if cfg.Type == "bool" {
		return errors.New("a truth that is a time — hint: times are numbers")
	}
	if f.ago {
		return nil
	}
	unit, ok := ParseTimeUnit(cfg.Time)
	if !ok {
		return fmt.Errorf("time %q is not known — hint: \"s\", \"ms\", \"us\", \"ns\" or \"ago\"", cfg.Time)
	}
	f.unit = unit
	return nil
}

package decode

import (
	"fmt"
	"strconv"

	"github.com/tidegate/tidegate/internal/scalar"
	"github.com/tidegate/tidegate/reading"
)

// LPPConfig says what Cayenne LPP has beyond its public data types. The zero
// value knows those.
type LPPConfig struct {
	// Types are data types of a vendor; they win over public ones of the same
	// number.
	Types []LPPType `toml:"types"`
	// ZeroPadded ends a payload at a record of type 0 on channel 0, for devices
	// that fill up with zeros. Without it that is a digital input.
	ZeroPadded bool `toml:"zero_padded"`
	// MaxReadings bounds the readings of one payload. Zero means 4096.
	MaxReadings int `toml:"max_readings"`
}

// LPPType is a data type of one number, most significant byte first.
type LPPType struct {
	// ID is its number in the payload, 0 to 255.
	ID int `toml:"id"`
	// Name stands before the channel in the names of its readings.
	Name string `toml:"name"`
	// Type is what its bytes are: u8, i16, u32, f32 and so on, see
	// scalar.ParseType.
	Type string `toml:"type"`
	// Scale multiplies the number; zero means 1.
	Scale float64 `toml:"scale"`
	// Unit is in SenML notation.
	Unit string `toml:"unit"`
}

// LPP decodes Cayenne Low Power Payload: records of a channel, a data type and
// data of the length that the type has, as LoRaWAN devices send them. It knows
// the types of myDevices' specification and those that the library of Electronic
// Cats added to them, named as there.
//
// A reading is named after its type and channel, "temperature.1"; one of several
// numbers has parts, "gps.1.latitude", "accelerometer.2.x", "colour.1.r". Values
// are exact in decimal. Units are in SenML notation: the acceleration of a
// payload is in g, and becomes m/s2; rates of turn are deg/s, for which SenML
// has no unit of its own. Presence and switch are truths, digital inputs and
// outputs are numbers. A polyline is its points, in their order.
//
// A plausible unix time dates the readings that follow it, up to the next one;
// the first one those before it, too. Another is the reading "time.N".
//
// A payload is taken whole or refused whole. Refused are types that are not
// known, because their length is not, records that are cut short, and empty
// payloads. One or two NUL bytes at the end are padding.
type LPP struct {
	names       *names
	types       [256]lppType
	zeroPadded  bool
	maxReadings int
}

// lppType is how a data type is read: its parts one after the other, or by a
// function of its own.
type lppType struct {
	name  string
	parts []lppPart
	size  int
	kind  lppKind
}

type lppPart struct {
	name  string
	codec *scalar.Codec
	unit  string
}

type lppKind uint8

const (
	lppUnknown lppKind = iota
	lppParts
	lppTime
	lppPolyline
)

// lppPublic are the public data types. Numbers are big-endian.
var lppPublic = [...]struct {
	id    int
	name  string
	parts []lppSpec
}{
	{0, "digital_in", []lppSpec{{"", scalar.U8, 0, ""}}},
	{1, "digital_out", []lppSpec{{"", scalar.U8, 0, ""}}},
	{2, "analog_in", []lppSpec{{"", scalar.I16, 0.01, ""}}},
	{3, "analog_out", []lppSpec{{"", scalar.I16, 0.01, ""}}},
	{100, "generic", []lppSpec{{"", scalar.U32, 0, ""}}},
	{101, "luminosity", []lppSpec{{"", scalar.U16, 0, "lx"}}},
	{102, "presence", []lppSpec{{"", lppTruth, 0, ""}}},
	{103, "temperature", []lppSpec{{"", scalar.I16, 0.1, "Cel"}}},
	{104, "humidity", []lppSpec{{"", scalar.U8, 0.5, "%RH"}}},
	{113, "accelerometer", []lppSpec{{"x", scalar.I16, milliG, "m/s2"}, {"y", scalar.I16, milliG, "m/s2"}, {"z", scalar.I16, milliG, "m/s2"}}},
	{115, "pressure", []lppSpec{{"", scalar.U16, 0.1, "hPa"}}},
	{116, "voltage", []lppSpec{{"", scalar.U16, 0.01, "V"}}},
	{117, "current", []lppSpec{{"", scalar.U16, 0.001, "A"}}},
	{118, "frequency", []lppSpec{{"", scalar.U32, 0, "Hz"}}},
	{120, "percentage", []lppSpec{{"", scalar.U8, 0, "%"}}},
	{121, "altitude", []lppSpec{{"", scalar.I16, 0, "m"}}},
	{125, "concentration", []lppSpec{{"", scalar.U16, 0, "ppm"}}},
	{128, "power", []lppSpec{{"", scalar.U16, 0, "W"}}},
	{130, "distance", []lppSpec{{"", scalar.U32, 0.001, "m"}}},
	{131, "energy", []lppSpec{{"", scalar.U32, 0.001, "kWh"}}},
	{132, "direction", []lppSpec{{"", scalar.U16, 0, "deg"}}},
	{lppUnixTime, "time", []lppSpec{{"", scalar.U32, 0, "s"}}},
	{134, "gyrometer", []lppSpec{{"x", scalar.I16, 0.01, "deg/s"}, {"y", scalar.I16, 0.01, "deg/s"}, {"z", scalar.I16, 0.01, "deg/s"}}},
	{135, "colour", []lppSpec{{"r", scalar.U8, 0, ""}, {"g", scalar.U8, 0, ""}, {"b", scalar.U8, 0, ""}}},
	{136, "gps", []lppSpec{{"latitude", scalar.I24, 0.0001, "lat"}, {"longitude", scalar.I24, 0.0001, "lon"}, {"altitude", scalar.I24, 0.01, "m"}}},
	{142, "switch", []lppSpec{{"", lppTruth, 0, ""}}},
	{240, "polyline", nil},
}

type lppSpec struct {
	name  string
	typ   scalar.Type // or lppTruth
	scale float64
	unit  string
}

const (
	lppTruth    scalar.Type = 255 // a byte that is a truth
	milliG                  = 0.00980665
	lppUnixTime             = 133
)

// NewLPP returns a decoder, or an error for data types that make no sense. It is
// safe for concurrent use.
func NewLPP(cfg LPPConfig) (*LPP, error) {
	most, err := bounded(cfg.MaxReadings)
	if err != nil {
		return nil, err
	}
	l := &LPP{names: newNames(nil, nil), zeroPadded: cfg.ZeroPadded, maxReadings: most}
	for _, t := range lppPublic {
		kind := lppParts
		switch {
		case t.id == lppUnixTime:
			kind = lppTime
		case t.parts == nil:
			kind = lppPolyline
		}
		made, err := newLPPType(t.name, kind, t.parts)
		if err != nil {
			return nil, err
		}
		l.types[t.id] = made
	}
	for i, t := range cfg.Types {
		typ, ok := scalar.ParseType(t.Type)
		if t.ID < 0 || t.ID > 255 || !ok || t.Name == "" || len(t.Name) > maxName/2 {
			return nil, fmt.Errorf("types.%d: data type %d, %q of type %q — hint: a data type has a number from 0 to 255, a name of at most %d bytes and a type like u16", i, t.ID, t.Name, t.Type, maxName/2)
		}
		made, err := newLPPType(t.Name, lppParts, []lppSpec{{"", typ, t.Scale, t.Unit}})
		if err != nil {
			return nil, fmt.Errorf("types.%d: data type %d: %w", i, t.ID, err)
		}
		l.types[t.ID] = made
	}
	return l, nil
}

func newLPPType(name string, kind lppKind, specs []lppSpec) (lppType, error) {
	t := lppType{name: name, kind: kind}
	for _, s := range specs {
		cfg := scalar.Config{Type: s.typ, Scale: s.scale}
		if s.typ == lppTruth {
			cfg = scalar.Config{Type: scalar.U8, Truth: true}
		}
		codec, err := scalar.New(cfg)
		if err != nil {
			return t, err
		}
		t.parts = append(t.parts, lppPart{name: s.name, codec: codec, unit: s.unit})
		t.size += codec.Size()
	}
	return t, nil
}

// Decode implements Decoder.
func (l *LPP) Decode(dst []reading.Reading, f Frame) ([]reading.Reading, error) {
	p := lppParser{LPP: l, scanner: scanner{text: f.Payload}, device: f.Device, out: dst, first: len(dst), room: l.maxReadings}
	p.undated = p.first
	if err := p.payload(); err != nil {
		return dst, err
	}
	return p.out, nil
}

type lppParser struct {
	*LPP
	scanner
	device  string
	out     []reading.Reading
	first   int // in out, of this payload
	undated int // in out, of those since the last time
	at      int64
	room    int
	name    [maxName]byte
}

func (p *lppParser) payload() error {
	for {
		rest := p.text[p.pos:]
		if len(rest) < 3 && isZero(rest) {
			break
		}
		if len(rest) < 2 {
			return p.fail("a record cut short", "a record is a channel, a type and data")
		}
		channel, id := rest[0], rest[1]
		if p.zeroPadded && channel == 0 && id == 0 {
			if !isZero(rest) {
				return p.fail("something behind the padding", "zeros end the payload")
			}
			break
		}
		if err := p.record(channel, id, rest[2:]); err != nil {
			return err
		}
	}
	if len(p.out) == p.first {
		return p.fail("no value found", "a payload needs at least one record with a value that is no time")
	}
	p.date()
	return nil
}

func isZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// record takes one record, whose data begin data.
func (p *lppParser) record(channel, id byte, data []byte) error {
	t := &p.types[id]
	size := t.size
	if t.kind == lppPolyline && len(data) > 0 {
		size = max(int(data[0]), polylineHead)
	}
	switch {
	case t.kind == lppUnknown:
		p.pos++
		return p.fail(fmt.Sprintf("data type %d is not known", id), "its length is not known either; types of a vendor can be configured")
	case len(data) < max(size, 1):
		return p.fail(fmt.Sprintf("%s cut short", t.name), fmt.Sprintf("data type %d has %d bytes of data", id, size))
	}
	base := append(append(p.name[:0], t.name...), '.')
	base = strconv.AppendUint(base, uint64(channel), 10)
	var err error
	switch t.kind {
	case lppPolyline:
		err = p.polyline(base, data[:size])
	case lppTime:
		err = p.time(t, base, data)
	default:
		err = p.parts(t, base, data)
	}
	p.pos += 2 + size
	return err
}

func (p *lppParser) parts(t *lppType, base, data []byte) error {
	for _, part := range t.parts {
		v, err := part.codec.Get(data)
		data = data[part.codec.Size():]
		if err == scalar.ErrMissing {
			continue
		}
		if err != nil {
			return p.fail(err.Error(), "the payload was damaged, or it is no Cayenne LPP")
		}
		name := base
		if part.name != "" {
			name = append(append(base, '.'), part.name...)
		}
		if err := p.add(name, part.unit, Scalar(v)); err != nil {
			return err
		}
	}
	return nil
}

// time begins a new sample if the time is plausible.
func (p *lppParser) time(t *lppType, base, data []byte) error {
	v, err := t.parts[0].codec.Get(data)
	if err != nil {
		return p.fail(err.Error(), "the payload was damaged, or it is no Cayenne LPP")
	}
	const second = 1_000_000_000
	if ns := v.Int * second; plausible(ns) {
		if p.at != 0 {
			p.date()
		}
		p.at = ns
		return nil
	}
	return p.parts(t, base, data)
}

// date gives the last time to the readings since the one before it.
func (p *lppParser) date() {
	for i := p.undated; i < len(p.out); i++ {
		p.out[i].Time = p.at
	}
	p.undated = len(p.out)
}

func (p *lppParser) add(name []byte, unit string, v reading.Value) error {
	if p.room == 0 {
		return p.fail("too many readings", "split the payload")
	}
	p.room--
	p.out = append(p.out, reading.Reading{Device: p.device, Metric: p.names.find(name).name, Unit: unit, Value: v})
	return nil
}

// A polyline begins with its size, which counts itself, the factor of its
// steps and the first point; each further byte is a step, the latitude's in its
// lower half and the longitude's in its upper half.
const polylineHead = 8

// polylineFactors are the steps of the factors from 227 on, in 0.0001 degrees.
var polylineFactors = [...]int32{1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000}

func (p *lppParser) polyline(base, data []byte) error {
	var factor int32
	switch n := int(data[1]); {
	case data[0] < polylineHead:
		return p.fail("a polyline of fewer than 8 bytes", "its size counts the size itself, the factor and the first point")
	case n > 0 && n < 200:
		factor = int32(n)
	case n >= 227 && n < 227+len(polylineFactors):
		factor = polylineFactors[n-227]
	default:
		return p.fail(fmt.Sprintf("a polyline with the factor %d", n), "factors are 1 to 199 and 227 to 239")
	}
	latitude := (int32(data[2])<<24 | int32(data[3])<<16 | int32(data[4])<<8) >> 8
	longitude := (int32(data[5])<<24 | int32(data[6])<<16 | int32(data[7])<<8) >> 8
	n := len(base)
	for i := polylineHead; ; i++ {
		for _, c := range [...]struct {
			name, unit string
			steps      int32
		}{{".latitude", "lat", latitude}, {".longitude", "lon", longitude}} {
			degrees := float64(int64(c.steps)*int64(factor)) / 10000
			if err := p.add(append(base[:n], c.name...), c.unit, reading.Float(degrees)); err != nil {
				return err
			}
		}
		if i >= len(data) {
			return nil
		}
		latitude += int32(int8(data[i]<<4) >> 4)
		longitude += int32(int8(data[i]) >> 4)
	}
}

package decode

import (
	"fmt"

	"github.com/tidegate/tidegate/internal/scalar"
	"github.com/tidegate/tidegate/reading"
)

// SenMLConfig says what the names of SenML mean here. The zero value takes the
// last part of a name as the metric.
type SenMLConfig struct {
	// Split says where a name is divided into device and metric: "last" (or
	// empty) at the last ":" or "/", "base" between base name and name, "none"
	// takes all of it as the metric of the frame's device.
	Split string `toml:"split"`
	// KeepDevice leaves the device as the door has it, whatever names say:
	// where who sent something decides who he is, and not what he sent.
	KeepDevice bool `toml:"keep_device"`
	// AnyName takes names that are empty, or begin with another character than
	// a letter or a digit, as the paths of LwM2M do ("/3303/0/5700").
	AnyName bool `toml:"any_name"`
	// MaxReadings bounds the readings of one payload. Zero means 4096.
	MaxReadings int `toml:"max_readings"`
}

// senmlSplit is SenMLConfig.Split.
type senmlSplit uint8

const (
	splitLast senmlSplit = iota
	splitBase
	splitNone
)

// SenML holds what the two decoders of SenML (RFC 8428) have in common; see
// SenMLJSON and SenMLCBOR.
//
// # Names
//
// The base name and the name together name a series. They are divided at the
// last ":" or "/": "urn:dev:ow:10e2073a01080063:voltage" is the metric voltage
// of the device urn:dev:ow:10e2073a01080063. What is a device and nothing else
// stays whole: urn:dev:ow:10e2073a01080063 without more (of a device URN, RFC
// 9039, what follows the first "_" is the metric, too), another URN of three
// parts, an IPv6 address. Its metric is Frame.Metric, or "value" when that is
// empty; a name without ":" and "/" is a metric of Frame.Device.
//
// # Records
//
// Base values hold from their record on until the next of the same kind. v, vs,
// vb and vd become values of their kind; a base value is added to v, and a base
// sum to s, exactly as they are written in decimal. A sum is a reading of its
// own beside the value: the metric with ".sum" behind it, in the unit times
// seconds where SenML has a name for that, and without unit otherwise. Units
// are kept as they are, those of RFC 8798 among them. The update time ut says
// something about the future, and is checked and passed over. A number of CBOR
// that is not finite is no reading.
//
// # Times
//
// Base time and time together are seconds. Below 2^28 they are relative to now:
// none, and zero, leave the time to the arrival (Time zero); others are counted
// from Frame.Now, and marked reading.Stamped. From 2^28 on they are absolute.
//
// # Refusals
//
// A pack is taken whole or refused whole. Refused are: labels that end in "_",
// which would have to be understood; versions beyond 10 (but for 26, which is 10
// with the secondary units of RFC 8798 and 9100), and versions that change
// within a pack; labels that occur twice in a record, or with another type than
// theirs; records of more than one value, or of none beside a name or time;
// names with other characters than letters, digits and "-:./_", or that begin
// with another than a letter or digit; times before 2001-09-09 or after 2099, of
// clocks that were never set; names longer than 256 bytes, more than
// MaxReadings, and packs without any record. Other labels that are not known
// are passed over, with all that is in them.
//
// Decoding costs no allocation once the names have been seen, except for
// strings and data.
type SenML struct {
	names       *names
	split       senmlSplit
	keepDevice  bool
	anyName     bool
	maxReadings int
}

func newSenML(cfg SenMLConfig) (*SenML, error) {
	most, err := bounded(cfg.MaxReadings)
	if err != nil {
		return nil, err
	}
	s := &SenML{
		names:       newNames(nil, nil),
		keepDevice:  cfg.KeepDevice,
		anyName:     cfg.AnyName,
		maxReadings: most,
	}
	switch cfg.Split {
	case "", "last":
		s.split = splitLast
	case "base":
		s.split = splitBase
	case "none":
		s.split = splitNone
	default:
		return nil, fmt.Errorf("split %q is not known — hint: \"last\", \"base\" or \"none\"", cfg.Split)
	}
	return s, nil
}

// pack resolves the records of one payload. The notations embed it, because a
// pointer to it would move it to the heap.
type pack struct {
	scanner
	*SenML
	frame Frame
	out   []reading.Reading
	room  int

	known    set // base fields that were said
	records  int
	version  int
	baseName []byte
	baseUnit []byte
	baseTime scalar.Decimal
	baseVal  scalar.Decimal
	baseSum  scalar.Decimal
	full     [maxName]byte // the whole name of a record
}

func (s *SenML) pack(dst []reading.Reading, f Frame) pack {
	return pack{scanner: scanner{text: f.Payload}, SenML: s, frame: f, out: dst, room: s.maxReadings, version: senmlVersion}
}

// add resolves a record, and appends what it measures. What is wrong with it is
// reported where it begins.
func (p *pack) add(r *record) error {
	end := p.pos
	p.pos = r.at
	err := p.resolve(r)
	if err == nil {
		p.pos = end
	}
	return err
}

func (p *pack) resolve(r *record) error {
	if err := p.rebase(r); err != nil {
		return err
	}
	value := r.has & (1<<labelValue | 1<<labelText | 1<<labelBool | 1<<labelData)
	if value&(value-1) != 0 {
		return p.fail("a record with two values", "v, vs, vb and vd exclude each other")
	}
	numeric := r.has.has(labelValue) || value == 0 && p.known.has(labelBaseValue)
	summed := r.has.has(labelSum) || p.known.has(labelBaseSum)
	if value == 0 && !r.has.any(labelSum, labelName, labelTime, labelUnit, labelUpdate) {
		return nil // base fields for those that follow
	}
	if value == 0 && !numeric && !summed {
		return p.fail("a record without a value", "v, vs, vb, vd or s must be there, unless it has base fields only")
	}
	made, err := p.series(r)
	if err != nil {
		return err
	}
	if made.Time, made.Flags, err = p.time(r); err != nil {
		return err
	}
	if v, ok := p.value(r, numeric); ok {
		made.Value = v
		if err := p.append(made); err != nil {
			return err
		}
	}
	if summed {
		return p.sum(r, made)
	}
	return nil
}

// rebase takes the base fields of a record.
func (p *pack) rebase(r *record) error {
	p.records++
	if r.has.has(labelBaseVersion) {
		if r.version != p.version && (p.records > 1 || p.known.has(labelBaseVersion)) {
			return p.fail("a version that changes", "all records of a pack have the version that the first one says, or 10")
		}
		p.version = r.version
	}
	p.known |= r.has
	if r.has.has(labelBaseName) {
		p.baseName = r.baseName
	}
	if r.has.has(labelBaseUnit) {
		p.baseUnit = r.baseUnit
	}
	if r.baseTime.none || r.baseVal.none || r.baseSum.none {
		return p.fail("a base that is no finite number", "leave out what is not known")
	}
	if r.has.has(labelBaseTime) {
		p.baseTime = r.baseTime.exact()
	}
	if r.has.has(labelBaseValue) {
		p.baseVal = r.baseVal.exact()
	}
	if r.has.has(labelBaseSum) {
		p.baseSum = r.baseSum.exact()
	}
	return nil
}

// value returns the value of a record with the base value added.
func (p *pack) value(r *record, numeric bool) (reading.Value, bool) {
	if !numeric {
		return r.value, r.has.any(labelText, labelBool, labelData)
	}
	if r.number.none || !p.known.has(labelBaseValue) {
		return r.value, !r.number.none
	}
	return sumOf(p.baseVal, r.number.exact()), true
}

// sum appends the sum of a record beside its value.
func (p *pack) sum(r *record, made reading.Reading) error {
	if r.sum.none {
		return nil
	}
	var name [maxName]byte
	if len(made.Metric)+len(sumSuffix) > maxName {
		return p.fail("name too long", "names may have 256 bytes")
	}
	full := append(append(name[:0], made.Metric...), sumSuffix...)
	made.Metric = p.names.find(full).name
	made.Unit = sumUnit(made.Unit)
	made.Value = sumOf(p.baseSum, r.sum.exact())
	return p.append(made)
}

const sumSuffix = ".sum"

// sumOf adds two decimals, and follows the rule of reading.Value.
func sumOf(a, b scalar.Decimal) reading.Value {
	sum, ok := a.Add(b)
	if !ok {
		return reading.Float(a.Float() + b.Float())
	}
	n := cborNumber{Decimal: sum}
	v, _ := n.value()
	return v
}

// sumUnit returns the unit of what is summed over seconds, empty where SenML
// has none.
func sumUnit(unit string) string {
	switch unit {
	case "W":
		return "J"
	case "A":
		return "C"
	case "V":
		return "Wb"
	case "VA":
		return "VAs"
	case "var":
		return "vars"
	case "m/s":
		return "m"
	case "m/s2":
		return "m/s"
	case "m3/s":
		return "m3"
	case "l/s":
		return "l"
	case "bit/s":
		return "bit"
	case "B/s":
		return "B"
	case "Hz", "1/s":
		return "count"
	case "/":
		return "s"
	}
	return ""
}

func (p *pack) append(r reading.Reading) error {
	if p.room == 0 {
		return p.fail("too many readings", "split the payload")
	}
	p.room--
	p.out = append(p.out, r)
	return nil
}

// finish says what is missing of a pack that has been read.
func (p *pack) finish(had int) error {
	if len(p.out) == had {
		return p.fail("no value found", "a pack needs at least one record with a value")
	}
	return nil
}

package encode

import (
	"strings"

	"github.com/tidegate/tidegate/reading"
)

// The media types of SenML packs (RFC 8428 §12.3).
const (
	SenMLJSONType = "application/senml+json"
	SenMLCBORType = "application/senml+cbor"
)

// senml writes SenML packs (RFC 8428), in one of two notations. docs/reference/encodings.md
// tells what stands where; the reasons are here.
//
// A name must be unique among all sensors (§4.5.1), so the gateway's stands
// before a device's, unless that is a URN. Base names and base times are said
// when they change; a base unit only if all of a pack have it, because a record
// cannot take one back. A time before 2^28 seconds would mean "from now on"
// (§4.5.3): readings of a clock that was never set have no time, and what the
// clock said in the field clock.
//
// The fields that make a reading known again are extensions (§4.4), which
// readers that do not know them pass over: bgw, bepoch and blane for the whole
// pack, and bseq, the number of its record, from which those that follow count
// on. Their names begin with b because they hold for others, too (§12.2).
type senml struct {
	notation notation
	record   *senmlRecord
}

// notation writes packs of records.
type notation interface {
	contentType() string
	begin(dst []byte, records int) []byte
	record(dst []byte, r *senmlRecord) []byte
	end(dst []byte) []byte
}

func newSenML(n notation) senml { return senml{n, new(senmlRecord)} }

// senmlRecord is one record. Fields that are zero are not written, except where
// something else says that they are there.
type senmlRecord struct {
	first      bool  // then head and version are said
	head       *head // gateway, epoch and lane
	version    int   // 0: that which needs no saying
	baseName   []byte
	baseTime   int64 // in ns
	baseUnit   string
	baseSeq    uint64
	name       []byte
	unit       string
	time       int64 // in ns, from the base time
	value      reading.Value
	quality    string
	clock      int64 // in ns
	isBased    bool  // baseTime is said
	hasClock   bool
	isNumbered bool // baseSeq is said
}

func (s senml) contentType() string { return s.notation.contentType() }

func (s senml) append(dst []byte, p piece) ([]byte, int) {
	pack := survey(p)
	dst = s.notation.begin(dst, p.len())
	for i := range p.len() {
		seq, r := p.at(i)
		pack.next(s.record, p.head, seq, r)
		dst = s.notation.record(dst, s.record)
	}
	return s.notation.end(dst), 0
}

// senmlPack is what holds for the records that follow.
type senmlPack struct {
	lone     bool   // all readings are of one device and metric
	unit     string // of all readings
	version  int
	begun    bool
	device   string
	baseTime int64
	seq      uint64 // of the next record, if it follows
}

// survey looks at what all readings have in common.
func survey(p piece) senmlPack {
	_, first := p.at(0)
	s := senmlPack{lone: true, unit: first.Unit}
	for i := range p.len() {
		_, r := p.at(i)
		s.lone = s.lone && r.Device == first.Device && r.Metric == first.Metric
		if r.Unit != s.unit {
			s.unit = ""
		}
		if secondaryUnits[r.Unit] {
			s.version = versionWithSecondary
		}
	}
	return s
}

// The bounds of times in a pack.
const (
	// absolute is where times cease to be relative to now (RFC 8428 §4.5.3).
	absolute = (1 << 28) * 1_000_000_000
	// maxAway is how far a time may be from its base: 15 digits of nanoseconds,
	// which a float64 keeps.
	maxAway = 1_000_000 * 1_000_000_000
	// baseGrain is what base times are rounded down to, because a float64 of
	// seconds since 1970 keeps no more.
	baseGrain = 1_000
)

// next makes out the record of a reading.
func (s *senmlPack) next(rec *senmlRecord, h *head, seq uint64, r *reading.Reading) {
	*rec = senmlRecord{baseName: rec.baseName[:0], name: rec.name[:0], value: r.Value, head: h}
	if !s.begun {
		rec.first, rec.version, rec.baseUnit = true, s.version, s.unit
	}
	if !s.begun || r.Device != s.device {
		rec.baseName = appendBaseName(rec.baseName, h.gateway, r.Device)
		if s.lone {
			rec.baseName = appendName(rec.baseName, r.Metric)
		}
		s.device = r.Device
	}
	if !s.lone {
		rec.name = appendName(rec.name, r.Metric)
	}
	if !s.begun || seq != s.seq {
		rec.baseSeq, rec.isNumbered = seq, true
	}
	s.seq, s.begun = seq+1, true
	if s.unit == "" {
		rec.unit = r.Unit
	}
	if r.Flags.Quality() != 0 {
		rec.quality = quality(r.Flags)
	}
	s.clock(rec, r.Time)
}

// clock says when it was.
func (s *senmlPack) clock(rec *senmlRecord, at int64) {
	if at < absolute {
		rec.isBased = s.baseTime != 0
		s.baseTime = 0
		rec.clock, rec.hasClock = at, true
		return
	}
	if s.baseTime == 0 || at-s.baseTime >= maxAway || s.baseTime-at >= maxAway {
		s.baseTime = at - at%baseGrain
		rec.isBased = true
	}
	rec.baseTime, rec.time = s.baseTime, at-s.baseTime
}

// appendBaseName appends the base name of a device: all of a name but the
// metric.
func appendBaseName(dst []byte, gateway, device string) []byte {
	if strings.HasPrefix(device, "urn:") {
		return append(appendName(dst, device), ':')
	}
	if gateway == "" || !isAlphanumeric(gateway[0]) {
		dst = append(dst, '0') // a name begins with a letter or digit
	}
	dst = append(appendName(dst, gateway), '/')
	if device == "" {
		return dst
	}
	return append(appendName(dst, device), '/')
}

// appendName appends s in the characters of names (RFC 8428 §4.5.1). For every
// other byte stand "_" and two hexadecimal digits in upper case, and for a "_"
// that could be taken for the beginning of those, too: no two names become one.
func appendName(dst []byte, s string) []byte {
	const digits = "0123456789ABCDEF"
	for i := range len(s) {
		c := s[i]
		legal := isAlphanumeric(c) || strings.IndexByte("-:./_", c) >= 0
		if legal && (c != '_' || i+2 >= len(s) || !isHex(s[i+1]) || !isHex(s[i+2])) {
			dst = append(dst, c)
			continue
		}
		dst = append(dst, '_', digits[c>>4], digits[c&15])
	}
	return dst
}

func isAlphanumeric(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9' }
func isHex(c byte) bool          { return c >= '0' && c <= '9' || c >= 'A' && c <= 'F' }

// text returns what stands in vs, and whether the value is a text there: the
// numbers that SenML does not have are.
func (r *senmlRecord) text() (string, bool) {
	switch v := r.value; v.Kind() {
	case reading.KindString:
		return v.Text(), true
	case reading.KindFloat:
		if !finite(v.Float()) {
			return string(appendFloat(nil, v.Float())), true
		}
	}
	return "", false
}

// versionWithSecondary is version 10 with the feature of secondary units (RFC
// 9100 §4).
const versionWithSecondary = 10 | 1<<4

// secondaryUnits are the names that a pack may only use if its version says so
// (RFC 8798 §3, and what was registered since).
var secondaryUnits = map[string]bool{
	"ms": true, "min": true, "h": true, "MHz": true, "kW": true, "kVA": true, "kvar": true,
	"Ah": true, "Wh": true, "kWh": true, "varh": true, "kvarh": true, "kVAh": true, "Wh/km": true,
	"KiB": true, "GB": true, "Mbit/s": true, "B/s": true, "MB/s": true, "mV": true, "mA": true,
	"dBm": true, "ug/m3": true, "mm/h": true, "m/h": true, "ppm": true, "/100": true, "/1000": true,
	"hPa": true, "mm": true, "cm": true, "km": true, "km/h": true, "ppb": true, "ppt": true,
	"VAh": true, "mg/l": true, "ug/l": true, "g/l": true,
}

package decode

import (
	"net/netip"
	"strings"

	"github.com/tidegate/tidegate/internal/scalar"
	"github.com/tidegate/tidegate/reading"
)

// series returns a reading with the device, the metric and the unit of a
// record.
func (p *pack) series(r *record) (made reading.Reading, err error) {
	if len(p.baseName)+len(r.name) > maxName {
		return made, p.fail("name too long", "base name and name may have 256 bytes together")
	}
	full := append(append(p.full[:0], p.baseName...), r.name...)
	if err := p.legal(full); err != nil {
		return made, err
	}
	unit := p.baseUnit
	if r.has.has(labelUnit) {
		unit = r.unit
	}
	if len(unit) > maxName {
		return made, p.fail("unit too long", "units may have 256 bytes")
	}
	if len(unit) > 0 {
		made.Unit = p.names.find(unit).name
	}
	switch p.split {
	case splitLast:
		if len(full) > 0 {
			made.Device, made.Metric = splitName(p.names.find(full).name)
		}
	case splitBase:
		if base := trimSeparators(p.baseName); len(base) > 0 {
			made.Device = p.names.find(base).name
		}
		if len(r.name) > 0 {
			made.Metric = p.names.find(r.name).name
		}
	case splitNone:
		if len(full) > 0 {
			made.Metric = p.names.find(full).name
		}
	}
	if made.Device == "" || p.keepDevice {
		made.Device = p.frame.Device
	}
	if made.Metric == "" {
		made.Metric = p.frame.Metric
	}
	if made.Metric == "" {
		made.Metric = "value"
	}
	return made, nil
}

// legal checks the characters of a whole name (RFC 8428 §4.5.1).
func (p *pack) legal(name []byte) error {
	for i, c := range name {
		letter := c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9'
		if !letter && (i == 0 && !p.anyName || strings.IndexByte("-:./_", c) < 0) {
			return p.fail("a character in a name that may not stand there", `names are made of letters, digits and "-:./_", and begin with a letter or digit`)
		}
	}
	if len(name) == 0 && !p.anyName {
		return p.fail("a record without a name", "n, or bn for all that follow, says what was measured")
	}
	return nil
}

// splitName divides a whole name into device and metric; either may be empty.
func splitName(name string) (device, metric string) {
	if least := deviceEnd(name); least > 0 {
		rest := name[least:]
		if rest == "" {
			return name, ""
		}
		if rest[0] == '_' {
			return name[:least], rest[1:]
		}
		at := least + lastSeparator(rest) // rest begins with one
		return name[:at], name[at+1:]
	}
	if strings.Count(name, ":") > 1 {
		if _, err := netip.ParseAddr(name); err == nil {
			return name, ""
		}
	}
	at := lastSeparator(name)
	if at < 0 {
		return "", name
	}
	return name[:at], name[at+1:]
}

func lastSeparator(name string) int {
	for i := len(name) - 1; i >= 0; i-- {
		if name[i] == ':' || name[i] == '/' {
			return i
		}
	}
	return -1
}

// deviceEnd returns how much of a URN is the device at least: urn:dev:mac:ID up
// to the first "_" of the ID (RFC 9039), and three parts of any other URN. It
// is zero for other names.
func deviceEnd(name string) int {
	if len(name) < 4 || !strings.EqualFold(name[:4], "urn:") {
		return 0
	}
	parts := 3
	device := len(name) >= 8 && strings.EqualFold(name[:8], "urn:dev:")
	if device {
		parts = 4
	}
	for i := range len(name) {
		c := name[i]
		if parts > 1 && c == ':' {
			parts--
			continue
		}
		if parts == 1 && (c == ':' || c == '/' || device && c == '_') {
			return i
		}
	}
	return len(name)
}

// trimSeparators leaves away what a base name ends with only to keep it from
// the names.
func trimSeparators(base []byte) []byte {
	for len(base) > 0 && strings.IndexByte("-:./_", base[len(base)-1]) >= 0 {
		base = base[:len(base)-1]
	}
	return base
}

// relativeBelow is the number of seconds below which times are relative.
const relativeBelow = 1 << 28

// time adds base time and time, and counts relative times from Frame.Now.
func (p *pack) time(r *record) (ns int64, flags reading.Flags, err error) {
	const hint = "times are seconds since 1970; below 2^28 they are relative to now"
	if r.time.none {
		return 0, 0, p.fail("a time that is no finite number", hint)
	}
	sum, ok := p.baseTime.Add(r.time.exact())
	if !ok {
		sum = scalar.FromFloat(p.baseTime.Float() + r.time.exact().Float())
	}
	if sum.Mantissa == 0 {
		return 0, 0, nil
	}
	if sum.Float() >= relativeBelow {
		as := number{mantissa: sum.Mantissa, exponent: sum.Exponent}
		if ns, ok = as.time(Seconds); !ok {
			return 0, 0, p.fail("a time before 2001 or after 2099", "the clock of the device was never set, or its times are not in seconds")
		}
		return ns, 0, nil
	}
	offset, ok := sum.Nanoseconds()
	if !ok {
		return 0, 0, p.fail("a time too long ago", hint)
	}
	if ns, ok = fromNow(p.frame.Now, offset); !ok {
		return 0, 0, p.fail("a relative time that cannot be told", "it is too far from now, or the door knows no time")
	}
	return ns, reading.Stamped, nil
}

package decode

import "unicode/utf8"

// maxUnit bounds units that payloads name, in bytes.
const maxUnit = 16

// spellings are units as devices write them, and as SenML does (RFC 8428 §12.1,
// RFC 8798). An F stays an F: it may be a temperature or a capacitance.
var spellings = map[string]string{
	"C": "Cel", "°C": "Cel", "\xb0C": "Cel", "℃": "Cel", "º": "deg", "ºC": "Cel", "degC": "Cel", "deg C": "Cel",
	"celsius": "Cel", "Celsius": "Cel", "° C": "Cel", "'C": "Cel", "'F": "degF",
	"°F": "degF", "\xb0F": "degF", "℉": "degF", "deg F": "degF",
	"°": "deg", "\xb0": "deg", "ohm": "Ohm", "ohms": "Ohm", "Ω": "Ohm", "\u2126": "Ohm",
	"kΩ": "kOhm", "k\u2126": "kOhm", "MΩ": "MOhm", "M\u2126": "MOhm",
	"µA": "uA", "μA": "uA", "µV": "uV", "μV": "uV", "µm": "um", "μm": "um",
	"µS/cm": "uS/cm", "μS/cm": "uS/cm", "µs": "us", "μs": "us",
	"µg/m³": "ug/m3", "μg/m³": "ug/m3", "µg/m3": "ug/m3", "μg/m3": "ug/m3", "ug/m³": "ug/m3",
	"m²": "m2", "m³": "m3", "m^2": "m2", "m^3": "m3", "m³/h": "m3/h", "m^3/h": "m3/h", "m³/s": "m3/s", "m^3/s": "m3/s",
	"m/s²": "m/s2", "m/s^2": "m/s2", "W/m²": "W/m2", "W/m^2": "W/m2", "kg/m³": "kg/m3",
	"1/min": "1/min", "1/s": "1/s", "L": "l", "lux": "lx", "Lux": "lx", "rpm": "1/min", "RPM": "1/min", "U/min": "1/min", "bpm": "beat/min",
	"%rh": "%RH", "% RH": "%RH", "%rH": "%RH", "rH": "%RH",
	"Volt": "V", "volt": "V", "Volts": "V", "volts": "V", "Watt": "W", "watt": "W", "Ampere": "A", "Amps": "A",
}

// unit returns a unit as SenML writes it where its spelling is known, and as it
// is where it has the shape of one: letters, %, °, µ, Ω, /, *, · and ^, and
// powers (m3, m/s2). ok is false for anything else: 4fa3 is no 4 of something.
func (t *textReader) unit(text []byte) (unit string, ok bool) {
	if known, ok := spellings[string(text)]; ok {
		return known, true
	}
	if len(text) == 0 || len(text) > maxUnit || !utf8.Valid(text) {
		return "", false
	}
	var last rune
	for _, r := range string(text) {
		power := (r == '2' || r == '3' || r == '²' || r == '³') && (last == 'm' || last == 's' || last == 't' || last == '^')
		if !power && !unitRune(r) {
			return "", false
		}
		last = r
	}
	return t.names.find(text).name, true
}

func unitRune(r rune) bool {
	switch r {
	case '%', '°', 'µ', 'μ', 'Ω', '\u2126', '/', '*', '·', '^':
		return true
	}
	return r|0x20 >= 'a' && r|0x20 <= 'z'
}

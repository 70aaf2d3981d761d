package dialect

import (
	"maps"
	"slices"
	"strings"

	"github.com/tidegate/tidegate/ingest/decode"
)

// units are the units that devices announce, in the notation of SenML where that
// has them (RFC 8428 §12.1, RFC 8798, and what IANA has added). Those that SenML
// writes as everybody does are not listed.
var units = map[string]string{
	"°C": "Cel", "\u2103": "Cel", "\u00baC": "Cel", "degC": "Cel", "deg C": "Cel", "C": "Cel", "celsius": "Cel", "Celsius": "Cel", "deg_C": "Cel",
	"°": "deg", "\u00ba": "deg", "degrees": "deg",
	"%RH": "%RH", "%rH": "%RH", "% RH": "%RH", "RH%": "%RH",
	"lux": "lx", "Lux": "lx", "LX": "lx",
	"\u00b5g/m³": "ug/m3", "\u03bcg/m³": "ug/m3", "ug/m³": "ug/m3", "\u00b5g/m3": "ug/m3", "\u03bcg/m3": "ug/m3",
	"m³": "m3", "m³/s": "m3/s", "kg/m³": "kg/m3",
	"m²": "m2", "m/s²": "m/s2", "W/m²": "W/m2", "cd/m²": "cd/m2",
	"L": "l", "liter": "l", "L/s": "l/s",
	"\u03a9": "Ohm", "\u2126": "Ohm", "ohm": "Ohm",
	"VAr": "var", "Var": "var", "VAR": "var", "kVAr": "kvar", "kVAR": "kvar", "kvarh": "kvarh", "kVArh": "kvarh",
	"rpm": "1/min", "RPM": "1/min", "bpm": "beat/min",
	"Mbps": "Mbit/s", "bps": "bit/s", "bits/s": "bit/s",
	"sec": "s", "seconds": "s", "minutes": "min", "hours": "h",
	"mbar": "hPa", "kph": "km/h", "kmh": "km/h",
	"#":    "count",
	"watt": "W", "volt": "V", "ampere": "A", "amp": "A",
}

// senml returns an announced unit in SenML's notation; as it is if there is
// none. Humidity in percent is relative humidity, which SenML tells apart.
func senml(unit, metric string) string {
	unit = strings.TrimSpace(unit)
	if unit == "%" && strings.Contains(strings.ToLower(lastOf(metric, ".")), "humidity") {
		return "%RH"
	}
	if known, ok := units[unit]; ok {
		return known
	}
	return unit
}

// maxUnit bounds a unit in bytes. Longer ones are no units.
const maxUnit = 32

// rememberUnit remembers a unit as it was announced.
func rememberUnit(f decode.Frame, topic, metric, unit string) {
	if unit = senml(unit, metric); f.Memory != nil && len(unit) <= maxUnit {
		f.Memory.RememberUnit(topic, metric, unit)
	}
}

// replaceUnits makes the announced units those of the topic, all others being
// forgotten. They are keyed by metric.
func replaceUnits(f decode.Frame, topic string, announced map[string]string) {
	if f.Memory == nil {
		return
	}
	for metric := range f.Memory.Units(topic) {
		if announced[metric] == "" {
			f.Memory.RememberUnit(topic, metric, "")
		}
	}
	for _, metric := range slices.Sorted(maps.Keys(announced)) {
		rememberUnit(f, topic, metric, announced[metric])
	}
}

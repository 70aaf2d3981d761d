package dialect

import "testing"

func TestValueTemplatesThatAreNoMoreThanAPath(t *testing.T) {
	for template, want := range map[string]string{
		"":                                        "temp",
		"{{ value }}":                             "temp",
		"{{ value | float }}":                     "temp",
		"{{value_json.t}}":                        "t",
		"{{ value_json.a.b }}":                    "a.b",
		"{{ value_json['a'].b }}":                 "a.b",
		`{{ value_json["a b"]['c'] }}`:            "a b.c",
		"{{ value_json.a[0] }}":                   "a.0",
		"{{ value_json[1].x }}":                   "1.x",
		"{{- value_json.t -}}":                    "t",
		"{{ value_json.t | round(1) }}":           "t",
		"{{ value_json.t|float|round(2) }}":       "t",
		"{{ value_json.t | float(default=0)}}":    "t",
		"{{ value_json.t | default(0) }}":         "t",
		"{{ value_json.t | is_defined }}":         "t",
		"{{ value_json.t * 10 }}":                 "-",
		"{{ value_json.t - value_json.u }}":       "-",
		"{{ value_json.t | multiply(2) }}":        "-",
		"{{ value_json.t if value_json.u }}":      "-",
		"{{ (value_json.t) }}":                    "-",
		"{{ value_json }}":                        "-",
		"{{ value_json. }}":                       "-",
		"{{ value_json[a] }}":                     "-",
		"{{ value_json[0 }}":                      "-",
		"{{ state.state }}":                       "-",
		"{% if x %}{{ value_json.t }}{% endif %}": "-",
		"{{ value_json.a }}{{ value_json.b }}":    "-",
		"value_json.t":                            "-",
	} {
		got, ok := metricOf(template, "home/cellar/temp")
		if !ok {
			got = "-"
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", template, got, want)
		}
	}
}

func TestUnitsAreThoseOfSenML(t *testing.T) {
	for _, c := range [][3]string{
		{"°C", "t", "Cel"}, {"C", "t", "Cel"}, {"°F", "t", "°F"}, {"%", "humidity", "%RH"}, {"%", "air.Relative_Humidity", "%RH"},
		{"%", "battery", "%"}, {"hPa", "p", "hPa"}, {"mbar", "p", "hPa"}, {"kWh", "e", "kWh"}, {"W", "p", "W"}, {"lux", "l", "lx"}, {"lx", "l", "lx"},
		{"ppm", "co2", "ppm"}, {"µg/m³", "pm", "ug/m3"}, {"\u03bcg/m³", "pm", "ug/m3"}, {"m³", "v", "m3"}, {"L", "v", "l"}, {"Ω", "r", "Ohm"},
		{" V ", "u", "V"}, {"rpm", "n", "1/min"}, {"furlong", "d", "furlong"}, {"", "t", ""},
	} {
		if got := senml(c[0], c[1]); got != c[2] {
			t.Errorf("%q of %s: got %q, want %q", c[0], c[1], got, c[2])
		}
	}
}

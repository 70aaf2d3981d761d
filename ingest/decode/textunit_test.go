package decode

import "testing"

func TestUnitsAreWrittenAsInSenML(t *testing.T) {
	r, err := newTextReader(TextConfig{Units: true})
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"C": "Cel", "°C": "Cel", "\xb0C": "Cel", "℃": "Cel", "°F": "degF", "F": "F", "°": "deg",
		"V": "V", "mV": "mV", "%": "%", "%RH": "%RH", "% RH": "%RH", "hPa": "hPa", "Ω": "Ohm", "\u2126": "Ohm",
		"µg/m³": "ug/m3", "m³/h": "m3/h", "m/s2": "m/s2", "l/min": "l/min", "rpm": "1/min", "1/min": "1/min", "lux": "lx", "kWh": "kWh", "g*m^2": "g*m^2",
	} {
		if got, ok := r.unit([]byte(text)); !ok || got != want {
			t.Errorf("%q: got %q, %v, want %q", text, got, ok, want)
		}
	}
	for _, text := range []string{"", "fa3", "x1F", ".3", "1", "3V", "V ", "a b", "abcdefghijklmnopq", "\xff", "m4", "2"} {
		if got, ok := r.unit([]byte(text)); ok {
			t.Errorf("%q is the unit %q", text, got)
		}
	}
}

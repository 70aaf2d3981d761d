package decode

import (
	"fmt"
	"slices"

	"github.com/tidegate/tidegate/reading"
)

// NumberConfig says how Number reads its payloads. The zero value takes
// numbers with a decimal point, true and false, and words.
type NumberConfig struct {
	// DecimalComma, Units, Missing, True and False are as in TextConfig.
	DecimalComma bool     `toml:"decimal_comma"`
	Units        bool     `toml:"units"`
	Missing      []string `toml:"missing"`
	True         []string `toml:"true"`
	False        []string `toml:"false"`
	// Unit is the unit of numbers that tell none.
	Unit string `toml:"unit"`
	// Type is "", "number", "text" or "bool", as in Column.
	Type string `toml:"type"`
}

// Number decodes payloads that are one plain value: 21.5, ON, 21,5 °C, closed.
// The reading is named Frame.Metric, or "value" when that is empty. White space
// around the value and NUL bytes behind it are left out. Refused are payloads
// that are empty or say that there is no value, that are longer than 1024
// bytes, and texts that are not UTF-8 or have control characters.
type Number struct {
	text   *textReader
	column column
}

// maxPlain bounds the payloads of Number, in bytes.
const maxPlain = 1024

// NewNumber returns a decoder. It is safe for concurrent use.
func NewNumber(cfg NumberConfig) (*Number, error) {
	if !slices.Contains(kinds[:timeKind], cfg.Type) {
		return nil, fmt.Errorf("type %q — hint: a payload that is one value is a number, text or bool", cfg.Type)
	}
	columns, err := compileColumns([]Column{{Name: "value", Type: cfg.Type, Unit: cfg.Unit}})
	if err != nil {
		return nil, err
	}
	text, err := newTextReader(TextConfig{
		DecimalComma: cfg.DecimalComma, Units: cfg.Units, Missing: cfg.Missing, True: cfg.True, False: cfg.False,
	})
	if err != nil {
		return nil, err
	}
	return &Number{text: text, column: columns[0]}, nil
}

// Decode implements Decoder.
func (d *Number) Decode(dst []reading.Reading, f Frame) ([]reading.Reading, error) {
	text := trimmed(withoutNUL(f.Payload))
	if len(text) > maxPlain {
		return dst, malformed("a value of more than 1024 bytes", maxPlain, f.Payload, "one plain value must stand here; what is long is kept by raw")
	}
	for i, c := range text {
		if c < ' ' || c == 0x7f {
			return dst, malformed(fmt.Sprintf("control character %q", c), i, f.Payload, "one plain value must stand here; several belong into csv or keyvalue")
		}
	}
	v, unit, ok, problem := d.text.value(d.column.kind, text, false)
	if problem != "" {
		return dst, malformed(problem, 0, f.Payload, "one plain value must stand here")
	}
	if !ok {
		return dst, malformed("no value found", 0, f.Payload, "one plain value must stand here")
	}
	if unit == "" {
		unit = d.column.unit
	}
	metric := f.Metric
	if metric == "" {
		metric = "value"
	}
	return append(dst, reading.Reading{Device: f.Device, Metric: metric, Unit: unit, Value: v}), nil
}

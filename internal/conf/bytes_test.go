package conf

import (
	"errors"
	"testing"
)

func TestBytesAreTextOrHex(t *testing.T) {
	for text, want := range map[string]string{
		"":                "",
		"T?\r\n":          "T?\r\n", // TOML knows these itself
		`T?\r\n`:          "T?\r\n",
		`\x02\x7fA\t\0\\`: "\x02\x7fA\t\x00\\",
		"hex:01 03 00 6B": "\x01\x03\x00\x6b",
		"hex:0103006b":    "\x01\x03\x00\x6b",
		"hex:":            "",
		"21 °C":           "21 °C",
	} {
		var b Bytes
		if err := b.UnmarshalText([]byte(text)); err != nil || string(b) != want {
			t.Errorf("%q gave %q, %v; want %q", text, string(b), err, want)
		}
	}
	for _, text := range []string{`\`, `a\q`, `\x`, `\x1`, `\xGG`, "hex:1", "hex:zz"} {
		var b Bytes
		if err := b.UnmarshalText([]byte(text)); !errors.As(err, new(*ValueError)) {
			t.Errorf("%q gave %q, %v", text, string(b), err)
		}
	}
}

func FuzzBytesParseToThemselves(f *testing.F) {
	for _, seed := range []string{"", "T?\r\n", "hex:01", "\x00\xff", `a\b`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		var b Bytes
		if err := b.UnmarshalText([]byte(Bytes(raw).String())); err != nil || string(b) != raw {
			t.Errorf("%q became %q, %v", raw, string(b), err)
		}
		new(Bytes).UnmarshalText([]byte(raw))
	})
}

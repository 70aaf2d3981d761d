package daemon

import (
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/tidegate/tidegate/ingest/frame"
	"github.com/tidegate/tidegate/internal/conf"
)

// Framing is [[framing]]: how frames are told apart in a stream of bytes, under
// a name for the key framing of doors. A kind whose defaults will do is called by
// the kind's name and needs no table.
type Framing struct {
	Name string `toml:"name"`
	// Kind is one of frame.Kinds.
	Kind string `toml:"kind"`
	// MaxFrame bounds a frame, without what marks its ends and its checksum.
	MaxFrame conf.Size `toml:"max_frame"`
	// DropHalf says that silence ends a frame that is not complete.
	DropHalf bool `toml:"drop_half"`
	// Delimiter ends a line; empty stands for CR, LF and both.
	Delimiter string `toml:"delimiter"`
	// Size is that of all frames, everything included.
	Size int `toml:"size"`
	// Sync and Trailer are hexadecimal digits: what frames begin and end with.
	Sync    string `toml:"sync"`
	Trailer string `toml:"trailer"`
	// KeepHeader leaves what is before the payload where it is.
	KeepHeader bool `toml:"keep_header"`
	// LengthBytes to LengthAdjust say where a frame tells its length; see
	// frame.LengthField. LengthOrder is big or little.
	LengthBytes  int    `toml:"length_bytes"`
	LengthOrder  string `toml:"length_order"`
	LengthOffset int    `toml:"length_offset"`
	LengthAdjust int    `toml:"length_adjust"`
	// Start, End and Escape are control characters in hexadecimal digits, and
	// Escapes is none, each or double; see frame.Envelope.
	Start   string `toml:"start"`
	End     string `toml:"end"`
	Escape  string `toml:"escape"`
	Escapes string `toml:"escapes"`
	// Checksum is one of frame.Checksums. ChecksumForm is big, little or hex;
	// empty stands for what is customary.
	Checksum     string `toml:"checksum"`
	ChecksumForm string `toml:"checksum_form"`
	// ChecksumSeparator stands before one in hex; ChecksumFrom is the first
	// byte that it covers.
	ChecksumSeparator string `toml:"checksum_separator"`
	ChecksumFrom      int    `toml:"checksum_from"`
	// ChecksumAfterEnd puts it behind the control character.
	ChecksumAfterEnd bool `toml:"checksum_after_end"`
}

// SetDefaults makes f what an empty [[framing]] would be.
func (f *Framing) SetDefaults() {
	*f = Framing{
		Kind: "line", MaxFrame: 16 * conf.KiB, LengthBytes: 2, LengthOrder: "big",
		Start: "02", End: "03", Escape: "10", Escapes: "none", Checksum: "none",
	}
}

// plainFramings returns the framings that need no options, by name.
func plainFramings() map[string]frame.Config {
	all := map[string]frame.Config{"nmea": {Checksum: frame.NMEA}}
	for _, name := range frame.Kinds() {
		kind, _ := frame.ParseKind(name)
		if c := (frame.Config{Kind: kind}); c.Check() == nil { // a fixed size has no default
			all[name] = c
		}
	}
	return all
}

// framings returns all framings by name. The configuration must be valid.
func (c Config) framings() map[string]frame.Config {
	all := plainFramings()
	for _, f := range c.Framing {
		all[f.Name], _ = f.build()
	}
	return all
}

func validateFramings(r refuse, all []Framing) {
	taken := map[string]bool{}
	for name := range plainFramings() {
		taken[name] = true
	}
	for i, f := range all {
		key := fmt.Sprintf("framing[%d]", i)
		switch {
		case f.Name == "":
			r(key+".name", `write for example "scale", and framing = "scale" where it is used`, "is missing")
		case !isName(f.Name):
			r(key+".name", nameHint, "%q is no valid name", f.Name)
		case taken[f.Name]:
			r(key+".name", "choose another name", "%q is the name of another framing", f.Name)
		}
		taken[f.Name] = true
		f.validate(r, key)
	}
}

func (f Framing) validate(r refuse, key string) {
	sound := true
	note := func(key, hint, what string, args ...any) {
		sound = false
		r(key, hint, what, args...)
	}
	n := refuse(note)
	n.oneOf(key+".kind", f.Kind, frame.Kinds()...)
	n.oneOf(key+".checksum", f.Checksum, frame.Checksums()...)
	if f.ChecksumForm != "" {
		n.oneOf(key+".checksum_form", f.ChecksumForm, "big", "little", "hex")
	}
	n.oneOf(key+".length_order", f.LengthOrder, "big", "little")
	n.oneOf(key+".escapes", f.Escapes, "none", "each", "double")
	between(n, key+".max_frame", f.MaxFrame, 1, conf.MiB)
	if f.Kind == "length" {
		between(n, key+".length_bytes", f.LengthBytes, 1, 4)
	}
	for name, text := range map[string]string{"start": f.Start, "end": f.End, "escape": f.Escape} {
		if b, err := unhex(text); err != nil || len(b) != 1 || b == "\x00" {
			n(key+"."+name, `write two hexadecimal digits other than 00, for example "02"`, "%q is no control character", text)
		}
	}
	for name, text := range map[string]string{"sync": f.Sync, "trailer": f.Trailer} {
		if _, err := unhex(text); err != nil {
			n(key+"."+name, `write two hexadecimal digits a byte, for example "AA 55"`, "%q is not in hexadecimal digits", text)
		}
	}
	if !sound {
		return
	}
	if c, err := f.build(); err != nil {
		n.because(key, err)
	} else if err := c.Check(); err != nil {
		n.because(key, err)
	}
}

// build returns the framing; its error is about what validate refuses.
func (f Framing) build() (frame.Config, error) {
	c := frame.Config{
		MaxFrame: int(f.MaxFrame), DropHalf: f.DropHalf, Delimiter: f.Delimiter,
		Size: f.Size, KeepHeader: f.KeepHeader, Separator: f.ChecksumSeparator, SumFrom: f.ChecksumFrom,
		Form:     map[string]frame.Form{"big": frame.Big, "little": frame.Little, "hex": frame.Hex}[f.ChecksumForm],
		Envelope: frame.Envelope{SumAfterEnd: f.ChecksumAfterEnd, Escapes: map[string]frame.Escapes{"each": frame.EscapeEach, "double": frame.EscapeDouble}[f.Escapes]},
		Length:   frame.LengthField{Bytes: f.LengthBytes, Little: f.LengthOrder == "little", Offset: f.LengthOffset, Adjust: f.LengthAdjust},
	}
	c.Kind, _ = frame.ParseKind(f.Kind)
	c.Checksum, _ = frame.ParseChecksum(f.Checksum)
	for _, bytes := range []struct {
		to   *byte
		text string
	}{{&c.Envelope.Start, f.Start}, {&c.Envelope.End, f.End}, {&c.Envelope.Escape, f.Escape}} {
		b, err := unhex(bytes.text)
		if err != nil || len(b) != 1 {
			return c, fmt.Errorf("%q is no byte — hint: write two hexadecimal digits", bytes.text)
		}
		*bytes.to = b[0]
	}
	var err error
	if c.Sync, err = unhex(f.Sync); err != nil {
		return c, err
	}
	c.Trailer, err = unhex(f.Trailer)
	return c, err
}

// unhex reads hexadecimal digits, with or without spaces.
func unhex(text string) (string, error) {
	b, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
	return string(b), err
}

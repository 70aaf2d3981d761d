package daemon

import (
	"fmt"

	"github.com/tidegate/tidegate/ingest/frame"
	"github.com/tidegate/tidegate/internal/conf"
)

// Framing is [ingest.serial.framing]: how frames are told apart in a stream of
// bytes. Keys that the kind has no use for are refused.
type Framing struct {
	Kind     string    `toml:"kind"`
	MaxFrame conf.Size `toml:"max_frame"`
	// DropHalf says that a silence ends a frame that has begun.
	DropHalf bool `toml:"drop_half"`

	Delimiter conf.Bytes `toml:"delimiter"` // of lines
	Size      int        `toml:"size"`      // of frames of one size
	Sync      conf.Bytes `toml:"sync"`
	Trailer   conf.Bytes `toml:"trailer"`

	LengthBytes  int    `toml:"length_bytes"`
	LengthOrder  string `toml:"length_order"`
	LengthOffset int    `toml:"length_offset"`
	LengthAdjust int    `toml:"length_adjust"`
	KeepHeader   bool   `toml:"keep_header"`

	Start       conf.Bytes `toml:"start"`
	End         conf.Bytes `toml:"end"`
	Escape      conf.Bytes `toml:"escape"`
	Escapes     string     `toml:"escapes"`
	SumAfterEnd bool       `toml:"checksum_after_end"`

	Checksum  string     `toml:"checksum"`
	Form      string     `toml:"checksum_form"`
	Separator conf.Bytes `toml:"checksum_separator"`
	SumFrom   int        `toml:"checksum_from"`
}

// SetDefaults makes f what an empty table would be: lines of text.
func (f *Framing) SetDefaults() {
	*f = Framing{Kind: "line", MaxFrame: 16 * conf.KiB, LengthOrder: "big", Escapes: "none", Checksum: "none", Form: "customary"}
}

// The words for what has numbers in package frame.
var (
	forms   = []string{frame.Customary: "customary", frame.Big: "big", frame.Little: "little", frame.Hex: "hex"}
	escapes = []string{frame.NoEscapes: "none", frame.EscapeEach: "each", frame.EscapeDouble: "double"}
)

func (f Framing) validate(r refuse, key string) {
	r.oneOf(key+".kind", f.Kind, frame.Kinds()...)
	r.oneOf(key+".checksum", f.Checksum, frame.Checksums()...)
	r.oneOf(key+".checksum_form", f.Form, forms...)
	r.oneOf(key+".escapes", f.Escapes, escapes...)
	r.oneOf(key+".length_order", f.LengthOrder, "big", "little")
	between(r, key+".max_frame", f.MaxFrame, 1, conf.Size(frame.MaxMaxFrame))
	for name, b := range map[string]conf.Bytes{"start": f.Start, "end": f.End, "escape": f.Escape} {
		if len(b) > 1 {
			r(key+"."+name, `write one, for example "hex:02"`, "has %d bytes", len(b))
		}
	}
	if err := f.build().Check(); err != nil {
		r.because(key+".kind", err)
	}
}

// build returns the framing; words that are none stand for the first.
func (f Framing) build() frame.Config {
	kind, _ := frame.ParseKind(f.Kind)
	sum, _ := frame.ParseChecksum(f.Checksum)
	return frame.Config{
		Kind: kind, MaxFrame: int(f.MaxFrame), DropHalf: f.DropHalf,
		Delimiter: string(f.Delimiter), Size: f.Size, Sync: string(f.Sync), Trailer: string(f.Trailer),
		Length: frame.LengthField{
			Bytes: f.LengthBytes, Little: f.LengthOrder == "little", Offset: f.LengthOffset, Adjust: f.LengthAdjust,
		},
		KeepHeader: f.KeepHeader,
		Envelope: frame.Envelope{
			Start: first(f.Start), End: first(f.End), Escape: first(f.Escape),
			Escapes: frame.Escapes(position(escapes, f.Escapes)), SumAfterEnd: f.SumAfterEnd,
		},
		Checksum: sum, Form: frame.Form(position(forms, f.Form)), Separator: string(f.Separator), SumFrom: f.SumFrom,
	}
}

func first(b conf.Bytes) byte {
	if len(b) == 0 {
		return 0
	}
	return b[0]
}

func position(words []string, word string) int {
	for i, w := range words {
		if w == word {
			return i
		}
	}
	return 0
}

// String says it in a few words: "line with nmea".
func (f Framing) String() string {
	if f.Checksum == "none" {
		return f.Kind
	}
	return fmt.Sprintf("%s with %s", f.Kind, f.Checksum)
}

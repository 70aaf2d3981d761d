package frame

import (
	"bytes"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// framings are what the properties are tested with: every kind, with and without
// a checksum, and every way of writing one.
func framings() map[string]Config {
	return map[string]Config{
		"line":                   {},
		"line ;":                 {Delimiter: ";"},
		"line end":               {Delimiter: "-=\r"},
		"line hex":               {Checksum: CRC32, Form: Hex},
		"line *hex":              {Checksum: Sum16, Form: Hex, Separator: "*"},
		"line nmea":              {Checksum: NMEA},
		"slip":                   {Kind: SLIP},
		"slip crc":               {Kind: SLIP, Checksum: CRC32},
		"hdlc crc":               {Kind: HDLC, Checksum: CRC16X25},
		"cobs":                   {Kind: COBS},
		"cobs crc":               {Kind: COBS, Checksum: CRC32, Form: Little},
		"length":                 {Kind: Length},
		"length 1":               {Kind: Length, Length: LengthField{Bytes: 1, Adjust: -1}, MaxFrame: 200},
		"length 4":               {Kind: Length, Length: LengthField{Bytes: 4, Little: true}},
		"length crc":             {Kind: Length, Checksum: CRC32},
		"length header":          {Kind: Length, Length: LengthField{Offset: 4, Adjust: -3}, Sync: "\xAA\x55", KeepHeader: true, Checksum: CRC16CCITT, SumFrom: 2},
		"length trailer":         {Kind: Length, Sync: "h", Length: LengthField{Bytes: 1, Offset: 1}, MaxFrame: 255, Checksum: LRC8, Trailer: "\x16"},
		"stx-etx":                {Kind: STXETX},
		"stx-etx bcc":            {Kind: STXETX, Checksum: XOR8, Envelope: Envelope{SumAfterEnd: true}},
		"stx-etx hex":            {Kind: STXETX, Checksum: CRC8, Form: Hex},
		"stx-etx each":           {Kind: STXETX, Checksum: CRC32, Envelope: Envelope{Escapes: EscapeEach}},
		"stx-etx double":         {Kind: STXETX, Checksum: CRC32, Envelope: Envelope{Escapes: EscapeDouble}},
		"stx-etx double without": {Kind: STXETX, Envelope: Envelope{Escapes: EscapeDouble}},
		"stx-etx after":          {Kind: STXETX, Checksum: CRC32, Envelope: Envelope{Escapes: EscapeDouble, SumAfterEnd: true}},
		"fixed":                  {Kind: Fixed, Size: 5},
		"fixed crc":              {Kind: Fixed, Size: 12, Sync: "\x01", Trailer: "\x04", Checksum: CRC32},
		"gap":                    {Kind: Gap},
		"gap crc":                {Kind: Gap, Checksum: CRC16Modbus},
		"octet-counting":         {Kind: Octets},
		"octet-counting crc":     {Kind: Octets, Checksum: CRC8Maxim},
	}
}

// payloads draws payloads that the framing can carry: bytes that mean something
// to framings are frequent.
func payloads(t *rapid.T, c Config) [][]byte {
	c = c.withDefaults()
	special := rapid.SampledFrom([]byte("\x00\x01\x02\x03\x10\x16\n\r$*!;-=h 7\xAA\x55\xC0\xDB\xDC\xDD\x7D\x7E\xFF"))
	any := rapid.SliceOfN(rapid.OneOf(rapid.Byte(), special), 1, 40)
	long := rapid.SliceOfN(rapid.OneOf(rapid.Byte(), special), 150, 600)
	one := rapid.Custom(func(t *rapid.T) []byte {
		p := any.Draw(t, "payload")
		if c.MaxFrame >= 1000 && rapid.IntRange(0, 9).Draw(t, "long") == 0 {
			p = long.Draw(t, "long payload")
		}
		return fit(c, p)
	})
	all := rapid.SliceOfN(one, 1, 8).Draw(t, "payloads")
	return slices.DeleteFunc(all, func(p []byte) bool {
		_, err := c.Append(nil, p)
		return err != nil
	})
}

// fit makes a payload what the framing can carry, in most cases.
func fit(c Config, p []byte) []byte {
	switch {
	case c.Kind == Fixed:
		want := c.Size - len(c.Sync) - c.sealOf().size - len(c.Trailer)
		return append(bytes.Clone(p), make([]byte, want)...)[:want]
	case c.KeepHeader:
		p = append(make([]byte, c.Length.Offset+c.Length.Bytes), p...)
		framed, _ := c.Append(nil, p)
		return framed[:len(p)] // with its header
	case c.Checksum == NMEA:
		return append([]byte("$"), p...)
	}
	return p
}

func frames(t testing.TB, c Config, payloads [][]byte) (in input) {
	t.Helper()
	in = input{nil}
	for _, p := range payloads {
		wire, err := c.Append(nil, p)
		if err != nil {
			t.Fatal(err)
		}
		in[len(in)-1] = append(in[len(in)-1], wire...)
		if c.Kind == Gap {
			in = append(in, nil)
		}
	}
	return in
}

// What is written as frames is read as frames, in whatever pieces it comes.
func TestFramesComeOutAsTheyWentIn(t *testing.T) {
	for name, c := range framings() {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(r *rapid.T) {
				want := payloads(r, c)
				got, stats, rest := feed(t, c, frames(t, c, want), func(n int) int { return rapid.IntRange(1, n).Draw(r, "piece") })
				if !slices.EqualFunc(got, want, bytes.Equal) {
					r.Fatalf("got %q, want %q", got, want)
				}
				if stats != (Stats{Frames: uint64(len(want))}) || rest != 0 {
					r.Fatalf("%+v, %d bytes wait", stats, rest)
				}
			})
		})
	}
}

// Whatever comes, the same frames come of it in whatever pieces it comes.
func TestPiecesMakeNoDifference(t *testing.T) {
	for name, c := range framings() {
		c.DropHalf = true
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(r *rapid.T) {
				in := damaged(r, c, frames(t, c, payloads(r, c)))
				frames, stats, rest := feed(t, c, in, func(n int) int { return n })
				want := describe(frames, stats, rest)
				got := describe(feed(t, c, in, func(n int) int { return rapid.IntRange(1, n).Draw(r, "piece") }))
				if got != want {
					r.Fatalf("of %q\ngot\n%s\nwant\n%s", in, got, want)
				}
			})
		})
	}
}

// damaged changes, takes away and adds bytes and silences.
func damaged(r *rapid.T, c Config, in input) input {
	for range rapid.IntRange(0, 4).Draw(r, "damages") {
		i := rapid.IntRange(0, len(in)-1).Draw(r, "part")
		part := in[i]
		at := rapid.IntRange(0, len(part)).Draw(r, "at")
		noise := rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(r, "noise")
		gone := rapid.IntRange(0, min(20, len(part)-at)).Draw(r, "gone")
		in[i] = slices.Concat(part[:at], noise, part[at+gone:])
		if rapid.Bool().Draw(r, "silence") {
			in = slices.Insert(in, i+1, bytes.Clone(in[i][at:]))
			in[i] = in[i][:at:at]
		}
	}
	return in
}

// Noise between two frames costs at most the second, which may look like its end;
// and it does not cost that one either where frames have a beginning, too. Here
// this is what the package comment promises, with checksums that noise does not
// pass by chance.
func TestNoiseCostsWhatItHits(t *testing.T) {
	for name, costs := range map[string]int{
		"line hex": 1, "slip crc": 0, "cobs crc": 1, "length crc": 0, "fixed crc": 0,
		"stx-etx each": 1, "stx-etx double": 1, "gap crc": 1,
	} {
		c := framings()[name]
		c.DropHalf, c.MaxFrame, c.Checksum = true, 1000, CRC32
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(r *rapid.T) {
				want := payloads(r, c)
				at := rapid.IntRange(0, len(want)).Draw(r, "at")
				noise := rapid.SliceOfN(rapid.Byte(), 1, 300).Draw(r, "noise")
				before, after := frames(t, c, want[:at]), frames(t, c, want[at:])
				in := append(before[:len(before)-1:len(before)-1], slices.Concat(before[len(before)-1], noise, after[0]))
				in = append(append(in, after[1:]...), nil) // silent at last
				got, stats, _ := feed(t, c, in, func(n int) int { return n })
				without := want
				if costs > 0 && at < len(want) {
					without = slices.Delete(slices.Clone(want), at, at+1)
				}
				if !slices.EqualFunc(got, want, bytes.Equal) && !slices.EqualFunc(got, without, bytes.Equal) {
					r.Fatalf("noise before frame %d of %d: got %q, want %q: %+v", at, len(want), got, want, stats)
				}
			})
		})
	}
}

// A frame of which a bit has changed does not come out.
func TestWhatFailsItsCheckNeverComesOut(t *testing.T) {
	for name, c := range framings() {
		if c.Checksum == None {
			continue
		}
		c.DropHalf = true
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(r *rapid.T) {
				want := payloads(r, c)
				if len(want) == 0 {
					return
				}
				p := want[0]
				in := frames(t, c, want[:1])
				at := rapid.IntRange(0, len(in[0])-1).Draw(r, "at")
				in[0][at] ^= 1 << rapid.IntRange(0, 7).Draw(r, "bit")
				got, _, _ := feed(t, c, append(in, nil), func(n int) int { return n })
				for _, g := range got {
					if !bytes.Equal(g, p) && len(g) == len(p) {
						r.Fatalf("%q came of %q", g, p)
					}
				}
			})
		})
	}
}

package serialin

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/tidegate/tidegate/ingest/decode"
	"github.com/tidegate/tidegate/ingest/frame"
	"github.com/tidegate/tidegate/reading"
)

// Candidate is one explanation of a Sample.
type Candidate struct {
	Sample  Sample
	Framing frame.Config
	// Points are up to 100; from Likely on, it is worth a try.
	Points int
	// Decoder is the name of the decoder that takes most frames, "raw" if none
	// takes any, and Decoded how many it takes.
	Decoder string
	Decoded int
	// Frames are those that were found, as they came; Stats is what else was.
	Frames [][]byte
	Stats  frame.Stats
	// Readings are what the first frame means.
	Readings []reading.Reading
}

// Likely is from how many points on a Candidate is worth a try, Sure from how many
// no other needs to be looked for.
const (
	Likely = 40
	Sure   = 85
)

// Named is a decoder and its name. Of those that take the same frames the first
// counts, so those come first that take little.
type Named struct {
	Name    string
	Decoder decode.Decoder
}

// framings are what devices speak. Those with a checksum prove themselves.
var framings = []frame.Config{
	{Kind: frame.Line, Checksum: frame.NMEA},
	{Kind: frame.Line},
	{Kind: frame.Gap, Checksum: frame.CRC16Modbus},
	{Kind: frame.SLIP, Checksum: frame.CRC16CCITT},
	{Kind: frame.SLIP, Checksum: frame.CRC32},
	{Kind: frame.HDLC, Checksum: frame.CRC16X25},
	{Kind: frame.COBS, Checksum: frame.CRC16CCITT},
	{Kind: frame.COBS, Checksum: frame.CRC32},
	{Kind: frame.STXETX, Checksum: frame.XOR8, Envelope: frame.Envelope{SumAfterEnd: true}},
	{Kind: frame.COBS},
	{Kind: frame.STXETX},
	{Kind: frame.SLIP},
	{Kind: frame.Gap},
}

// Judge explains a sample in all ways that it knows, the best first. What does
// not explain anything is left out.
func Judge(s Sample, decoders []Named) []Candidate {
	var all []Candidate
	for _, f := range framings {
		c := Candidate{Sample: s, Framing: f}
		c.cut()
		c.decode(decoders)
		if c.Points = c.judge(); c.Points > 0 {
			all = append(all, c)
		}
	}
	slices.SortStableFunc(all, func(a, b Candidate) int { return cmp.Compare(b.Points, a.Points) })
	return all
}

// cut takes the sample apart. What was heard first may be the rest of a frame,
// and is no fault.
func (c *Candidate) cut() {
	scanner, err := frame.New(c.Framing)
	if err != nil {
		return
	}
	start := 0
	for _, end := range append(slices.Clone(c.Sample.Pauses), len(c.Sample.Data)) {
		scanner.Write(c.Sample.Data[start:end])
		c.take(scanner)
		if end < len(c.Sample.Data) || slices.Contains(c.Sample.Pauses, end) {
			scanner.Idle()
			c.take(scanner)
		}
		start = end
	}
	c.Stats = scanner.Stats()
}

func (c *Candidate) take(scanner *frame.Scanner) {
	for {
		f, ok := scanner.Next()
		if !ok {
			return
		}
		c.Frames = append(c.Frames, slices.Clone(f))
	}
}

// decode finds the decoder that takes most frames.
func (c *Candidate) decode(decoders []Named) {
	c.Decoder = "raw"
	for _, d := range decoders {
		decoded := 0
		var example []reading.Reading
		for _, f := range c.Frames {
			rs, err := d.Decoder.Decode(nil, decode.Frame{Device: "device", Payload: slices.Clone(f)})
			if err != nil || len(rs) == 0 {
				continue
			}
			if decoded++; example == nil {
				example = rs
			}
		}
		if decoded > c.Decoded {
			c.Decoder, c.Decoded, c.Readings = d.Name, decoded, example
		}
	}
}

// judge gives points: most for checksums that are right, then for text, least for
// what noise may look like, too.
func (c *Candidate) judge() int {
	n := len(c.Frames)
	if n == 0 {
		return 0
	}
	bad := max(0, float64(c.Stats.Damage())-1) // the first frame was perhaps heard from its middle on
	whole := float64(n) / (float64(n) + bad)
	points := 0.0
	switch {
	case c.Framing.Checksum != frame.None:
		// Eight bits fit by accident once in 256 times, sixteen hardly ever.
		points = 95 * whole
		if n < 3 {
			points = 60 * whole
		}
	case c.Framing.Kind == frame.Line:
		points = c.text(n)
	case c.Framing.Kind == frame.Gap:
		points = 20
	default:
		// Noise has everything that frames are made of. Text between control
		// characters is no noise.
		points = 30 * whole * (1 - float64(c.Stats.Garbage)/float64(len(c.Sample.Data)))
		if text := (Sample{Data: slices.Concat(c.Frames...)}); n > 1 && len(text.Data) > 8 && text.printable() > 0.98 {
			points *= 2.6
		}
	}
	if c.Decoded > 0 && n > 0 {
		points += 15 * float64(c.Decoded) / float64(n)
	}
	points -= 60 * c.Sample.damagedPart()
	return int(min(max(points, 0), 100))
}

// text gives points to lines.
func (c *Candidate) text(n int) float64 {
	p := c.Sample.printable()
	points := 80 * p * p * p * p
	if n < 2 {
		points *= 0.6
	}
	return points
}

// Evidence says in sentences what speaks for the candidate, and against it.
func (c Candidate) Evidence() []string {
	var all []string
	n := len(c.Frames)
	switch sum := c.Framing.Checksum; {
	case sum != frame.None:
		all = append(all, fmt.Sprintf("%d of %d checksums (%s) are right", n, n+int(c.Stats.BadChecksum), sum))
	case c.Framing.Kind == frame.Gap:
		all = append(all, plural(n, "burst")+", with silence between them")
	default:
		all = append(all, plural(n, "frame"))
	}
	if c.Framing.Kind == frame.Line {
		all = append(all, fmt.Sprintf("%.0f %% of %d bytes are text", 100*c.Sample.printable(), len(c.Sample.Data)))
	}
	if c.Decoded > 0 {
		all = append(all, fmt.Sprintf("%d of %d decode as %s: %s", c.Decoded, n, c.Decoder, words(c.Readings)))
	}
	if c.Sample.Damaged > 0 {
		all = append(all, plural(c.Sample.Damaged, "byte")+" came damaged")
	}
	return all
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// words says what the first readings are.
func words(rs []reading.Reading) string {
	const shown = 3
	var all []string
	for _, r := range rs[:min(len(rs), shown)] {
		all = append(all, strings.TrimSpace(fmt.Sprintf("%s %v %s", r.Metric, r.Value, r.Unit)))
	}
	if len(rs) > shown {
		all = append(all, "…")
	}
	return strings.Join(all, ", ")
}

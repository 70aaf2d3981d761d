package serialin

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/tidegate/tidegate/ingest/decode"
	"github.com/tidegate/tidegate/ingest/frame"
	"github.com/tidegate/tidegate/internal/inorder"
	"github.com/tidegate/tidegate/reading"
)

// Candidate is one explanation of a Sample.
type Candidate struct {
	Sample  Sample
	Framing frame.Config
	// Points are up to 100; from Likely on, it is worth a try.
	Points int
	// Decoder is the name of the decoder that takes most frames, "raw" if none
	// takes any, and Decoded how many it takes. Of these, it found something in
	// Meant ones: to hand a line over as the text that it is, is to find nothing.
	Decoder        string
	Decoded, Meant int
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
	{Kind: frame.Line},
	{Kind: frame.Line, Checksum: frame.NMEA},
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
	preferSentences(all, decoders)
	inorder.Sort(all, func(a, b Candidate) int { return cmp.Compare(b.Points, a.Points) })
	return all
}

// preferSentences puts lines whose decoder looks at the checksums of NMEA itself
// before those of which the framing takes the checksums off: it would refuse all
// of them then.
func preferSentences(all []Candidate, decoders []Named) {
	place := func(f frame.Config) int {
		return slices.IndexFunc(all, func(c Candidate) bool { return c.Framing == f })
	}
	line, sentence := place(frame.Config{}), place(frame.Config{Checksum: frame.NMEA})
	if line < 0 || sentence < 0 || all[line].Meant == 0 {
		return
	}
	d := slices.IndexFunc(decoders, func(d Named) bool { return d.Name == all[line].Decoder })
	if t := takes(decoders[d].Decoder, all[sentence].Frames); t.decoded == 0 {
		all[line].Points = max(all[line].Points, all[sentence].Points)
	}
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

// decode finds the decoder that finds something in most frames, or else the one
// that takes most. The first frame has no say if there are others: it was perhaps
// heard from its middle on, and may be anything.
func (c *Candidate) decode(decoders []Named) {
	c.Decoder = "raw"
	later := c.Frames[min(1, max(0, len(c.Frames)-1)):]
	var best tally
	for _, d := range decoders {
		t := takes(d.Decoder, later)
		if cmp.Or(cmp.Compare(t.meant, best.meant), cmp.Compare(t.decoded, best.decoded)) <= 0 {
			continue
		}
		best = t
		t = takes(d.Decoder, c.Frames)
		c.Decoder, c.Decoded, c.Meant, c.Readings = d.Name, t.decoded, t.meant, t.example
	}
}

// tally is what a decoder made of frames.
type tally struct {
	decoded, meant int
	example        []reading.Reading
}

func takes(d decode.Decoder, frames [][]byte) (t tally) {
	for _, f := range frames {
		rs, err := d.Decode(nil, decode.Frame{Device: "device", Payload: slices.Clone(f)})
		if err != nil || len(rs) == 0 {
			continue
		}
		t.decoded++
		if !isText(rs, f) {
			t.meant++
		}
		if t.example == nil || t.meant == 1 {
			t.example = rs
		}
	}
	return t
}

// isText says whether readings are nothing but the frame as a text.
func isText(rs []reading.Reading, f []byte) bool {
	return len(rs) == 1 && rs[0].Value.Kind() == reading.KindString && rs[0].Value.Text() == string(bytes.TrimSpace(f))
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
		points = 90 * whole
		if n < 3 {
			points = 60 * whole
		}
	case c.Framing.Kind == frame.Line:
		points = c.text(n)
	case c.Framing.Kind == frame.Gap:
		points = 20
		if n > 2 && c.Meant == n && c.isText() {
			points = 40 // sketches often print without the end of a line
		}
	default:
		// Noise has everything that frames are made of. Text between control
		// characters is no noise.
		points = 30 * whole * (1 - float64(c.Stats.Garbage)/float64(len(c.Sample.Data)))
		if n > 1 && c.isText() {
			points *= 2.6
		}
	}
	points += 15 * float64(c.Meant) / float64(n)
	points -= 60 * c.Sample.damagedPart()
	return int(min(max(points, 0), 100))
}

// isText says whether the frames are text, and enough of it not to be chance.
func (c *Candidate) isText() bool {
	text := Sample{Data: slices.Concat(c.Frames...)}
	return len(text.Data) > 8 && text.printable() > 0.98
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
	switch {
	case c.Meant > 0:
		all = append(all, fmt.Sprintf("%d of %d decode as %s: %s", c.Decoded, n, c.Decoder, words(c.Readings)))
	case c.Decoded > 0:
		all = append(all, fmt.Sprintf("no decoder finds anything in them; %s takes them as texts; write a [[decoder.regex]] for what is in them", c.Decoder))
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

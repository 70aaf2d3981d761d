package decode

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"github.com/tidegate/tidegate/reading"
)

// NMEAConfig says which sentences NMEA takes. The zero value takes all that it
// knows and insists on checksums.
type NMEAConfig struct {
	// Sentences are the types that are wanted, such as RMC and GGA; others are
	// left out, also those that NMEA does not know, whose checksum must be right
	// all the same. Empty wants all, and refuses those that NMEA does not know.
	Sentences []string `toml:"sentences"`
	// NoChecksum takes sentences without checksum. A checksum that is there must
	// be right in any case.
	NoChecksum bool `toml:"no_checksum"`
	// Prefix begins the names of the metrics, so that several sources of the
	// same quantity stay apart: "" for none ("speed"), "sentence" for the type
	// ("rmc.speed"), "talker" for the talker ("gp.speed").
	Prefix string `toml:"prefix"`
	// MaxReadings bounds the readings of one payload. Zero means 4096.
	MaxReadings int `toml:"max_readings"`
}

// NMEA decodes sentences of NMEA 0183 (IEC 61162-1), one or several in a
// payload, each in a line of its own: RMC GGA GNS GLL GSA GSV GST VTG ZDA HDT HDM
// HDG ROT MWV MWD MDA MTW DBT DBS DBK DPT VHW VLW RSA XDR TXT of any talker.
//
// Positions are degrees, south and west negative, with the units lat and lon;
// speeds are m/s, distances and depths m, pressures Pa. What is converted keeps
// every digit that the sentence gave. Fields that are empty give no reading, so a
// receiver that has no fix yet may give none at all.
//
// Sentences with a date (RMC, ZDA) have their own time. Those with a time of day
// only get the date from one of the others in the same payload, and none
// without. Readings of sentences that say so themselves are marked: bad where
// there is no valid fix, uncertain where it was estimated, entered or simulated.
//
// Refused are: sentences whose checksum is wrong or missing, that are cut short,
// or whose fields are not what their type says; unless Sentences says which are
// wanted, also proprietary sentences ($P…) and AIS and other encapsulated ones
// (!…); more than MaxReadings. A payload is taken
// whole or refused whole.
type NMEA struct {
	*textReader
	wanted     map[string]bool // nil for all
	noChecksum bool
	prefix     string
}

const (
	maxSentence = 512 // bytes; the standard has 82
	maxFields   = 64
)

// NewNMEA returns a decoder. It is safe for concurrent use.
func NewNMEA(cfg NMEAConfig) (*NMEA, error) {
	text, err := newTextReader(TextConfig{MaxReadings: cfg.MaxReadings})
	if err != nil {
		return nil, err
	}
	d := &NMEA{textReader: text, noChecksum: cfg.NoChecksum, prefix: cfg.Prefix}
	switch cfg.Prefix {
	case "", "sentence", "talker":
	default:
		return nil, fmt.Errorf("prefix is %q — hint: \"sentence\", \"talker\", or leave it out", cfg.Prefix)
	}
	for _, s := range cfg.Sentences {
		if _, ok := sentences[s]; !ok {
			return nil, fmt.Errorf("sentences: %q is not known — hint: three capital letters, without the talker", s)
		}
		if d.wanted == nil {
			d.wanted = make(map[string]bool)
		}
		d.wanted[s] = true
	}
	return d, nil
}

// Decode implements Decoder.
func (d *NMEA) Decode(dst []reading.Reading, f Frame) ([]reading.Reading, error) {
	p := nmeaParser{NMEA: d, payload: withoutNUL(f.Payload), out: dst, device: f.Device, room: d.maxReadings}
	lines := 0
	for p.pos < len(p.payload) {
		line := p.payload[p.pos:]
		if end := bytes.IndexAny(line, "\r\n"); end >= 0 {
			line = line[:end]
		}
		if text := trimmed(line); len(text) > 0 {
			lines++
			if problem, hint := p.line(text); problem != "" {
				return dst, malformed(problem, p.pos, f.Payload, hint)
			}
		}
		p.pos += len(line) + 1
	}
	if lines == 0 {
		return dst, malformed("no sentence found", 0, f.Payload, "sentences begin with $")
	}
	p.dateTimesOfDay(p.out[len(dst):])
	return p.out, nil
}

// nmeaParser walks one payload.
type nmeaParser struct {
	*NMEA
	payload []byte
	pos     int
	out     []reading.Reading
	device  string
	room    int
	anchor  time.Time // of the last sentence with a date
	tagged  int64     // the time in the tag block of the line, or 0

	// of the sentence at hand
	address []byte
	fields  [maxFields][]byte // 0 is the address
	count   int
	flags   reading.Flags
	problem string
}

// line takes one line: a sentence, perhaps behind a tag block.
func (p *nmeaParser) line(text []byte) (problem, hint string) {
	p.tagged = 0
	if text[0] == '\\' {
		end := bytes.IndexByte(text[1:], '\\')
		if end < 0 {
			return "tag block without end", "a tag block ends with \\"
		}
		if problem, hint = p.tagBlock(text[1 : 1+end]); problem != "" {
			return problem, hint
		}
		text = text[end+2:]
	}
	if len(text) == 0 || text[0] != '$' && text[0] != '!' {
		return "unexpected " + quote(text), "sentences begin with $"
	}
	foreign := text[0] == '!'
	body, problem, hint := p.checked(text[1:])
	if problem != "" {
		return problem, hint
	}
	if problem, hint = p.split(body); problem != "" {
		return problem, hint
	}
	p.address = p.fields[0]
	foreign = foreign || len(p.address) == 0 || p.address[0] == 'P'
	if foreign && p.wanted != nil {
		return "", ""
	}
	if text[0] == '!' {
		return "encapsulated sentence " + quote(text), "AIS is not decoded here; list the sentences that are wanted, and others are left out"
	}
	if foreign {
		return "proprietary sentence " + quote(p.address), "only its maker knows what is in it; list the sentences that are wanted, and others are left out"
	}
	if len(p.address) != 5 {
		return "sentence " + quote(p.address), "two characters for the talker and three for the type begin a sentence"
	}
	s, known := sentences[string(p.address[2:])]
	if p.wanted != nil && !p.wanted[string(p.address[2:])] {
		return "", ""
	}
	if !known {
		return "sentence " + quote(p.address) + " is not known", "list the sentences that are wanted, and others are left out"
	}
	return p.sentence(s)
}

// checked verifies the checksum behind the last * and returns what is before
// it. Everything in a sentence is printable ASCII.
func (p *nmeaParser) checked(text []byte) (body []byte, problem, hint string) {
	if len(text) > maxSentence {
		return nil, "sentence of more than 512 bytes", "line ends must separate sentences"
	}
	star := bytes.LastIndexByte(text, '*')
	body = text
	if star >= 0 {
		body = text[:star]
	}
	var sum byte
	for _, c := range body {
		if c < ' ' || c > '~' {
			return nil, fmt.Sprintf("byte %#02x in a sentence", c), "the line may be disturbed: check speed, wiring and shielding"
		}
		sum ^= c
	}
	if star < 0 {
		if p.noChecksum {
			return body, "", ""
		}
		return nil, "sentence without checksum", "it may have been cut short; no_checksum = true takes sentences without"
	}
	told, ok := hexByte(text[star+1:])
	if !ok || told != sum {
		return nil, fmt.Sprintf("checksum %s where %02X is right", quote(text[star+1:]), sum), "the line may be disturbed: check speed, wiring and shielding"
	}
	return body, "", ""
}

func hexByte(text []byte) (b byte, ok bool) {
	if len(text) != 2 {
		return 0, false
	}
	for _, c := range text {
		switch {
		case c-'0' <= 9:
			b = b<<4 | (c - '0')
		case c|0x20-'a' <= 5:
			b = b<<4 | (c | 0x20 - 'a' + 10)
		default:
			return 0, false
		}
	}
	return b, true
}

// split finds the fields.
func (p *nmeaParser) split(body []byte) (problem, hint string) {
	p.count = 0
	for more := true; more; p.count++ {
		if p.count == maxFields {
			return "sentence of more than 63 fields", "no sentence has so many"
		}
		var field []byte
		field, body, more = bytes.Cut(body, []byte{','})
		p.fields[p.count] = trimmed(field)
	}
	return "", ""
}

// field returns field i, empty if there is none.
func (p *nmeaParser) field(i int) []byte {
	if i >= p.count {
		return nil
	}
	return p.fields[i]
}

// tagBlock takes the time from a tag block (NMEA 0183 4.10), in seconds or
// milliseconds: \s:station,c:1577836800*hh\.
func (p *nmeaParser) tagBlock(text []byte) (problem, hint string) {
	body, problem, hint := p.checked(text)
	if problem != "" {
		return "tag block: " + problem, hint
	}
	for len(body) > 0 {
		var part []byte
		part, body, _ = bytes.Cut(body, []byte{','})
		if at, ok := bytes.CutPrefix(part, []byte("c:")); ok {
			n, rest, ok := parseNumber(at)
			if !ok || len(rest) > 0 {
				return "tag block: " + quote(at) + " is not a time", "a time is a number of seconds or milliseconds"
			}
			p.tagged, _ = n.time(GuessUnit)
		}
	}
	return "", ""
}

// name returns the name of a metric with its prefix.
func (p *nmeaParser) name(metric string) string {
	var head []byte
	switch p.prefix {
	case "sentence":
		head = p.address[2:]
	case "talker":
		head = p.address[:2]
	default:
		return metric
	}
	var path [maxName]byte
	name := append(appendLower(path[:0], head), '.')
	if len(name)+len(metric) > maxName {
		p.problem = "a name is longer than 256 bytes"
	}
	return p.names.find(append(name, metric...)).name
}

func appendLower(dst, text []byte) []byte {
	for _, c := range text {
		if c-'A' <= 'Z'-'A' {
			c |= 0x20
		}
		dst = append(dst, c)
	}
	return dst
}

// add appends a reading of the sentence at hand, if there is room.
func (p *nmeaParser) add(metric, unit string, v reading.Value) bool {
	if p.room == 0 {
		p.problem = "too many readings"
		return false
	}
	p.room--
	p.out = append(p.out, reading.Reading{Device: p.device, Metric: p.name(metric), Unit: unit, Value: v, Flags: p.flags})
	return true
}

// refuse notes what is wrong with the sentence at hand.
func (p *nmeaParser) refuse(i int, what string) {
	if p.problem == "" {
		p.problem = fmt.Sprintf("%s field %d: %s %s", strings.ToUpper(string(p.address)), i, quote(p.field(i)), what)
	}
}

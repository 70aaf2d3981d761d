package decode

import (
	"bytes"
	"fmt"
	"strconv"
	"unicode/utf8"

	"github.com/tidegate/tidegate/reading"
)

// TextConfig is what the decoders of texts have in common: how numbers, words
// and times are written. The zero value takes 21.5, true and false, and times
// as numbers or in ISO 8601.
type TextConfig struct {
	// DecimalComma says that numbers are written 21,5. A point is then no part
	// of a number, because 1.234 might mean either.
	DecimalComma bool `toml:"decimal_comma"`
	// Units splits units from the numbers that they are stuck to: "21.5C" and
	// "21.5 °C" are 21.5 with the unit Cel. Without it they stay texts.
	Units bool `toml:"units"`
	// Missing are the words, in any case, that say that there is no value.
	// Empty means nan, -nan, inf, +inf, -inf, ovf, null, none, na, n/a, - and --.
	Missing []string `toml:"missing"`
	// True and False are further words, in any case, for the two truth values,
	// for example on and off. The words true and false always are.
	True  []string `toml:"true"`
	False []string `toml:"false"`
	// TimeUnit is the unit of times that are numbers.
	TimeUnit TimeUnit `toml:"time_unit"`
	// TimeFormat is how times are written, as Go's layout ("02.01.2006 15:04")
	// or as strftime's ("%d.%m.%Y %H:%M"). Empty takes numbers, RFC 3339 and
	// "2006-01-02 15:04:05" with or without zone.
	TimeFormat string `toml:"time_format"`
	// TimeZone is the zone of times that tell none: an offset ("+02:00") or a
	// name ("Europe/Berlin"). Empty means UTC.
	TimeZone string `toml:"time_zone"`
	// MaxReadings bounds the readings of one payload. Zero means 4096.
	MaxReadings int `toml:"max_readings"`
}

// meaning is what a word stands for.
type meaning uint8

const (
	noMeaning meaning = iota
	meansMissing
	meansTrue
	meansFalse
)

// maxWord bounds the words of a configuration that stand for something.
const maxWord = 32

// textReader reads the values of texts. It never changes.
type textReader struct {
	comma, units bool
	words        map[string]meaning // in lower case
	numericWords bool               // some of words look like numbers
	times        timeReader
	maxReadings  int
	names        *names // devices, units, and metrics that payloads name
}

func newTextReader(cfg TextConfig) (*textReader, error) {
	times, err := newTimeReader(cfg)
	if err != nil {
		return nil, err
	}
	most, err := bounded(cfg.MaxReadings)
	if err != nil {
		return nil, err
	}
	t := &textReader{
		comma:       cfg.DecimalComma,
		units:       cfg.Units,
		words:       map[string]meaning{"true": meansTrue, "false": meansFalse},
		times:       times,
		maxReadings: most,
		names:       newNames(nil, nil),
	}
	if cfg.Missing == nil {
		cfg.Missing = []string{"nan", "-nan", "inf", "+inf", "-inf", "ovf", "null", "none", "na", "n/a", "-", "--"}
	}
	for _, list := range []struct {
		words []string
		means meaning
	}{{cfg.Missing, meansMissing}, {cfg.True, meansTrue}, {cfg.False, meansFalse}} {
		for _, w := range list.words {
			if err := t.learn(w, list.means); err != nil {
				return nil, err
			}
		}
	}
	return t, nil
}

// learn gives a word its meaning.
func (t *textReader) learn(w string, means meaning) error {
	lower := bytes.ToLower([]byte(w))
	if len(lower) == 0 || len(lower) > maxWord {
		return fmt.Errorf("missing, true and false: the word %q has %d bytes — hint: 1 to %d", w, len(w), maxWord)
	}
	if other := t.words[string(lower)]; other != noMeaning && other != means {
		return fmt.Errorf("missing, true and false: the word %q means two things — hint: it can be in one of them", w)
	}
	t.words[string(lower)] = means
	if _, number := t.number(lower); number {
		t.numericWords = true
	}
	return nil
}

// meaning returns what a word stands for.
func (t *textReader) meaning(text []byte) meaning {
	var lower [maxWord]byte
	if len(text) > maxWord {
		return noMeaning
	}
	for i, c := range text {
		if c >= utf8.RuneSelf {
			return t.words[string(bytes.ToLower(text))]
		}
		if c-'A' <= 'Z'-'A' {
			c |= 0x20
		}
		lower[i] = c
	}
	return t.words[string(lower[:len(text)])]
}

// number reads the number that text consists of; ok is false if it is no
// number, or too large for a float.
func (t *textReader) number(text []byte) (v reading.Value, ok bool) {
	var room [64]byte
	if t.comma && len(text) < len(room) { // parse would allocate
		if len(text) == 0 || t.numberEnd(text) != len(text) {
			return v, false
		}
		n, _, ok := parseNumber(t.plain(room[:0], text))
		if !ok {
			return v, false
		}
		return n.value()
	}
	n, ok := t.parse(text)
	if !ok {
		return v, false
	}
	return n.value()
}

// parse reads the number that text consists of.
func (t *textReader) parse(text []byte) (n number, ok bool) {
	if !t.comma {
		if n, rest, ok := parseNumber(text); ok && len(rest) == 0 {
			return n, true
		}
	}
	if len(text) == 0 || t.numberEnd(text) != len(text) {
		return n, false
	}
	n, _, ok = parseNumber(t.plain(make([]byte, 0, len(text)+1), text))
	return n, ok
}

// plain appends a number that numberEnd has measured as parseNumber wants it:
// without blanks, and with a decimal point that has digits on both sides.
func (t *textReader) plain(dst, text []byte) []byte {
	digit := false
	for i, c := range text {
		if c == ' ' {
			continue
		}
		if c == t.point() {
			if !digit {
				dst = append(dst, '0')
			}
			if i+1 == len(text) || text[i+1]-'0' > 9 {
				digit = true
				continue
			}
			c = '.'
		}
		digit = c-'0' <= 9
		dst = append(dst, c)
	}
	return dst
}

func (t *textReader) point() byte {
	if t.comma {
		return ','
	}
	return '.'
}

// numberEnd returns where the number at the start of text ends, 0 if there is
// none. Beyond parseNumber it takes .5 and 5., which are written by many, and
// blanks behind a sign, which scales put there; and it does not mistake the e of
// 5eV for an exponent.
func (t *textReader) numberEnd(text []byte) int {
	i := 0
	if len(text) > 0 && (text[0] == '-' || text[0] == '+') {
		for i++; i < len(text) && text[i] == ' '; i++ {
		}
	}
	start := i
	i = skipDigits(text, i)
	digits := i - start
	if i < len(text) && text[i] == t.point() {
		end := skipDigits(text, i+1)
		digits += end - i - 1
		if digits > 0 {
			i = end
		}
	}
	if digits == 0 {
		return 0
	}
	if i < len(text) && text[i]|0x20 == 'e' {
		e := i + 1
		if e < len(text) && (text[e] == '-' || text[e] == '+') {
			e++
		}
		if end := skipDigits(text, e); end > e {
			i = end
		}
	}
	return i
}

func skipDigits(text []byte, i int) int {
	for i < len(text) && text[i]-'0' <= 9 {
		i++
	}
	return i
}

// measured reads a number with a unit behind it; ok is false if text is not of
// that form.
func (t *textReader) measured(text []byte) (v reading.Value, unit string, ok bool) {
	end := t.numberEnd(text)
	if end == 0 || end == len(text) {
		return v, "", false
	}
	if unit, ok = t.unit(bytes.TrimLeft(text[end:], " \t")); !ok {
		return v, "", false
	}
	v, ok = t.number(text[:end])
	return v, unit, ok
}

// trimmed returns text without white space around it.
func trimmed(text []byte) []byte {
	for len(text) > 0 && isBlank(text[0]) {
		text = text[1:]
	}
	for len(text) > 0 && isBlank(text[len(text)-1]) {
		text = text[:len(text)-1]
	}
	return text
}

func isBlank(c byte) bool { return c == ' ' || c-'\t' <= '\r'-'\t' }

// withoutNUL returns the payload without the NUL bytes that C firmware sends
// behind its texts.
func withoutNUL(payload []byte) []byte { return bytes.TrimRight(payload, "\x00") }

// malformed is the error for what stands at byte pos of a payload.
func malformed(what string, pos int, payload []byte, hint string) error {
	return fmt.Errorf("%w: %s at byte %d of %d — hint: %s", ErrMalformed, what, pos, len(payload), hint)
}

// quote shows the beginning of a text that comes from a payload.
func quote(text []byte) string {
	const most = 32
	if len(text) > most {
		return strconv.Quote(string(text[:most])) + "…"
	}
	return strconv.Quote(string(text))
}

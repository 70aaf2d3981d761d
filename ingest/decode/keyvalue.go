package decode

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/tidegate/tidegate/reading"
)

// KeyValueConfig says what pairs look like and what their keys mean. The zero
// value takes "temp=21.5 hum=40", "temp: 21.5, hum: 40" and the like.
type KeyValueConfig struct {
	TextConfig
	// PairSeparators are the characters that stand between pairs. Empty means
	// blank, tab, line end, comma, semicolon and ampersand; without the comma if
	// there is a decimal comma.
	PairSeparators string `toml:"pair_separators"`
	// KeySeparators are the characters that stand between key and value. Empty
	// means = and :.
	KeySeparators string `toml:"key_separators"`
	// TimeKeys are the keys that tell the time, in any case, if their value is a
	// plausible time. Empty means ts, t, time, timestamp and datetime.
	TimeKeys []string `toml:"time_keys"`
	// Columns are keys that are to be called something else, or whose values
	// are of a certain type. Other keys are plain values.
	Columns []Column `toml:"columns"`
	// OnlyListed leaves out keys that are not in Columns and tell no time.
	OnlyListed bool `toml:"only_listed"`
	// SkipWords leaves out words without a key instead of refusing the payload.
	SkipWords bool `toml:"skip_words"`
}

// KeyValue decodes pairs of a key and a value. Each pair is a reading named
// after its key. Values in single or double quotes are texts, with \ before a
// quote or a \ in them. Blanks around separators do not count, so a blank can
// separate pairs, and "temp = 21.5" still is one. With Units, the unit of a
// number may be stuck to it or stand behind a blank. A time of day behind a date
// and a blank belongs to it, whatever separates pairs.
//
// # Samples
//
// If a line end separates pairs, each line is a sample with its own time and
// device. A line that tells nothing else speaks for the lines behind it that
// tell none; the last one of a payload also for those before it.
//
// A lone value under v, val or value is named Frame.Metric, if that is set.
//
// # Refusals
//
// A payload is taken whole or refused whole. Refused are: words without a key,
// unless SkipWords; values that are not what their column's type says; keys and
// texts that are not UTF-8; keys longer than 256 bytes; quotes without end; more
// than MaxReadings; and payloads that hold no value.
type KeyValue struct {
	*textReader
	pair, key  [256]bool
	keys       *names
	columns    map[string]column
	blanks     int // in time_format
	onlyListed bool
	skipWords  bool
}

// NewKeyValue returns a decoder. It is safe for concurrent use.
func NewKeyValue(cfg KeyValueConfig) (*KeyValue, error) {
	text, err := newTextReader(cfg.TextConfig)
	if err != nil {
		return nil, err
	}
	listed, err := compileColumns(cfg.Columns)
	if err != nil {
		return nil, err
	}
	if err := checkNames("time_keys", cfg.TimeKeys); err != nil {
		return nil, err
	}
	if len(cfg.TimeKeys) == 0 {
		cfg.TimeKeys = defaultTimeKeys()
	}
	d := &KeyValue{
		textReader: text, keys: newNames(cfg.TimeKeys, nil), columns: make(map[string]column),
		blanks: strings.Count(text.times.layout, " "), onlyListed: cfg.OnlyListed, skipWords: cfg.SkipWords,
	}
	values := 0
	for i, c := range listed {
		if _, twice := d.columns[c.name]; twice || c.name == "" {
			return nil, fmt.Errorf("column %d has the key %q, which is empty or there twice — hint: each column has a key of its own", i+1, c.name)
		}
		d.columns[c.name] = c
		if c.kind < timeKind {
			values++
		}
	}
	if cfg.OnlyListed && values == 0 {
		return nil, fmt.Errorf("only_listed is set, and none of columns holds a value — hint: list at least one that is a number, text or bool")
	}
	if err := d.separate(cfg); err != nil {
		return nil, err
	}
	return d, nil
}

// separate finds out about the separators.
func (d *KeyValue) separate(cfg KeyValueConfig) error {
	if cfg.PairSeparators == "" {
		cfg.PairSeparators = " \t\r\n,;&"
		if cfg.DecimalComma {
			cfg.PairSeparators = " \t\r\n;&"
		}
	}
	if cfg.KeySeparators == "" {
		cfg.KeySeparators = "=:"
	}
	if strings.Contains(cfg.PairSeparators, "\n") {
		cfg.PairSeparators += "\r"
	}
	if cfg.DecimalComma && strings.Contains(cfg.PairSeparators, ",") {
		return fmt.Errorf("pair_separators hold the decimal comma — hint: pair_separators = \"; \"")
	}
	for _, c := range []byte(cfg.PairSeparators) {
		d.pair[c] = true
	}
	for _, c := range []byte(cfg.KeySeparators) {
		if d.key[c] = true; d.pair[c] || isBlank(c) {
			return fmt.Errorf("key_separators: %q cannot separate keys from values — hint: they are no blanks, and other characters than pair_separators", c)
		}
	}
	for c := range d.pair {
		taken := c >= 0x80 || c < ' ' && !isBlank(byte(c)) || c == '"' || c == '\'' || c == '\\' || c == '.' || isWordByte(byte(c))
		if (d.pair[c] || d.key[c]) && taken {
			key := "pair_separators"
			if d.key[c] {
				key = "key_separators"
			}
			return fmt.Errorf("%s: %q cannot be a separator — hint: separators are blanks, line ends and punctuation other than quotes, \\ and the point", key, rune(c))
		}
	}
	return nil
}

func isWordByte(c byte) bool {
	return c-'0' <= 9 || c|0x20-'a' <= 'z'-'a' || c == '_'
}

// Decode implements Decoder.
func (d *KeyValue) Decode(dst []reading.Reading, f Frame) ([]reading.Reading, error) {
	p := pairParser{
		KeyValue: d,
		payload:  withoutNUL(f.Payload),
		row:      row{textReader: d.textReader, out: dst, room: d.maxReadings, own: f.Device},
	}
	for more := true; more; {
		var err error
		if more, err = p.line(); err != nil {
			return dst, err
		}
	}
	out := p.row.out
	if len(out) == len(dst) {
		return dst, malformed("no value found", len(p.payload), f.Payload, "a payload needs at least one pair with a value")
	}
	p.lookBack(out[len(dst):])
	if lone := &out[len(dst)]; len(out) == len(dst)+1 && f.Metric != "" && isLone(lone.Metric) {
		lone.Metric = f.Metric
	}
	return out, nil
}

// pairParser walks one payload.
type pairParser struct {
	*KeyValue
	payload []byte
	pos     int
	row     row
	alone   bool   // the last line told time or device and nothing else
	told    bool   // it told a device
	earlier bool   // a line before it did
	scratch []byte // of a quoted value with escapes in it
}

// line takes the pairs of one line and says whether another may follow.
func (p *pairParser) line() (more bool, err error) {
	p.row.begin()
	start, pairs, told := p.pos, 0, p.told
	p.told = false
	for ; p.pos < len(p.payload); p.pos++ {
		c := p.payload[p.pos]
		if c == '\n' && p.pair[c] {
			break
		}
		if p.pair[c] || isBlank(c) {
			continue
		}
		took, err := p.take()
		if err != nil {
			return false, err
		}
		pairs += took
		p.pos-- // a separator or the end is next
	}
	if problem := p.row.end(); problem != "" {
		return false, p.fail(start, problem, hintFor(problem))
	}
	if pairs == 0 {
		p.told = told
	} else {
		p.earlier = p.earlier || told
		if p.alone = len(p.row.out) == p.row.first; p.alone {
			p.row.own, p.row.at = p.row.device, p.row.told
		}
	}
	more = p.pos < len(p.payload)
	p.pos++
	return more, nil
}

// lookBack lets a last line that tells nothing but time and device speak for
// the readings before it that have none.
func (p *pairParser) lookBack(out []reading.Reading) {
	if !p.alone {
		return
	}
	for i := range out {
		if out[i].Time == 0 {
			out[i].Time = p.row.at
		}
		if p.told && !p.earlier {
			out[i].Device = p.row.own
		}
	}
}

// take takes one pair, or a word without key.
func (p *pairParser) take() (pairs int, err error) {
	start := p.pos
	end := p.wordEnd(start)
	key := trimmed(p.payload[start:end])
	at := p.skipBlanks(end)
	if at == len(p.payload) || !p.key[p.payload[at]] {
		p.pos = end
		if p.skipWords {
			return 0, nil
		}
		return 0, p.fail(start, "the word "+quote(key)+" without a key", "pairs are written key=value; skip_words = true leaves such words out")
	}
	if !utf8Name(key) {
		return 0, p.fail(start, "the key "+quote(key), "keys are UTF-8 and have 1 to 256 bytes")
	}
	p.pos = at + 1
	text, quoted, err := p.valueOf()
	if err != nil {
		return 0, err
	}
	if !quoted {
		text = p.withClock(key, text)
	}
	c, ok := p.column(key, text)
	if !ok {
		return 1, nil
	}
	if problem := p.row.take(&c, text, quoted); problem != "" {
		return 0, p.fail(start, fmt.Sprintf("%q: %s", c.name, problem), hintFor(problem))
	}
	p.told = p.told || c.kind == deviceKind
	return 1, nil
}

// column returns what a key means; ok is false if nobody wants it.
func (p *pairParser) column(key, text []byte) (c column, ok bool) {
	if c, ok = p.columns[string(key)]; ok {
		return c, true
	}
	f := p.keys.find(key)
	if f.role == timeField && p.row.length == 0 {
		if ns, ok := p.times.read(text); ok && ns != 0 {
			return column{name: f.name, kind: timeKind}, true
		}
	}
	return column{name: f.name, metric: f.name}, !p.onlyListed
}

// wordEnd returns where the word at i ends: before a separator.
func (p *pairParser) wordEnd(i int) int {
	for i < len(p.payload) && !p.pair[p.payload[i]] && !p.key[p.payload[i]] {
		i++
	}
	return i
}

func (p *pairParser) skipBlanks(i int) int {
	for i < len(p.payload) && (p.payload[i] == ' ' || p.payload[i] == '\t') {
		i++
	}
	return i
}

func (p *pairParser) fail(at int, what, hint string) error {
	if bytes.IndexByte(p.payload[:at], '\n') >= 0 {
		what = fmt.Sprintf("line %d: %s", 1+bytes.Count(p.payload[:at], []byte("\n")), what)
	}
	return malformed(what, at, p.payload, hint)
}

package decode

import (
	"bytes"
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"

	"github.com/tidegate/tidegate/reading"
)

// RegexConfig says what to look for in a text.
type RegexConfig struct {
	TextConfig
	// Pattern is a regular expression in Go's syntax (RE2). Its groups are
	// named, (?P<temp>…), and their names are metrics, except that time, device,
	// metric and unit are what the Types of a Column of these names are. What
	// needs parentheses without being a value is written (?:…).
	Pattern string `toml:"pattern"`
	// Repeat takes every match in a payload, each as a sample of its own.
	Repeat bool `toml:"repeat"`
	// Columns are groups that are to be called something else, or whose values
	// are of a certain type: a group's name cannot have dots, a metric can.
	Columns []Column `toml:"columns"`
}

// Regex decodes texts that a regular expression describes. A payload without a
// match is refused, and so is one whose groups are not what their type says, or
// are not UTF-8; groups that took no part in the match, or nothing but blanks,
// are left out. What is around a match does not count, so a pattern that is to
// describe the whole payload has ^ and $ around it.
//
// Matching takes time in proportion to the payload times the size of the
// pattern, which is bounded: a pattern may have 1000 instructions, and a payload
// is refused if it has more than 16 Mi bytes divided by the instructions. With
// Repeat, each match may look as far as the end of the payload, or of its line if
// the pattern matches no line end; so lines times matches count, and 1 Gi is the
// bound.
type Regex struct {
	*textReader
	pattern *regexp.Regexp
	repeat  bool
	groups  []column // by the number of the group, less one
	longest int      // payload, in bytes
	repeats int64    // of Repeat: bytes of lines, each times its matches
	lines   bool     // no match goes beyond a line
}

const (
	maxPattern      = 4 << 10 // bytes
	maxInstructions = 1000
	maxGroups       = 64
	maxSteps        = 16 << 20 // bytes times instructions
	maxRepeated     = 1 << 30  // the same times matches, some two seconds
)

// NewRegex returns a decoder. It is safe for concurrent use.
func NewRegex(cfg RegexConfig) (*Regex, error) {
	text, err := newTextReader(cfg.TextConfig)
	if err != nil {
		return nil, err
	}
	columns, err := compileColumns(cfg.Columns)
	if err != nil {
		return nil, err
	}
	pattern, program, err := compilePattern(cfg.Pattern)
	if err != nil {
		return nil, err
	}
	if cfg.Repeat && pattern.MatchString("") {
		return nil, fmt.Errorf("pattern %q matches nothing at all, and repeat is set — hint: + instead of *", cfg.Pattern)
	}
	groups, err := groupColumns(pattern, columns)
	if err != nil {
		return nil, err
	}
	instructions := len(program.Inst)
	return &Regex{
		textReader: text, pattern: pattern, repeat: cfg.Repeat, groups: groups,
		longest: maxSteps / instructions, repeats: maxRepeated / int64(instructions), lines: !slices.ContainsFunc(program.Inst, matchesLineEnd),
	}, nil
}

// compilePattern compiles a pattern of bounded size.
func compilePattern(text string) (pattern *regexp.Regexp, program *syntax.Prog, err error) {
	if text == "" || len(text) > maxPattern {
		return nil, nil, fmt.Errorf("pattern has %d bytes — hint: 1 to %d", len(text), maxPattern)
	}
	tree, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return nil, nil, fmt.Errorf("pattern %q: %w — hint: the syntax is that of Go and RE2, which has no (?=…) and no \\1", text, err)
	}
	program, err = syntax.Compile(tree.Simplify())
	if err != nil {
		return nil, nil, fmt.Errorf("pattern %q: %w", text, err)
	}
	if n := len(program.Inst); n > maxInstructions {
		return nil, nil, fmt.Errorf("pattern %q needs %d instructions — hint: at most %d; counted repetitions are written out", text, n, maxInstructions)
	}
	pattern, err = regexp.Compile(text)
	return pattern, program, err
}

// matchesLineEnd says whether an instruction of a pattern takes a line end.
func matchesLineEnd(i syntax.Inst) bool {
	switch i.Op {
	case syntax.InstRuneAny:
		return true
	case syntax.InstRune, syntax.InstRune1:
		return i.MatchRune('\n')
	}
	return false
}

// groupColumns returns what the groups of a pattern mean.
func groupColumns(pattern *regexp.Regexp, listed []column) ([]column, error) {
	names := pattern.SubexpNames()[1:]
	if len(names) == 0 || len(names) > maxGroups {
		return nil, fmt.Errorf("pattern %q has %d groups — hint: each value is a named group, (?P<temp>[0-9.]+), and there are %d at the most", pattern, len(names), maxGroups)
	}
	byName := make(map[string]column)
	for _, c := range listed {
		if pattern.SubexpIndex(c.name) < 0 {
			return nil, fmt.Errorf("columns: %q is no group of the pattern — hint: write (?P<%s>…) in the pattern", c.name, c.name)
		}
		if _, twice := byName[c.name]; twice {
			return nil, fmt.Errorf("columns: two have the name %q — hint: one says what a group means", c.name)
		}
		byName[c.name] = c
	}
	roles := map[string]kind{"time": timeKind, "device": deviceKind, "metric": metricKind, "unit": unitKind}
	groups := make([]column, 0, len(names))
	values := 0
	for i, name := range names {
		if name == "" {
			return nil, fmt.Errorf("pattern: group %d has no name — hint: (?P<name>…) for a value, (?:…) for what is none", i+1)
		}
		c, ok := byName[name]
		if !ok {
			c = column{name: name, metric: name, kind: roles[name]}
		}
		if c.kind < timeKind {
			values++
		}
		groups = append(groups, c)
	}
	if values == 0 {
		return nil, fmt.Errorf("pattern %q has no group that is a value — hint: time, device, metric and unit only say something about values", pattern)
	}
	return groups, nil
}

// Decode implements Decoder.
func (d *Regex) Decode(dst []reading.Reading, f Frame) ([]reading.Reading, error) {
	payload := withoutNUL(f.Payload)
	if len(payload) > d.longest {
		return dst, malformed(fmt.Sprintf("more than %d bytes", d.longest), d.longest, f.Payload, "a simpler pattern takes longer payloads")
	}
	r := row{textReader: d.textReader, out: dst, room: d.maxReadings, own: f.Device}
	if !d.repeat {
		match := d.pattern.FindSubmatchIndex(payload)
		if match == nil {
			return dst, noMatch(f)
		}
		if err := d.take(&r, payload, match); err != nil {
			return dst, err
		}
	} else if err := d.takeAll(&r, payload); err != nil {
		return dst, err
	}
	if len(r.out) == len(dst) {
		return dst, noMatch(f)
	}
	if lone := &r.out[len(dst)]; len(r.out) == len(dst)+1 && f.Metric != "" && isLone(lone.Metric) {
		lone.Metric = f.Metric
	}
	return r.out, nil
}

func noMatch(f Frame) error {
	return malformed("no match with a value in "+quote(f.Payload), 0, f.Payload, "the pattern must describe what the device sends")
}

// takeAll takes every match.
func (d *Regex) takeAll(r *row, payload []byte) error {
	if !d.affordable(payload) {
		return malformed("too long a text for a pattern that is repeated", len(payload), payload,
			"a lower max_readings takes longer payloads, and so does a pattern that matches no line end ([^;\\n] for [^;], [ \\t] for \\s)")
	}
	matches := d.pattern.FindAllSubmatchIndex(payload, d.maxReadings+1)
	if len(matches) > d.maxReadings {
		return malformed("too many matches", matches[d.maxReadings][0], payload, "split the payload, or raise max_readings")
	}
	for _, match := range matches {
		if err := d.take(r, payload, match); err != nil {
			return err
		}
	}
	return nil
}

// affordable says whether all matches together take a bounded time: each may look
// at the rest of its line, or of the payload.
func (d *Regex) affordable(payload []byte) bool {
	total := int64(0)
	for len(payload) > 0 {
		line, rest := payload, []byte(nil)
		if d.lines {
			line, rest, _ = bytes.Cut(payload, []byte{'\n'})
		}
		if total += int64(len(line)+1) * int64(min(len(line)+1, d.maxReadings)); total > d.repeats {
			return false
		}
		payload = rest
	}
	return true
}

// take takes one match as a sample.
func (d *Regex) take(r *row, payload []byte, match []int) error {
	r.begin()
	for i := range d.groups {
		from, to := match[2*i+2], match[2*i+3]
		if from < 0 {
			continue
		}
		c := &d.groups[i]
		if problem := r.take(c, trimmed(payload[from:to]), false); problem != "" {
			return malformed(fmt.Sprintf("%q: %s", c.name, problem), from, payload, hintFor(problem))
		}
	}
	if problem := r.end(); problem != "" {
		return malformed(problem, match[0], payload, hintFor(problem))
	}
	return nil
}

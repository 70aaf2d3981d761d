package daemon

import (
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"github.com/tidegate/tidegate/buffer"
	"github.com/tidegate/tidegate/ingest/refine"
	"github.com/tidegate/tidegate/ingest/route"
	"github.com/tidegate/tidegate/internal/conf"
	"github.com/tidegate/tidegate/internal/netcheck"
	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/uplink/encode"
)

// tested is what "tidegate test -json" prints.
type tested struct {
	Where    string          `json:"where"`
	Means    string          `json:"means"`
	Payloads []testedPayload `json:"payloads"`
	// Unmatched are the [[refine]] tables that no reading matched.
	Unmatched []string      `json:"unmatched"`
	Summary   testedSummary `json:"summary"`
}

// testedPayload is one payload. A reading is written as export writes it, with
// its fate, "kept" or why it was left out; its time is 0 if it is that of its
// arrival.
type testedPayload struct {
	Bytes    int               `json:"bytes"`
	Fate     string            `json:"fate"` // decoded, kept whole or dropped
	Error    string            `json:"error,omitempty"`
	Hint     string            `json:"hint,omitempty"`
	Byte     *int              `json:"byte,omitempty"` // where the error is
	Readings []json.RawMessage `json:"readings"`
}

type testedSummary struct {
	Payloads    int    `json:"payloads"`
	Undecodable int    `json:"undecodable"`
	Kept        int    `json:"kept"` // readings, those of alarms included
	LeftOut     uint64 `json:"left_out"`
	Dropped     uint64 `json:"dropped"`
	OutOfRange  uint64 `json:"out_of_range"`
	Unchanged   uint64 `json:"unchanged"`
	TooSoon     uint64 `json:"too_soon"`
	Clamped     uint64 `json:"clamped"`
	MarkedBad   uint64 `json:"marked_bad"`
	Raised      uint64 `json:"alarms_raised"`
	Cleared     uint64 `json:"alarms_cleared"`
	// Damaged frames of a line were none, with GarbageBytes in them and between
	// them; Damage puts it into words.
	Damaged      uint64 `json:"damaged,omitempty"`
	GarbageBytes uint64 `json:"garbage_bytes,omitempty"`
	Damage       string `json:"damage,omitempty"`
}

func (c *testCall) summary() testedSummary {
	s := c.chains.stats()
	sum := testedSummary{
		Payloads: len(c.tried), Undecodable: c.undecodable(), LeftOut: s.Filtered(),
		Dropped: s.Dropped, OutOfRange: s.OutOfRange, Unchanged: s.Unchanged, TooSoon: s.TooSoon,
		Clamped: s.Clamped, MarkedBad: s.MarkedBad, Raised: s.Raised, Cleared: s.Cleared,
	}
	for _, t := range c.tried {
		sum.Kept += len(t.kept)
	}
	if c.frames != nil {
		f := c.frames.Stats()
		sum.Damaged, sum.GarbageBytes, sum.Damage = f.Damage(), f.Garbage, damage(f)
	}
	return sum
}

func (c *testCall) printJSON() error {
	all := tested{Where: c.where, Means: c.means, Payloads: []testedPayload{}, Unmatched: c.unmatched(), Summary: c.summary()}
	number := uint64(0)
	for _, t := range c.tried {
		p := testedPayload{Bytes: t.size, Fate: fateWord(t.fate), Readings: []json.RawMessage{}}
		p.Error, p.Hint, p.Byte = takeApart(t.err)
		add := func(r reading.Reading, why refine.Reason) {
			number++
			line := fmt.Appendf(nil, `{"fate":%q,"lane":%q,`, why, r.Lane)
			p.Readings = append(p.Readings, append(line, encode.AppendReading(nil, number, &r)[1:]...))
		}
		for _, r := range t.kept {
			add(r, refine.Kept)
		}
		for _, r := range t.filtered {
			add(r.Reading, r.why)
		}
		all.Payloads = append(all.Payloads, p)
	}
	out := json.NewEncoder(c.stdout)
	out.SetIndent("", "  ")
	return out.Encode(all)
}

// fateWord says what became of a payload.
func fateWord(f route.Fate) string { return [...]string{"decoded", "kept whole", "dropped"}[f] }

var atByte = regexp.MustCompile(` at byte (\d+) of \d+`)

// takeApart returns the parts of a decoder's error, and where in the payload it
// is, if it says so.
func takeApart(err error) (what, hint string, at *int) {
	if err == nil {
		return "", "", nil
	}
	what, hint = netcheck.Cut(err)
	what = strings.TrimPrefix(what, "malformed payload: ")
	if m := atByte.FindStringSubmatch(what); m != nil {
		if n, err := strconv.Atoi(m[1]); err == nil {
			at = &n
		}
	}
	return what, hint, at
}

func (c *testCall) printTable() error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n%s\n\n", printable(c.where, 400), printable(c.means, 400))
	c.writeReadings(&b)
	c.writeProblems(&b)
	if tables := c.unmatched(); len(tables) > 0 {
		for _, table := range tables {
			fmt.Fprintf(&b, "! no reading matches [[refine]] %s\n", printable(table, 400))
		}
		b.WriteString("    hint: patterns are for whole names, as earlier tables have left them\n\n")
	}
	b.WriteString(c.summary().String())
	_, err := io.WriteString(c.stdout, b.String())
	return err
}

// unmatched returns the tables that nothing matched, if there were readings.
func (c *testCall) unmatched() []string {
	tables := []string{}
	chain, ok := c.target.Refine.(*refine.Chain)
	if s := c.chains.stats(); !ok || s.Kept+s.Filtered() == 0 {
		return tables
	}
	for _, i := range chain.Unmatched() {
		t := c.steps[i]
		tables = append(tables, fmt.Sprintf("%q, metric %q, device %q", t.Name, t.Metric, t.Device))
	}
	return tables
}

// testWidth is where lines are cut off, which only long values need.
const testWidth = 120

// writeReadings prints a line for every reading, those that are left out, too.
func (c *testCall) writeReadings(b *strings.Builder) {
	var table strings.Builder
	t := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	head, clock := c.clock()
	number, rows := "", 0
	if len(c.tried) > 1 {
		fmt.Fprint(t, "PAYLOAD\t")
	}
	fmt.Fprintf(t, "FATE\t%s\tLANE\tDEVICE\tMETRIC\tVALUE\n", head)
	for i, p := range c.tried {
		if len(c.tried) > 1 {
			number = fmt.Sprint(i+1, "\t")
		}
		row := func(r *reading.Reading, fate string) {
			rows++
			fmt.Fprintf(t, "%s%s\t%s\t%s\t%s\t%s\t%s\n", number, fate, clock(r, p.arrived), r.Lane,
				printable(r.Device, 40), printable(r.Metric, 40), wordValue(r))
		}
		for j := range p.kept {
			fate := refine.Kept.String()
			if p.fate == route.Opaque {
				fate = "kept whole"
			}
			row(&p.kept[j], fate)
		}
		for j := range p.filtered {
			row(&p.filtered[j].Reading, p.filtered[j].why.String())
		}
	}
	_ = t.Flush() // to memory
	if rows == 0 {
		return
	}
	for line := range strings.Lines(trimLines(table.String())) {
		b.WriteString(printable(strings.TrimSuffix(line, "\n"), max(testWidth, widthBefore(table.String()))) + "\n")
	}
	b.WriteByte('\n')
}

// clock returns the head of the column of times, and what writes them: the time
// of day if all are of one day, and that of the arrival for readings without.
func (c *testCall) clock() (head string, write func(r *reading.Reading, arrived time.Time) string) {
	var own []buffer.Entry
	for _, t := range c.tried {
		for _, r := range t.kept {
			own = append(own, buffer.Entry{Reading: r})
		}
		for _, r := range t.filtered {
			own = append(own, buffer.Entry{Reading: r.Reading})
		}
	}
	for i := range own {
		if own[i].Time == 0 {
			own[i].Time = c.now.UnixNano()
		}
	}
	head, layout := "MEASURED (UTC)", "2006-01-02 15:04:05.000"
	if day, one := oneDay(own); one {
		head, layout = day+" UTC", "15:04:05.000"
	}
	return head, func(r *reading.Reading, arrived time.Time) string {
		switch {
		case r.Time != 0:
			return time.Unix(0, r.Time).UTC().Format(layout)
		case c.every != 0:
			return "arrival +" + conf.Duration(arrived.Sub(c.tried[0].arrived)).String()
		}
		return "on arrival"
	}
}

// writeProblems prints what could not be decoded, and where.
func (c *testCall) writeProblems(b *strings.Builder) {
	for i, t := range c.tried {
		if t.fate == route.Decoded {
			continue
		}
		name := "the payload"
		if len(c.tried) > 1 {
			name = fmt.Sprint("payload ", i+1)
		}
		what, hint, at := takeApart(t.err)
		fmt.Fprintf(b, "✗ %s: %s\n", name, printable(what, 400))
		if at != nil {
			writeExcerpt(b, t.payload, *at)
		}
		if hint != "" {
			fmt.Fprintf(b, "    hint: %s\n", printable(hint, 400))
		}
		b.WriteByte('\n')
	}
}

// excerpt is how many characters of a payload are shown.
const excerpt = 60

// writeExcerpt prints the payload around a byte, and points at that: as text if it
// is one, else in hexadecimal.
func writeExcerpt(b *strings.Builder, payload []byte, at int) {
	if at > len(payload) {
		return // beyond what was kept to be shown
	}
	before, ellipsis := []rune(string(payload[:at])), ""
	if len(before) > excerpt/2 {
		before, ellipsis = before[len(before)-excerpt/2:], "…"
	}
	text := strings.NewReplacer("\n", " ", "\r", " ", "\t", " ").Replace(string(before) + string(payload[at:]))
	if text = printable(text, excerpt); strings.ContainsRune(text, '·') {
		from := max(0, at-excerpt/6)
		fmt.Fprintf(b, "    % x\n    %s^^\n", payload[from:min(len(payload), from+excerpt/3)], strings.Repeat("   ", at-from))
		return
	}
	fmt.Fprintf(b, "    %s\n", strings.TrimRight(ellipsis+text, " "))
	fmt.Fprintf(b, "    %s^\n", strings.Repeat(" ", utf8.RuneCountInString(ellipsis)+len(before)))
}

// String is the summary for people.
func (s testedSummary) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s to store", count(uint64(s.Payloads), "payload"), count(uint64(s.Kept), "reading"))
	if s.LeftOut > 0 {
		fmt.Fprintf(&b, ", %d left out (%s)", s.LeftOut, counts{
			{s.Unchanged, "unchanged"}, {s.TooSoon, "too soon"}, {s.OutOfRange, "out of range"}, {s.Dropped, "dropped"},
		})
	}
	if changed := (counts{{s.Clamped, "clamped"}, {s.MarkedBad, "marked bad"}}).String(); changed != "" {
		b.WriteString("; " + changed)
	}
	if s.Raised > 0 {
		b.WriteString("; " + count(s.Raised, "alarm") + " raised")
	}
	if s.Cleared > 0 {
		b.WriteString("; " + count(s.Cleared, "alarm") + " cleared")
	}
	if s.Undecodable > 0 {
		fmt.Fprintf(&b, "; %d could not be decoded", s.Undecodable)
	}
	if s.Damage != "" {
		b.WriteString("\nof what came besides, " + s.Damage)
	}
	return b.String() + "\n"
}

// counts are numbers and what they count; zeros are not mentioned.
type counts []struct {
	n    uint64
	what string
}

func (c counts) String() string {
	var parts []string
	for _, part := range c {
		if part.n > 0 {
			parts = append(parts, fmt.Sprint(part.n, " ", part.what))
		}
	}
	return strings.Join(parts, ", ")
}

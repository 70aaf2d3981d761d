package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"github.com/tidegate/tidegate/buffer"
	"github.com/tidegate/tidegate/dashboard/api"
	"github.com/tidegate/tidegate/internal/conf"
	"github.com/tidegate/tidegate/reading"
)

// peeked is what "tidegate buffer peek -json" prints. A reading is written as
// export writes it.
type peeked struct {
	Readings []json.RawMessage `json:"readings"`
	// Gaps are losses of the lanes and times that were asked for.
	Gaps []buffer.Gap `json:"gaps"`
	// Next goes on behind the page, with -after; "" when nothing follows.
	Next buffer.Token `json:"next"`
}

// peek shows readings.
func (c *bufferCall) peek(ctx context.Context) error {
	if c.query.Limit < 1 {
		return usageError{errors.New("-n: a page has at least one reading")}
	}
	inv, err := c.inventory(ctx)
	if err != nil {
		return err
	}
	var entries []buffer.Entry
	next, err := c.copyOf(inv).entries(ctx, func(e buffer.Entry) error {
		e.Device, e.Metric, e.Unit = strings.Clone(e.Device), strings.Clone(e.Metric), strings.Clone(e.Unit)
		entries = append(entries, e)
		return nil
	})
	if err != nil && !errors.Is(err, buffer.ErrLeftOut) {
		return c.adviseQuery(err)
	}
	if c.json {
		return errors.Join(c.writePage(inv, entries, next), err)
	}
	return errors.Join(c.writePeek(inv, entries, next), err)
}

// inventory is that of the holding, with the quarantine if that is asked for.
func (c *bufferCall) inventory(ctx context.Context) (buffer.Inventory, error) {
	inv, err := c.holding.inventory(ctx)
	if err == nil && c.refused {
		inv.Refused, err = withBlocks(ctx, c.holding, inv.Refused)
	}
	return inv, err
}

func (c *bufferCall) adviseQuery(err error) error {
	if errors.Is(err, buffer.ErrToken) {
		return fmt.Errorf("-after %q: %w — hint: take it from the page before, with the same -oldest", c.token, err)
	}
	return api.AdviseSink(err, c.query.Undelivered)
}

func (c *bufferCall) writePage(inv buffer.Inventory, entries []buffer.Entry, next buffer.Token) error {
	p := peeked{Readings: []json.RawMessage{}, Gaps: []buffer.Gap{}, Next: next}
	lines := newLines(c.gateway)
	for i := range entries {
		p.Readings = append(p.Readings, lines.append(nil, &entries[i]))
	}
	for _, g := range inv.Gaps {
		if c.query.Includes(g) {
			p.Gaps = append(p.Gaps, g)
		}
	}
	out := json.NewEncoder(c.stdout)
	out.SetIndent("", "  ")
	return out.Encode(p)
}

// terminalWidth is that of a terminal nobody has made larger.
const terminalWidth = 80

// writePeek prints readings for people, a line each.
func (c *bufferCall) writePeek(inv buffer.Inventory, entries []buffer.Entry, next buffer.Token) error {
	var b strings.Builder
	if c.refused {
		for _, q := range inv.Refused {
			fmt.Fprintf(&b, "%s refused %s %d..%d:\n    %s\n", q.Sink, q.Lane, q.First, q.Last, printable(q.Reason, 400))
		}
	}
	if len(entries) == 0 {
		b.WriteString("no readings\n")
	} else {
		writeEntries(&b, entries)
	}
	if n := missing(c.query, inv.Gaps, entries); n > 0 {
		fmt.Fprintf(&b, "! %s of these times lost: \"tidegate buffer ls\" says why\n", wereLost(n))
	}
	if next != "" {
		fmt.Fprintf(&b, "more: -after %s\n", next)
	}
	_, err := io.WriteString(c.stdout, b.String())
	return err
}

func wereLost(n uint64) string {
	if n == 1 {
		return "1 reading was"
	}
	return fmt.Sprintf("%d readings were", n)
}

func writeEntries(b *strings.Builder, entries []buffer.Entry) {
	var table strings.Builder
	t := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	head, layout := "MEASURED (UTC)", "2006-01-02 15:04:05.000"
	if day, one := oneDay(entries); one {
		head, layout = day+" UTC", "15:04:05.000"
	}
	fmt.Fprintf(t, "%s\tLANE\tNUMBER\tDEVICE\tMETRIC\tVALUE\n", head)
	for i := range entries {
		e := &entries[i]
		fmt.Fprintf(t, "%s\t%s\t%d\t%s\t%s\t%s\n", time.Unix(0, e.Time).UTC().Format(layout),
			e.Lane, e.Seq, printable(e.Device, 40), printable(e.Metric, 40), wordValue(&e.Reading))
	}
	_ = t.Flush() // to memory
	for line := range strings.Lines(trimLines(table.String())) {
		b.WriteString(printable(strings.TrimSuffix(line, "\n"), max(terminalWidth, widthBefore(table.String()))) + "\n")
	}
}

// oneDay returns the day of all entries, if they are of one.
func oneDay(entries []buffer.Entry) (day string, one bool) {
	for i := range entries {
		d := time.Unix(0, entries[i].Time).UTC().Format(time.DateOnly)
		if i > 0 && d != day {
			return "", false
		}
		day = d
	}
	return day, true
}

// widthBefore is where the last column begins, and room for a number in it.
func widthBefore(table string) int {
	head, _, _ := strings.Cut(table, "\n")
	return strings.Index(head, "VALUE") + 12
}

// wordValue is the value for people: opaque bytes as text where they are one,
// else in hexadecimal.
func wordValue(r *reading.Reading) string {
	text := r.Value.String()
	switch r.Value.Kind() {
	case reading.KindString:
		text = printable(r.Value.Text(), 200)
	case reading.KindBytes:
		bytes := r.Value.Text()
		if text = printable(bytes, 200); !utf8.ValidString(bytes) || strings.ContainsRune(text, '·') {
			text = fmt.Sprintf("%x", bytes[:min(len(bytes), 100)])
		}
		text = conf.Size(len(bytes)).Approx() + " " + text
	}
	if r.Unit != "" {
		text += " " + printable(r.Unit, 20)
	}
	switch r.Flags.Quality() {
	case reading.Bad:
		text += " (bad)"
	case reading.Uncertain:
		text += " (uncertain)"
	}
	return text
}

// printable is the text in at most so many characters of a line. What would
// move the terminal's cursor, or worse, becomes a dot: devices choose names.
func printable(text string, most int) string {
	clean := strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 || r == utf8.RuneError || r == '\u2028' || r == '\u202e' {
			return '·'
		}
		return r
	}, text[:min(len(text), 4*most)])
	if utf8.RuneCountInString(clean) <= most {
		return clean
	}
	runes := []rune(clean)
	return string(runes[:most-1]) + "…"
}

// missing counts the readings that were lost for good between the times that
// are shown.
func missing(q buffer.Query, gaps []buffer.Gap, entries []buffer.Entry) (n uint64) {
	if len(entries) == 0 {
		return 0
	}
	q.From, q.To = entries[0].Time, entries[0].Time
	for i := range entries {
		q.From, q.To = min(q.From, entries[i].Time), max(q.To, entries[i].Time+1)
	}
	for _, g := range gaps {
		switch g.Reason {
		case buffer.ReasonPurged, buffer.ReasonQuarantined, buffer.ReasonNotStored, buffer.ReasonRefused:
			continue // they are here, or were never taken
		}
		if (g.From != 0 || g.To != 0) && q.Includes(g) {
			n += g.Count
		}
	}
	return n
}

package daemon

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/tidegate/tidegate/buffer"
	"github.com/tidegate/tidegate/internal/conf"
	"github.com/tidegate/tidegate/reading"
)

// listing is what "tidegate buffer ls -json" prints.
type listing struct {
	Gateway  string           `json:"gateway"`
	Running  bool             `json:"running"`
	Dir      string           `json:"dir"`
	Epoch    string           `json:"epoch"`
	MaxBytes int64            `json:"max_bytes"`
	Bytes    int64            `json:"bytes"`
	Readings uint64           `json:"readings"`
	Segments []listedSegment  `json:"segments"`
	Sinks    []listedSink     `json:"sinks"`
	Gaps     []buffer.Gap     `json:"gaps"`
	Refused  []buffer.Refused `json:"refused"`
	// StateError is set when sinks, gaps and quarantine are not complete.
	StateError string `json:"state_error,omitempty"`
}

type listedSegment struct {
	Number      uint64                 `json:"number"`
	Bytes       int64                  `json:"bytes"`
	Readings    uint64                 `json:"readings"`
	From        int64                  `json:"from,omitempty"` // nanoseconds since 1970
	To          int64                  `json:"to,omitempty"`
	Lanes       map[string]buffer.Span `json:"lanes"`
	DeliveredTo []string               `json:"delivered_to"`
}

type listedSink struct {
	Name       string         `json:"name"`
	Configured bool           `json:"configured"`
	Waiting    uint64         `json:"waiting"`
	Bytes      int64          `json:"bytes"`
	Has        map[string]any `json:"has"` // by lane, a list of first and last numbers
}

// ls lists what there is.
func (c *bufferCall) ls(ctx context.Context) error {
	inv, err := c.holding.inventory(ctx)
	if err != nil {
		return err
	}
	l := c.list(inv)
	if c.json {
		out := json.NewEncoder(c.stdout)
		out.SetIndent("", "  ")
		return out.Encode(l)
	}
	return l.write(c.stdout, time.Now())
}

func (c *bufferCall) list(inv buffer.Inventory) listing {
	_, isRunning := c.holding.(running)
	l := listing{
		Gateway: c.gateway, Running: isRunning, Dir: inv.Dir, Epoch: fmt.Sprintf("%016x", inv.Epoch), MaxBytes: int64(c.cfg.Buffer.MaxBytes),
		Segments: []listedSegment{}, Sinks: []listedSink{}, Gaps: append([]buffer.Gap{}, inv.Gaps...),
		Refused: append([]buffer.Refused{}, inv.Refused...), StateError: inv.StateError,
	}
	for _, seg := range inv.Segments {
		s := listSegment(seg)
		for _, sink := range inv.Sinks {
			if sink.Has(seg) {
				s.DeliveredTo = append(s.DeliveredTo, sink.Name)
			}
		}
		l.Segments = append(l.Segments, s)
		l.Bytes += s.Bytes
		l.Readings += s.Readings
	}
	for _, sink := range inv.Sinks {
		s := listedSink{Name: sink.Name, Configured: sink.Active, Has: map[string]any{}}
		s.Waiting, s.Bytes = inv.Waiting(sink)
		for lane, has := range sink.Acked {
			if len(has) > 0 {
				s.Has[reading.Lane(lane).String()] = has
			}
		}
		l.Sinks = append(l.Sinks, s)
	}
	return l
}

func listSegment(seg buffer.Segment) listedSegment {
	s := listedSegment{Number: seg.Number, Bytes: seg.Bytes, Lanes: map[string]buffer.Span{}, DeliveredTo: []string{}}
	for lane, sp := range seg.Lanes {
		if sp.Last == 0 {
			continue
		}
		if len(s.Lanes) == 0 {
			s.From, s.To = sp.From, sp.To
		}
		s.From, s.To = min(s.From, sp.From), max(s.To, sp.To)
		s.Lanes[reading.Lane(lane).String()] = sp
		s.Readings += sp.Count()
	}
	return s
}

// write prints the listing for people.
func (l listing) write(w io.Writer, now time.Time) error {
	var b strings.Builder
	state := "the gateway is stopped"
	if l.Running {
		state = "the gateway runs"
	}
	fmt.Fprintf(&b, "%s: %s, %s of %s on flash; %s\n", l.Gateway, count(l.Readings, "reading"),
		conf.Size(l.Bytes).Approx(), conf.Size(l.MaxBytes).Approx(), state)
	if l.StateError != "" {
		fmt.Fprintf(&b, "! state.db: %s\n    hint: what it knew is missing below; the next start sets it aside and goes on\n", l.StateError)
	}
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	l.writeSegments(t, now)
	fmt.Fprint(t, "\nSINK\tWAITING\tBYTES\t\n")
	for _, s := range l.Sinks {
		note := ""
		if !s.Configured {
			note = "not configured any more"
		}
		fmt.Fprintf(t, "%s\t%d\t%s\t%s\n", s.Name, s.Waiting, conf.Size(s.Bytes).Approx(), note)
	}
	l.writeGaps(t, now)
	if len(l.Refused) > 0 {
		fmt.Fprint(t, "\nREFUSED BY\tLANE\tNUMBERS\tWHEN (UTC)\tWHY\n")
	}
	for _, q := range l.Refused {
		fmt.Fprintf(t, "%s\t%s\t%d..%d\t%s\t%s\n", q.Sink, q.Lane, q.First, q.Last, shortTime(q.At, now), printable(q.Reason, 36))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := io.WriteString(w, trimLines(b.String()))
	return err
}

func (l listing) writeSegments(w io.Writer, now time.Time) {
	fmt.Fprint(w, "\nSEGMENT\tSIZE\tNORMAL\tALARM\tBULK\tFROM (UTC)\tTO\tDELIVERED TO\n")
	for _, s := range l.Segments {
		to := "nobody"
		if len(s.DeliveredTo) > 0 {
			to = strings.Join(s.DeliveredTo, ", ")
		}
		fmt.Fprintf(w, "%d\t%s\t%d\t%d\t%d\t%s\t%s\t%s\n", s.Number, conf.Size(s.Bytes).Approx(),
			s.Lanes["normal"].Count(), s.Lanes["alarm"].Count(), s.Lanes["bulk"].Count(), shortTime(s.From, now), shortTime(s.To, now), to)
	}
}

// mostGaps is how many gaps are printed.
const mostGaps = 20

func (l listing) writeGaps(w io.Writer, now time.Time) {
	if len(l.Gaps) == 0 {
		return
	}
	fmt.Fprint(w, "\nLOST\tLANE\tNUMBERS\tFROM (UTC)\tTO\tWHY\tFOR\n")
	for _, g := range l.Gaps[:min(len(l.Gaps), mostGaps)] {
		sinks := "all"
		if len(g.Sinks) > 0 {
			sinks = strings.Join(g.Sinks, ", ")
		}
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%s\t%s\n", g.Count, g.Lane, numbers(g), shortTime(g.From, now), shortTime(g.To, now), g.Reason, sinks)
	}
	if more := len(l.Gaps) - mostGaps; more > 0 {
		fmt.Fprintf(w, "and %d more: -json has them\n", more)
	}
}

// numbers are those of the gap; what was refused had none yet.
func numbers(g buffer.Gap) string {
	if g.Last == 0 {
		return "-"
	}
	return fmt.Sprintf("%d..%d", g.First, g.Last)
}

// shortTime is the minute in UTC, with the year if that is not now's; a dash for
// an unknown one.
func shortTime(ns int64, now time.Time) string {
	if ns == 0 {
		return "-"
	}
	t := time.Unix(0, ns).UTC()
	if t.Year() == now.UTC().Year() {
		return t.Format("01-02 15:04")
	}
	return t.Format("2006-01-02")
}

func count(n uint64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// trimLines takes the blanks off the ends of lines, which columns leave there.
func trimLines(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString(strings.TrimRight(line, " \n") + "\n")
	}
	return b.String()
}

// check checks what there is, and fails when anything is damaged.
func (c *bufferCall) check(ctx context.Context) error {
	found, err := buffer.Check(ctx, func() (buffer.Inventory, error) { return c.holding.inventory(ctx) })
	if err != nil {
		return err
	}
	if err := c.holding.checkState(ctx); err != nil {
		found.StateError = err.Error()
	}
	if found.Damage == nil {
		found.Damage = []buffer.Damage{}
	}
	if c.json {
		out := json.NewEncoder(c.stdout)
		out.SetIndent("", "  ")
		err = out.Encode(found)
	} else {
		err = writeChecked(c.stdout, found)
	}
	if err == nil && (len(found.Damage) > 0 || found.StateError != "") {
		err = errSaid
	}
	return err
}

func writeChecked(w io.Writer, found buffer.Checked) error {
	var b strings.Builder
	fmt.Fprintf(&b, "✓ %s, %s, %s, %s are as they were written\n", count(uint64(found.Segments), "segment"),
		count(found.Records, "record"), count(found.Readings, "reading"), conf.Size(found.Bytes).Approx())
	for _, d := range found.Damage {
		fmt.Fprintf(&b, "✗ segment %d: %s\n", d.Segment, wordDamage(d))
	}
	if len(found.Damage) > 0 {
		b.WriteString("    hint: the gateway passes over what is damaged and tells the other side. If it\n" +
			"    happens again, the medium wears out: see \"dmesg\", and \"tidegate buffer export\"\n")
	}
	if found.StateError == "" {
		b.WriteString("✓ state.db is as it was written\n")
	} else {
		fmt.Fprintf(&b, "✗ state.db: %s\n    hint: the gateway sets it aside and goes on; deliveries may repeat\n", found.StateError)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func wordDamage(d buffer.Damage) string {
	if d.Lane == "" {
		return d.What
	}
	text := fmt.Sprintf("%s, %s %d..%d, %s", count(d.Last-d.First+1, "reading"), d.Lane, d.First, d.Last, d.What)
	switch {
	case d.Declared:
		text += "; a gap says so already"
	case len(d.Sinks) > 0:
		text += "; not delivered to " + strings.Join(d.Sinks, ", ")
	case d.Delivered:
		text += "; they had been delivered"
	}
	return text
}

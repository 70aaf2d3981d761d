package daemon

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/tidegate/tidegate/dashboard"
	"github.com/tidegate/tidegate/internal/conf"
)

func writeStatusJSON(w io.Writer, s dashboard.Status) error {
	out := json.NewEncoder(w)
	out.SetIndent("", "  ")
	return out.Encode(s)
}

// writeStatus prints the status for people: first whether all is well, then
// the way of the readings from left to right.
func writeStatus(w io.Writer, s dashboard.Status) error {
	var b strings.Builder
	now := time.UnixMilli(s.Now)
	fmt.Fprintf(&b, "%s  tidegate %s, up %s, clock %s\n\n", s.Gateway, s.Version, age(now, s.Started), clockText(s))
	writeProblems(&b, now, s)
	writeDoors(&b, now, s)
	writeFlash(&b, now, s)
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprint(t, "\nLINK OUT\tSTATE\tWAITING\tDELIVERED\tSENT\tLAST ACKNOWLEDGED\n")
	for _, l := range s.Links {
		fmt.Fprintf(t, "%s\t%s\t%d\t%d\t%s\t%s\n", l.Name, l.State, l.Waiting, l.Acked, conf.Size(l.SentBytes).Approx(), ago(now, l.LastAck))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if err := writeNetwork(&b, s); err != nil {
		return err
	}
	if err := writeCommands(&b, now, s.Commands); err != nil {
		return err
	}
	writeLosses(&b, s.Buffer.Losses)
	if h := s.Host; h.Go != "" {
		fmt.Fprintf(&b, "\n%s, %s, %s, machine up %s\n", h.System, h.Kernel, h.Go, age(now, h.Booted))
	}
	writeAccess(&b, s.Access)
	writeCertificates(&b, s.Certificates)
	_, err := io.WriteString(w, b.String())
	return err
}

// writeDoors lists the doors in, and what each of them has to say.
func writeDoors(b *strings.Builder, now time.Time, s dashboard.Status) {
	t := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	fmt.Fprint(t, "\nDOOR IN\tADDRESS\tCLIENTS\tREADINGS\tKEPT AS THEY ARE\tDROPPED\n")
	for _, d := range s.Doors {
		fmt.Fprintf(t, "%s\t%s\t%d\t%d\t%d\t%d\n", d.Name, d.Address, d.Clients, d.Readings, d.Opaque, d.Rejected)
	}
	_ = t.Flush() // to memory
	for _, d := range s.Doors {
		if text := strings.Join(refusals(d), ", "); text != "" {
			fmt.Fprintf(b, "%s: %s\n", d.Name, text)
		}
		if d.Breaks > 0 {
			fmt.Fprintf(b, "%s: broke %s, last %s: %s\n", d.Name, times(d.Breaks), ago(now, d.BrokeAt), printable(d.LastError, 300))
		}
		writeSlaves(b, now, d)
		writeLine(b, now, d)
	}
	if text := refined(s.Refined); text != "" {
		fmt.Fprintf(b, "%s\n", text)
	}
}

// writeFlash tells of the buffer and its medium.
func writeFlash(b *strings.Builder, now time.Time, s dashboard.Status) {
	t := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	buf := s.Buffer
	fmt.Fprint(t, "\nFLASH\tWAITING\tOLDEST\tUSED\tOF\tWRITTEN\tCOMMITS\tLOST\n")
	fmt.Fprintf(t, "%s\t%d\t%s\t%s\t%s\t%s\t%d\t%d\n", buf.Profile, buf.Waiting, age(now, buf.OldestUnsent),
		conf.Size(buf.BytesUsed).Approx(), conf.Size(buf.BytesMax).Approx(), conf.Size(buf.FlashWritten).Approx(), buf.Commits, buf.Lost)
	_ = t.Flush() // to memory
	fmt.Fprintf(b, "written in the last 24 hours: %s\n", written(buf, s.Doors))
	if buf.DiskSize > 0 {
		fmt.Fprintf(b, "the disk has %s of %s free\n", conf.Size(buf.DiskFree).Approx(), conf.Size(buf.DiskSize).Approx())
	}
}

// writeProblems prints what is wrong, or that nothing is.
func writeProblems(b *strings.Builder, now time.Time, s dashboard.Status) {
	problems := s.Problems
	for _, l := range s.Links {
		if l.State == dashboard.LinkDown {
			problems = append(problems, fmt.Sprintf("%s is down: %s", l.Name, l.LastError))
		}
	}
	if s.Trial != nil {
		left := max(0, time.UnixMilli(s.Trial.Ends).Sub(now).Round(time.Second))
		problems = append(problems, fmt.Sprintf("a configuration is on trial for another %v — hint: \"tidegate confirm\" keeps it, \"tidegate revert\" undoes it", left))
	}
	if len(problems) == 0 {
		b.WriteString("✓ everything is getting through\n")
	}
	for _, p := range problems {
		fmt.Fprintf(b, "! %s\n", p)
	}
}

// remarks puts what a door counted into words.
func remarks(d dashboard.Door) []string {
	all := refusals(d)
	if d.Line != nil {
		all = append(all, lineErrors(d.Line)...)
	}
	return all
}

// refusals words what a door did not let through.
func refusals(d dashboard.Door) (all []string) {
	for _, c := range []struct {
		n    uint64
		what string
	}{
		{d.BadLogins, "logins refused"},
		{d.Denied, "publishes and subscriptions against the rules"},
		{d.TurnedAway, "connections too many"},
		{d.Malformed, malformedOf(d.Kind)},
		{d.TooLarge, "requests too large"},
		{d.NotStored, "messages not stored and not acknowledged"},
		{d.Undelivered, "messages that local subscribers missed"},
		{d.NotRetained, "messages not retained for want of room"},
		{d.Oversubscribed, "subscriptions too many"},
		{d.Forgotten, "sessions that made room for others"},
		{d.Slowed, "waits of clients that sent too fast"},
		{d.LateAnswers, "answers that came too late"},
		{d.StrayBytes, "bytes that nobody asked for"},
		{d.Overflowed, "datagrams lost because too many came at once"},
		{d.Repeated, "requests that came again"},
		{d.Damaged, "frames damaged, cut off or too long"},
	} {
		if c.n > 0 {
			all = append(all, fmt.Sprintf("%d %s", c.n, c.what))
		}
	}
	return all
}

// times is "once", "3 times".
func times(n uint64) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

// malformedOf words what a door of a kind does with what is not its protocol.
func malformedOf(kind string) string {
	if kind == "coap" {
		return "datagrams that are no CoAP"
	}
	return "connections ended by a broken packet"
}

// writeLosses lists what will not arrive, the last first.
func writeLosses(b *strings.Builder, losses []dashboard.Loss) {
	if len(losses) == 0 {
		return
	}
	b.WriteString("\nlost, and reported upstream:\n")
	for _, l := range losses {
		fmt.Fprintf(b, "  %d %s readings, %s", l.Count, l.Lane, l.Reason)
		if l.From != 0 {
			fmt.Fprintf(b, ", of %s to %s", localTime(l.From), localTime(l.To))
		}
		if len(l.Links) > 0 {
			fmt.Fprintf(b, ", for %s", strings.Join(l.Links, ", "))
		}
		b.WriteString("\n")
	}
}

func localTime(ms int64) string { return time.UnixMilli(ms).Format(time.DateTime) }

// written words what flash had to bear.
func written(buf dashboard.Buffer, doors []dashboard.Door) string {
	text := conf.Size(buf.FlashDay).Approx()
	if buf.FlashBudget > 0 {
		text += " of " + conf.Size(buf.FlashBudget).Approx()
		text += ", " + conf.Size(max(buf.FlashTokens, 0)).Approx() + " of it at once now"
	}
	readings := uint64(0)
	for _, d := range doors {
		readings += d.Readings
	}
	if readings > 0 {
		text += fmt.Sprintf(", %s bytes a reading", perReading(buf.FlashWritten, readings))
	}
	if buf.Wear != "" {
		text += "; the medium is " + buf.Wear
	}
	if buf.Life != "" {
		text += "; at this rate it lasts " + buf.Life
	}
	return text
}

// perReading rounds for people: small numbers keep a decimal.
func perReading(bytes, readings uint64) string {
	n := float64(bytes) / float64(readings)
	if n < 10 {
		return fmt.Sprintf("%.1f", n)
	}
	return fmt.Sprintf("%.0f", n)
}

// age is the time from the Unix milliseconds until now, rounded for people; a
// dash stands for never.
func age(now time.Time, ms int64) string {
	if ms == 0 {
		return "-"
	}
	d := now.Sub(time.UnixMilli(ms))
	switch {
	case d < time.Second:
		return "0s"
	case d > 48*time.Hour:
		return fmt.Sprintf("%dd", d/(24*time.Hour))
	}
	return d.Round(time.Second).String()
}

func ago(now time.Time, ms int64) string {
	if ms == 0 {
		return "never"
	}
	return age(now, ms) + " ago"
}

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

	"github.com/tidegate/tidegate/buffer"
	"github.com/tidegate/tidegate/dashboard/api"
)

// purged is what "tidegate buffer purge -json" prints.
type purged struct {
	// Done is false when -yes was missing.
	Done bool `json:"done"`
	buffer.Purged
	// Forgotten is the sink whose place is gone.
	Forgotten string `json:"forgotten,omitempty"`
}

// errNotSure means that -yes is missing.
var errNotSure = errors.New("nothing was changed — hint: the same with -yes does it")

// purge gives readings up, or forgets a sink.
func (c *bufferCall) purge(ctx context.Context) error {
	if c.forget != "" {
		return c.forgetSink(ctx)
	}
	p := buffer.Purge{Sink: c.sink, Lanes: c.query.Lanes, Before: c.query.To, Rehearse: !c.yes}
	done, err := c.holding.purge(ctx, p)
	if err != nil && len(done.Gaps) == 0 {
		return err
	}
	if said := c.say(purged{Done: c.yes, Purged: done}); said != nil {
		return said
	}
	if err == nil && !c.yes && len(done.Gaps) > 0 {
		return usageError{errNotSure}
	}
	return err
}

func (c *bufferCall) forgetSink(ctx context.Context) error {
	inv, err := c.holding.inventory(ctx)
	if err != nil {
		return err
	}
	sink, known := inv.Sink(c.forget)
	switch {
	case !known:
		return api.AdviseSink(buffer.ErrNoSink, c.forget)
	case sink.Active:
		return api.AdviseSink(buffer.ErrActive, c.forget)
	case !c.yes:
		fmt.Fprintf(c.stderr, "%s would be forgotten; under the same name it would get all that is on flash\n", c.forget)
		return usageError{errNotSure}
	}
	if err := c.holding.forget(ctx, c.forget); err != nil {
		return err
	}
	return c.say(purged{Done: true, Forgotten: c.forget})
}

func (c *bufferCall) say(p purged) error {
	if c.json {
		p.Gaps = append([]buffer.Gap{}, p.Gaps...) // a list, even when it is empty
		out := json.NewEncoder(c.stdout)
		out.SetIndent("", "  ")
		return out.Encode(p)
	}
	var b strings.Builder
	switch {
	case p.Forgotten != "":
		fmt.Fprintf(&b, "%s is forgotten\n", p.Forgotten)
	case len(p.Gaps) == 0:
		b.WriteString("nothing of that waits\n")
	default:
		p.writeGaps(&b, time.Now())
	}
	if p.OnTheWay > 0 {
		fmt.Fprintf(&b, "! on the way to a sink, so not discarded: %s\n    hint: when the gateway is stopped, nothing is on the way\n", count(p.OnTheWay, "reading"))
	}
	_, err := io.WriteString(c.stdout, b.String())
	return err
}

func (p purged) writeGaps(b *strings.Builder, now time.Time) {
	var table strings.Builder
	t := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, map[bool]string{true: "NOT SENT ANY MORE", false: "WOULD NOT BE SENT"}[p.Done]+"\tTO\tLANE\tNUMBERS\tFROM (UTC)\tTO")
	for _, g := range p.Gaps {
		fmt.Fprintf(t, "%d\t%s\t%s\t%d..%d\t%s\t%s\n", g.Count, strings.Join(g.Sinks, ", "), g.Lane, g.First, g.Last, shortTime(g.From, now), shortTime(g.To, now))
	}
	_ = t.Flush() // to memory
	b.WriteString(trimLines(table.String()))
}

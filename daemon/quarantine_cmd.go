package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/tidegate/tidegate/buffer"
	"github.com/tidegate/tidegate/internal/conf"
	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/wire"
)

const quarantineUsage = `tidegate quarantine is about what an uplink refused for good: blocks of readings that
are set aside with its words, so that they are not in the way of the others.

Usage:
  tidegate quarantine ls     what is set aside, and why
  tidegate quarantine show   ID...   its readings
  tidegate quarantine retry  ID...   send it again; what is taken then is gone here
  tidegate quarantine drop   ID...   -yes
                                     forget it for good

An ID is SINK/LANE/NUMBER, as ls shows it. "all" stands for everything, "SINK/all" for
what one uplink refused. All take -config FILE and -json, whether the gateway runs or
not: what is to be sent again is sent when it does.
Exit codes: 0 fine, 1 it did not work, 2 the call is wrong.
`

// quarantineCall is one call of "tidegate quarantine".
type quarantineCall struct {
	call
	ids     []string
	yes     bool
	holding holding
	inv     buffer.Inventory
	chosen  []buffer.Refused
}

// quarantineMain runs "tidegate quarantine" with the arguments behind it.
func quarantineMain(args []string, stdout, stderr io.Writer) int {
	if code, said := groupHelp(args, quarantineUsage, stdout, stderr); said {
		return code
	}
	name := args[0]
	c := &quarantineCall{call: call{stdout: stdout, stderr: stderr, flags: flag.NewFlagSet("tidegate quarantine "+name, flag.ContinueOnError)}}
	run := map[string]func(context.Context) error{"ls": c.ls, "show": c.show, "retry": c.retry, "drop": c.drop}[name]
	if run == nil {
		fmt.Fprintf(stderr, "tidegate quarantine: there is no command %q\n\n%s", name, quarantineUsage)
		return exitUsage
	}
	if err := c.parse(name, args[1:]); errors.Is(err, flag.ErrHelp) {
		return exitOK
	} else if err != nil {
		fmt.Fprintf(stderr, "tidegate quarantine %s: %v\n", name, err)
		return exitUsage
	}
	ctx, stop := untilStopped()
	defer stop()
	err := c.open(ctx, name)
	if err == nil {
		err = run(ctx)
	}
	return c.report(err)
}

// parse takes flags and IDs in any order.
func (c *quarantineCall) parse(name string, args []string) error {
	c.flags.SetOutput(c.stderr)
	c.flags.StringVar(&c.file, "config", defaultConfig, "the configuration `FILE`")
	c.flags.BoolVar(&c.json, "json", false, "print JSON")
	if name == "drop" {
		c.flags.BoolVar(&c.yes, "yes", false, "do it; without it, only say what would be done")
	}
	for len(args) > 0 {
		if err := c.flags.Parse(args); err != nil {
			return err
		}
		if args = c.flags.Args(); len(args) > 0 {
			c.ids, args = append(c.ids, args[0]), args[1:]
		}
	}
	switch {
	case name == "ls" && len(c.ids) > 0:
		return fmt.Errorf("%q is not expected here", c.ids[0])
	case name != "ls" && len(c.ids) == 0:
		return errors.New(`which blocks? — hint: write IDs as "tidegate quarantine ls" shows them, or all`)
	}
	return nil
}

// open reads the quarantine and chooses what the call names.
func (c *quarantineCall) open(ctx context.Context, name string) error {
	cfg, err := c.load()
	if err != nil {
		return err
	}
	if c.holding, err = findHolding(ctx, cfg); err != nil {
		return err
	}
	if c.inv, err = c.holding.inventory(ctx); err != nil {
		return err
	}
	if name == "ls" {
		c.ids = []string{"all"}
	}
	return c.choose()
}

func (c *quarantineCall) choose() error {
	for _, id := range c.ids {
		found := false
		for _, r := range c.inv.Refused {
			if id != "all" && id != r.Sink+"/all" && id != r.ID {
				continue
			}
			found = true
			if !slices.ContainsFunc(c.chosen, func(o buffer.Refused) bool { return o.ID == r.ID }) {
				c.chosen = append(c.chosen, r)
			}
		}
		if !found && id != "all" && !strings.HasSuffix(id, "/all") {
			return usageError{fmt.Errorf("%w: %q — hint: \"tidegate quarantine ls\" lists them", buffer.ErrNotSetAside, id)}
		}
	}
	return nil
}

// setAside is a block as "tidegate quarantine -json" prints it.
type setAside struct {
	ID       string            `json:"id"`
	Sink     string            `json:"sink"`
	Lane     string            `json:"lane"`
	First    uint64            `json:"first"`
	Last     uint64            `json:"last"`
	Bytes    int               `json:"bytes"`
	Reason   string            `json:"reason"`
	At       time.Time         `json:"at"`
	Retry    bool              `json:"retry"`
	Readings []json.RawMessage `json:"readings,omitempty"` // of show
}

func (c *quarantineCall) ls(context.Context) error {
	if c.json {
		return c.printJSON(nil)
	}
	if len(c.chosen) == 0 {
		_, err := io.WriteString(c.stdout, "nothing is set aside\n")
		return err
	}
	var table strings.Builder
	t := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ID\tREADINGS\tSIZE\tREFUSED (UTC)\tBECAUSE")
	for _, r := range c.chosen {
		reason := printable(r.Reason, 200)
		if r.Retry {
			reason = "(is to be sent again) " + reason
		}
		fmt.Fprintf(t, "%s\t%d\t%s\t%s\t%s\n", r.ID, r.Last-r.First+1, conf.Size(r.Bytes).Approx(),
			time.Unix(0, r.At).UTC().Format("2006-01-02 15:04"), reason)
	}
	_ = t.Flush() // to memory
	_, err := io.WriteString(c.stdout, trimLines(table.String()))
	return err
}

func (c *quarantineCall) printJSON(readings func(buffer.Refused) ([]json.RawMessage, error)) error {
	all := []setAside{}
	for _, r := range c.chosen {
		s := setAside{
			ID: r.ID, Sink: r.Sink, Lane: r.Lane, First: r.First, Last: r.Last, Bytes: r.Bytes,
			Reason: r.Reason, At: time.Unix(0, r.At).UTC(), Retry: r.Retry,
		}
		if readings != nil {
			var err error
			if s.Readings, err = readings(r); err != nil {
				return err
			}
		}
		all = append(all, s)
	}
	out := json.NewEncoder(c.stdout)
	out.SetIndent("", "  ")
	return out.Encode(all)
}

// show prints the readings of blocks, and what the sink said.
func (c *quarantineCall) show(ctx context.Context) (err error) {
	if c.chosen, err = withBlocks(ctx, c.holding, c.chosen); err != nil {
		return err
	}
	if c.json {
		lines := newLines("")
		return c.printJSON(func(r buffer.Refused) ([]json.RawMessage, error) {
			entries, err := entriesOf(r)
			var all []json.RawMessage
			for i := range entries {
				all = append(all, lines.append(nil, &entries[i]))
			}
			return all, err
		})
	}
	for _, r := range c.chosen {
		var b strings.Builder
		fmt.Fprintf(&b, "%s, refused on %s:\n    %s\n", r.ID, time.Unix(0, r.At).UTC().Format("2006-01-02 15:04:05"), printable(r.Reason, 2000))
		entries, err := entriesOf(r)
		if err != nil {
			fmt.Fprintf(&b, "its readings cannot be read: %v\n", err)
		} else {
			writeEntries(&b, entries)
		}
		if _, err := io.WriteString(c.stdout, b.String()); err != nil {
			return err
		}
	}
	return nil
}

// entriesOf are the readings of a block.
func entriesOf(r buffer.Refused) (entries []buffer.Entry, err error) {
	blk, _, err := wire.ParseBlock(r.Raw)
	if err != nil {
		return nil, err
	}
	var rs []reading.Reading
	if rs, err = wire.NewDecoder().Decode(nil, blk); err != nil {
		return nil, err
	}
	for i := range rs {
		entries = append(entries, buffer.Entry{Reading: rs[i], Epoch: blk.Epoch, Seq: blk.First + uint64(i)})
	}
	return entries, nil
}

func (c *quarantineCall) retry(ctx context.Context) error {
	if err := c.shelf().retry(ctx, c.chosenIDs()); err != nil {
		return err
	}
	return c.done("to be sent again")
}

func (c *quarantineCall) drop(ctx context.Context) error {
	if !c.yes && len(c.chosen) > 0 {
		if err := c.ls(ctx); err != nil {
			return err
		}
		return usageError{errNotSure}
	}
	if err := c.shelf().drop(ctx, c.chosenIDs()); err != nil {
		return err
	}
	return c.done("forgotten")
}

func (c *quarantineCall) done(what string) error {
	if c.json {
		return c.printJSON(nil)
	}
	_, err := fmt.Fprintf(c.stdout, "%s: %s\n", count(uint64(len(c.chosen)), "block"), what)
	return err
}

func (c *quarantineCall) chosenIDs() []string {
	ids := []string{}
	for _, r := range c.chosen {
		ids = append(ids, r.ID)
	}
	return ids
}

// shelf is that of the buffer, which is one of two kinds.
func (c *quarantineCall) shelf() shelf { return c.holding.(shelf) }

package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/tidegate/tidegate/buffer"
	"github.com/tidegate/tidegate/command"
)

const commandUsage = `tidegate command is about what devices were told from upstream.

Usage:
  tidegate command log  [-n 20] [-json]   what was decided about commands, the last first

It takes -config FILE, whether the gateway runs or not. What is shown is what the
gateway still holds of the decisions; all of them went upstream as well, as readings
of the device $tidegate.
Exit codes: 0 fine, 1 it did not work, 2 the call is wrong.
`

// maxLog is how many decisions are shown at the most.
const maxLog = 10_000

// commandMain runs "tidegate command" with the arguments behind it.
func commandMain(args []string, stdout, stderr io.Writer) int {
	if code, said := groupHelp(args, commandUsage, stdout, stderr); said {
		return code
	}
	if args[0] != "log" {
		fmt.Fprintf(stderr, "tidegate command: there is no command %q\n\n%s", args[0], commandUsage)
		return exitUsage
	}
	c := &call{stdout: stdout, stderr: stderr, flags: flag.NewFlagSet("tidegate command log", flag.ContinueOnError)}
	c.flags.SetOutput(stderr)
	c.flags.StringVar(&c.file, "config", defaultConfig, "the configuration `FILE`")
	c.flags.BoolVar(&c.json, "json", false, "print JSON")
	n := c.flags.Int("n", 20, "how `many`")
	if err := c.takeFlags(args[1:]); err != nil {
		return c.report(err)
	}
	if rest := c.flags.Args(); len(rest) > 0 || *n < 1 || *n > maxLog {
		fmt.Fprintf(stderr, "tidegate command log: -n is from 1 to %d, and nothing follows — hint: tidegate command help\n", maxLog)
		return exitUsage
	}
	ctx, stop := untilStopped()
	defer stop()
	return c.report(c.commandLog(ctx, *n))
}

// decision is one audit, as "tidegate command log -json" prints it.
type decision struct {
	At time.Time `json:"at"`
	command.Audit
}

func (c *call) commandLog(ctx context.Context, n int) error {
	cfg, err := c.load()
	if err != nil {
		return err
	}
	held, err := findHolding(ctx, cfg)
	if err != nil {
		return err
	}
	inv, err := held.inventory(ctx)
	if err != nil {
		return err
	}
	all := []decision{}
	q := buffer.Query{Device: command.AuditDevice, Metric: command.AuditMetric, NewestFirst: true, Limit: n}
	_, err = inv.History(ctx, q, func(e buffer.Entry) error {
		d := decision{At: time.Unix(0, e.Time).UTC()}
		if json.Unmarshal([]byte(e.Value.Text()), &d.Audit) == nil && d.Decision != "" {
			all = append(all, d)
		}
		return nil
	})
	if err != nil && !errors.Is(err, buffer.ErrLeftOut) {
		return err
	}
	if c.json {
		out := json.NewEncoder(c.stdout)
		out.SetIndent("", "  ")
		return errors.Join(out.Encode(all), err)
	}
	return errors.Join(writeDecisions(c.stdout, all), err)
}

// writeDecisions prints decisions for people.
func writeDecisions(w io.Writer, all []decision) error {
	if len(all) == 0 {
		_, err := io.WriteString(w, "nothing was decided about commands\n")
		return err
	}
	var table strings.Builder
	t := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "AT (UTC)\tID\tDECISION\tTOPIC\tFROM\tSENDER\tBECAUSE")
	for _, d := range all {
		what := string(d.Decision)
		switch {
		case d.By != "":
			what += " to " + d.By
		case d.Of != "":
			what += " of " + string(d.Of)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", d.At.Format(time.DateTime), printable(d.ID, 64), printable(what, 60),
			printable(d.Topic, 60), printable(d.Courier, 40), printable(d.Sender, 40), printable(d.Reason, 200))
	}
	_ = t.Flush() // to memory
	_, err := io.WriteString(w, trimLines(table.String()))
	return err
}

package daemon

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/tidegate/tidegate/dashboard"
)

// writeCommands prints the way down.
func writeCommands(b *strings.Builder, now time.Time, c *dashboard.Commands) error {
	if c == nil {
		return nil
	}
	t := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	fmt.Fprint(t, "\nCOMMANDS FROM\tSTATE\tSINCE\tADDRESS\n")
	for _, k := range c.Couriers {
		state := "down"
		if k.Up {
			state = "up, " + k.About
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", k.Name, state, ago(now, k.Since), k.Target)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(b, "%d accepted (%d delivered), %d refused, %d expired, %d came again", c.Accepted, c.Delivered, c.Refused, c.Expired, c.Duplicates)
	if c.Untold > 0 {
		fmt.Fprintf(b, "; %s found nobody to take them", count(c.Untold, "answer"))
	}
	b.WriteString("\n")
	if c.LastAt != 0 {
		fmt.Fprintf(b, "the last one, %s: %s %s", ago(now, c.LastAt), printable(c.LastID, 64), c.LastState)
		if c.LastReason != "" {
			fmt.Fprintf(b, ", %s", printable(c.LastReason, 200))
		}
		b.WriteString("\n")
	}
	return nil
}

// commandProblems puts into sentences why commands cannot come.
func commandProblems(c *dashboard.Commands) (all []string) {
	if c == nil {
		return nil
	}
	for _, k := range c.Couriers {
		if !k.Up && k.LastError != "" {
			all = append(all, fmt.Sprintf("no commands come from %s: %s", k.Name, printable(k.LastError, 300)))
		}
	}
	return all
}

package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/tidegate/tidegate/dashboard"
	"github.com/tidegate/tidegate/dashboard/api"
	"github.com/tidegate/tidegate/internal/netcheck"
)

const diagnoseUsage = `tidegate diagnose finds out why nothing arrives: it tries the way of readings step by
step, from the buffer to an acknowledgement of the other side.

Usage:
  tidegate diagnose [-config FILE] [-anyway] [-send] [-json] [UPLINK]
                          why nothing goes out; all uplinks if none is named
  tidegate diagnose [-config FILE] -door [-json] [DOOR]
                          why nothing comes in

A running gateway is asked, and tries over its own links, where every byte counts;
without one, the network is tried from here. The exit code is 1 if something is wrong.

Flags:
`

// maxPrinted bounds a text on the terminal: it may have words of others in it.
const maxPrinted = 1000

// diagnoseCall is one call of "tidegate diagnose".
type diagnoseCall struct {
	call
	how  api.Diagnosis
	door bool
	name string
	bad  bool
}

// diagnoseMain runs "tidegate diagnose" with the arguments behind it.
func diagnoseMain(args []string, stdout, stderr io.Writer) int {
	c := &diagnoseCall{call: call{stdout: stdout, stderr: stderr, flags: flag.NewFlagSet("tidegate diagnose", flag.ContinueOnError)}}
	c.flags.SetOutput(stderr)
	c.flags.StringVar(&c.file, "config", defaultConfig, "the configuration `FILE`")
	c.flags.BoolVar(&c.how.Anyway, "anyway", false, "try the network also while schedule or budget hold readings back")
	c.flags.BoolVar(&c.how.Send, "send", false, "send a marked test reading if nothing waits that could be acknowledged")
	c.flags.BoolVar(&c.door, "door", false, "look at a door instead of an uplink")
	c.flags.BoolVar(&c.json, "json", false, "print a line of JSON for each step")
	c.flags.Usage = func() {
		io.WriteString(stderr, diagnoseUsage)
		c.flags.PrintDefaults()
	}
	if err := c.takeFlags(args); err != nil {
		return c.report(err)
	}
	if rest := c.flags.Args(); len(rest) > 1 {
		fmt.Fprintf(stderr, "tidegate diagnose: %q is not expected here — hint: flags come first, then one name\n", rest[1])
		return exitUsage
	} else if len(rest) == 1 {
		c.name = rest[0]
	}
	return c.report(c.diagnose())
}

func (c *diagnoseCall) diagnose() error {
	cfg, err := c.load()
	if err != nil {
		return err
	}
	ctx, stop := untilStopped()
	defer stop()
	status, err := askStatus(ctx, cfg.Gateway.SocketPath())
	switch {
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("%w — hint: try it with sudo", err)
	case err == nil:
		err = c.askGateway(ctx, cfg.Gateway.SocketPath(), status)
	case c.door:
		return err
	default:
		fmt.Fprintln(c.stderr, "no gateway runs: trying from here")
		err = c.withoutGateway(ctx, cfg)
	}
	if err == nil && c.bad {
		return errSaid
	}
	return err
}

// askGateway lets a running gateway look.
func (c *diagnoseCall) askGateway(ctx context.Context, socket string, s dashboard.Status) error {
	names, table := []string{c.name}, "links"
	if c.door {
		table = "doors"
	}
	if c.name == "" {
		names = nil
		for _, l := range s.Links {
			names = append(names, l.Name)
		}
		if c.door {
			names = nil
			for _, d := range s.Doors {
				names = append(names, d.Name)
			}
		}
	}
	for _, name := range names {
		c.title(name)
		var how any = c.how
		if c.door {
			how = struct{}{}
		}
		path := "/api/v1/" + table + "/" + url.PathEscape(name) + "/diagnose"
		if err := postAdmin(ctx, socket, path, how, c.print); err != nil {
			return err
		}
	}
	return c.nothing(names)
}

// withoutGateway tries the network from here.
func (c *diagnoseCall) withoutGateway(ctx context.Context, cfg Config) error {
	names := []string{c.name}
	if c.name == "" {
		names = cfg.Uplink.names()
	}
	for _, name := range names {
		x, err := examWithout(cfg, name, c.how, c.print)
		if err != nil {
			return err
		}
		c.title(name)
		x.run(ctx)
	}
	return c.nothing(names)
}

func (c *diagnoseCall) nothing(names []string) error {
	if len(names) == 0 {
		return errors.New("there is nothing to look at — hint: add [[uplink.http]], or a door")
	}
	return nil
}

func (c *diagnoseCall) title(name string) {
	if !c.json {
		fmt.Fprintf(c.stdout, "%s\n", name)
	}
}

// print prints a line as it comes.
func (c *diagnoseCall) print(l netcheck.Line) {
	c.bad = c.bad || l.State == netcheck.Bad
	if c.json {
		_ = json.NewEncoder(c.stdout).Encode(l) // to a terminal, or to whoever went away
		return
	}
	if l.Verdict != "" {
		what, hint, _ := strings.Cut(l.Verdict, " — hint: ")
		fmt.Fprintf(c.stdout, "\n%s\n", printable(what, maxPrinted))
		if hint != "" {
			fmt.Fprintf(c.stdout, "What to do: %s\n", printable(hint, maxPrinted))
		}
		fmt.Fprintln(c.stdout)
		return
	}
	mark, shown := map[netcheck.State]string{netcheck.OK: "✓", netcheck.Warn: "!", netcheck.Bad: "✗", netcheck.Skipped: "-"}[l.State]
	if !shown {
		return
	}
	took := ""
	if l.Millis >= 10 {
		took = fmt.Sprintf(" (%v)", time.Duration(l.Millis)*time.Millisecond)
	}
	fmt.Fprintf(c.stdout, "%s %s %s%s\n", mark, l.Title, printable(l.Text, maxPrinted), took)
}

// postAdmin posts a request to the daemon behind the socket, and hands over the
// lines of its answer as they come.
func postAdmin[T any](ctx context.Context, socket, path string, body any, tell func(T)) error {
	err := streamAdmin(ctx, socket, http.MethodPost, path, body, func() {}, func(line T) error {
		tell(line)
		return nil
	})
	if errors.Is(err, io.EOF) { // the end of the answer
		return nil
	}
	return err
}

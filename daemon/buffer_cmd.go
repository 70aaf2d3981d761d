package daemon

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/tidegate/tidegate/buffer"
	"github.com/tidegate/tidegate/internal/conf"
	"github.com/tidegate/tidegate/reading"
)

const bufferUsage = `tidegate buffer shows, checks, copies and discards what a gateway has on flash,
whether it runs or not. All but purge only read.

Usage:
  tidegate buffer ls      segments, sinks and how far they are, losses, quarantine
  tidegate buffer check   read every byte and say what is damaged
  tidegate buffer peek    [filters] [-oldest] [-n 20] [-after TOKEN]
                          readings, the newest first
  tidegate buffer export  [filters] [-format ndjson|csv|packed] [-o FILE]
                          readings, the oldest first; a packed file is for
                          "tidegate-cloud import", which counts each reading once
  tidegate buffer purge   [-sink NAME] [-lane LANE] [-before TIME] [-yes]
                          send these no more; a gap tells the other side
  tidegate buffer purge   -forget NAME [-yes]
                          forget the place of a sink that is not configured

Filters:
  -device NAME, -metric NAME   "*" stands for any characters
  -lane LANE                   alarm, normal or bulk; "alarm,normal" for both
  -since TIME, -until TIME     when it was measured
  -undelivered SINK            what this sink does not have yet
  -refused                     the quarantine: what sinks refused for good

TIME is 2026-01-31T08:00:00Z, "2026-01-31 08:00", 2026-01-31 (all UTC), or how
long ago: 90m, 2d. All take -config FILE and, but for export, -json.
Exit codes: 0 fine, 1 it did not work or check found damage, 2 the call is wrong.
`

// bufferCall is one call of "tidegate buffer".
type bufferCall struct {
	call
	query                       buffer.Query
	lanes, since, until, before string // as they were written
	token                       string
	oldest, refused             bool
	format, out                 string // of export
	sink, forget                string // of purge
	yes                         bool

	cfg     Config
	gateway string
	holding holding
}

// bufferMain runs "tidegate buffer" with the arguments behind it.
func bufferMain(args []string, stdout, stderr io.Writer) int {
	if code, said := groupHelp(args, bufferUsage, stdout, stderr); said {
		return code
	}
	name := args[0]
	c := &bufferCall{call: call{stdout: stdout, stderr: stderr, flags: flag.NewFlagSet("tidegate buffer "+name, flag.ContinueOnError)}}
	run := c.declare(name)
	if run == nil {
		fmt.Fprintf(stderr, "tidegate buffer: there is no command %q\n\n%s", name, bufferUsage)
		return exitUsage
	}
	c.flags.SetOutput(stderr)
	c.flags.StringVar(&c.file, "config", defaultConfig, "the configuration `FILE`")
	if err := c.takeFlags(args[1:]); err != nil {
		return c.report(err)
	}
	err := c.takeArgument(name)
	if err == nil {
		err = c.parse(time.Now())
	}
	if err != nil {
		fmt.Fprintf(stderr, "tidegate buffer %s: %v\n", name, err)
		return exitUsage
	}
	ctx, stop := untilStopped()
	defer stop()
	if err := c.open(ctx); err != nil {
		return c.report(err)
	}
	return c.report(run(ctx))
}

// declare declares the flags of a command and returns what runs it; nil for
// none.
func (c *bufferCall) declare(name string) func(context.Context) error {
	if name != "export" {
		c.flags.BoolVar(&c.json, "json", false, "print JSON")
	}
	switch name {
	case "ls":
		return c.ls
	case "check":
		return c.check
	case "peek":
		c.declareFilters()
		c.flags.BoolVar(&c.oldest, "oldest", false, "begin with the oldest")
		c.flags.IntVar(&c.query.Limit, "n", 20, "how many")
		c.flags.StringVar(&c.token, "after", "", "go on behind the page that ended with this `TOKEN`")
		return c.peek
	case "export":
		c.declareFilters()
		c.flags.StringVar(&c.format, "format", "", "ndjson, csv or packed; the default goes by FILE: .csv, .chunks, others ndjson")
		c.flags.StringVar(&c.out, "o", "", "the `FILE` to make; standard output if none")
		return c.export
	case "purge":
		c.flags.StringVar(&c.sink, "sink", "", "the `NAME` of the sink; all if none")
		c.flags.StringVar(&c.lanes, "lane", "", "`LANE`s, with commas between them; all if none")
		c.flags.StringVar(&c.before, "before", "", "only what is older than this `TIME`")
		c.flags.StringVar(&c.forget, "forget", "", "forget the sink of this `NAME`")
		c.flags.BoolVar(&c.yes, "yes", false, "do it; without it, only say what would be done")
		return c.purge
	}
	return nil
}

func (c *bufferCall) declareFilters() {
	c.flags.StringVar(&c.query.Device, "device", "", "only this device; * in the `NAME` stands for any characters")
	c.flags.StringVar(&c.query.Metric, "metric", "", "only this metric; * in the `NAME` stands for any characters")
	c.flags.StringVar(&c.lanes, "lane", "", "only these `LANE`s, with commas between them")
	c.flags.StringVar(&c.since, "since", "", "measured at this `TIME` or later")
	c.flags.StringVar(&c.until, "until", "", "measured before this `TIME`")
	c.flags.StringVar(&c.query.Undelivered, "undelivered", "", "only what this `SINK` does not have yet")
	c.flags.BoolVar(&c.refused, "refused", false, "the quarantine")
}

// parse reads the values of the flags.
func (c *bufferCall) parse(now time.Time) (err error) {
	for name := range strings.FieldsFuncSeq(c.lanes, func(r rune) bool { return r == ',' || r == ' ' }) {
		lane, ok := reading.ParseLane(name)
		if !ok {
			return fmt.Errorf("there is no lane %q — hint: alarm, normal or bulk", name)
		}
		c.query.Lanes = append(c.query.Lanes, lane)
	}
	if c.query.From, err = parseWhen(c.since, now); err != nil {
		return fmt.Errorf("-since: %w", err)
	}
	if c.query.To, err = parseWhen(c.until, now); err != nil {
		return fmt.Errorf("-until: %w", err)
	}
	if c.before != "" {
		if c.query.To, err = parseWhen(c.before, now); err != nil {
			return fmt.Errorf("-before: %w", err)
		}
	}
	if c.forget != "" && (c.sink != "" || c.lanes != "" || c.before != "") {
		return errors.New("-forget stands alone — hint: it discards no readings, only the place of the sink")
	}
	if c.refused && c.query.Undelivered != "" {
		return errors.New("-refused and -undelivered exclude each other — hint: what a sink refused counts as handled")
	}
	c.query.NewestFirst = !c.oldest
	c.query.After = buffer.Token(c.token)
	return c.parseFormat()
}

// parseWhen reads an instant, in UTC if it does not say, or how long ago it was.
// Its result is in nanoseconds since the Unix epoch, 0 for no text.
func parseWhen(text string, now time.Time) (int64, error) {
	if text == "" {
		return 0, nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02 15:04", time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return t.UnixNano(), nil
		}
	}
	var ago conf.Duration
	if err := ago.UnmarshalText([]byte(text)); err != nil {
		return 0, fmt.Errorf("%q is no time — hint: write \"2026-01-31 08:00\" for UTC, 2026-01-31T08:00:00+01:00, or 90m for so long ago", text)
	}
	return now.Add(-time.Duration(ago)).UnixNano(), nil
}

// open finds the buffer of the configuration.
func (c *bufferCall) open(ctx context.Context) (err error) {
	if c.cfg, err = c.load(); err != nil {
		return err
	}
	if c.gateway, err = c.cfg.Gateway.Identity(); err != nil {
		return err
	}
	c.holding, err = findHolding(ctx, c.cfg)
	return err
}

package daemon

import (
	"bufio"
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

	"github.com/tidegate/tidegate/internal/logtail"
)

// opsCall is one call of log, diag, identify or clock.
type opsCall struct {
	call
	follow  bool
	level   string
	out     string
	seconds int
}

// opsCommand returns the command for operators that has the name, or nil.
func opsCommand(name string) entry {
	run := map[string]func(*opsCall, context.Context) error{
		"log": (*opsCall).log, "diag": (*opsCall).diag, "identify": (*opsCall).identify, "clock": (*opsCall).clock,
	}[strings.TrimLeft(name, "-")]
	if run == nil {
		return nil
	}
	return func(args []string, stdout, stderr io.Writer) int {
		c := &opsCall{call: call{stdout: stdout, stderr: stderr, flags: flag.NewFlagSet("tidegate "+name, flag.ContinueOnError)}}
		c.flags.SetOutput(stderr)
		c.declare(name)
		if err := c.takeFlags(args); err != nil {
			return c.report(err)
		}
		if rest := c.flags.Args(); len(rest) > 0 {
			fmt.Fprintf(stderr, "tidegate %s: %q is not expected here\n", name, rest[0])
			return exitUsage
		}
		ctx, stop := untilStopped()
		defer stop()
		return c.report(run(c, ctx))
	}
}

func (c *opsCall) declare(name string) {
	if name != "clock" {
		c.flags.StringVar(&c.file, "config", defaultConfig, "the configuration `FILE`")
	}
	switch name {
	case "clock":
		c.flags.StringVar(&c.out, "wait", "", "wait until it is, and make this `FILE`")
	case "log":
		c.flags.BoolVar(&c.follow, "f", false, "go on with what comes")
		c.flags.StringVar(&c.level, "level", "info", "this `LEVEL` and above: debug, info, warn or error")
		c.flags.BoolVar(&c.json, "json", false, "print JSON, a record a line")
	case "diag":
		c.flags.StringVar(&c.out, "o", "", "the `FILE` to make; a name with the gateway's and the time if none, \"-\" for standard output")
	case "identify":
		c.flags.IntVar(&c.seconds, "for", 30, "how many `SECONDS`, 300 at the most; 0 stops it")
	}
}

// log prints the last records of the log and, if asked to, what comes.
func (c *opsCall) log(ctx context.Context) error {
	cfg, err := c.load()
	if err != nil {
		return err
	}
	query := url.Values{"level": {c.level}, "follow": {fmt.Sprint(c.follow)}}
	body, err := openAdmin(ctx, cfg.Gateway.SocketPath(), http.MethodGet, "/api/v1/log?"+query.Encode(), nil)
	if err != nil {
		return err
	}
	defer body.Close()
	lines := bufio.NewReader(body)
	for {
		line, err := lines.ReadBytes('\n')
		switch {
		case ctx.Err() != nil, errors.Is(err, io.EOF) && !c.follow:
			return nil
		case err != nil:
			return fmt.Errorf("the gateway went away: %w", err)
		}
		if err := c.printRecord(line); err != nil {
			return err
		}
	}
}

func (c *opsCall) printRecord(line []byte) error {
	if c.json {
		_, err := c.stdout.Write(line)
		return err
	}
	var r struct {
		logtail.Record
		Missed bool
	}
	if err := json.Unmarshal(line, &r); err != nil {
		return err
	}
	if r.Missed {
		_, err := fmt.Fprintln(c.stdout, "… some came too fast, and are missing here")
		return err
	}
	_, err := fmt.Fprintln(c.stdout, strings.TrimRight(fmt.Sprintf("%s %-5s %s  %s", time.UnixMilli(r.Time).Format(time.DateTime),
		r.Level, printable(r.Text, 1000), printable(r.About, 4000)), " "))
	return err
}

// diag writes a support bundle, of the daemon if it runs.
func (c *opsCall) diag(ctx context.Context) error {
	cfg, err := c.load()
	if err != nil {
		return err
	}
	write := func(w io.Writer) error { return copyBundle(ctx, w, cfg) }
	name := c.out
	switch name {
	case "-":
		return write(c.stdout)
	case "":
		id, _ := cfg.Gateway.Identity() // a bundle is for when something is wrong
		name = bundleName(id)
	}
	if _, err := os.Lstat(name); err == nil {
		return fmt.Errorf("%s is there already — hint: choose another name, or remove it", name)
	}
	if err := writeWhole(name, write); err != nil {
		return notWritten(name, err)
	}
	fmt.Fprintf(c.stdout, "%s\n", name)
	return nil
}

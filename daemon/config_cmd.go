package daemon

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/tidegate/tidegate/dashboard/api"
	"github.com/tidegate/tidegate/internal/ontrial"
)

const configUsage = `The configuration of a running gateway is changed without losing a reading: doors
and uplinks that are the same before and after run on.

Usage:
  tidegate reload              read the file of the configuration again
  tidegate apply FILE [-confirm TIME]
                               run what is in FILE, on trial: it is undone by itself
                               after TIME (2m unless given, 10s to 1h), after a crash
                               and after a power cut
  tidegate confirm             keep it: only now is it written into the configuration
  tidegate revert              undo it at once

All take -config FILE, the configuration that the gateway was started with, which
says where it is to be reached.
Exit codes: 0 fine, 1 it did not work, 2 the call or the configuration is wrong.
`

// configCommand returns the command about the configuration that has the name, or
// nil.
func configCommand(name string) entry {
	run := map[string]func(*configCall, context.Context) error{
		"reload": (*configCall).reload, "apply": (*configCall).apply, "confirm": (*configCall).confirm, "revert": (*configCall).revert,
	}[name]
	if run == nil {
		return nil
	}
	return func(args []string, stdout, stderr io.Writer) int { return configMain(name, run, args, stdout, stderr) }
}

// configCall is one call of these commands.
type configCall struct {
	call
	text   string // the file to apply
	within time.Duration
}

func configMain(name string, run func(*configCall, context.Context) error, args []string, stdout, stderr io.Writer) int {
	c := &configCall{call: call{stdout: stdout, stderr: stderr, flags: flag.NewFlagSet("tidegate "+name, flag.ContinueOnError)}}
	if err := c.parse(name, args); errors.Is(err, flag.ErrHelp) || errors.Is(err, errMisused) {
		return c.report(err)
	} else if err != nil {
		fmt.Fprintf(stderr, "tidegate %s: %v\n", name, err)
		return exitUsage
	}
	ctx, stop := untilStopped()
	defer stop()
	return c.report(run(c, ctx))
}

// ask asks the gateway.
func (c *configCall) ask(ctx context.Context, method, what string, body, into any) error {
	socket, err := c.socket()
	if err != nil {
		return err
	}
	return askAdmin(ctx, socket, method, "/api/v1/config"+what, body, into)
}

// parse takes flags and the file in any order.
func (c *configCall) parse(name string, args []string) error {
	c.flags.SetOutput(c.stderr)
	c.flags.Usage = func() { io.WriteString(c.stderr, configUsage) }
	c.flags.StringVar(&c.file, "config", defaultConfig, "the configuration `FILE` that the gateway runs with")
	if name == "apply" {
		c.flags.DurationVar(&c.within, "confirm", api.UsualTrial, "how long to wait for \"tidegate confirm\"")
	}
	for len(args) > 0 {
		if err := c.takeFlags(args); err != nil {
			return err
		}
		if args = c.flags.Args(); len(args) == 0 {
			break
		}
		if name != "apply" || c.text != "" {
			return fmt.Errorf("%q is not expected here", args[0])
		}
		c.text, args = args[0], args[1:]
	}
	if name == "apply" && c.text == "" {
		return errors.New("which file? — hint: write the name of the new configuration behind it")
	}
	return nil
}

// order asks the gateway, and returns what it runs then.
func (c *configCall) order(ctx context.Context, what string, body any) (state api.ConfigState, err error) {
	err = c.ask(ctx, http.MethodPost, "/"+what, body, &state)
	return state, err
}

func (c *configCall) state(ctx context.Context) (state api.ConfigState, err error) {
	err = c.ask(ctx, http.MethodGet, "", nil, &state)
	return state, err
}

func (c *configCall) reload(ctx context.Context) error {
	if _, err := c.load(); err != nil {
		return err // as the gateway would say it
	}
	state, err := c.order(ctx, "reload", struct{}{})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.stdout, "%s is in effect, revision %s\n", state.Path, state.Revision)
	return err
}

func (c *configCall) apply(ctx context.Context) error {
	text, err := ontrial.Read(c.text)
	if err != nil {
		return unreadableError{err}
	}
	if _, err := Parse(c.text, text); err != nil {
		return err
	}
	state, err := c.state(ctx)
	if err != nil {
		return err
	}
	var plan api.ConfigPlan
	if err := c.ask(ctx, http.MethodPost, "/diff", map[string]string{"text": string(text)}, &plan); err != nil {
		return err
	}
	if state, err = c.order(ctx, "apply", map[string]string{"text": string(text), "revision": state.Revision, "confirm_within": c.within.String()}); err != nil {
		return err
	}
	var b strings.Builder
	b.WriteString(plan.Diff)
	for _, change := range plan.Changes {
		b.WriteString(change + "\n")
	}
	fmt.Fprintf(&b, "revision %s is on trial for %v — \"tidegate confirm\" keeps it, \"tidegate revert\" undoes it, and so does the time\n", state.Revision, c.within)
	_, err = io.WriteString(c.stdout, b.String())
	return err
}

func (c *configCall) confirm(ctx context.Context) error {
	state, err := c.state(ctx)
	if err != nil {
		return err
	}
	if state.Trial == nil {
		return errNoTrial
	}
	if state, err = c.order(ctx, "confirm", map[string]string{"revision": state.Revision}); err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.stdout, "revision %s is kept in %s, and the one before in %s\n", state.Revision, state.Path, ontrial.Real(state.Path)+ontrial.Previous)
	return err
}

func (c *configCall) revert(ctx context.Context) error {
	state, err := c.order(ctx, "revert", struct{}{})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.stdout, "revision %s is in effect again; what was tried is in %s\n", state.Revision, ontrial.Real(state.Path)+ontrial.Trial)
	return err
}

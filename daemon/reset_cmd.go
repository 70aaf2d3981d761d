package daemon

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/tidegate/tidegate/buffer"
)

const resetUsage = `tidegate factory-reset makes a new gateway of this one: it erases what is in data_dir
(readings, operator, tokens, certificate), all secrets, and the files beside the
configuration, which becomes the one that is shipped.

Usage:
  tidegate factory-reset [-yes] [-keep-config] [-config FILE]

  -yes           do not ask; without it, the gateway's id is to be typed
  -keep-config   erase what is in data_dir only

The gateway must not run: systemctl stop tidegate. A reset that a power cut
interrupts ends at the next start.
Exit codes: 0 fine, 1 it did not work, 2 the call is wrong or nobody agreed.
`

// resetCall is one call of factory-reset.
type resetCall struct {
	call
	yes, keep bool
	in        io.Reader
	before    func(what string) error // as in initCall
	broken    error                   // the configuration is no TOML, and why
}

func resetMain(args []string, stdout, stderr io.Writer) int {
	c := &resetCall{in: os.Stdin, call: call{stdout: stdout, stderr: stderr, flags: flag.NewFlagSet("tidegate factory-reset", flag.ContinueOnError)}}
	return c.main(args)
}

func (c *resetCall) main(args []string) int {
	c.flags.SetOutput(c.stderr)
	c.flags.Usage = func() { io.WriteString(c.stderr, resetUsage) }
	c.flags.StringVar(&c.file, "config", defaultConfig, "")
	c.flags.BoolVar(&c.yes, "yes", false, "")
	c.flags.BoolVar(&c.keep, "keep-config", false, "")
	if err := c.takeFlags(args); err != nil {
		return c.report(err)
	}
	if rest := c.flags.Args(); len(rest) > 0 {
		fmt.Fprintf(c.stderr, "tidegate factory-reset: %q is not expected here\n", rest[0])
		return exitUsage
	}
	ctx, stop := untilStopped()
	defer stop()
	return c.report(c.run(ctx))
}

func (c *resetCall) run(ctx context.Context) error {
	cfg := Default()
	text, as, err := readOwned(c.file)
	if err == nil {
		c.broken = understand(c.file, text, &cfg)
	} else if !errors.Is(err, os.ErrNotExist) {
		return unreadableError{err}
	}
	found, err := findHolding(ctx, cfg)
	if err != nil {
		return err
	}
	if _, runs := found.(running); runs {
		return errors.New("the gateway runs — hint: systemctl stop tidegate, and then the same again")
	}
	inv, unknown := found.inventory(ctx)
	if errors.Is(unknown, buffer.ErrInUse) {
		return unknown
	}
	if _, err := os.Stat(bufferConfig(cfg).Dir); errors.Is(err, os.ErrNotExist) {
		unknown = nil // none
	}
	r, err := planReset(c.file, as, cfg, c.keep)
	if err != nil {
		return err
	}
	id, err := cfg.Gateway.Identity()
	if err != nil {
		id = "yes"
	}
	c.show(r, cfg, inv, unknown, id)
	if !c.yes && !c.agreed(id) {
		return usageError{errors.New("nothing was changed — hint: type the id as it is shown, or use -yes")}
	}
	if err := r.do(c.stdout, c.before); err != nil {
		return fmt.Errorf("%w — hint: the next start of the gateway, or the same again, goes on", err)
	}
	gone := ""
	if readings, _ := inv.Waiting(buffer.Sink{}); unknown == nil && inv.StateError == "" {
		gone = "; " + count(readings, "reading") + " went"
	}
	fmt.Fprintln(c.stdout, "this is a new gateway"+gone+" — hint: systemctl start tidegate; then \"tidegate setup-code\" prints its new code")
	return nil
}

// show says what is going to be lost.
func (c *resetCall) show(r reset, cfg Config, inv buffer.Inventory, unknown error, id string) {
	var b strings.Builder
	fmt.Fprintf(&b, "This erases all that the gateway %s has:\n", id)
	if c.broken != nil {
		fmt.Fprintf(&b, "  ! the configuration cannot be read, so look whether this is the right data_dir: %v\n", c.broken)
	}
	all, _ := inv.Waiting(buffer.Sink{})
	switch {
	case unknown != nil:
		fmt.Fprintf(&b, "  %s: %v\n", r.DataDir, unknown)
	case inv.StateError != "":
		fmt.Fprintf(&b, "  %s: readings, and which were delivered is not known: %s\n", r.DataDir, inv.StateError)
	default:
		fmt.Fprintf(&b, "  %s: %s\n", r.DataDir, count(all, "reading"))
	}
	for _, s := range inv.Sinks {
		if n, _ := inv.Waiting(s); n > 0 && s.Active {
			verb := "were"
			if n == 1 {
				verb = "was"
			}
			fmt.Fprintf(&b, "  ! %s %s not delivered to %s yet\n", count(n, "reading"), verb, s.Name)
		}
	}
	if len(cfg.Uplink.names()) == 0 && all > 0 {
		b.WriteString("  ! and there is no uplink that would have delivered any\n")
	}
	if entries, err := os.ReadDir(r.DataDir); err == nil {
		if names := foreign(entries); len(names) > 0 {
			fmt.Fprintf(&b, "  ! in there, and not the gateway's: %s\n", printable(strings.Join(names, ", "), 500))
		}
	}
	for _, path := range r.Files {
		fmt.Fprintf(&b, "  %s\n", path)
	}
	if store, ok := r.secrets(); ok {
		fmt.Fprintf(&b, "  what is in %s\n", store)
	}
	if r.KeepConfig {
		fmt.Fprintf(&b, "  %s stays as it is, and so do its secrets\n", r.config)
	} else {
		fmt.Fprintf(&b, "  %s becomes the one that is shipped\n", r.config)
	}
	_, _ = io.WriteString(c.stdout, b.String())
}

// agreed asks for the gateway's id.
func (c *resetCall) agreed(id string) bool {
	fmt.Fprintf(c.stdout, "Type %s to go on: ", id)
	line, _ := bufio.NewReader(io.LimitReader(c.in, 1000)).ReadString('\n')
	if line == "" {
		fmt.Fprintln(c.stdout) // nobody has ended the line
	}
	return strings.TrimSpace(line) == id
}

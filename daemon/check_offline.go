package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tidegate/tidegate/internal/conf"
	"github.com/tidegate/tidegate/internal/journal"
)

// stdoutIs is the file descriptor of what a command of a unit says.
const stdoutIs = 1

// CheckOffline is the part of Check that a unit can have done before every start: what
// the configuration says by itself, and of its files, secrets and folders. Nothing is
// bound, connected, opened for writing or waited for, and the gateway is not asked.
// What it says itself when it starts, of its clock, its links and its last starts, is
// not looked at. c must be valid.
func CheckOffline(c Config) []Finding {
	k := &checklist{offline: true}
	ctx := context.Background() // there is nothing to wait for
	k.machine(ctx, c)
	k.uplinks(ctx, c)
	k.commands(ctx, c)
	return k.findings
}

// checkOffline says only what is wrong: a unit's start is no place for a list of what is
// fine.
func (c *call) checkOffline() error {
	inJournal := c.stdout == io.Writer(os.Stdout) && journal.IsStream(stdoutIs)
	cfg, err := c.load()
	if err != nil && inJournal {
		if err := writeForJournal(c.stdout, unusable(err)); err != nil {
			return err
		}
		return errMisused // its exit code is that of a wrong configuration, too
	}
	if err != nil {
		return err
	}
	findings, write := CheckOffline(cfg), writeOnlyProblems
	if inJournal {
		write = writeForJournal
	}
	if err := write(c.stdout, findings); err != nil {
		return err
	}
	if Worst(findings) == Fail {
		return errSaid
	}
	return nil
}

// unusable is a configuration that cannot be used, as findings.
func unusable(err error) []Finding {
	var problems conf.Problems
	if !errors.As(err, &problems) {
		return []Finding{{Fail, err.Error(), "check the path, and who may read the file"}}
	}
	var all []Finding
	for _, p := range problems {
		hint := p.Hint
		p.Hint = ""
		all = append(all, Finding{Fail, p.String(), hint})
	}
	return all
}

// writeOnlyProblems is WriteFindings without what is fine, which is only counted.
func writeOnlyProblems(w io.Writer, findings []Finding) error {
	return writeFindings(w, findings, Warn)
}

// writeForJournal writes a line for each problem, with the priority in front that systemd
// takes off again (sd-daemon(3)): "journalctl -p warning" shows them. When all is fine it
// says nothing.
func writeForJournal(w io.Writer, findings []Finding) error {
	var b strings.Builder
	for _, f := range findings {
		if f.Level == OK {
			continue
		}
		text := f.What
		if f.Hint != "" {
			text += " — hint: " + f.Hint
		}
		priority := map[Level]int{Warn: 4, Fail: 3}[f.Level]
		fmt.Fprintf(&b, "<%d>%s\n", priority, oneLine(text))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// mayWrite is probe for a check that writes nothing.
func mayWrite(dir string) (time.Duration, error) {
	if err := unix.Access(dir, unix.W_OK|unix.X_OK); err != nil {
		return 0, fmt.Errorf("%s cannot be written: %w", dir, err)
	}
	return 0, nil
}

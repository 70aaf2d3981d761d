package daemon

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/tidegate/tidegate/internal/conf"
	"github.com/tidegate/tidegate/internal/ontrial"
)

const initUsage = `tidegate init sets a gateway up with nobody at it, from one file.

Usage:
  tidegate init [-dry-run] [FILE]
                        apply a provisioning file: a configuration, and with it the
                        tables [credential], [file], [operator] and [users]; without
                        FILE, systemd's credential ` + initCredential + ` or else
                        ` + initName + ` in /boot/firmware or /boot, once
  tidegate init -lan    let the page be reached from the network, over TLS, and print
                        where, with the set-up code and the certificate's fingerprint

  -config FILE   the configuration, ` + defaultConfig + ` unless given
  -dry-run       say what would be written, without secrets; write nothing
  -no-restart    with -lan: do not restart the gateway

Nothing is written unless all of the file is right, and a power cut in between is
as if nothing had been. What the configuration was stays as tidegate.toml` + beforeInit + `.
Exit codes: 0 fine, 1 it did not work, 2 the call or the file is wrong.
`

// initCall is one call of init.
type initCall struct {
	call
	from             string
	dryRun, lan, not bool
	// credentials is where systemd puts those of this process, boots are the folders
	// of boot partitions.
	credentials string
	boots       []string
	// before, if not nil, may forbid a step: a test's power cut.
	before func(what string) error
}

func initMain(args []string, stdout, stderr io.Writer) int {
	c := &initCall{
		call:        call{stdout: stdout, stderr: stderr, flags: flag.NewFlagSet("tidegate init", flag.ContinueOnError)},
		credentials: os.Getenv("CREDENTIALS_DIRECTORY"), boots: []string{"/boot/firmware", "/boot"},
	}
	return c.main(args)
}

func (c *initCall) main(args []string) int {
	c.flags.SetOutput(c.stderr)
	c.flags.Usage = func() { io.WriteString(c.stderr, initUsage) }
	c.flags.StringVar(&c.file, "config", defaultConfig, "")
	c.flags.BoolVar(&c.dryRun, "dry-run", false, "")
	c.flags.BoolVar(&c.lan, "lan", false, "")
	c.flags.BoolVar(&c.not, "no-restart", false, "")
	if err := c.takeFlags(args); err != nil {
		return c.report(err)
	}
	rest := c.flags.Args()
	if len(rest) > 0 {
		c.from, rest = rest[0], rest[1:]
	}
	if len(rest) > 0 || c.lan && (c.from != "" || c.dryRun) {
		fmt.Fprintln(c.stderr, "tidegate init: one FILE, or -lan alone — hint: tidegate init -help")
		return exitUsage
	}
	ctx, stop := untilStopped()
	defer stop()
	return c.report(c.run(ctx))
}

func (c *initCall) run(ctx context.Context) error {
	if !c.dryRun {
		if err := finishReset(c.file, c.stdout); err != nil {
			return err
		}
		eraseSpent(c.boots)
	}
	if c.lan {
		return c.openLAN(ctx)
	}
	s := initSource{path: c.from, again: true}
	if c.from == "" {
		if s = findInit(c.credentials, c.boots); s.path == "" {
			_, err := fmt.Fprintf(c.stdout, "there is nothing to apply: no credential %s, and no %s in %v\n", initCredential, initName, c.boots)
			return err
		}
	}
	var said bytes.Buffer
	text, err := ontrial.Read(s.path)
	if err != nil {
		err = unreadableError{err}
	} else {
		err = c.apply(ctx, s, text, &said)
	}
	_, _ = c.stdout.Write(said.Bytes())
	if err != nil {
		fmt.Fprintf(&said, "this did not work:\n%v\n", err)
	}
	if !c.dryRun {
		err = errors.Join(err, s.tell(said.Bytes(), time.Now()))
	}
	return err
}

// existing returns the configuration that there is, the default one if there is none.
func (c *initCall) existing() (cfg Config, wrong error) {
	text, _, err := readOwned(c.file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Default(), nil
	case err != nil:
		return Default(), unreadableError{err}
	}
	return Parse(c.file, withSecrets(c.file, text, nil))
}

// apply does what the file says, or says what it would do.
func (c *initCall) apply(ctx context.Context, s initSource, text []byte, out io.Writer) error {
	now, wrong := c.existing()
	p, err := parseInit(s.path, text, c.file, now, wrong)
	if err != nil {
		return err
	}
	if p.config == nil && len(p.Credential)+len(p.File)+len(p.Operator)+len(p.Users) == 0 { // it would be taken away as done
		return conf.Problems{{File: s.path, What: "says nothing", Hint: "copy it again, and let the computer eject the card before you pull it out"}}
	}
	if s.applied(p.cfg.Gateway.DataDir, text) {
		fmt.Fprintf(out, "%s was applied before, so nothing is done: \"tidegate init %s\" does it again\n", s.path, s.path)
		if s.boot && !c.dryRun { // it could not be taken away then
			if err := s.take(p); err != nil {
				fmt.Fprintln(out, err)
			}
		}
		return nil
	}
	g, err := survey(c.file, p.cfg.Gateway.DataDir)
	if err != nil {
		return err
	}
	g.chosen = p.config == nil && g.now != nil && choosy(g.own)
	steps := p.steps(g)
	for _, step := range steps {
		if c.dryRun {
			fmt.Fprintf(out, "would write %s\n", step.what)
			continue
		}
		if err := c.do(step); err != nil {
			return err
		}
		fmt.Fprintf(out, "wrote %s\n", step.what)
	}
	if len(steps) == 0 {
		fmt.Fprintf(out, "everything is as %s wants it\n", s.path)
	}
	fmt.Fprintf(out, "this gateway is %s\n", p.gateway)
	if c.dryRun {
		return nil
	}
	if err := c.do(initStep{"what is left of " + s.path, func() error { return s.finish(p, g, text) }}); err != nil {
		return err
	}
	if _, err := askStatus(ctx, p.cfg.Gateway.SocketPath()); err == nil {
		fmt.Fprintln(out, "the gateway runs with what was there before — hint: systemctl restart tidegate")
	}
	return nil
}

func (c *initCall) do(step initStep) error {
	if c.before != nil {
		if err := c.before(step.what); err != nil {
			return err
		}
	}
	err := step.do()
	switch {
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%s: %w — hint: try it with sudo", step.what, err)
	case errors.Is(err, fs.ErrExist):
		return fmt.Errorf("%s: %w — hint: a folder is in its place: look what it is, and move it away", step.what, err)
	case errors.Is(err, syscall.EROFS):
		return fmt.Errorf("%s: %w — hint: mount it to be written; if it is, let the unit write there, too: ReadWritePaths= by \"systemctl edit tidegate-init\"", step.what, err)
	case err != nil:
		return fmt.Errorf("%s: %w", step.what, err)
	}
	return nil
}

// setKey gives a key of a table another value, as TOML writes it, and leaves the rest of
// the text as it is.
func setKey(text []byte, table, key, value string) ([]byte, error) {
	pieces, err := conf.Pieces(filepath.Base(defaultConfig), text)
	if err != nil {
		return nil, err
	}
	line := key + " = " + value + "\n"
	header := -1
	for i, p := range pieces {
		switch {
		case p.Key != "" && strings.TrimPrefix(p.Path+"."+p.Key, ".") == table+"."+key:
			pieces[i].Body = slices.Concat(p.Name, []byte(" = "+value), behindValue(p.Body[len(p.Name):]), []byte("\n"))
			return joined(pieces), nil
		case p.Path == table && p.Key == "" && p.Table != "":
			header = i
		}
	}
	if header < 0 {
		return fmt.Appendf(bytes.TrimRight(text, "\n"), "\n\n[%s]\n%s", table, line), nil
	}
	pieces[header].Body = slices.Concat(bytes.TrimRight(pieces[header].Body, "\r\n"), []byte("\n"+line))
	return joined(pieces), nil
}

// oneLineValue is a sign and a value that is a word or a string of one line.
var oneLineValue = regexp.MustCompile(`^\s*=\s*("(\\.|[^"\\\n])*"|'[^'\n]*'|[^\s"'#\[{]+)`)

// behindValue is what follows a value in its line, which is a comment or nothing. Of a
// value of several lines it is nothing: a comment may be about any of them.
func behindValue(body []byte) []byte {
	end := len(oneLineValue.Find(body))
	if rest := bytes.TrimRight(body[end:], "\r\n"); end > 0 && bytes.HasPrefix(bytes.TrimLeft(rest, " \t"), []byte("#")) {
		return rest
	}
	return nil
}

func joined(pieces []conf.Piece) (text []byte) {
	for _, p := range pieces {
		text = slices.Concat(text, p.Before, p.Body, p.After)
	}
	return text
}

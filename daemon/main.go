package daemon

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"

	"github.com/tidegate/tidegate/internal/conf"
)

// Version is the version of the program.
const Version = "0.1.0"

// defaultConfig is where the package installs the configuration.
const defaultConfig = "/etc/tidegate/tidegate.toml"

// Exit codes of the program.
const (
	exitOK      = 0
	exitFailure = 1 // it was tried and did not work
	exitUsage   = 2 // the call or the configuration is wrong
)

const usage = `tidegate takes readings from sensors onto flash and forwards them when a link lets it.

Usage:
  tidegate run     [-config FILE]         run the gateway
  tidegate check   [-config FILE]         look for anything that would go wrong
  tidegate status  [-config FILE] [-json] show what a running gateway does
  tidegate diagnose [UPLINK] | -door [DOOR]
                                          find out why nothing arrives
  tidegate passwd  [-config FILE] [-file FILE] [-delete] USER
                                          set or delete a password for MQTT
  tidegate buffer  ls | check | peek | export | purge
                                          see, copy and discard what is on flash;
                                          "tidegate buffer help" tells more
  tidegate quarantine  ls | show | retry | drop
                                          what an uplink refused for good
  tidegate command log                    what devices were told from upstream
  tidegate ports   [-json]                list the serial ports of this machine
  tidegate probe   PORT                   find out how a device at a port speaks
  tidegate tap     serial:NAME | PORT     show the bytes of a serial line
  tidegate test    -topic TOPIC | -device NAME [FILE...]
                                          see what becomes of payloads; nothing is
                                          stored; "tidegate test -help" tells more
  tidegate config                         print a configuration with every default
  tidegate version
  tidegate help

FILE is ` + defaultConfig + ` unless given; where that is missing, defaults apply.
Exit codes: 0 fine, 1 it did not work, 2 the call or the configuration is wrong.
`

// Main runs the program with the arguments behind its name and returns its exit
// code.
func Main(args []string, stdout, stderr io.Writer) int {
	if len(args) == 0 {
		io.WriteString(stderr, usage)
		return exitUsage
	}
	commands := map[string]func(*call) error{
		"run": (*call).run, "check": (*call).check, "status": (*call).status,
		"passwd": (*call).passwd, "config": (*call).config, "version": (*call).version, "help": (*call).help, "h": (*call).help,
	}
	switch args[0] {
	case "buffer":
		return bufferMain(args[1:], stdout, stderr)
	case "quarantine":
		return quarantineMain(args[1:], stdout, stderr)
	case "command":
		return commandMain(args[1:], stdout, stderr)
	case "diagnose":
		return diagnoseMain(args[1:], stdout, stderr)
	case "test":
		return testMain(args[1:], stdout, stderr)
	}
	if line := lineCommand(args[0]); line != nil {
		return line(args[1:], stdout, stderr)
	}
	name := strings.TrimLeft(args[0], "-")
	command, ok := commands[name]
	if !ok {
		fmt.Fprintf(stderr, "tidegate: there is no command %q\n\n%s", args[0], usage)
		return exitUsage
	}
	c := &call{stdout: stdout, stderr: stderr, flags: flag.NewFlagSet("tidegate "+name, flag.ContinueOnError)}
	c.flags.SetOutput(stderr)
	switch name {
	case "status":
		c.flags.BoolVar(&c.json, "json", false, "print JSON")
	case "passwd":
		c.flags.StringVar(&c.passwords, "file", "", "the password `FILE`, if not the configuration's")
		c.flags.BoolVar(&c.delete, "delete", false, "delete the user")
	}
	switch name {
	case "run", "check", "status", "passwd":
		c.flags.StringVar(&c.file, "config", defaultConfig, "the configuration `FILE`")
	}
	if err := c.flags.Parse(args[1:]); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return exitOK
		}
		return exitUsage
	}
	if err := c.takeArgument(name); err != nil {
		fmt.Fprintf(stderr, "tidegate %s: %v\n", name, err)
		return exitUsage
	}
	return c.report(command(c))
}

// call is one call of a command.
type call struct {
	stdout, stderr io.Writer
	flags          *flag.FlagSet
	file           string
	json           bool

	user, passwords string // of passwd
	delete          bool
}

// takeArgument takes what follows the flags, which only passwd expects.
func (c *call) takeArgument(command string) error {
	rest := c.flags.Args()
	if command == "passwd" {
		if len(rest) == 0 {
			return errors.New("whose password? — hint: write the user's name behind the flags")
		}
		c.user, rest = rest[0], rest[1:]
	}
	if len(rest) > 0 {
		return fmt.Errorf("%q is not expected here", rest[0])
	}
	return nil
}

// errSaid marks errors that were printed.
var errSaid = errors.New("said already")

// usageError means that the call makes no sense as it is.
type usageError struct{ error }

// unreadableError means that there is no configuration where the call says.
type unreadableError struct{ error }

func (c *call) report(err error) int {
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errSaid):
		return exitFailure
	case errors.As(err, new(conf.Problems)):
		fmt.Fprintln(c.stderr, err) // begins with the place in the file
		return exitUsage
	case errors.As(err, new(usageError)):
		fmt.Fprintf(c.stderr, "tidegate: %v\n", err)
		return exitUsage
	case errors.As(err, new(unreadableError)):
		fmt.Fprintf(c.stderr, "tidegate: %v — hint: check the path, and who may read the file\n", err)
		return exitUsage
	}
	fmt.Fprintf(c.stderr, "tidegate: %v\n", err)
	return exitFailure
}

// load reads the configuration. A missing file is fine unless it was named.
func (c *call) load() (Config, error) {
	named := false
	c.flags.Visit(func(f *flag.Flag) { named = named || f.Name == "config" })
	cfg, err := Load(c.file)
	switch {
	case err == nil || errors.As(err, new(conf.Problems)):
		return cfg, err
	case errors.Is(err, os.ErrNotExist) && !named:
		return Default(), nil
	}
	return cfg, unreadableError{err}
}

func (c *call) run() error {
	cfg, err := c.load()
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// A second signal ends the process at once. That is safe: nothing that was
	// acknowledged lives only in memory.
	context.AfterFunc(ctx, stop)

	d, err := New(cfg, logger(cfg.Log, c.stderr))
	if err != nil {
		return err
	}
	for _, line := range d.addresses() {
		fmt.Fprintln(c.stdout, line)
	}
	return d.Run(ctx)
}

// addresses says where things are to be found.
func (d *Daemon) addresses() []string {
	var lines []string
	if m := d.cfg.Ingest.MQTT; m.Listen != "" {
		lines = append(lines, "mqtt       "+m.Listen)
	}
	if h := d.cfg.Ingest.HTTP; h.Listen != "" {
		lines = append(lines, "http       "+h.Listen)
	}
	for _, l := range d.cfg.lines() {
		lines = append(lines, "serial     "+l.port)
	}
	if c := d.cfg.Ingest.CoAP; c.Listen != "" {
		lines = append(lines, "coap       "+c.Listen)
	}
	if c := d.cfg.Ingest.CoAP; c.DTLSListen != "" {
		lines = append(lines, "coaps      "+c.DTLSListen)
	}
	for _, l := range d.cfg.Ingest.Line {
		lines = append(lines, fmt.Sprintf("line       %s %s", l.Transport, l.place()))
	}
	if d.page != nil {
		lines = append(lines, "dashboard  http://"+d.page.Addr().String()+"/")
	}
	return append(lines, "buffer     "+d.cfg.Gateway.DataDir)
}

func logger(cfg Log, w io.Writer) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(cfg.Level)); err != nil {
		level = slog.LevelInfo // validated before
	}
	options := &slog.HandlerOptions{Level: level}
	if cfg.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

func (c *call) check() error {
	cfg, err := c.load()
	if err != nil {
		return err
	}
	findings := Check(context.Background(), cfg)
	if err := WriteFindings(c.stdout, findings); err != nil {
		return err
	}
	if Worst(findings) == Fail {
		return errSaid
	}
	return nil
}

func (c *call) status() error {
	cfg, err := c.load()
	if err != nil {
		return err
	}
	s, err := askStatus(context.Background(), cfg.Gateway.SocketPath())
	if err != nil {
		return err
	}
	if c.json {
		return writeStatusJSON(c.stdout, s)
	}
	return writeStatus(c.stdout, s)
}

func (c *call) config() error {
	_, err := io.WriteString(c.stdout, ExampleConfig())
	return err
}

func (c *call) version() error {
	_, err := fmt.Fprintf(c.stdout, "tidegate %s %s/%s %s\n", Version, runtime.GOOS, runtime.GOARCH, runtime.Version())
	return err
}

func (c *call) help() error {
	_, err := io.WriteString(c.stdout, usage)
	return err
}

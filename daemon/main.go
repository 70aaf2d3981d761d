package daemon

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"sync"
	"syscall"

	"github.com/tidegate/tidegate/dashboard/api"
	"github.com/tidegate/tidegate/internal/conf"
	"github.com/tidegate/tidegate/internal/ontrial"
	"github.com/tidegate/tidegate/internal/sdnotify"
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
  tidegate run     [-config FILE] [-fallback]
                                          run the gateway
  tidegate check   [-config FILE] [-offline]
                                          look for anything that would go wrong; offline,
                                          only in the file and in the folders here
  tidegate status  [-config FILE] [-json]
                                          show what a running gateway does
  tidegate diagnose [UPLINK] | -door [DOOR]
                                          find out why nothing arrives
  tidegate reload | apply FILE | confirm | revert
                                          change the configuration while it runs;
                                          "tidegate apply -help" tells more
  tidegate trace   DEVICE METRIC [-json]  where the newest reading of a series is
  tidegate log     [-f] [-level LEVEL]    show what a running gateway has said
  tidegate diag    [-o FILE]              pack what support wants to see, without secrets
  tidegate identify [-for SECONDS]        let the gateway show which one it is
  tidegate clock   [-wait FILE]           say whether the clock is set, or wait until it is
  tidegate passwd  [-config FILE] [-file FILE] [-delete] USER
                                          set or delete a password for MQTT
  tidegate init    [-lan | FILE]          set this gateway up: from one file, or with its
                                          page for the network; "tidegate init -help"
  tidegate factory-reset                  make a new gateway of this one
  tidegate setup-code                     print the code that makes an operator of the page
  tidegate operator  passwd | reset       who signs in on the page
  tidegate token   add | ls | rm          tokens for programs; "tidegate token help" tells more
  tidegate buffer  ls | check | peek | export | purge
                                          see, copy and discard what is on flash;
                                          "tidegate buffer help" tells more
  tidegate quarantine  ls | show | retry | drop
                                          what an uplink refused for good
  tidegate command log                    what devices were told from upstream
  tidegate plan    [-readings 20/s] [-outage 7d] [-json]
                                          how much buffer, flash and link it takes;
                                          "tidegate plan -help" tells more
  tidegate ports   [-json] [-watch]       list the serial ports of this machine
  tidegate probe   PORT                   find out how a device at a port speaks
  tidegate tap     serial:NAME | PORT     show the bytes of a serial line
  tidegate scan    modbus:NAME | PORT | tcp://HOST
                                          find the slaves of a Modbus bus
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
	for _, of := range []func(string) entry{groupCommand, lineCommand, configCommand, opsCommand} {
		if run := of(args[0]); run != nil {
			return run(args[1:], stdout, stderr)
		}
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
	case "check":
		c.flags.BoolVar(&c.offline, "offline", false, "look only at the configuration and at its files and folders, and say what is wrong with them")
	case "status":
		c.flags.BoolVar(&c.json, "json", false, "print JSON")
	case "run":
		c.flags.BoolVar(&c.fallback, "fallback", false, "when the configuration cannot be used, run the one that ran last")
	case "passwd":
		c.flags.StringVar(&c.passwords, "file", "", "the password `FILE`, if not the configuration's")
		c.flags.BoolVar(&c.delete, "delete", false, "delete the user")
	}
	switch name {
	case "run", "check", "status", "passwd":
		c.flags.StringVar(&c.file, "config", defaultConfig, "the configuration `FILE`")
	}
	if err := c.takeFlags(args[1:]); err != nil {
		return c.report(err)
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
	fallback       bool // of run
	offline        bool // of check

	user, passwords string // of passwd
	delete          bool
}

// untilStopped returns a context that ends when somebody stops the program.
func untilStopped() (context.Context, context.CancelFunc) {
	return signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
}

// takeFlags takes the flags of a call. What is wrong with them, it has said.
func (c *call) takeFlags(args []string) error {
	err := c.flags.Parse(args)
	if err == nil || errors.Is(err, flag.ErrHelp) {
		return err
	}
	return errMisused
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

// errSaid marks errors that were printed, errMisused those of a call that makes no
// sense as it is.
var (
	errSaid    = errors.New("said already")
	errMisused = errors.New("not to be called like this, as was said")
)

// usageError means that the call makes no sense as it is.
type usageError struct{ error }

// unreadableError means that there is no configuration where the call says.
type unreadableError struct{ error }

func (c *call) report(err error) int {
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return exitOK
	case errors.Is(err, errMisused):
		return exitUsage
	case errors.Is(err, errSaid):
		return exitFailure
	case errors.As(err, new(conf.Problems)):
		fmt.Fprintln(c.stderr, err) // begins with the place in the file
		return exitUsage
	case errors.As(err, new(usageError)), api.IsInvalid(err): // found here, or by the gateway
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
	cfg, _, err := c.loadText()
	return cfg, err
}

// loadText is load, and returns the text as well.
func (c *call) loadText() (Config, []byte, error) {
	named := false
	c.flags.Visit(func(f *flag.Flag) { named = named || f.Name == "config" })
	text, err := ontrial.Read(c.file)
	switch {
	case err == nil:
		cfg, err := Parse(c.file, text)
		return cfg, text, err
	case errors.Is(err, os.ErrNotExist) && !named:
		return Default(), nil, nil
	}
	return Config{}, nil, unreadableError{fmt.Errorf("read configuration: %w", err)}
}

// socket is where the gateway is to be reached. A file that is wrong by now does not
// hide a gateway that runs.
func (c *call) socket() (string, error) {
	cfg, text, err := c.loadText()
	if errors.As(err, new(conf.Problems)) {
		cfg, err = Default(), nil
		_ = understand(c.file, text, &cfg)
	}
	return cfg.Gateway.SocketPath(), err
}

func (c *call) run() error {
	if err := finishReset(c.file, c.stdout); err != nil {
		return err
	}
	// What is told to the program while it begins counts: a start that somebody stops is
	// no crash, and one that is told to read its file again may have read it before.
	ctx, stop := untilStopped()
	defer stop()
	// A second signal ends the process at once. That is safe: nothing that was
	// acknowledged lives only in memory.
	context.AfterFunc(ctx, stop)
	hungUp := make(chan os.Signal, 1)
	signal.Notify(hungUp, syscall.SIGHUP)
	defer signal.Stop(hungUp)

	d, err := c.build()
	if err != nil {
		return err
	}
	if d.systemd, err = sdnotify.FromEnvironment(os.Getenv); err != nil {
		d.log.Warn("systemd is not told how the gateway is", "err", err)
	}
	for _, line := range d.addresses() {
		fmt.Fprintln(c.stdout, line)
	}
	defer d.reloadOn(ctx, hungUp)()
	return d.Run(ctx)
}

// reloadOn reads the configuration again at each of these signals, until stop is
// called.
func (d *Daemon) reloadOn(ctx context.Context, signals <-chan os.Signal) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var reading sync.WaitGroup
	reading.Go(func() {
		for {
			var sig os.Signal
			select {
			case sig = <-signals:
			case <-ctx.Done():
				return
			}
			if err := (configuration{d}).Carry(ctx, api.ConfigOrder{Do: "reload", By: sig.String()}); err != nil && ctx.Err() == nil {
				d.log.Error("the configuration stays as it is", "event", "config_refused", "by", sig.String(), "err", err)
			}
		}
	})
	return func() {
		cancel()
		reading.Wait()
	}
}

// addresses says where things are to be found.
func (d *Daemon) addresses() []string {
	var lines []string
	cfg := d.current().cfg
	if m := cfg.Ingest.MQTT; m.Listen != "" {
		lines = append(lines, "mqtt       "+m.Listen)
	}
	if h := cfg.Ingest.HTTP; h.Listen != "" {
		lines = append(lines, "http       "+h.Listen)
	}
	for _, l := range cfg.lines() {
		lines = append(lines, "serial     "+l.port)
	}
	if c := cfg.Ingest.CoAP; c.Listen != "" {
		lines = append(lines, "coap       "+c.Listen)
	}
	if c := cfg.Ingest.CoAP; c.DTLSListen != "" {
		lines = append(lines, "coaps      "+c.DTLSListen)
	}
	for _, l := range cfg.Ingest.Line {
		lines = append(lines, fmt.Sprintf("line       %s %s", l.Transport, l.place()))
	}
	if d.page != nil {
		lines = append(lines, "dashboard  "+pageURL(d.page.Addr().String(), d.entrance.tls != nil)+d.entrance.invitation())
		if d.entrance.PrintedCode() != "" && cfg.Dashboard.homely() {
			lines = append(lines, "           "+abroad)
		}
	}
	return append(lines, "buffer     "+cfg.Gateway.DataDir)
}

func (c *call) check() error {
	if c.offline {
		return c.checkOffline()
	}
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
	socket, err := c.socket()
	if err != nil {
		return err
	}
	s, err := askStatus(context.Background(), socket)
	if err != nil {
		if _, wrong := c.load(); wrong != nil {
			return wrong // and so it may not be where it was looked for
		}
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

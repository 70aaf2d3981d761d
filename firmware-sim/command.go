package firmwaresim

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os/signal"
	"strings"
	"syscall"
)

// Exit codes of Main.
const (
	exitOK     = 0
	exitFailed = 1 // something was lost, or could not be done
	exitUsage  = 2
)

// usageError is a command line that makes no sense.
type usageError struct{ error }

// errUsageShown means that the flag package has told the user what is wrong.
var errUsageShown = errors.New("usage")

// console is where a command talks to people (err) and hands over results (out).
type console struct{ out, err io.Writer }

// command is one subcommand. Its run returns nil, or an error that Main shows.
type command struct {
	name, summary string
	run           func(ctx context.Context, args []string, to console) error
}

func commands() []command {
	return []command{
		{"demo", "a fleet, a gateway, a cloud, and a link that breaks: one minute, one verdict", runDemo},
		{"fleet", "seeded devices that publish to a broker and keep a ledger of acknowledgements", runFleet},
		{"send", "devices that send over HTTP, CoAP, TCP or UDP instead of MQTT", runSend},
		{"serial", "devices on serial lines: terminals that appear, speak, are unplugged and come back", runSerial},
		{"modbus", "Modbus slaves, over TCP and RTU, that may be slow, late, dead or wrong", runModbus},
		{"link", "a TCP proxy that cuts, stalls, delays and throttles", runLink},
		{"audit", "compare a ledger with what a cloud has", runAudit},
	}
}

// Main runs the command firmware-sim with the arguments after its name and
// returns its exit code. SIGINT and SIGTERM end it in good order.
func Main(args []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	err := dispatch(ctx, args, console{stdout, stderr})
	var usage usageError
	switch {
	case err == nil || errors.Is(err, flag.ErrHelp):
		return exitOK
	case errors.Is(err, errUsageShown):
		return exitUsage
	}
	fmt.Fprintf(stderr, "firmware-sim: %v\n", err)
	if errors.As(err, &usage) {
		return exitUsage
	}
	return exitFailed
}

func dispatch(ctx context.Context, args []string, to console) error {
	if len(args) == 0 {
		fmt.Fprint(to.err, overview())
		return errUsageShown
	}
	name, rest := args[0], args[1:]
	switch name {
	case "help", "-h", "-help", "--help":
		if len(rest) == 0 {
			fmt.Fprint(to.out, overview())
			return nil
		}
		name, rest = rest[0], []string{"-help"}
	}
	for _, c := range commands() {
		if c.name == name {
			return c.run(ctx, rest, to)
		}
	}
	return usageError{fmt.Errorf("there is no command %q — hint: firmware-sim help", name)}
}

func overview() string {
	var b strings.Builder
	b.WriteString("firmware-sim puts simulated devices in front of a gateway, a bad link behind it,\n" +
		"and tells whether the gateway kept its promise.\n\nUsage: firmware-sim COMMAND [flags]\n\n")
	for _, c := range commands() {
		fmt.Fprintf(&b, "  %-7s %s\n", c.name, c.summary)
	}
	b.WriteString("  help    this text; \"help COMMAND\" for the flags of a command\n")
	return b.String()
}

// newFlags returns the flag set of a command with its usage text.
func newFlags(name, usage string, to console) *flag.FlagSet {
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	flags.SetOutput(to.err)
	flags.Usage = func() {
		fmt.Fprintf(flags.Output(), "Usage: firmware-sim %s [flags]\n\n%s\n\nFlags:\n", name, strings.TrimSpace(usage))
		flags.PrintDefaults()
	}
	return flags
}

// parseFlags parses args, which may hold nothing but flags.
func parseFlags(flags *flag.FlagSet, args []string) error {
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return err
	case err != nil:
		return errUsageShown
	}
	if flags.NArg() > 0 {
		return usageError{fmt.Errorf("%s takes flags only, not %q — hint: firmware-sim help %s",
			flags.Name(), flags.Arg(0), flags.Name())}
	}
	return nil
}

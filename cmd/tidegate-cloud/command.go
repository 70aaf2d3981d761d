package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
)

const usage = `tidegate-cloud receives what tidegate gateways send, stores each reading once,
and acknowledges only what is on disk.

Usage:

  tidegate-cloud run     -data DIR [-listen 127.0.0.1:8440] [-tokens FILE] [-operator FILE] [-cert FILE -key FILE] [-print]
  tidegate-cloud ledger  -data DIR | -url URL [-json]
  tidegate-cloud export  -data DIR | -url URL [-gateway G] [-lane L] [-device D] [-from SEQ] [-since T] [-until T]
  tidegate-cloud import  -data DIR | -url URL [-tokens FILE] [-json] FILE...
  tidegate-cloud version
  tidegate-cloud help

run     listens until it is told to stop (SIGINT, SIGTERM). Beyond this machine
        it wants -tokens: lines of a gateway's name, a space and its secret.
        -operator lets whoever shows that token give commands from elsewhere.
ledger  prints what has come from each gateway and what is missing.
export  prints readings, a JSON object a line.
import  stores the files that [[uplink.file]] and "tidegate buffer export" make
        on a gateway: chunks or lines of JSON, as they are or compressed by gzip
        or zstd; - is standard input. What is here already counts once. Damaged
        parts are named and left out, what is whole is stored.

While run has the store open, ledger, export and import reach it with -url.

Examples:

  tidegate-cloud run -data /var/lib/tidegate-cloud -print
  tidegate-cloud ledger -url http://127.0.0.1:8440
  tidegate-cloud export -data /var/lib/tidegate-cloud -gateway north -since 2026-01-31T00:00:00Z
  tidegate-cloud import -data /var/lib/tidegate-cloud /media/usb/north.chunks
`

// streams are where a command writes.
type streams struct {
	out, err io.Writer
}

// usageError means that the command line makes no sense.
type usageError struct{ error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// command runs the command that the arguments name, or tells how.
func command(ctx context.Context, args []string, s streams) error {
	err := dispatch(ctx, args, s)
	if errors.Is(err, flag.ErrHelp) {
		_, err = fmt.Fprint(s.out, usage)
	}
	return err
}

func dispatch(ctx context.Context, args []string, s streams) error {
	if len(args) == 0 {
		return usagef("no command")
	}
	switch name, args := args[0], args[1:]; name {
	case "run":
		return run(ctx, args, s)
	case "ledger":
		return ledger(ctx, args, s)
	case "export":
		return export(ctx, args, s)
	case "import":
		return importFiles(ctx, args, s)
	case "version", "-version", "--version":
		fmt.Fprintf(s.out, "tidegate-cloud %s %s/%s %s\n", version(), runtime.GOOS, runtime.GOARCH, runtime.Version())
		return nil
	case "help", "-h", "-help", "--help":
		return flag.ErrHelp
	default:
		return usagef("no command %q", name)
	}
}

// packaged is the version of the Debian package, which "make deb" has the linker fill
// in. It is empty in other builds.
var packaged = ""

// version is that of the package, or else what the toolchain recorded in the binary.
func version() string {
	if packaged != "" {
		return packaged
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(unknown)"
}

// parse reads the flags, and leaves at least min and at most max arguments.
func parse(flags *flag.FlagSet, args []string, min, max int) error {
	flags.SetOutput(io.Discard) // main reports the error, once
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return err
	} else if err != nil {
		return usageError{fmt.Errorf("%s: %w", flags.Name(), err)}
	}
	if n := flags.NArg(); n < min {
		return usagef("%s: an argument is missing", flags.Name())
	} else if n > max {
		return usagef("%s: what is %q?", flags.Name(), flags.Arg(max))
	}
	return nil
}

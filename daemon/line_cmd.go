package daemon

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/tidegate/tidegate/internal/serialport"
)

// lineCommand returns the command about serial ports that has the name, or nil.
func lineCommand(name string) entry {
	run := map[string]func(*lineCall) error{
		"ports": (*lineCall).ports, "tap": (*lineCall).tap, "probe": (*lineCall).probe, "scan": (*lineCall).scan,
	}[strings.TrimLeft(name, "-")]
	if run == nil {
		return nil
	}
	return func(args []string, stdout, stderr io.Writer) int { return lineMain(name, run, args, stdout, stderr) }
}

// lineCall is one call of ports, tap, probe or scan.
type lineCall struct {
	call
	host   serialport.Host
	what   string // the port, or the door
	given  map[string]bool
	bauds  string
	format string
	length duration
	send   string
	watch  bool
	look   scanFlags
}

// bench is where this call works by itself.
func (c *lineCall) bench(cfg Config) *workbench {
	w := newWorkbench(c.host, noGateway{cfg})
	w.anything = true
	return w
}

const (
	portsUsage = `Usage: tidegate ports [-config FILE] [-json] [-watch]
Lists the serial ports of this machine, with the names to configure. Opens none.
`
	tapUsage = `Usage: tidegate tap [-config FILE] [-baud N] [-format 8N1] [-for TIME] serial:NAME | PORT
Shows the bytes of a serial line, in both directions, as they come. A line of a
running gateway is looked at while the gateway reads it. Any other port is opened,
with the settings of the configuration if it is there, or else those of the flags.
`
	probeUsage = `Usage: tidegate probe [-config FILE] [-baud N,N] [-for TIME] [-send TEXT] PORT
Finds out how the device at a serial port speaks: listens at all usual speeds and
formats, looks for text, known framings and checksums, and prints what to write
into the configuration. Sends nothing unless told to.
`
)

func lineMain(name string, run func(*lineCall) error, args []string, stdout, stderr io.Writer) int {
	c := &lineCall{call: call{stdout: stdout, stderr: stderr, flags: flag.NewFlagSet("tidegate "+name, flag.ContinueOnError)}}
	c.flags.SetOutput(stderr)
	text := map[string]string{"ports": portsUsage, "tap": tapUsage, "probe": probeUsage, "scan": scanUsage}[name]
	c.flags.Usage = func() {
		io.WriteString(stderr, text+"\n")
		c.flags.PrintDefaults()
	}
	c.flags.StringVar(&c.file, "config", defaultConfig, "the configuration `FILE`")
	switch name {
	case "ports":
		c.flags.BoolVar(&c.json, "json", false, "print JSON")
		c.flags.BoolVar(&c.watch, "watch", false, "go on, and tell what is plugged in and pulled out")
	case "tap":
		c.flags.StringVar(&c.bauds, "baud", "9600", "the speed of a PORT that is not configured")
		c.flags.StringVar(&c.format, "format", "8N1", "data bits, parity (N, E, O, M, S) and stop bits, likewise")
		c.flags.Var(&c.length, "for", "end after this `TIME`; without it, Ctrl-C ends")
	case "probe":
		c.length = defaultListen
		c.flags.StringVar(&c.bauds, "baud", "", "the speeds to try, with commas; without it, all usual ones")
		c.flags.Var(&c.length, "for", "how long to listen at each setting: a `TIME`")
		c.flags.StringVar(&c.send, "send", "", "what makes the device speak, for example 'T?\\r\\n' or \"hex:01 03\"")
	case "scan":
		c.look.define(c)
	}
	if err := c.takeFlags(args); err != nil {
		return c.report(err)
	}
	c.given = make(map[string]bool)
	c.flags.Visit(func(f *flag.Flag) { c.given[f.Name] = true })
	if err := c.takeWhat(name); err != nil {
		fmt.Fprintf(stderr, "tidegate %s: %v\n", name, err)
		return exitUsage
	}
	return c.report(run(c))
}

// takeWhat takes what follows the flags.
func (c *lineCall) takeWhat(name string) error {
	rest := c.flags.Args()
	if name != "ports" {
		if len(rest) == 0 {
			return errors.New(`which port? — hint: "tidegate ports" lists them; flags stand before it`)
		}
		c.what, rest = rest[0], rest[1:]
	}
	if len(rest) > 0 {
		return fmt.Errorf("%q is not expected here — hint: flags stand before the port", rest[0])
	}
	return nil
}

// context ends with Ctrl-C, and after the time that was asked for.
func (c *lineCall) context(length duration) (context.Context, context.CancelFunc) {
	ctx, stop := untilStopped()
	if length == 0 {
		return ctx, stop
	}
	ctx, cancel := context.WithTimeout(ctx, length.span())
	return ctx, func() { cancel(); stop() }
}

// configured returns the line of the configuration that what names, by its door
// or its port. Two names of one device are one port.
func (c *lineCall) configured(cfg Config) (Serial, bool) {
	place, err := c.host.Resolve(c.what)
	i := slices.IndexFunc(cfg.Ingest.Serial, func(s Serial) bool {
		if s.doorName() == c.what || s.Port == c.what {
			return true
		}
		other, failed := c.host.Resolve(s.Port)
		return err == nil && failed == nil && other.Device == place.Device
	})
	if i < 0 {
		return Serial{}, false
	}
	return cfg.Ingest.Serial[i], true
}

// parseFormat reads a label such as 8N1 or 7E2.
func parseFormat(label string) (bits int, parity serialport.Parity, stop int, err error) {
	wrong := usageError{fmt.Errorf("%q is no format — hint: data bits, parity and stop bits, for example 8N1 or 7E1", label)}
	if len(label) != 3 {
		return 0, 0, 0, wrong
	}
	bits, err1 := strconv.Atoi(label[:1])
	stop, err2 := strconv.Atoi(label[2:])
	if err1 != nil || err2 != nil {
		return 0, 0, 0, wrong
	}
	parity = serialport.Parity(strings.ToUpper(label[1:2])[0])
	if (serialport.Config{Path: "x", DataBits: bits, Parity: parity, StopBits: stop}).Check() != nil {
		return 0, 0, 0, wrong
	}
	return bits, parity, stop, nil
}

// parseBauds reads speeds with commas between them.
func parseBauds(list string) (all []int, err error) {
	if list == "" {
		return nil, nil
	}
	for _, word := range strings.Split(list, ",") {
		baud, err := strconv.Atoi(strings.TrimSpace(word))
		if err == nil {
			err = serialport.Config{Path: "x", Baud: max(baud, 1)}.Check()
		}
		if err != nil {
			return nil, usageError{fmt.Errorf("%q is no speed — hint: for example 9600 or 9600,19200", word)}
		}
		all = append(all, baud)
	}
	return all, nil
}

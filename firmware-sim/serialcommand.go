package firmwaresim

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"
)

const serialUsage = `
Makes serial lines with a device on each: pseudo terminals behind symbolic links.
A gateway opens the link as it would open /dev/serial/by-id/…. Bytes come as fast
as a line of -baud would bring them, and faults happen as often as -faults says:

  split, merge 20%, noise 1%, corrupt 1%, drop 0.5%, duplicate 1%, stuck 10%,
  pause 5%x200ms, clock1970         a word without a share means each frame

A script pulls plugs in the middle of a frame and puts them in again, as another
terminal under the same name. With a ledger, every sample that was sent is written
down, so that "firmware-sim audit" finds those in the cloud that nobody sent.

Examples:
  firmware-sim serial -link /tmp/ttySIM -encoding slip -baud 115200
  firmware-sim serial -link /tmp/ttySIM -n 4 -rate 10 -faults "noise 1%, corrupt 1%"
  firmware-sim serial -link /tmp/ttySIM -script "10s unplug, 12s replug"
  firmware-sim serial -link /tmp/ttySIM -confirm 'OK\n' -crc -ledger acked.ledger
  firmware-sim serial -link /tmp/ttySIM -poll 'READ\r\n'`

// serialOptions are the flags of the command serial.
type serialOptions struct {
	config  SerialConfig
	lines   int
	prefix  string
	length  time.Duration
	ledger  string
	escaped [2]string // -poll and -confirm as they were written
	script  string
}

func parseSerialFlags(args []string, to console) (serialOptions, error) {
	var o serialOptions
	c := &o.config
	flags := newFlags("serial", serialUsage, to)
	flags.StringVar(&c.Link, "link", "", "`path` of the port; with -n, a number is added")
	flags.IntVar(&o.lines, "n", 1, "`number` of lines, each with a device")
	flags.StringVar((*string)(&c.Encoding), "encoding", string(JSONLine), fmt.Sprint("one of ", Encodings()))
	flags.BoolVar(&c.Summed, "crc", false, "lines of text end in the four digits of a CRC-16/IBM-3740")
	flags.BoolVar(&c.Named, "named", false, "lines of text say the device's name")
	flags.IntVar(&c.Baud, "baud", 9600, "`speed`, up to 921600")
	flags.Float64Var(&c.Rate, "rate", 1, "samples a second; 0: as fast as the line")
	flags.Uint64Var(&c.Count, "count", 0, "samples of each device; 0: no end")
	flags.StringVar(&o.escaped[0], "poll", "", `answer this request, such as 'READ\r\n', and say nothing unasked`)
	flags.StringVar(&o.escaped[1], "confirm", "", `send again what the gateway does not confirm with this text; {frame} is the payload`)
	flags.DurationVar(&c.Timeout, "timeout", 2*time.Second, "how long a confirmation may take")
	flags.BoolVar(&c.Patient, "patient", false, "take no samples while nobody has the port open")
	flags.TextVar(&c.Faults, "faults", Faults{}, "what goes wrong")
	flags.StringVar(&o.script, "script", "", "when plugs are pulled and put in, or @file")
	flags.StringVar(&o.prefix, "prefix", "tty-", "how the devices' names begin")
	flags.Uint64Var(&c.Seed, "seed", 1, "the same seed makes the same values and faults")
	flags.DurationVar(&o.length, "for", 0, "`duration`, such as 30s; 0: no end")
	flags.StringVar(&o.ledger, "ledger", "", "new `file` for what was sent and confirmed")
	if err := parseFlags(flags, args); err != nil {
		return o, err
	}
	if c.Link == "" || o.lines < 1 {
		return o, usageError{errors.New("-link is missing, or -n is less than 1 — hint: firmware-sim help serial")}
	}
	return o, o.finish()
}

// finish reads the flags that are texts in a form of their own, and looks at all
// of them before a ledger is made.
func (o *serialOptions) finish() (err error) {
	for i, field := range []*string{&o.config.Poll, &o.config.Confirm} {
		if *field, err = unescape(o.escaped[i]); err != nil {
			return usageError{err}
		}
	}
	text, err := scriptText(o.script)
	if err != nil {
		return err
	}
	if o.config.Script, err = ParsePlugScript(text); err != nil {
		return usageError{err}
	}
	if err := o.config.withDefaults().check(); err != nil {
		return usageError{err}
	}
	return nil
}

// unescape reads \r, \n and \x0d as Go does.
func unescape(text string) (string, error) {
	plain := ""
	for rest := text; rest != ""; {
		c, multibyte, tail, err := strconv.UnquoteChar(rest, 0)
		if err != nil {
			return "", fmt.Errorf(`%q has an escape that is not known — hint: there are \r, \n, \t, \\ and \x0d`, text)
		}
		if multibyte {
			plain += string(c)
		} else {
			plain += string([]byte{byte(c)})
		}
		rest = tail
	}
	return plain, nil
}

func runSerial(ctx context.Context, args []string, to console) error {
	o, err := parseSerialFlags(args, to)
	if err != nil {
		return err
	}
	ledger, err := createLedger(o.ledger)
	if err != nil {
		return err
	}
	defer ledger.close()
	ctx, cancel := forSoLong(ctx, o.length)
	defer cancel()
	show := newDisplay(to.out)
	var telling sync.Mutex
	devices, err := o.open(ledger, func(line string) {
		telling.Lock()
		defer telling.Unlock()
		show.say("%s", line)
	})
	if err != nil {
		return err
	}
	var run sync.WaitGroup
	failures := make([]error, len(devices))
	for i, d := range devices {
		run.Go(func() { failures[i] = d.Run(ctx) })
	}
	run.Wait()
	for _, d := range devices {
		show.say("%s", d.Stats().sum(d.Port()))
	}
	return errors.Join(failures...)
}

func (o serialOptions) open(ledger *Ledger, tell func(string)) (devices []*SerialDevice, err error) {
	for i := range o.lines {
		c := o.config
		c.Tell, c.Index, c.Name = tell, i, deviceName(o.prefix, i)
		if o.lines > 1 {
			c.Link += strconv.Itoa(i)
		}
		d, err := OpenSerialDevice(c, ledger)
		if err != nil {
			for _, d := range devices {
				d.close()
			}
			return nil, err
		}
		devices = append(devices, d)
	}
	return devices, nil
}

// sum is the line that remains of a device.
func (s SerialStats) sum(port string) string {
	line := fmt.Sprintf("%s: %s samples, %s bytes", port, thousands(s.Samples), thousands(s.BytesOut))
	for _, n := range []struct {
		count uint64
		what  string
	}{
		{s.Acked, "confirmed"}, {s.Polls, "polls"}, {s.Again, "sent again"}, {s.Halved, "cut by the plug"},
		{s.Faults.Noisy, "with noise"}, {s.Faults.Corrupted, "damaged"}, {s.Faults.Dropped, "dropped"},
		{s.BytesUnheard, "bytes that nobody listened to"}, {s.BytesOverrun, "bytes that found no room"},
	} {
		if n.count > 0 {
			line += fmt.Sprintf(", %s %s", thousands(n.count), n.what)
		}
	}
	return line
}

// createLedger creates the ledger that a flag names, or none.
func createLedger(name string) (*Ledger, error) {
	if name == "" {
		return nil, nil
	}
	return CreateLedger(name)
}

// close is Close for a ledger that may not be.
func (l *Ledger) close() error {
	if l == nil {
		return nil
	}
	return l.Close()
}

// forSoLong ends a context after a time; 0 never does.
func forSoLong(ctx context.Context, length time.Duration) (context.Context, context.CancelFunc) {
	if length <= 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, length)
}

package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/tidegate/tidegate/dashboard/api"
	"github.com/tidegate/tidegate/ingest/modbusin"
)

const scanUsage = `Usage: tidegate scan [-config FILE] [-baud N] [-format 8N1] [-units 1-247] [-tables T,T]
         [-addresses 0-999] [-step N] [-timeout TIME] [-for TIME] [-pause] [-json]
         modbus:NAME | PORT | tcp://HOST[:502] | rtu+tcp://HOST:PORT
Finds the slaves of a Modbus bus, and the registers that they answer for. It only
reads. A bus that a running gateway polls is scanned by the gateway, whose door
pauses meanwhile; -pause allows that.
`

// scanFlags are those of scan.
type scanFlags struct {
	units, tables, addresses string
	step                     int
	timeout                  duration
	pause                    bool
	shown                    bool // that is, the result
}

func (f *scanFlags) define(c *lineCall) {
	c.flags.StringVar(&c.bauds, "baud", "", "the speed of the line; that of the configuration, or 9600, without it")
	c.flags.StringVar(&c.format, "format", "", "data bits, parity and stop bits, likewise, or 8N1")
	c.flags.StringVar(&f.units, "units", "1-247", "the `FIRST-LAST` unit to ask")
	c.flags.StringVar(&f.tables, "tables", "holding,input", "which tables to look at: coil, discrete, input, holding")
	c.flags.StringVar(&f.addresses, "addresses", "0-999", "the `FIRST-LAST` address to look at")
	c.flags.IntVar(&f.step, "step", 10, "every how many addresses to look for registers; 1 finds all")
	c.flags.Var(&f.timeout, "timeout", "how long a unit may take to answer; 200ms, or 400ms over a network, without it")
	c.length = duration(modbusin.ScanLimit)
	c.flags.Var(&c.length, "for", "how long all may take: a `TIME`")
	c.flags.BoolVar(&f.pause, "pause", false, "let the door pause that polls the bus")
	c.flags.BoolVar(&c.json, "json", false, "print JSON")
}

// ask returns what the flags ask for.
func (f scanFlags) ask(c *lineCall, cfg Config) (ask api.ModbusScan, err error) {
	ask.Format, ask.Pause, ask.Step = c.format, f.pause, f.step
	ask.Timeout, ask.Limit = int(f.timeout.span().Milliseconds()), int(c.length.span().Seconds())
	if ask.First, ask.Last, err = parseRange(f.units); err != nil {
		return ask, fmt.Errorf("-units: %w", err)
	}
	if ask.From, ask.To, err = parseRange(f.addresses); err != nil {
		return ask, fmt.Errorf("-addresses: %w", err)
	}
	for _, name := range strings.Split(f.tables, ",") {
		ask.Tables = append(ask.Tables, strings.TrimSpace(name))
	}
	if c.bauds != "" {
		if ask.Baud, err = strconv.Atoi(c.bauds); err != nil {
			return ask, fmt.Errorf("%q is no speed — hint: for example 9600", c.bauds)
		}
	}
	switch {
	case strings.HasPrefix(c.what, "modbus:") || strings.HasPrefix(c.what, "serial:"):
		if ask.Door = c.what; !cfg.hasBus(c.what) {
			return ask, fmt.Errorf("there is no door %q in the configuration — hint: \"tidegate ports\" lists the ports, and their doors", c.what)
		}
	case strings.Contains(c.what, "://"), strings.HasPrefix(c.what, "rtu:"):
		ask.URL = c.what
	default:
		ask.Port = c.what
		if place, err := c.host.Resolve(c.what); err == nil {
			for _, d := range cfg.portDoors() {
				if other, err := c.host.Resolve(d.port.Path); err == nil && other.Device == place.Device {
					ask.Port, ask.Door = "", d.name
				}
			}
		}
	}
	return ask, nil
}

// hasBus says whether there is such a door at a serial port or for Modbus.
func (c Config) hasBus(door string) bool {
	for _, d := range c.portDoors() {
		if d.name == door {
			return true
		}
	}
	return slices.ContainsFunc(c.Ingest.Modbus, func(m Modbus) bool { return m.doorName() == door })
}

func parseRange(text string) (first, last int, err error) {
	low, high, between := strings.Cut(text, "-")
	if !between {
		high = low
	}
	first, err1 := strconv.Atoi(strings.TrimSpace(low))
	last, err2 := strconv.Atoi(strings.TrimSpace(high))
	if err := errors.Join(err1, err2); err != nil {
		return 0, 0, fmt.Errorf("%q is no range — hint: for example 1-32, or 7", text)
	}
	return first, last, nil
}

// scan looks at a bus through the gateway that polls it, or by itself.
func (c *lineCall) scan() error {
	cfg, err := c.load()
	if err != nil {
		return err
	}
	ask, err := c.look.ask(c, cfg)
	if err != nil {
		return usageError{err}
	}
	ctx, stop := c.context(0)
	defer stop()
	if ask.Door != "" {
		err := streamAdmin(ctx, cfg.Gateway.SocketPath(), http.MethodPost, "/api/v1/modbus/scan", ask, func() {}, c.showScan)
		switch {
		case c.look.shown && errors.Is(err, io.EOF):
			return nil
		case !errors.Is(err, errNoGateway):
			return c.ended(err)
		}
	}
	return c.ended(c.bench(cfg).Scan(ctx, ask, c.showScan))
}

// ended is what to report of an end.
func (c *lineCall) ended(err error) error {
	if errors.Is(err, context.Canceled) {
		return errSaid
	}
	return err
}

// showScan prints how far a scan has got, and in the end what it has found.
func (c *lineCall) showScan(s api.ModbusScanned) error {
	c.look.shown = s.Result != nil
	switch {
	case s.Result != nil && c.json:
		out := json.NewEncoder(c.stdout)
		out.SetIndent("", "  ")
		return out.Encode(s.Result)
	case s.Result != nil:
		return c.writeScan(*s.Result)
	case s.Paused != "", s.Phase == modbusin.ScanRegisters && s.Found == nil, s.Phase == modbusin.ScanUnits && s.Done > 0 && s.Done%25 == 0:
		fmt.Fprintln(c.stderr, " ", s.Say)
	case s.Found != nil && s.Phase == modbusin.ScanUnits:
		fmt.Fprintf(c.stderr, "  unit %d answers\n", s.Found.Unit)
	}
	return nil
}

func (c *lineCall) writeScan(f api.ModbusFound) error {
	var b strings.Builder
	for _, s := range f.Found {
		fmt.Fprintf(&b, "\n%s\n", s.Title)
		for _, e := range s.Evidence {
			fmt.Fprintf(&b, "    %s\n", e)
		}
	}
	for _, a := range f.Advice {
		fmt.Fprintf(&b, "\n%s\n", strings.Replace(a, " — hint: ", "\n    hint: ", 1))
	}
	fmt.Fprintf(&b, "\n%s of %s answered\n", count(uint64(len(f.Found)), "slave"), count(uint64(f.Asked), "unit"))
	if f.TOML != "" {
		fmt.Fprintf(&b, "To read them, write into the configuration:\n\n%s", f.TOML)
	}
	if _, err := io.WriteString(c.stdout, b.String()); err != nil {
		return err
	}
	if len(f.Found) == 0 {
		return errSaid
	}
	return nil
}

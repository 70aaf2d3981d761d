package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tidegate/tidegate/internal/conf"
	"github.com/tidegate/tidegate/internal/sizing"
)

const planUsage = `Usage: tidegate plan [-config FILE] [-outage 7d] [-endurance 30TB] [-json]
                     [-readings 20/s [-devices 50] [-metrics 4]]

tells for how long the buffer lasts without a link, what buffer.max_bytes an outage
takes, what goes over the link, and how long the flash bears it. With -readings it
computes that for a load; without, from what the gateway has on flash and, while it
runs, from what it does.

  -readings N/s      readings of all devices together; N/min, N/h and N/d as well.
                     A reading is one value of one metric
  -devices N         how many devices send them (default 1)
  -metrics N         how many readings a message brings (default 4)
  -outage TIME       how long the buffer is to last: 6h, 7d
  -endurance SIZE    what the card's maker says may be written to it in its life
                     (TBW): 30TB. Else its size is taken a thousand times
  -json              print JSON; bytes and seconds
`

// perTime is a flag: a number for each span of time.
type perTime float64

// String returns the value in readings a second.
func (p *perTime) String() string { return strconv.FormatFloat(float64(*p), 'g', 4, 64) + "/s" }

// Set reads a value.
func (p *perTime) Set(text string) error {
	number, unit, _ := strings.Cut(text, "/")
	seconds := map[string]float64{"s": 1, "min": 60, "m": 60, "h": 3600, "d": 24 * 3600}[unit]
	n, err := strconv.ParseFloat(number, 64)
	if err != nil || seconds == 0 || !(n/seconds >= 1e-6 && n/seconds <= 1e7) {
		return errors.New(`write for example "20/s", "30/min" or "100/h"`)
	}
	*p = perTime(n / seconds)
	return nil
}

// planCall is one call of "tidegate plan".
type planCall struct {
	call
	readings         perTime
	devices, metrics int
	outage           duration
	endurance        conf.Size
}

// planMain runs "tidegate plan" with the arguments behind it.
func planMain(args []string, stdout, stderr io.Writer) int {
	c := &planCall{call: call{stdout: stdout, stderr: stderr, flags: flag.NewFlagSet("tidegate plan", flag.ContinueOnError)}}
	c.flags.SetOutput(stderr)
	c.flags.Usage = func() { io.WriteString(stderr, planUsage) }
	c.flags.StringVar(&c.file, "config", defaultConfig, "")
	c.flags.BoolVar(&c.json, "json", false, "")
	c.flags.Var(&c.readings, "readings", "")
	c.flags.IntVar(&c.devices, "devices", 1, "")
	c.flags.IntVar(&c.metrics, "metrics", 4, "")
	c.flags.Var(&c.outage, "outage", "")
	c.flags.Func("endurance", "", func(text string) error { return c.endurance.UnmarshalText([]byte(text)) })
	if err := c.takeFlags(args); err != nil {
		return c.report(err)
	}
	ctx, stop := untilStopped()
	defer stop()
	return c.report(c.run(ctx))
}

// check says what is wrong with the flags.
func (c *planCall) check() error {
	var given []string
	c.flags.Visit(func(f *flag.Flag) { given = append(given, f.Name) })
	switch {
	case len(c.flags.Args()) > 0:
		return fmt.Errorf("%q is not expected here — hint: tidegate plan -help", c.flags.Arg(0))
	case c.devices < 1 || c.devices > 1e6 || c.metrics < 1 || c.metrics > 1000:
		return errors.New("-devices is from 1 to 1000000, and -metrics from 1 to 1000")
	case c.readings == 0 && (slices.Contains(given, "devices") || slices.Contains(given, "metrics")):
		return errors.New("-devices and -metrics describe a load, and there is none — hint: add for example -readings 20/s")
	}
	return nil
}

func (c *planCall) run(ctx context.Context) error {
	if err := c.check(); err != nil {
		return usageError{err}
	}
	cfg, err := c.load()
	if err != nil {
		return err
	}
	p := plan{MaxBytes: int64(cfg.Buffer.MaxBytes), Outage: c.outage.span().Seconds(), Endurance: float64(c.endurance),
		Uplinks: []plannedLink{}, Flash: []plannedWear{}, Notes: []string{}} // lists in JSON, even when they are empty
	if c.readings > 0 {
		p.state(cfg, sizing.Load{Readings: float64(c.readings), Devices: c.devices, Metrics: c.metrics})
	} else if err := p.observe(ctx, cfg); err != nil {
		return err
	}
	p.conclude(cfg)
	if c.json {
		out := json.NewEncoder(c.stdout)
		out.SetIndent("", "  ")
		return out.Encode(p)
	}
	_, err = io.WriteString(c.stdout, p.text())
	return err
}

// outageSpan is the outage that was asked for, 0 for none.
func (p plan) outageSpan() time.Duration { return time.Duration(p.Outage * float64(time.Second)) }

package daemon

import (
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/tidegate/tidegate/dashboard/api"
	"github.com/tidegate/tidegate/internal/conf"
	"github.com/tidegate/tidegate/internal/serialport"
)

// duration is a flag with the units of the configuration.
type duration conf.Duration

// String returns the value as the configuration writes it.
func (d *duration) String() string { return conf.Duration(*d).String() }

// Set reads a value.
func (d *duration) Set(text string) error {
	return (*conf.Duration)(d).UnmarshalText([]byte(text))
}

func (d duration) span() time.Duration { return time.Duration(d) }

func (c *lineCall) ports() error {
	cfg, err := c.load()
	if err != nil {
		return err
	}
	bench := c.bench(cfg)
	if c.watch {
		return c.watchPorts(bench)
	}
	all, err := bench.Ports()
	if err != nil {
		return err
	}
	if c.json {
		out := json.NewEncoder(c.stdout)
		out.SetIndent("", "  ")
		return out.Encode(all)
	}
	return writePorts(c.stdout, all)
}

// watchPorts prints what is plugged in and pulled out, until Ctrl-C.
func (c *lineCall) watchPorts(bench *workbench) error {
	ctx, stop := c.context(0)
	defer stop()
	var before []api.SerialPort
	out := json.NewEncoder(c.stdout)
	return bench.WatchPorts(ctx, func(list api.SerialPortList) error {
		last, now := before, list.Ports
		before = now
		switch {
		case c.json && last != nil && reflect.DeepEqual(last, now):
			return nil
		case c.json:
			return out.Encode(now)
		case last == nil:
			return writePorts(c.stdout, now)
		}
		_, err := io.WriteString(c.stdout, portChanges(time.Now(), last, now))
		return err
	})
}

// portChanges says what is gone, and what is new.
func portChanges(at time.Time, before, now []api.SerialPort) string {
	var b strings.Builder
	for _, change := range []struct {
		word       string
		these, not []api.SerialPort
	}{{"gone", before, now}, {"new", now, before}} {
		for _, p := range change.these {
			if slices.ContainsFunc(change.not, func(o api.SerialPort) bool { return o.Device == p.Device && o.Configure == p.Configure }) {
				continue
			}
			fmt.Fprintf(&b, "%s  %-4s  %s\n    %s\n", at.Format("15:04:05"), change.word, p.Configure, p.Facts)
		}
	}
	return b.String()
}

// writePorts prints each port with the name to copy alone on its line.
func writePorts(w io.Writer, all []api.SerialPort) error {
	var b strings.Builder
	for _, p := range all {
		fmt.Fprintf(&b, "%s\n    %s\n", p.Configure, p.Facts)
		if p.Twin {
			b.WriteString("    another adapter here has the same name, for want of a serial number: keep each in its socket\n")
		}
		if p.Configure == p.Device && p.Vendor != "" {
			b.WriteString("    this name is given to whatever is plugged in first: is udev running?\n")
		}
	}
	switch len(all) {
	case 0:
		b.WriteString("no serial ports — hint: is the adapter plugged in? \"dmesg | tail\" tells what the kernel made of it\n")
	case 1:
		b.WriteString("1 port")
	default:
		fmt.Fprintf(&b, "%d ports", len(all))
	}
	if len(all) > 0 {
		b.WriteString("; \"tidegate probe PORT\" finds out how a device speaks\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// portFacts says what a port is, and whether it is free.
func portFacts(p api.SerialPort) []string {
	facts := []string{filepath.Base(p.Device)}
	if what := strings.TrimSpace(p.Manufacturer + " " + p.Description); what != "" {
		facts = append(facts, what)
	}
	if p.Vendor != "" {
		facts = append(facts, "USB "+p.Vendor+":"+p.Product)
	}
	if p.Serial != "" {
		facts = append(facts, "serial "+p.Serial)
	}
	if p.Driver != "" {
		facts = append(facts, "driver "+p.Driver)
	}
	switch {
	case p.Console:
		facts = append(facts, "the kernel's console")
	case p.UsedBy != "":
		facts = append(facts, "in use by "+p.UsedBy)
	case !serialport.MayOpen(p.Device):
		facts = append(facts, "free, for users in the group "+serialport.GroupOf(p.Device))
	default:
		facts = append(facts, "free")
	}
	if p.Door != "" {
		facts = append(facts, "configured as "+p.Door)
	}
	if p.Task != "" {
		facts = append(facts, "somebody is "+p.Task)
	}
	return facts
}

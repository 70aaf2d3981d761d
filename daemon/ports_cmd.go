package daemon

import (
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

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

// listedPort is a port, the name to configure it by, and which door has it.
type listedPort struct {
	serialport.Info
	Configure string `json:"configure"`
	Door      string `json:"door,omitempty"`
}

func (c *lineCall) ports() error {
	infos, err := c.host.List()
	if err != nil {
		return fmt.Errorf("%w — hint: is /sys mounted?", err)
	}
	cfg, err := c.load()
	if err != nil {
		return err
	}
	all := []listedPort{}
	for _, i := range infos {
		all = append(all, listedPort{i, i.Best(), doorAt(cfg, c.host, i.Device)})
	}
	if c.json {
		out := json.NewEncoder(c.stdout)
		out.SetIndent("", "  ")
		return out.Encode(all)
	}
	return writePorts(c.stdout, all)
}

// doorAt returns the door that is configured to be at a device.
func doorAt(cfg Config, host serialport.Host, device string) string {
	for _, s := range cfg.Ingest.Serial {
		if place, err := host.Resolve(s.Port); err == nil && place.Device == device {
			return s.doorName()
		}
	}
	return ""
}

// writePorts prints each port with the name to copy alone on its line.
func writePorts(w io.Writer, all []listedPort) error {
	var b strings.Builder
	for _, p := range all {
		fmt.Fprintf(&b, "%s\n    %s\n", p.Configure, strings.Join(p.facts(), ", "))
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

// facts says what a port is, and whether it is free.
func (p listedPort) facts() []string {
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
	return facts
}

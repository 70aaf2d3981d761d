package serialport

import (
	"cmp"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"unicode"
)

// Info describes a serial port of this machine.
type Info struct {
	// Device is the kernel's name, /dev/ttyUSB0.
	Device string `json:"device"`
	// ByID and ByPath are the names that stay: of the device wherever it is
	// plugged in, and of the socket whatever is plugged into it. Either may be "".
	ByID   string `json:"by_id,omitempty"`
	ByPath string `json:"by_path,omitempty"`
	// Driver is the kernel's driver: ftdi_sio, cdc_acm, pl011.
	Driver string `json:"driver,omitempty"`
	// The USB numbers and texts, "" for what is no USB device.
	Vendor       string `json:"vendor,omitempty"`
	Product      string `json:"product,omitempty"`
	Serial       string `json:"serial,omitempty"`
	Interface    string `json:"interface,omitempty"`
	Manufacturer string `json:"manufacturer,omitempty"`
	Description  string `json:"description,omitempty"`
	// UsedBy names the program that has the port open, "" when none is seen.
	// Programs of other users are seen by root only.
	UsedBy string `json:"used_by,omitempty"`
	// Console says that the kernel writes its messages there.
	Console bool `json:"console,omitempty"`
	// Twin says that another port here has the same by-id name, because their
	// adapters have no serial number, or the same one: then only ByPath tells them
	// apart.
	Twin bool `json:"twin,omitempty"`
}

// Best returns the name to configure: the one that survives plugging in anew.
func (i Info) Best() string {
	if i.ByID != "" && !i.Twin {
		return i.ByID
	}
	return cmp.Or(i.ByPath, i.ByID, i.Device)
}

// List returns the serial ports of this machine. See Host.List.
func List() ([]Info, error) { return Host{}.List() }

// List returns the ports that have a device behind them, in the order of their
// names. It opens none: opening resets many boards. UARTs that a driver reserved
// and that are not there (ttyS1 to ttyS31 on PCs) are left out.
func (h Host) List() ([]Info, error) {
	if _, err := os.ReadDir(h.sys("class/tty")); err != nil {
		return nil, err
	}
	byID, byPath := h.links("by-id"), h.links("by-path")
	users := h.users()
	var all []Info
	var identities []Identity
	for _, tty := range h.ttys() {
		if h.isPhantom(tty) || !exists(h.dev(tty)) {
			continue
		}
		info := h.describe(tty)
		info.ByID, info.ByPath = byID[tty], byPath[tty]
		info.UsedBy = users.of(info.Device)
		all, identities = append(all, info), append(identities, h.identity(tty))
	}
	for i, id := range identities {
		for j, other := range identities {
			all[i].Twin = all[i].Twin || i != j && id.Vendor != "" && id.looksLike(other)
		}
	}
	sort.Slice(all, func(i, k int) bool { return natural(all[i].Device, all[k].Device) < 0 })
	return all, nil
}

// isPhantom says whether a port of the 8250 driver has no chip: its type is
// unknown then.
func (h Host) isPhantom(tty string) bool { return attribute(h.sys("class/tty", tty), "type") == "0" }

func (h Host) describe(tty string) Info {
	id := h.identity(tty)
	info := Info{
		Device: h.dev(tty), Driver: h.driver(tty),
		Vendor: id.Vendor, Product: id.Product, Serial: id.Serial, Interface: id.Interface,
		Console: attribute(h.sys("class/tty", tty), "console") == "Y",
	}
	if id.Vendor == "" {
		return info
	}
	for at := h.sys(id.Socket); len(at) > len(h.sys()); at = filepath.Dir(at) {
		if attribute(at, "idVendor") != "" {
			info.Manufacturer, info.Description = printable(attribute(at, "manufacturer")), printable(attribute(at, "product"))
			break
		}
	}
	return info
}

// driver names the driver. The serial core puts layers of its own ("port",
// "ctrl") between a UART and its driver, which say nothing.
func (h Host) driver(tty string) string {
	dir, err := filepath.EvalSymlinks(h.sys("class/tty", tty, "device"))
	for range 4 {
		if err != nil || len(dir) <= len(h.sys()) {
			break
		}
		if target, err := os.Readlink(filepath.Join(dir, "driver")); err == nil {
			if name := filepath.Base(target); name != "port" && name != "ctrl" {
				return name
			}
		}
		dir = filepath.Dir(dir)
	}
	return ""
}

// links maps kernel names to the stable names in one folder of /dev/serial.
func (h Host) links(folder string) map[string]string {
	names := make(map[string]string)
	entries, _ := os.ReadDir(h.dev("serial", folder))
	for _, e := range entries {
		link := h.dev("serial", folder, e.Name())
		if target, err := os.Readlink(link); err == nil {
			if tty := filepath.Base(target); names[tty] == "" {
				names[tty] = link
			}
		}
	}
	return names
}

// printable takes out what a hostile device may write on a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, s)
}

// natural compares names with numbers at their ends: ttyUSB9 before ttyUSB10.
func natural(a, b string) int {
	stem := func(s string) string { return strings.TrimRight(s, "0123456789") }
	if c := strings.Compare(stem(a), stem(b)); c != 0 {
		return c
	}
	return cmp.Or(cmp.Compare(len(a), len(b)), strings.Compare(a, b))
}

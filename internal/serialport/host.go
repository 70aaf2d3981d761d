package serialport

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Host says where a machine keeps its devices. Empty fields stand for /dev,
// /sys, /proc and /run; tests have their own.
type Host struct {
	Dev, Sys, Proc, Run string
}

func (h Host) dev(elements ...string) string  { return under(h.Dev, "/dev", elements) }
func (h Host) sys(elements ...string) string  { return under(h.Sys, "/sys", elements) }
func (h Host) proc(elements ...string) string { return under(h.Proc, "/proc", elements) }
func (h Host) run(elements ...string) string  { return under(h.Run, "/run", elements) }

func under(root, otherwise string, elements []string) string {
	if root == "" {
		root = otherwise
	}
	return filepath.Join(append([]string{root}, elements...)...)
}

// Identity is what makes a device itself, whatever name it is given. The zero
// value is that of a device that tells nothing, and matches everything.
type Identity struct {
	// Vendor and Product are the USB numbers in hexadecimal: 0403, 6001.
	Vendor, Product string
	// Serial is the USB serial number; many cheap adapters have none.
	Serial string
	// Interface tells the ports of one USB device apart: 00, 01; and Number those
	// that are on one interface: 0, 1.
	Interface, Number string
	// Socket is where the device is plugged in, or soldered: its path in sysfs.
	Socket string
	// Alike says that another device was seen that tells the same of itself: then
	// only the socket tells them apart, whatever the serial number is.
	Alike bool
}

// Same says whether both are the same device: one with a serial number of its own
// wherever it is plugged in, one without only in its socket.
func (i Identity) Same(other Identity) bool {
	switch {
	case i == Identity{} || other == Identity{}:
		return true
	case !i.looksLike(other):
		return false
	}
	return i.Serial != "" && !i.Alike && !other.Alike || i.Socket == other.Socket
}

// looksLike says whether both tell the same of themselves, wherever they are.
func (i Identity) looksLike(other Identity) bool {
	i.Socket, other.Socket = "", ""
	i.Alike, other.Alike = false, false
	return i == other
}

// String describes the device in a few words.
func (i Identity) String() string {
	switch {
	case i.Vendor == "" && i.Socket == "":
		return "a device that tells nothing of itself"
	case i.Vendor == "":
		return "the UART at " + filepath.Base(i.Socket)
	}
	s := "USB " + i.Vendor + ":" + i.Product
	if i.Serial != "" {
		s += " serial " + i.Serial
	}
	if i.Serial == "" || i.Alike {
		s += " in socket " + filepath.Base(i.Socket)
	}
	if i.Interface != "" && i.Interface != "00" {
		s += " port " + i.Interface
	}
	if i.Number != "" && i.Number != "0" {
		s += " number " + i.Number
	}
	return s
}

// Place is a name that was followed to its device.
type Place struct {
	// Name is as configured. Device is the kernel's name, /dev/ttyUSB0.
	Name, Device string
	// Identity is of the device that is there now.
	Identity Identity
	// Kernel says that Name is the kernel's, given in the order of plugging in:
	// another device may have it tomorrow.
	Kernel bool
	// ByID says that Name is under /dev/serial/by-id, where devices that look
	// alike share a name.
	ByID bool
}

// Resolve follows a name to the device that has it now.
func (h Host) Resolve(name string) (Place, error) {
	place := Place{Name: name, Device: name, ByID: filepath.Dir(name) == h.dev("serial", "by-id")}
	for range 10 { // as deep as links go
		tty := filepath.Base(place.Device)
		if filepath.Dir(place.Device) == h.dev() && h.isTTY(tty) {
			place.Identity = h.identity(tty)
			break
		}
		target, err := os.Readlink(place.Device)
		if err != nil {
			break // no link: what is there is opened as it is
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(place.Device), target)
		}
		place.Device = target
	}
	place.Kernel = place.Device == name
	if _, err := os.Stat(place.Device); err != nil {
		return place, fmt.Errorf("%s: %w", name, h.explain(place.Device, errors.Unwrap(err)))
	}
	return place, nil
}

// LooksTaken says whether another device is here that tells the same of itself.
func (h Host) LooksTaken(id Identity) bool {
	return id.Vendor != "" && slices.ContainsFunc(h.ttys(), func(tty string) bool {
		other := h.identity(tty)
		return other.looksLike(id) && other.Socket != id.Socket
	})
}

// Find returns where the device is that is configured as name and was expect
// when it was first opened. Names of sockets and links of the user's own lead where
// they lead; so do those under by-id, unless expect says that devices look alike. A
// kernel's name is given to whatever is plugged in next, so it counts only while the
// same device has it; and when that has come back under another name, it is found
// there.
func (h Host) Find(name string, expect Identity) (Place, error) { return h.find(name, expect) }

func (h Host) find(name string, expect Identity) (Place, error) {
	place, err := h.Resolve(name)
	if err == nil && (place.Identity.Same(expect) || !place.Kernel && !(place.ByID && expect.Alike)) {
		place.Identity.Alike = expect.Alike || h.LooksTaken(place.Identity)
		if place.ByID && place.Identity.Alike && expect == (Identity{}) {
			return place, fmt.Errorf("%s: several devices have this name, for want of serial numbers of their own — hint: configure the name under /dev/serial/by-path", name)
		}
		return place, nil
	}
	if err != nil && (expect == Identity{} || !errors.Is(err, ErrAbsent) || place.Device != name) {
		return place, err
	}
	for _, tty := range h.ttys() {
		if id := h.identity(tty); expect.Vendor != "" && id != (Identity{}) && id.Same(expect) {
			if moved := h.dev(tty); exists(moved) {
				id.Alike = expect.Alike || h.LooksTaken(id)
				return Place{Name: name, Device: moved, Identity: id, Kernel: true, ByID: place.ByID}, nil
			}
		}
	}
	if err != nil {
		return place, err
	}
	return place, fmt.Errorf("%s: %w: it was %v, it is %v — hint: plug the device in again; one that stays where it is has a name under /dev/serial/by-path",
		name, ErrStranger, expect, place.Identity)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// isTTY says whether the kernel has a terminal of this name with a device
// behind it: a serial port, in other words.
func (h Host) isTTY(tty string) bool { return exists(h.sys("class/tty", tty, "device")) }

// ttys returns the kernel names of all ports with a device behind them.
func (h Host) ttys() []string {
	entries, _ := os.ReadDir(h.sys("class/tty"))
	var names []string
	for _, e := range entries {
		if !isScreen(e.Name()) && h.isTTY(e.Name()) {
			names = append(names, e.Name())
		}
	}
	return names
}

// isScreen knows tty0 to tty63 without a look: there are many of them.
func isScreen(tty string) bool { return strings.TrimRight(tty, "0123456789") == "tty" }

// identity reads what sysfs tells of the device behind a port. For USB the
// numbers are in a folder above: port → interface → device.
func (h Host) identity(tty string) Identity {
	dir, err := filepath.EvalSymlinks(h.sys("class/tty", tty, "device"))
	if err != nil {
		return Identity{}
	}
	root, err := filepath.EvalSymlinks(h.sys())
	if err != nil {
		return Identity{}
	}
	id := Identity{Socket: strings.TrimSuffix(strings.TrimPrefix(dir, root), "/"+tty), Number: attribute(dir, "port_number")}
	for at := dir; strings.HasPrefix(at, root+"/"); at = filepath.Dir(at) {
		if id.Interface == "" {
			id.Interface = attribute(at, "bInterfaceNumber")
		}
		if vendor := attribute(at, "idVendor"); vendor != "" {
			id.Vendor, id.Product, id.Serial = vendor, attribute(at, "idProduct"), attribute(at, "serial")
			break
		}
	}
	if id.Vendor == "" {
		id.Interface, id.Number = "", ""
	}
	return id
}

// attribute reads one line of sysfs, "" when there is none.
func attribute(dir, name string) string {
	text, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

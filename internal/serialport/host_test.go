package serialport

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidegate/tidegate/internal/ptytest"
)

func TestPortsAreListedWithTheirStableNames(t *testing.T) {
	m := newMachine(t)
	_, one := ptytest.New(t)
	_, two := ptytest.New(t)
	m.plug("ttyUSB10", "1-2", "", two)
	m.plug("ttyUSB9", "1-1", "A50285BI", one)
	m.plug("ttyUSB8", "1-3", "", two)
	m.must(os.MkdirAll(m.root+"/sys/class/tty/tty0", 0o755)) // a screen
	m.must(os.MkdirAll(m.root+"/proc/4711/fd", 0o755))       // a program
	m.must(os.Symlink(one, m.root+"/proc/4711/fd/3"))        // that has a port open
	m.must(os.WriteFile(m.root+"/proc/4711/comm", []byte("gpsd\n"), 0o644))
	all, err := m.List()
	if err != nil || len(all) != 3 {
		t.Fatalf("%+v, %v", all, err)
	}
	want := Info{
		Device: m.root + "/dev/ttyUSB9", ByID: m.byID("A50285BI"), ByPath: m.root + "/dev/serial/by-path/pci-usb-1-1",
		Driver: "ftdi_sio", Vendor: "0403", Product: "6001", Serial: "A50285BI", Interface: "00",
		Manufacturer: "FTDI[31m", Description: "FT232R USB UART", UsedBy: "gpsd (process 4711)",
	}
	if all[1] != want {
		t.Errorf("%+v\nwant %+v", all[1], want)
	}
	if all[1].Best() != want.ByID || !all[0].Twin || all[0].Best() != m.root+"/dev/serial/by-path/pci-usb-1-3" {
		t.Errorf("best names: %s and %s", all[1].Best(), all[0].Best())
	}
	if !strings.HasSuffix(all[2].Device, "ttyUSB10") {
		t.Errorf("ttyUSB10 is not after ttyUSB9: %v", all[2].Device)
	}
}

func TestThisMachineCanBeListed(t *testing.T) {
	if _, err := List(); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

func TestAByIDNameFollowsItsDevice(t *testing.T) {
	m := newMachine(t)
	device, one := ptytest.New(t)
	m.plug("ttyUSB0", "1-1", "A50285BI", one)
	c := Config{Path: m.byID("A50285BI"), Host: m.Host}
	p := open(t, c)
	c.Expect = p.Place().Identity
	if got := c.Expect.String(); got != "USB 0403:6001 serial A50285BI" {
		t.Errorf("identity %s", got)
	}
	device.Close()
	m.unplug("ttyUSB0", "1-1", "A50285BI")
	p.Close()
	if _, err := Open(c); !errors.Is(err, ErrAbsent) {
		t.Errorf("while it is gone: %v", err)
	}
	device, two := ptytest.New(t)
	m.plug("ttyUSB1", "1-4", "A50285BI", two)
	p = open(t, c)
	if got := p.Place(); got.Kernel || filepath.Base(got.Device) != "ttyUSB1" {
		t.Errorf("found at %+v", got)
	}
	device.WriteString("hello")
	buf := make([]byte, 9)
	if n, err := p.ReadTimeout(buf, 10*time.Second); string(buf[:n]) != "hello" {
		t.Errorf("%q, %v", buf[:n], err)
	}
}

func TestAKernelNameIsNotGivenToAStranger(t *testing.T) {
	m := newMachine(t)
	_, one := ptytest.New(t)
	_, two := ptytest.New(t)
	m.plug("ttyUSB0", "1-1", "OURS", one)
	c := Config{Path: m.root + "/dev/ttyUSB0", Host: m.Host}
	p := open(t, c)
	c.Expect = p.Place().Identity
	p.Close()
	m.unplug("ttyUSB0", "1-1", "OURS")
	m.plug("ttyUSB0", "1-1", "THEIRS", two)
	_, err := Open(c)
	if !errors.Is(err, ErrStranger) || !strings.Contains(err.Error(), "serial OURS") || !strings.Contains(err.Error(), "serial THEIRS") {
		t.Fatalf("%v", err)
	}
	// Ours comes back under another name: found by what it is, not by accident.
	m.plug("ttyUSB7", "1-3", "OURS", one)
	p = open(t, c)
	if got := filepath.Base(p.Place().Device); got != "ttyUSB7" {
		t.Errorf("opened %s", got)
	}
}

func TestADeviceWithoutSerialNumberIsKnownByItsSocket(t *testing.T) {
	m := newMachine(t)
	_, one := ptytest.New(t)
	m.plug("ttyUSB0", "1-1", "", one)
	c := Config{Path: m.root + "/dev/ttyUSB0", Host: m.Host}
	p := open(t, c)
	c.Expect = p.Place().Identity
	p.Close()
	m.unplug("ttyUSB0", "1-1", "")
	m.plug("ttyUSB0", "1-2", "", one) // the same kind of adapter, in another socket: who knows
	if _, err := Open(c); !errors.Is(err, ErrStranger) || !strings.Contains(err.Error(), "in socket 1-2") {
		t.Errorf("%v", err)
	}
	m.plug("ttyUSB1", "1-1", "", one)
	p = open(t, c)
	if got := filepath.Base(p.Place().Device); got != "ttyUSB1" {
		t.Errorf("opened %s", got)
	}
}

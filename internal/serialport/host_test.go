package serialport

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
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
	if n, err := p.ReadTimeout(buf, time.Minute); string(buf[:n]) != "hello" {
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

func TestAnotherProgramThatHasThePortIsNamed(t *testing.T) {
	flock, err := exec.LookPath("flock")
	if err != nil {
		t.Skip("the command flock is missing: apt-get install util-linux")
	}
	_, name := ptytest.New(t)
	other := exec.Command(flock, "--no-fork", name, "sh", "-c", "echo locked; read x")
	in, err := other.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := other.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		in.Close()
		other.Wait()
	}()
	if _, err := out.Read(make([]byte, 7)); err != nil {
		t.Fatal(err)
	}
	_, err = Open(Config{Path: name})
	if want := fmt.Sprintf("in use by sh (process %d)", other.Process.Pid); !errors.Is(err, ErrBusy) || !strings.Contains(err.Error(), want) {
		t.Errorf("%v, want %q", err, want)
	}
}

func TestAFileThatLocksAPortIsRespectedWhileItsProgramLives(t *testing.T) {
	m := newMachine(t)
	_, name := ptytest.New(t)
	m.plug("ttyUSB0", "1-1", "X", name)
	m.must(os.MkdirAll(m.root+"/proc/4711", 0o755))
	m.must(os.WriteFile(m.root+"/proc/4711/comm", []byte("minicom\n"), 0o644))
	m.must(os.MkdirAll(m.root+"/run/lock", 0o755))
	for text, want := range map[string]string{
		"      4711\n": "in use by minicom (process 4711)", "4711 minicom anna\n": "in use by minicom (process 4711)",
		"      4712\n": "", "garbage": "", "": "", "-1\n": "",
	} {
		m.must(os.WriteFile(m.root+"/run/lock/LCK..ttyUSB0", []byte(text), 0o644))
		p, err := Open(Config{Path: m.byID("X"), Host: m.Host})
		if err == nil {
			p.Close()
		}
		if (err == nil) != (want == "") || err != nil && (!errors.Is(err, ErrBusy) || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

// Some adapters have four ports on one interface: then only the number of the
// port tells them apart.
func TestPortsOfOneAdapterAreNotMixedUp(t *testing.T) {
	m := newMachine(t)
	_, one := ptytest.New(t)
	_, two := ptytest.New(t)
	m.plug("ttyUSB0", "1-1/0", "MOS", one)
	m.plug("ttyUSB1", "1-1/1", "MOS", two)
	all, err := m.List()
	if err != nil || len(all) != 2 || all[0].Twin || all[1].Best() != m.byID("MOS")+"-port1" {
		t.Errorf("%+v, %v", all, err)
	}
	c := Config{Path: m.root + "/dev/ttyUSB1", Host: m.Host}
	p := open(t, c)
	c.Expect = p.Place().Identity
	p.Close()
	m.unplug("ttyUSB0", "1-1", "")
	m.unplug("ttyUSB1", "1-1", "")
	m.must(os.RemoveAll(m.root + "/dev/serial"))
	m.must(os.MkdirAll(m.root+"/dev/serial/by-id", 0o755))
	m.must(os.MkdirAll(m.root+"/dev/serial/by-path", 0o755))
	m.plug("ttyUSB1", "1-1/0", "MOS", one)
	m.plug("ttyUSB2", "1-1/1", "MOS", two)
	p = open(t, c)
	if got := filepath.Base(p.Place().Device); got != "ttyUSB2" {
		t.Errorf("the second port was ttyUSB1, is ttyUSB2, and %s was opened", got)
	}
}

// Adapters without a serial number share one name under by-id, which leads to any
// of them.
func TestANameThatTwoDevicesShareIsNotFollowedByAccident(t *testing.T) {
	m := newMachine(t)
	_, one := ptytest.New(t)
	_, two := ptytest.New(t)
	m.plug("ttyUSB0", "1-1", "", one)
	c := Config{Path: m.plain("ttyUSB0"), Host: m.Host}
	p := open(t, c) // it is alone
	place := p.Place()
	p.Close()
	if place.Identity.Alike || m.LooksTaken(place.Identity) {
		t.Error("a name is shared by one device")
	}
	m.plug("ttyUSB1", "1-2", "", two)
	m.plain("ttyUSB1")
	if !m.LooksTaken(place.Identity) {
		t.Error("two devices do not share their name")
	}
	if _, err := Open(c); err == nil || !strings.Contains(err.Error(), " — hint: ") || !strings.Contains(err.Error(), "by-path") {
		t.Errorf("opened whatever the name leads to: %v", err)
	}
	c.Expect, c.Expect.Alike = place.Identity, true
	p = open(t, c)
	if got := filepath.Base(p.Place().Device); got != "ttyUSB0" || !p.Place().Identity.Alike {
		t.Errorf("%s was opened, where the name leads; the device is at ttyUSB0", got)
	}
	p.Close()
	m.unplug("ttyUSB0", "1-1", "")
	if _, err := Open(c); !errors.Is(err, ErrStranger) {
		t.Errorf("the other device was opened: %v", err)
	}
}

// Whole series of adapters have the serial number 0001.
func TestASerialNumberThatTwoDevicesHaveTellsNothing(t *testing.T) {
	m := newMachine(t)
	_, one := ptytest.New(t)
	_, two := ptytest.New(t)
	m.plug("ttyUSB0", "1-1", "0001", one)
	m.must(os.Remove(m.byID("0001")))
	m.plug("ttyUSB1", "1-2", "0001", two)
	c := Config{Path: m.root + "/dev/ttyUSB0", Host: m.Host}
	p := open(t, c)
	c.Expect = p.Place().Identity
	p.Close()
	if got := c.Expect.String(); got != "USB 0403:6001 serial 0001 in socket 1-1:1.0" {
		t.Errorf("identity %s", got)
	}
	m.unplug("ttyUSB0", "1-1", "")
	if _, err := Open(c); !errors.Is(err, ErrAbsent) {
		t.Errorf("the device of the other socket was opened: %v", err)
	}
	m.plug("ttyUSB2", "1-1", "", one)
	m.must(os.WriteFile(m.root+"/sys/devices/usb1/1-1/serial", []byte("0001\n"), 0o644))
	if got := filepath.Base(open(t, c).Place().Device); got != "ttyUSB2" {
		t.Errorf("opened %s", got)
	}
}

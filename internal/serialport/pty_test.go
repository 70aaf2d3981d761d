package serialport

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tidegate/tidegate/internal/base/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

func open(t testing.TB, c Config) *Port {
	t.Helper()
	p, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// settings reads back what the line is set to.
func settings(t *testing.T, p *Port) *unix.Termios {
	t.Helper()
	got, err := unix.IoctlGetTermios(p.control, unix.TCGETS2)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// machine is a machine of files: its ports are links to pseudo terminals.
type machine struct {
	t    *testing.T
	root string
	Host
}

func newMachine(t *testing.T) *machine {
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	m := &machine{t, root, Host{Dev: root + "/dev", Sys: root + "/sys", Proc: root + "/proc", Run: root + "/run"}}
	for _, dir := range []string{"dev/serial/by-id", "dev/serial/by-path", "sys/class/tty", "proc"} {
		m.must(os.MkdirAll(filepath.Join(root, dir), 0o755))
	}
	return m
}

func (m *machine) must(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}

// plug makes the files that the kernel and udev make for a USB adapter in a
// socket of the hub.
func (m *machine) plug(tty, socket, serial, behind string) {
	m.t.Helper()
	socket, number, _ := strings.Cut(socket, "/") // of a device with several ports
	usb := filepath.Join(m.root, "sys/devices/usb1", socket)
	port := filepath.Join(usb, socket+":1.0", tty)
	m.must(os.MkdirAll(filepath.Join(port, "tty", tty), 0o755))
	for name, text := range map[string]string{
		"idVendor": "0403", "idProduct": "6001", "serial": serial, "manufacturer": "FTDI\x1b[31m", "product": "FT232R USB UART",
		socket + ":1.0/bInterfaceNumber": "00",
	} {
		if text != "" {
			m.must(os.WriteFile(filepath.Join(usb, name), []byte(text+"\n"), 0o644))
		}
	}
	if number != "" {
		m.must(os.WriteFile(filepath.Join(port, "port_number"), []byte(number+"\n"), 0o444))
		socket += "-port" + number
	}
	driver := filepath.Join(m.root, "sys/bus/usb-serial/drivers/ftdi_sio")
	m.must(os.MkdirAll(driver, 0o755))
	m.must(os.Symlink(driver, filepath.Join(port, "driver")))
	m.must(os.Symlink(port, filepath.Join(port, "tty", tty, "device")))
	m.must(os.Symlink(filepath.Join(port, "tty", tty), filepath.Join(m.root, "sys/class/tty", tty)))
	m.must(os.Symlink(behind, filepath.Join(m.root, "dev", tty)))
	if serial != "" {
		name := m.byID(serial)
		if number != "" {
			name += "-port" + number
		}
		m.must(os.Symlink("../../"+tty, name))
	}
	m.must(os.Symlink("../../"+tty, filepath.Join(m.root, "dev/serial/by-path/pci-usb-"+socket)))
}

// plain is the by-id name of adapters without a serial number. It leads to one of
// them; which, udev decides.
func (m *machine) plain(tty string) string {
	m.t.Helper()
	name := m.byID("Serial")
	os.Remove(name)
	m.must(os.Symlink("../../"+tty, name))
	return name
}

func (m *machine) byID(serial string) string {
	return filepath.Join(m.root, "dev/serial/by-id/usb-FTDI_"+serial)
}

func (m *machine) unplug(tty, socket, serial string) {
	m.t.Helper()
	for _, gone := range []string{"sys/devices/usb1/" + socket, "sys/class/tty/" + tty, "dev/" + tty, "dev/serial/by-path/pci-usb-" + socket} {
		m.must(os.RemoveAll(filepath.Join(m.root, gone)))
	}
	if serial != "" {
		m.must(os.Remove(m.byID(serial)))
	}
}

package serialin

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/ingest/ingesttest"
	"github.com/tidegate/tidegate/internal/ptytest"
	"github.com/tidegate/tidegate/internal/serialport"
)

// hub is a machine of files with USB adapters.
type hub struct {
	*testing.T
	root string
	serialport.Host
}

func newHub(t *testing.T) *hub {
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	h := &hub{t, root, serialport.Host{Dev: root + "/dev", Sys: root + "/sys", Proc: root + "/proc", Run: root + "/run"}}
	for _, folder := range []string{"/dev/serial/by-id", "/sys/class/tty"} {
		h.must(os.MkdirAll(root+folder, 0o755))
	}
	return h
}

func (h *hub) must(err error) {
	h.Helper()
	if err != nil {
		h.Fatal(err)
	}
}

// plug adds an adapter, and lets what it is called by id lead to it.
func (h *hub) plug(tty, socket, serial string) (device *os.File) {
	device, path := ptytest.New(h.T)
	usb := filepath.Join(h.root, "sys/devices", socket)
	h.must(os.MkdirAll(filepath.Join(usb, tty), 0o755))
	for name, text := range map[string]string{"idVendor": "1a86", "idProduct": "7523", "serial": serial} {
		h.must(os.WriteFile(filepath.Join(usb, name), []byte(text+"\n"), 0o644))
	}
	h.must(os.MkdirAll(filepath.Join(h.root, "sys/class/tty", tty), 0o755))
	h.must(os.Symlink(filepath.Join(usb, tty), filepath.Join(h.root, "sys/class/tty", tty, "device")))
	h.must(os.Symlink(path, filepath.Join(h.root, "dev", tty)))
	h.lead(serial, tty)
	return device
}

func (h *hub) byID(serial string) string {
	return filepath.Join(h.root, "dev/serial/by-id/usb-"+serial)
}

func (h *hub) lead(serial, tty string) {
	os.Remove(h.byID(serial))
	h.must(os.Symlink("../../"+tty, h.byID(serial)))
}

func (h *hub) unplug(device *os.File, tty, socket string) {
	for _, gone := range []string{"sys/devices/" + socket, "sys/class/tty/" + tty, "dev/" + tty} {
		h.must(os.RemoveAll(filepath.Join(h.root, gone)))
	}
	device.Close()
}

// Run must not end when a stranger has the name: whoever runs the door makes
// pauses that grow to half a minute, and the device may be back at any time.
func TestADeviceIsWaitedForWhileAStrangerHasItsName(t *testing.T) {
	h := newHub(t)
	ours := h.plug("ttyUSB0", "1-1", "OURS")
	s := newSource(t, Config{Port: serialport.Config{Path: h.root + "/dev/ttyUSB0", Host: h.Host}})
	run(t, s, ingesttest.NewCustody())
	isOpen(t, s)
	h.unplug(ours, "ttyUSB0", "1-1")
	h.plug("ttyUSB0", "1-1", "THEIRS")
	until(t, "the stranger is said", func() bool {
		st := s.Stats()
		return st.State == Waiting && strings.Contains(st.Trouble, "it is USB 1a86:7523 serial THEIRS")
	})
	h.plug("ttyUSB1", "1-2", "OURS")
	isOpen(t, s)
	if st := s.Stats(); filepath.Base(st.Device) != "ttyUSB1" || st.Gone != 1 {
		t.Errorf("%+v", st)
	}
}

func TestTheOtherOfTwoThatLookAlikeIsNotReadInstead(t *testing.T) {
	for _, serial := range []string{"", "0001"} {
		h := newHub(t)
		ours := h.plug("ttyUSB0", "1-1", serial)
		s := newSource(t, Config{Port: serialport.Config{Path: h.byID(serial), Host: h.Host}})
		run(t, s, ingesttest.NewCustody())
		isOpen(t, s)
		h.plug("ttyUSB1", "1-2", serial) // while ours is open; the name leads there now
		h.unplug(ours, "ttyUSB0", "1-1")
		until(t, "the other is told from ours", func() bool {
			st := s.Stats()
			return st.State == Waiting && strings.Contains(st.Trouble, serialport.ErrStranger.Error())
		})
		h.plug("ttyUSB2", "1-1", serial)
		h.lead(serial, "ttyUSB1")
		isOpen(t, s)
		if st := s.Stats(); filepath.Base(st.Device) != "ttyUSB2" {
			t.Errorf("serial number %q: %s is read", serial, st.Device)
		}
	}
}

// udev gives a new device its owner and mode after its name is there, and programs
// that look at all new devices have it for a moment.
func TestADeviceThatMayNotBeOpenedYetIsTriedAgain(t *testing.T) {
	h := newHub(t)
	s := newSource(t, Config{Port: serialport.Config{Path: h.byID("X"), Host: h.Host}})
	s.settle = 0
	run(t, s, ingesttest.NewCustody())
	until(t, "it waits", func() bool { return s.Stats().State == Waiting })
	_, path := ptytest.New(t)
	other, err := serialport.Open(serialport.Config{Path: path})
	h.must(err)
	h.must(os.Symlink(path, h.byID("X")))
	until(t, "the refusal is said", func() bool { return strings.Contains(s.Stats().Trouble, serialport.ErrBusy.Error()) })
	h.must(other.Close())
	isOpen(t, s)
}

func TestWhatComesBackAsSomethingElseIsSaid(t *testing.T) {
	h := newHub(t)
	for _, patience := range []time.Duration{0, time.Hour} {
		s := newSource(t, Config{Port: serialport.Config{Path: h.byID("X"), Host: h.Host}})
		s.settle = patience
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- s.Run(ctx, ingest.NewIntake(ingesttest.NewCustody(), nil, time.Now)) }()
		until(t, "it waits", func() bool { return s.Stats().State == Waiting })
		h.must(os.WriteFile(h.byID("X"), nil, 0o600)) // no serial port
		until(t, "it is said", func() bool { return strings.Contains(s.Stats().Trouble, "is no serial port") })
		if patience > 0 {
			if st := s.Stats(); st.State != Waiting {
				t.Errorf("it may become one: %+v", st)
			}
			cancel()
		}
		if err := <-ended; (err == nil) != (patience > 0) {
			t.Errorf("with a patience of %v: %v", patience, err)
		}
		cancel()
		h.must(os.Remove(h.byID("X")))
	}
}

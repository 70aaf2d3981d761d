package vm

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	firmwaresim "github.com/tidegate/tidegate/firmware-sim"
)

// TestSerialLinesUnderTheHardenedUnit puts devices on real serial drivers: a UART and
// a USB adapter, which is pulled and put in again while its device speaks. Every frame is
// confirmed by the gateway and sent again until it is, so all must arrive.
func TestSerialLinesUnderTheHardenedUnit(t *testing.T) {
	m := newMachine(t, "-device", "qemu-xhci,id=usb")
	ledger := firmwaresim.NewLedger()
	uart := m.wire("uart", 115200, ledger)
	usb := m.wire("usb", 57600, ledger)
	m.devices = append(m.devices,
		"-chardev", "serial,id=uart,path="+uart.Port(), "-device", "pci-serial,chardev=uart",
		"-chardev", "serial,id=usb,path="+usb.Port(), "-device", adapter)
	shore := m.openShore()
	m.boot()
	m.install(m.deb())
	m.eventually("the adapter has its driver", "test -e /dev/ttyUSB0 && ls /dev/serial/by-id/*")
	ports := m.must("tidegate ports; grep -H . /sys/class/tty/ttyS*/type; ls -l /dev/ttyUSB* /dev/serial/by-id/")
	byID := m.must("echo /dev/serial/by-id/*")
	board := m.must("grep -l '[1-9]' /sys/class/tty/ttyS*/type | grep -v ttyS0/ | head -1 | cut -d/ -f5")
	t.Logf("%s: %s\n%s", byID, board, ports)
	m.configure(m.site(shore.url, "") + serialLine("uart", "/dev/"+board, 115200) + serialLine("usb", byID, 57600))
	m.eventually("both lines are open", `test $(tidegate status | grep -c 'serial:.* frames, the last') = 2`)

	for n := range 3 {
		m.pullAdapter()
		m.eventually("it is seen to be gone", `! test -e /dev/ttyUSB0 && tidegate status | grep '! serial:usb'`)
		if n == 1 { // a name is taken that it had: it comes back as another device
			t.Log(m.must("tidegate status | grep -A2 serial:usb"))
		}
		m.plugAdapter()
		m.eventually("it speaks again", fmt.Sprintf(`test $(tidegate status | grep -c 'serial:.* frames, the last') = 2 && ! tidegate status | grep '! serial:usb' # %d`, n))
	}
	m.must("systemctl kill -s KILL tidegate")
	m.active()
	for _, d := range []*wired{uart, usb} {
		d.awaitAcks(50)
		d.stop()
	}
	shore.awaitDelivery()
	v := shore.audit(ledger)
	if v.Lost > 0 || v.Acked < 100 {
		t.Errorf("audit: %v; the first: %v", v, v.FirstLost)
	}
	fmt.Printf("%s: serial lines, 3 times unplugged, one kill: %v\n", m.arch, v)
	m.step("says what it is", func(m *machine) {
		said := m.must("tidegate status | grep -A3 serial:; stty -F /dev/" + board + " -a | head -1; stty -F " + byID + " -a | head -1")
		if !strings.Contains(said, "speed 115200") || !strings.Contains(said, "speed 57600") {
			m.Errorf("the drivers were not told the speed:\n%s", said)
		}
		m.Log(said)
	})
}

// adapter is a USB adapter as of FTDI, whose line ends in a device of this machine.
const adapter = "usb-serial,id=adapter,bus=usb.0,chardev=usb,serial=TG0001,always-plugged=on"

func (m *machine) pullAdapter() {
	m.Helper()
	if err := m.power.qmp.do("device_del", map[string]any{"id": "adapter"}); err != nil {
		m.Fatal(err)
	}
}

func (m *machine) plugAdapter() {
	m.Helper()
	arguments := map[string]any{}
	driver, rest, _ := strings.Cut(adapter, ",")
	arguments["driver"] = driver
	for setting := range strings.SplitSeq(rest, ",") {
		key, value, _ := strings.Cut(setting, "=")
		if arguments[key] = value; value == "on" {
			arguments[key] = true
		}
	}
	if err := m.power.qmp.do("device_add", arguments); err != nil {
		m.Fatal(err)
	}
}

// serialLine configures a line whose frames are confirmed.
func serialLine(name, port string, baud int) string {
	return fmt.Sprintf("[[ingest.serial]]\nname = %q\nport = %q\nbaud = %d\ndevice = %q\nconfirm = '{frame} OK\\n'\n", name, port, baud, name)
}

// wired is a simulated device on a serial line.
type wired struct {
	*firmwaresim.SerialDevice
	m    *machine
	stop func()
}

func (m *machine) wire(name string, baud int, ledger *firmwaresim.Ledger) *wired {
	m.Helper()
	device, err := firmwaresim.OpenSerialDevice(firmwaresim.SerialConfig{
		Link: m.file("tty-" + name), Name: name, Baud: baud, Rate: 10, Confirm: "{frame} OK\n", Timeout: 5 * time.Second,
	}, ledger)
	if err != nil {
		m.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- device.Run(ctx) }()
	w := &wired{SerialDevice: device, m: m}
	stopped := false
	w.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; err != nil {
			m.Errorf("device %s: %v", name, err)
		}
	}
	m.Cleanup(w.stop)
	return w
}

// awaitAcks waits for n more confirmations.
func (w *wired) awaitAcks(n uint64) {
	w.m.Helper()
	late, look := time.After(w.m.patience()), time.NewTicker(50*time.Millisecond)
	defer look.Stop()
	for want := w.Stats().Acked + n; w.Stats().Acked < want; {
		select {
		case <-look.C:
		case <-late:
			w.m.Fatalf("%d confirmations and not %d more: %+v", w.Stats().Acked, n, w.Stats())
		}
	}
}

package daemon

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidegate/tidegate/dashboard"
	"github.com/tidegate/tidegate/dashboard/api"
	"github.com/tidegate/tidegate/internal/ptytest"
	"github.com/tidegate/tidegate/internal/serialport"
)

// portBench is a machine of files, with adapters that are pseudo terminals.
type portBench struct {
	*testing.T
	root string
	serialport.Host
	devices map[string]*os.File // the other ends, by the kernel's names
}

func newPortBench(t *testing.T) *portBench {
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	b := &portBench{t, root, serialport.Host{Dev: root + "/dev", Sys: root + "/sys", Proc: root + "/proc"}, make(map[string]*os.File)}
	for _, dir := range []string{"/dev/serial/by-id", "/sys/class/tty", "/proc/77/fd"} {
		b.must(os.MkdirAll(root+dir, 0o755))
	}
	return b
}

func (b *portBench) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// plug adds a USB adapter, and returns its names.
func (b *portBench) plug(tty, serial string) (device, byID string) {
	end, path := ptytest.New(b.T)
	b.devices[tty] = end
	usb := b.root + "/sys/devices/" + tty
	b.must(os.MkdirAll(usb+"/port/tty/"+tty, 0o755))
	for name, text := range map[string]string{"idVendor": "0403", "idProduct": "6001", "serial": serial, "product": "FT232R"} {
		b.must(os.WriteFile(filepath.Join(usb, name), []byte(text+"\n"), 0o644))
	}
	b.must(os.Symlink(usb+"/port", usb+"/port/tty/"+tty+"/device"))
	b.must(os.Symlink(usb+"/port/tty/"+tty, b.root+"/sys/class/tty/"+tty))
	device, byID = b.root+"/dev/"+tty, b.root+"/dev/serial/by-id/usb-"+serial
	b.must(os.Symlink(path, device))
	b.must(os.Symlink("../../"+tty, byID))
	return device, byID
}

// unplug takes the adapter away.
func (b *portBench) unplug(tty, serial string) {
	b.devices[tty].Close()
	b.must(os.Remove(b.root + "/dev/serial/by-id/usb-" + serial))
	b.must(os.Remove(b.root + "/dev/" + tty))
	b.must(os.Remove(b.root + "/sys/class/tty/" + tty))
	b.must(os.RemoveAll(b.root + "/sys/devices/" + tty))
}

func (b *portBench) check(ports ...string) *checklist {
	var lines []lineUse
	for i, p := range ports {
		lines = append(lines, lineUse{[]string{"first", "second"}[i], p})
	}
	k := &checklist{}
	k.serial(lines, filepath.Join(b.root, "no.sock"), b.Host)
	return k
}

func TestCheckOfSerialPorts(t *testing.T) {
	b := newPortBench(t)
	device, byID := b.plug("ttyUSB0", "A50285BI")
	expect(t, only(t, b.check(byID)), OK, "first", "ttyUSB0 is there", "serial A50285BI")
	expect(t, only(t, b.check(device)), Warn, "whatever is plugged in first", `write port = "`+byID+`"`)
	expect(t, only(t, b.check(b.root+"/dev/ttyUSB7")), Warn, "no such device now; the gateway waits for it", "check the cable")
	if k := b.check(byID, device); len(k.findings) != 2 {
		t.Errorf("%+v", k.findings)
	} else {
		expect(t, k.findings[1], Fail, "first and second are two names of", "let one door have it")
	}
	target, err := os.Readlink(device)
	b.must(err)
	b.must(os.Symlink(target, b.root+"/proc/77/fd/4"))
	b.must(os.WriteFile(b.root+"/proc/77/comm", []byte("ModemManager\n"), 0o644))
	expect(t, only(t, b.check(byID)), Fail, "in use by ModemManager (process 77)", "stop that program")
	_, twin := b.plug("ttyUSB1", "0001")
	b.must(os.Remove(twin))
	_, twin = b.plug("ttyUSB2", "0001")
	expect(t, only(t, b.check(twin)), Fail, "first", "two adapters have the name "+twin, "write port = ")
	if k := b.check(); len(k.findings) != 0 {
		t.Errorf("without serial lines: %+v", k.findings)
	}
}

func TestPortsAreListedForPeopleAndMachines(t *testing.T) {
	b := newPortBench(t)
	_, one := b.plug("ttyUSB0", "A50285BI")
	b.plug("ttyUSB1", "TWIN")
	config := filepath.Join(b.root, "c.toml")
	b.must(os.WriteFile(config, []byte("[[ingest.serial]]\nname = \"boiler\"\nport = \""+one+"\"\n"), 0o600))
	list := func(asJSON bool) string {
		var out bytes.Buffer
		c := &lineCall{call: call{stdout: &out, stderr: &out, file: config, json: asJSON, flags: noFlags()}, host: b.Host}
		b.must(c.ports())
		return out.String()
	}
	text := list(false)
	for _, want := range []string{
		one + "\n    ttyUSB0, FT232R, USB 0403:6001, serial A50285BI, free, configured as serial:boiler\n",
		"2 ports; \"tidegate probe PORT\" finds out how a device speaks\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("got\n%s\nwant\n%s", text, want)
		}
	}
	var all []map[string]any
	if err := json.Unmarshal([]byte(list(true)), &all); err != nil || len(all) != 2 || all[0]["configure"] != one || all[0]["door"] != "serial:boiler" {
		t.Errorf("%v, %v", all, err)
	}
	var out bytes.Buffer
	b.must(writePorts(&out, nil))
	if !strings.HasPrefix(out.String(), "no serial ports — hint: ") {
		t.Errorf("without any: %s", &out)
	}
}

func TestProbeProposesTheNameThatStays(t *testing.T) {
	b := newPortBench(t)
	device, byID := b.plug("ttyUSB0", "A50285BI")
	for want, name := range map[string]string{byID: "usb-A50285BI", "/dev/ttyS-é": "ttyS--"} {
		w := (&lineCall{host: b.Host}).bench(Default())
		at, err := w.find(api.SerialPlace{Port: device}, api.SerialSettings{})
		b.must(err)
		if want != byID { // one that is not there now
			at = workplace{config: serialport.Config{Path: want}}
		}
		text := w.proposal(at, candidate(), nil)
		cfg, err := Parse("proposal", []byte(text))
		if err != nil || len(cfg.Ingest.Serial) != 1 {
			t.Fatalf("%v in\n%s", err, text)
		}
		s := cfg.Ingest.Serial[0]
		if s.Port != want || s.Name != strings.TrimRight(name, "-") || s.Baud != 31250 || s.Parity != "even" || s.DataBits != 7 || s.Framing.String() != "stx-etx with xor8" {
			t.Errorf("proposed %+v", s)
		}
	}
}

func TestStatusOfALineNamesWhatWentWrongAndNothingElse(t *testing.T) {
	now := time.Now()
	for want, d := range map[string]dashboard.Door{
		"": {Name: "mqtt"},
		"serial:a: 5 frames, the last 2s ago; /dev/ttyUSB0 is USB 1:2 serial X\n": {
			Name: "serial:a", State: dashboard.OK,
			Line: &dashboard.Line{Frames: 5, LastFrame: now.Add(-2 * time.Second).UnixMilli(), Device: "/dev/ttyUSB0", Identity: "USB 1:2 serial X"},
		},
		"serial:a: 0 frames, the last never, 4 polls, 1 frames confirmed, 9 bytes waiting for the disk\n" +
			"serial:a: 1 times gone, 2 polls without an answer, 3 frames with a wrong checksum, 4 bytes with a wrong parity bit, " +
			"5 bytes without a stop bit (is the speed right?), 6 bytes lost because they came too fast, 2.0KiB thrown away\n" +
			"serial:a: 3s ago: malformed\n": {
			Name: "serial:a", State: dashboard.OK,
			Line: &dashboard.Line{
				Polls: 4, Confirmed: 1, Backlog: 9, Gone: 1, Timeouts: 2, BadChecksum: 3, DamagedBytes: 9, ParityErrors: 4, FrameErrors: 5,
				Overruns: 6, Garbage: 2048, Trouble: "malformed", TroubleAt: now.Add(-3 * time.Second).UnixMilli(),
			},
		},
		"serial:a: 0 frames, the last never\nserial:a: 7 damaged bytes\n": {
			Name: "serial:a", State: "waits", Line: &dashboard.Line{DamagedBytes: 7, Trouble: "is said above"},
		},
	} {
		var text strings.Builder
		writeLine(&text, now, d)
		if text.String() != want {
			t.Errorf("got\n%s\nwant\n%s", &text, want)
		}
	}
}

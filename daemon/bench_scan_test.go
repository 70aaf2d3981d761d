package daemon

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tidegate/tidegate/dashboard/api"
	"github.com/tidegate/tidegate/ingest/modbusin"
)

// answersWithin is how long a slave of the tests may take, which is another goroutine on a
// busy machine. Who is not there costs a scan as much: few are asked that are not.
const answersWithin = 1000 // ms

// slaves answers on a line as Modbus slaves do: each has as many holding registers as
// the map says, that hold 100 times the unit plus their address.
func (b *portBench) slaves(tty string, registers map[byte]int) {
	end := b.devices[tty]
	b.cable(tty)
	done := make(chan struct{})
	b.Cleanup(func() { end.Close(); <-done })
	go func() {
		defer close(done)
		var q [8]byte
		for n := 0; ; n = 0 {
			for n < len(q) || binary.LittleEndian.Uint16(q[6:]) != crcOf(q[:6]) { // a question may have been cut off
				if n == len(q) {
					n = copy(q[:], q[1:])
				}
				m, err := end.Read(q[n:])
				if err != nil {
					return
				}
				n += m
			}
			answer := answerTo(q[:], registers)
			if answer == nil {
				continue
			}
			end.Write(binary.LittleEndian.AppendUint16(answer, crcOf(answer)))
		}
	}()
}

// cable keeps the line of a device while nobody has its port open.
func (b *portBench) cable(tty string) {
	b.Helper()
	end, err := os.OpenFile(b.root+"/dev/"+tty, os.O_RDWR|unix.O_NOCTTY, 0)
	b.must(err)
	b.Cleanup(func() { end.Close() })
}

// answerTo is the answer to a question without its checksum, nil of units that are
// not there.
func answerTo(q []byte, registers map[byte]int) []byte {
	have, there := registers[q[0]]
	first, n := int(binary.BigEndian.Uint16(q[2:])), int(binary.BigEndian.Uint16(q[4:]))
	switch {
	case !there:
		return nil
	case q[1] != 3:
		return []byte{q[0], q[1] | 0x80, 1}
	case first+n > have:
		return []byte{q[0], q[1] | 0x80, 2}
	}
	answer := []byte{q[0], q[1], byte(2 * n)}
	for i := range n {
		answer = binary.BigEndian.AppendUint16(answer, uint16(100*int(q[0])+first+i))
	}
	return answer
}

// crcOf is the checksum of Modbus, bit by bit.
func crcOf(b []byte) uint16 {
	crc := uint16(0xffff)
	for _, c := range b {
		crc ^= uint16(c)
		for range 8 {
			odd := crc & 1
			crc >>= 1
			crc ^= odd * 0xa001
		}
	}
	return crc
}

func TestAScanOfAFreePortProposesWhatReadsIt(t *testing.T) {
	pb := newPortBench(t)
	_, byID := pb.plug("ttyUSB0", "ONE")
	pb.slaves("ttyUSB0", map[byte]int{3: 40, 4: 0, 5: 40})
	b := newBench(t, pb, "")
	s := b.ask("/api/v1/modbus/scan", api.ModbusScan{
		SerialPlace: api.SerialPlace{Port: byID}, SerialSettings: api.SerialSettings{Settings: "19200 8E1"}, Units: "3-6", Timeout: answersWithin,
	})
	if first := until(s, "the first line", func(api.ModbusScanned) bool { return true }); first.Of != 4 || first.Paused != "" {
		t.Errorf("%+v", first)
	}
	until(s, "unit 3", func(m api.ModbusScanned) bool {
		return m.Phase == modbusin.ScanUnits && m.Found != nil && m.Found.Unit == 3
	})
	until(s, "its registers", func(m api.ModbusScanned) bool {
		return m.Phase == modbusin.ScanRegisters && m.Found != nil && len(m.Found.Runs) == 1
	})
	found := until(s, "the result", func(m api.ModbusScanned) bool { return m.Result != nil }).Result
	if len(found.Found) != 3 || found.Asked != 4 || found.Found[0].Runs[0].Last != 39 || found.Found[0].Runs[0].Values[1] != 301 {
		t.Errorf("%+v", found)
	}
	cfg, err := Parse("proposal", []byte(found.TOML))
	if err != nil || len(cfg.Ingest.Modbus) != 1 || len(cfg.Modbus.Maps) != 1 {
		t.Fatalf("%v in\n%s", err, found.TOML)
	}
	bus := cfg.Ingest.Modbus[0]
	if bus.URL != "rtu:"+byID || bus.Baud != 19200 || bus.Parity != "even" || len(bus.Slaves) != 2 || bus.Slaves[1].Map != "unit-3" || len(cfg.Modbus.Maps[0].Registers) != proposedOfRun {
		t.Errorf("%+v", cfg.Ingest.Modbus)
	}
	if !strings.Contains(found.TOML, "# unit 4 answers, and has none of the registers") {
		t.Errorf("nothing of unit 4 in\n%s", found.TOML)
	}
	b.isFree()
	var report api.SerialReport
	b.get("/api/v1/serial/report?port="+byID, &report)
	if report.Scanned == nil || report.Scanned.Settings != "19200 8E1" || len(report.Scanned.Found.Found) != 3 {
		t.Errorf("%+v", report.Scanned)
	}
}

// hall is a bus with one slave that is polled, of two that are there.
func hall(t *testing.T) (*bench, string) {
	pb := newPortBench(t)
	device, _ := pb.plug("ttyUSB0", "ONE")
	pb.slaves("ttyUSB0", map[byte]int{3: 40, 4: 5})
	return newBench(t, pb, fmt.Sprintf(`[[modbus.map]]
name = "meter"
[[modbus.map.register]]
metric = "power"
address = 1
[[ingest.modbus]]
name = "hall"
url = "rtu:%s"
baud = 115200
[[ingest.modbus.slave]]
unit = 3
device = "meter-3"
map = "meter"
interval = "50ms"
`, device)), device
}

// polls is how many readings the bus has brought.
func (b *bench) polls() uint64 { return b.gateway.status().Doors[0].Readings }

func (b *bench) polled() {
	b.Helper()
	before := b.polls()
	b.eventually("the bus is polled", func() bool { return b.polls() > before+2 })
}

func TestAScanOfAPolledBusLetsItsDoorPause(t *testing.T) {
	b, device := hall(t)
	b.polled()
	for _, place := range []api.SerialPlace{{Port: device}, {Door: "modbus:hall"}} {
		s := b.ask("/api/v1/modbus/scan", api.ModbusScan{SerialPlace: place})
		if no := refusal[api.ModbusScanned](s); s.status != http.StatusConflict || !strings.Contains(no, "modbus:hall reads this port") || !strings.Contains(no, "let the door pause") {
			t.Errorf("%d %s", s.status, no)
		}
	}
	s := b.ask("/api/v1/modbus/scan", api.ModbusScan{SerialPlace: api.SerialPlace{Door: "modbus:hall", Pause: true}, First: 3, Last: 6, Timeout: answersWithin})
	if first := until(s, "the first line", func(api.ModbusScanned) bool { return true }); first.Paused != "modbus:hall" {
		t.Errorf("%+v", first)
	}
	paused := b.polls()
	until(s, "unit 5", func(m api.ModbusScanned) bool { return m.Unit == 5 })
	if st := b.gateway.status().Doors[0]; st.State != pausedState || st.Readings != paused {
		t.Errorf("it goes on meanwhile: %+v", st)
	}
	found := until(s, "the result", func(m api.ModbusScanned) bool { return m.Result != nil }).Result
	if len(found.Found) != 2 || found.Found[0].Device != "meter-3" || found.Found[1].Device != "" {
		t.Errorf("%+v", found)
	}
	if strings.Contains(found.TOML, "[[ingest.modbus]]") || strings.Contains(found.TOML, "unit = 3") || !strings.Contains(found.TOML, "unit = 4") || !strings.HasPrefix(found.TOML, "# at the end of the file, they are slaves of the bus hall") {
		t.Errorf("proposed\n%s", found.TOML)
	}
	cfg, err := Parse("both", []byte(b.text+"\n"+found.TOML))
	if err != nil || len(cfg.Ingest.Modbus[0].Slaves) != 2 || cfg.Ingest.Modbus[0].Slaves[1].Unit != 4 {
		t.Errorf("%v of\n%s", err, found.TOML)
	}
	b.isFree()
	b.polled()
	var report api.SerialReport
	b.get("/api/v1/serial/report?port="+device, &report)
	if d := report.Door; d == nil || d.State != "runs" || len(d.Readings) == 0 || d.Readings[0].Metric != "power" {
		t.Errorf("%+v", d)
	}
}

func TestAScanEndsWithWhoAskedForItAndTheDoorGoesOn(t *testing.T) {
	b, device := hall(t)
	s := b.ask("/api/v1/modbus/scan", api.ModbusScan{SerialPlace: api.SerialPlace{Port: device, Pause: true}, First: 3, Last: 9, Timeout: answersWithin})
	until(s, "unit 5", func(m api.ModbusScanned) bool { return m.Unit == 5 })
	s.end()
	b.isFree()
	b.polled()
}

func TestScanCommand(t *testing.T) {
	b, device := hall(t)
	config := filepath.Join(b.root, "c.toml")
	b.must(os.WriteFile(config, []byte(fmt.Sprintf("[gateway]\ndata_dir = %q\n[[modbus.map]]\nname = \"m\"\n[[modbus.map.register]]\nmetric = \"x\"\naddress = 0\n[[ingest.modbus]]\nname = \"hall\"\nurl = \"rtu:%s\"\n[[ingest.modbus.slave]]\nunit = 3\ndevice = \"d\"\nmap = \"m\"\n",
		filepath.Join(b.root, "data"), device)), 0o600))
	scan := func(args ...string) (int, string, string) {
		var out, said bytes.Buffer
		code := Main(append([]string{"scan", "-config", config, "-timeout", fmt.Sprint(answersWithin, "ms")}, args...), &out, &said)
		return code, out.String(), said.String()
	}
	if code, out, said := scan("modbus:hall"); code != exitFailure || !strings.Contains(said, "let the door pause") {
		t.Errorf("%d: %s%s", code, out, said)
	}
	code, out, said := scan("-pause", "-units", "3-5", "-addresses", "0-99", "modbus:hall")
	for _, want := range []string{"unit 3, ", "configured as meter-3", "holding 0 to 39: 300 301", "2 slaves of 3 units answered", "unit = 4"} {
		if code != exitOK || !strings.Contains(out, want) {
			t.Errorf("%d: no %q in\n%s%s", code, want, out, said)
		}
	}
	if !strings.Contains(said, "modbus:hall pauses meanwhile") || !strings.Contains(said, "unit 4 answers\n") {
		t.Errorf("%s", said)
	}
	for want, args := range map[string][]string{
		"-units: ":        {"-units", "x", device},
		"-addresses: ":    {"-addresses", "0-y", device},
		"is no speed":     {"-baud", "x", device},
		"is no table":     {"-tables", "x", "tcp://127.0.0.1:1"},
		"units 5 to 4":    {"-units", "5-4", "tcp://127.0.0.1:1"},
		"is no url":       {"rtu+tcp://"},
		"which port?":     {},
		"a limit of 24h0": {"-for", "24h", "tcp://127.0.0.1:1"},
	} {
		if code, _, said := scan(args...); code != exitUsage || !strings.Contains(said, want) {
			t.Errorf("%v ended with %d: %s", args, code, said)
		}
	}
}

// A bus without a gateway is scanned by the command itself.
func TestScanCommandWithoutAGateway(t *testing.T) {
	pb := newPortBench(t)
	device, _ := pb.plug("ttyUSB0", "ONE")
	pb.slaves("ttyUSB0", map[byte]int{2: 4})
	var out, said bytes.Buffer
	if code := Main([]string{"scan", "-units", "2-3", "-baud", "115200", "-timeout", fmt.Sprint(answersWithin, "ms"), "-json", device}, &out, &said); code != exitOK || !strings.Contains(out.String(), `"unit": 2`) {
		t.Errorf("%d: %s%s", code, &out, &said)
	}
	out.Reset()
	if code := Main([]string{"scan", "-units", "5", "-baud", "115200", "-timeout", "30ms", device}, &out, &said); code != exitFailure || !strings.Contains(out.String(), "nobody answers\n    hint: ") {
		t.Errorf("%d: %s%s", code, &out, &said)
	}
}

// What was found on a network is proposed with its address.
func TestAScanOverTheNetwork(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	b := newBench(t, newPortBench(t), "")
	go func() {
		conn, err := l.Accept()
		for q := make([]byte, 12); err == nil; {
			if _, err = io.ReadFull(conn, q); err != nil {
				break
			}
			if answer := answerTo(q[6:], map[byte]int{2: 9}); answer != nil {
				_, err = conn.Write(append([]byte{q[0], q[1], 0, 0, 0, byte(len(answer))}, answer...))
			}
		}
	}()
	s := b.ask("/api/v1/modbus/scan", api.ModbusScan{URL: "tcp://" + l.Addr().String(), First: 2, Last: 3, To: 20, Timeout: answersWithin})
	found := until(s, "the result", func(m api.ModbusScanned) bool { return m.Result != nil }).Result
	cfg, err := Parse("proposal", []byte(found.TOML))
	if err != nil || len(cfg.Ingest.Modbus) != 1 || !strings.HasPrefix(cfg.Ingest.Modbus[0].URL, "tcp://127.0.0.1:") {
		t.Errorf("%v in\n%s of %+v", err, found.TOML, found)
	}
	for want, ask := range map[string]api.ModbusScan{
		"both an url and a port": {URL: "tcp://127.0.0.1:1", SerialPlace: api.SerialPlace{Port: "/dev/ttyS0"}},
		"is no url":              {URL: "http://x"},
		"units: ":                {URL: "tcp://127.0.0.1:1", Units: "x"},
		"settings \"x\"":         {URL: "tcp://127.0.0.1:1", SerialSettings: api.SerialSettings{Settings: "x"}},
		"unit 300":               {URL: "tcp://127.0.0.1:1", Last: 300},
		"address 40001000":       {URL: "tcp://127.0.0.1:1", To: 40001000},
	} {
		s := b.ask("/api/v1/modbus/scan", ask)
		if no := refusal[api.ModbusScanned](s); s.status != http.StatusBadRequest || !strings.Contains(no, want) || !strings.Contains(no, " — hint: ") {
			t.Errorf("%s: %d %s", want, s.status, no)
		}
	}
}

// What is found is the same whatever way it is put.
func TestProposalsOfBusesParse(t *testing.T) {
	w := newWorkbench(newPortBench(t).Host, noGateway{Default()})
	runs := []api.ModbusRun{{Table: "holding", First: 0, Last: 300, Values: []uint16{1, 2}}, {Table: "coil", First: 65530, Last: 65535}, {Table: "input", First: 7, Last: 7}, {Table: "discrete", First: 0, Last: 1}}
	slaves := []api.ModbusSlave{{Unit: 1, Runs: runs}, {Unit: 247, Runs: runs[:1]}, {Unit: 9}, {Unit: 8, Runs: append(append(runs, runs[0]), runs...)[:4]}}
	for _, url := range []string{"rtu:/dev/ttyS1", "tcp://192.0.2.7:502", "rtu+tcp://[2001:db8::1]:4001"} {
		at := workplace{}
		at.config.Path = strings.TrimPrefix(url, "rtu:")
		text := w.busProposal(slaves, at, url, nil)
		cfg, err := Parse("proposal", []byte(text))
		if err != nil || len(cfg.Ingest.Modbus) != 1 || len(cfg.Ingest.Modbus[0].Slaves) != 3 || len(cfg.Modbus.Maps) != 2 {
			t.Errorf("%s: %v in\n%s", url, err, text)
		}
		if n := len(cfg.Modbus.Maps[0].Registers); n > proposedOfAll {
			t.Errorf("%d registers", n)
		}
	}
}

// An adapter that is pulled leaves what was found before.
func TestAScanTellsWhatItHasFoundWhenTheAdapterIsPulled(t *testing.T) {
	pb := newPortBench(t)
	device, _ := pb.plug("ttyUSB0", "ONE")
	pb.slaves("ttyUSB0", map[byte]int{2: 40})
	b := newBench(t, pb, "")
	s := b.ask("/api/v1/modbus/scan", api.ModbusScan{SerialPlace: api.SerialPlace{Port: device}, First: 2, Last: 9, Timeout: answersWithin})
	until(s, "unit 3", func(m api.ModbusScanned) bool { return m.Unit == 3 })
	pb.unplug("ttyUSB0", "ONE")
	found := until(s, "the result", func(m api.ModbusScanned) bool { return m.Result != nil }).Result
	if len(found.Found) != 1 || found.Found[0].Unit != 2 || !strings.Contains(strings.Join(found.Advice, "\n"), "not all was looked at: ") {
		t.Errorf("%+v", found)
	}
	b.isFree()
}

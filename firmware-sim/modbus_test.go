package firmwaresim

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// slavesOn opens slaves and lets them answer until the test ends.
func slavesOn(t *testing.T, cfg ModbusConfig, ledger *Ledger) *ModbusSlaves {
	t.Helper()
	s, err := OpenModbusSlaves(cfg, ledger)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return s
}

func dialSlaves(t *testing.T, s *ModbusSlaves) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	return conn
}

// ask sends bytes and reads so many back.
func ask(t *testing.T, line io.ReadWriter, request []byte, n int) []byte {
	t.Helper()
	if _, err := line.Write(request); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, n)
	if got, err := io.ReadFull(line, answer); err != nil {
		t.Fatalf("%v after % X", err, answer[:got])
	}
	return answer
}

func TestSlavesAnswerAsTheSpecificationSays(t *testing.T) {
	s := slavesOn(t, ModbusConfig{Listen: "127.0.0.1:0", First: 17}, nil)
	conn := dialSlaves(t, s)
	for _, c := range []struct{ request, answer string }{
		{"0001 0000 0006 11 03 000E 0001", "0001 0000 0005 11 03 02 0011"},
		{"FFFF 0000 0006 11 04 000E 0001", "FFFF 0000 0005 11 04 02 0011"},
		{"0002 0000 0006 11 03 000F 0002", "0002 0000 0003 11 83 02"},
		{"0002 0000 0006 11 03 FFFF 0001", "0002 0000 0003 11 83 02"},
		{"0003 0000 0006 11 03 0000 0000", "0003 0000 0003 11 83 03"},
		{"0003 0000 0006 11 03 0000 007E", "0003 0000 0003 11 83 03"},
		{"0004 0000 0005 11 03 0000 01", "0004 0000 0003 11 83 03"},
		{"0005 0000 0006 11 06 0000 0001", "0005 0000 0003 11 86 01"},
		{"0006 0000 0006 11 01 0002 000A", "0006 0000 0005 11 01 02 00 00"},
		{"0007 0000 0006 11 02 0010 0001", "0007 0000 0003 11 82 02"},
		{"0007 0000 0006 11 02 0000 07D1", "0007 0000 0003 11 82 03"},
		{"0009 0000 0006 12 03 0000 0001 000A 0000 0006 11 03 000E 0001", "000A 0000 0005 11 03 02 0011"}, // no unit 18
	} {
		want := bytesOf(t, c.answer)
		if got := ask(t, conn, bytesOf(t, c.request), len(want)); !bytes.Equal(got, want) {
			t.Errorf("%s is answered with % X, want %s", c.request, got, c.answer)
		}
	}
	if got := s.Stats(); got.Requests != 12 || got.Exceptions != 8 {
		t.Errorf("%+v", got)
	}
}

func TestRegistersInEveryWordOrder(t *testing.T) {
	want := map[WordOrder][4]byte{ABCD: {0, 0x10, 0, 1}, CDAB: {0, 1, 0, 0x10}, BADC: {0x10, 0, 1, 0}, DCBA: {1, 0, 0x10, 0}}
	for _, order := range WordOrders() {
		s := slavesOn(t, ModbusConfig{Listen: "127.0.0.1:0", Order: order, Seed: 1}, nil)
		got := ask(t, dialSlaves(t, s), bytesOf(t, "0001 0000 0006 01 04 0000 0010"), 9+32)[9:]
		w := want[order]
		if !bytes.Equal(got[:4], w[:]) {
			t.Errorf("%s: the counter is % X, want % X", order, got[:4], w)
		}
		temp := make([]byte, 4) // back to abcd
		for i, c := range order {
			temp[c-'a'] = got[12+i]
		}
		float := math.Float32frombits(binary.BigEndian.Uint32(temp))
		if want := float32(int16(binary.BigEndian.Uint16(got[4:]))) / 100; float != want {
			t.Errorf("%s: %v is not %v", order, float, want)
		}
	}
}

// Every sample that a master could read is in the ledger, and no counter is read
// twice.
func TestALedgerHasEveryCounterThatASlaveShowed(t *testing.T) {
	ledger := NewLedger()
	s := slavesOn(t, ModbusConfig{Listen: "127.0.0.1:0", Units: 2}, ledger)
	conn := dialSlaves(t, s)
	for i := range 5 {
		seq := binary.BigEndian.Uint32(ask(t, conn, bytesOf(t, "0001 0000 0006 02 03 0000 0002"), 13)[9:])
		ask(t, conn, bytesOf(t, "0001 0000 0006 02 03 0002 0002"), 13)
		if seq != uint32(2<<20+1+i) {
			t.Errorf("sample %d has the counter %d", i, seq)
		}
	}
	if sent := ledger.Account("mb-0002").sent; sent.count != 5 || !sent.has(2<<20+5) {
		t.Errorf("%+v", sent)
	}
	export := `{"gateway":"g","epoch":"1","lane":"normal","seq":1,"device":"mb-0002","metric":"seq","value":2097153}
{"gateway":"g","epoch":"1","lane":"normal","seq":2,"device":"mb-0002","metric":"seq","value":1048577}`
	if v, err := Audit(ledger, strings.NewReader(export)); err != nil || v.Invented != 1 {
		t.Errorf("a value of another unit is not found: %v, %v", v, err)
	}
	slow := slavesOn(t, ModbusConfig{Listen: "127.0.0.1:0", Every: time.Hour}, nil)
	conn = dialSlaves(t, slow)
	first := ask(t, conn, bytesOf(t, "0001 0000 0006 01 03 0000 0010"), 41)
	if again := ask(t, conn, bytesOf(t, "0001 0000 0006 01 03 0000 0010"), 41); !bytes.Equal(first, again) {
		t.Errorf("% X, then % X within the hour", first, again)
	}
}

// rtu adds the CRC to a request.
func rtu(t *testing.T, text string) []byte {
	t.Helper()
	b := bytesOf(t, text)
	return appendRTU(nil, b[0], b[1:])
}

func TestFaultsOnALine(t *testing.T) {
	request, want := "01 03 000E 0001", "01 03 02 0001"
	for name, c := range map[string]struct {
		faults SlaveFaults
		check  func(t *testing.T, line net.Conn)
	}{
		"none": {SlaveFaults{}, func(t *testing.T, line net.Conn) {
			noise := append(bytesOf(t, "00 FF 01 03"), rtu(t, request)...)
			if got := ask(t, line, noise, 7); !bytes.Equal(got, rtu(t, want)) {
				t.Errorf("% X", got)
			}
			if got := ask(t, line, rtu(t, "01 10 0000 0001 02 0007"), 5); !bytes.Equal(got, rtu(t, "01 90 01")) {
				t.Errorf("a request to write is answered with % X", got)
			}
		}},
		"echo": {SlaveFaults{Echo: true}, func(t *testing.T, line net.Conn) {
			if got := ask(t, line, rtu(t, request), 15); !bytes.Equal(got, append(rtu(t, request), rtu(t, want)...)) {
				t.Errorf("% X", got)
			}
		}},
		"corrupt": {SlaveFaults{Corrupt: 1}, func(t *testing.T, line net.Conn) {
			if got := ask(t, line, rtu(t, request), 7); validRTU(got) {
				t.Errorf("% X", got)
			}
		}},
		"wrongunit": {SlaveFaults{WrongUnit: 1}, func(t *testing.T, line net.Conn) {
			if got := ask(t, line, rtu(t, request), 7); !validRTU(got) || got[0] != 2 {
				t.Errorf("% X", got)
			}
		}},
		"exception": {SlaveFaults{Exception: 1}, func(t *testing.T, line net.Conn) {
			if got := ask(t, line, rtu(t, request), 5); !bytes.Equal(got, rtu(t, "01 83 04")) {
				t.Errorf("% X", got)
			}
		}},
		"noise": {SlaveFaults{Noise: 1}, func(t *testing.T, line net.Conn) {
			ask(t, line, rtu(t, request), 8)
		}},
		"dead": {SlaveFaults{Dead: []byte{1}}, func(t *testing.T, line net.Conn) {
			got := ask(t, line, append(rtu(t, request), rtu(t, "02 03 000E 0001")...), 7)
			if got[0] != 2 {
				t.Errorf("% X", got)
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s := slavesOn(t, ModbusConfig{Listen: "127.0.0.1:0", RTUOverTCP: true, Units: 2, Faults: c.faults}, nil)
			c.check(t, dialSlaves(t, s))
		})
	}
	s := slavesOn(t, ModbusConfig{Listen: "127.0.0.1:0", Faults: SlaveFaults{Corrupt: 1}}, nil)
	if got := ask(t, dialSlaves(t, s), bytesOf(t, "0001 0000 0006 01 03 000E 0001"), 11); got[0] == 0 && got[1] == 1 || got[10] != 1 {
		t.Errorf("% X: not another transaction", got)
	}
}

func TestSlowAnswersWaitForEachOtherAndLateOnesDoNot(t *testing.T) {
	const long = 50 * time.Millisecond
	both := append(rtu(t, "01 03 000E 0001"), rtu(t, "02 03 000E 0001")...)
	for want, faults := range map[time.Duration]SlaveFaults{
		long:     {Late: 1, LateBy: long},
		2 * long: {Slow: 1, SlowBy: long},
	} {
		s := slavesOn(t, ModbusConfig{Listen: "127.0.0.1:0", RTUOverTCP: true, Units: 2, Faults: faults}, nil)
		began := time.Now()
		ask(t, dialSlaves(t, s), both, 14)
		if took := time.Since(began); took < want {
			t.Errorf("%v: the answers came after %v, before %v", faults, took, want)
		}
	}
	// What is late does not hold up the other unit.
	s := slavesOn(t, ModbusConfig{Listen: "127.0.0.1:0", RTUOverTCP: true, Units: 2, Faults: SlaveFaults{Late: .5, LateBy: time.Hour}}, nil)
	conn := dialSlaves(t, s)
	for range 64 {
		if _, err := conn.Write(both); err != nil {
			t.Fatal(err)
		}
	}
	ask(t, conn, nil, 7)
	eventually(t, func() bool { st := s.Stats(); return st.Requests == 128 && st.Late > 0 && st.Late < 128 })
}

func TestSlaveFaultsHaveATextForm(t *testing.T) {
	const all = "slow 10%x300ms, late 5%x2s, corrupt 1%, exception 2%, wrongunit 1%, noise 1%, stuck 10%, echo, dead 3, dead 5"
	f, err := ParseSlaveFaults(all)
	if err != nil || f.String() != all || !f.dead(5) || f.dead(4) {
		t.Errorf("%q, %v", f, err)
	}
	for text, want := range map[string]string{
		"dead": "is no fault", "dead 248": "they are 1 to 247", "dead 0": "they are 1 to 247", "slow 10%": "no duration", "split": "is no fault",
	} {
		if _, err := ParseSlaveFaults(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	for want, cfg := range map[string]ModbusConfig{
		"an address or a port": {}, "they are 1 to 247": {Listen: "x", First: 240, Units: 9}, "is no speed": {Link: "x", Baud: 1},
		"is not one of": {Listen: "x", Order: "aabb"}, "of serial lines": {Listen: "x", Faults: SlaveFaults{Echo: true}},
	} {
		if _, err := OpenModbusSlaves(cfg, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// mbpoll and pymodbus are masters that others have written.
func TestMbpollReadsTheSlaves(t *testing.T) {
	mbpoll, err := exec.LookPath("mbpoll")
	if err != nil {
		t.Skip("needs mbpoll")
	}
	link := filepath.Join(t.TempDir(), "ttyBUS")
	s := slavesOn(t, ModbusConfig{Listen: "127.0.0.1:0", Link: link, Baud: 19200, Units: 3}, nil)
	_, port, _ := net.SplitHostPort(s.Addr())
	for name, where := range map[string][]string{
		"tcp": {"-m", "tcp", "-p", port, "127.0.0.1"},
		"rtu": {"-m", "rtu", "-b", "19200", "-P", "none", link},
	} {
		t.Run(name, func(t *testing.T) {
			args := append([]string{"-a", "3", "-0", "-1", "-r", "14", "-c", "1", "-o", "5"}, where...)
			if out, err := exec.Command(mbpoll, args...).CombinedOutput(); err != nil || !strings.Contains(string(out), "[14]: \t3") {
				t.Errorf("%v: %s", err, out)
			}
			args = append([]string{"-a", "2", "-0", "-1", "-r", "0", "-c", "1", "-t", "3:int", "-B", "-o", "5"}, where...)
			if out, err := exec.Command(mbpoll, args...).CombinedOutput(); err != nil || !strings.Contains(string(out), "[0]: \t20971") {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
}

const pymodbusMaster = `
import sys
from pymodbus.client import ModbusTcpClient, ModbusSerialClient
from pymodbus.payload import BinaryPayloadDecoder
from pymodbus.constants import Endian
if sys.argv[1] == "tcp":
    client = ModbusTcpClient("127.0.0.1", port=int(sys.argv[2]))
else:
    client = ModbusSerialClient(sys.argv[2], baudrate=115200, timeout=5)
assert client.connect()
r = client.read_input_registers(0, 16, slave=2)
d = BinaryPayloadDecoder.fromRegisters(r.registers, byteorder=Endian.Big, wordorder=Endian.Little)
seq, temp = d.decode_32bit_uint(), d.decode_16bit_int()
d.skip_bytes(6)
print(seq, temp, round(d.decode_32bit_float() * 100), d.decode_32bit_int() // 10000)
print(client.read_discrete_inputs(2, 3, slave=1).bits[:3])
print(client.read_holding_registers(16, 1, slave=1).exception_code)
client.close()
`

func TestPymodbusReadsTheSlaves(t *testing.T) {
	const python = "/usr/bin/python3"
	if out, err := exec.Command(python, "-c", "import pymodbus.client, serial").CombinedOutput(); err != nil {
		t.Skipf("needs Debian's python3-pymodbus and python3-serial: %s", out)
	}
	link := filepath.Join(t.TempDir(), "ttyBUS")
	s := slavesOn(t, ModbusConfig{Listen: "127.0.0.1:0", Link: link, Baud: 115200, Units: 2, Order: CDAB}, nil)
	_, port, _ := net.SplitHostPort(s.Addr())
	for i, where := range [][2]string{{"tcp", port}, {"rtu", link}} {
		cmd := exec.Command(python, "-c", pymodbusMaster, where[0], where[1])
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		var seq, temp, float, pressure int
		fmt.Sscan(string(out), &seq, &temp, &float, &pressure)
		if err != nil || seq != 2<<20+1+i || temp == 0 || temp != float || pressure < 9 || pressure > 10 ||
			!strings.HasSuffix(string(out), "[False, False, False]\n2\n") {
			t.Errorf("%s: %v: %s", where[0], err, out)
		}
	}
}

func TestSlavesThatAreStuckStillCount(t *testing.T) {
	s := slavesOn(t, ModbusConfig{Listen: "127.0.0.1:0", Faults: SlaveFaults{Stuck: 1}}, nil)
	conn := dialSlaves(t, s)
	first := ask(t, conn, bytesOf(t, "0001 0000 0006 01 03 0000 000C"), 33)[9:]
	again := ask(t, conn, bytesOf(t, "0001 0000 0006 01 03 0000 000C"), 33)[9:]
	if bytes.Equal(first[:4], again[:4]) || !bytes.Equal(first[4:], again[4:]) {
		t.Errorf("% X, then % X", first, again)
	}
}

func FuzzParseSlaveFaults(f *testing.F) {
	f.Add("slow 10%x300ms, late 5%x2s, corrupt 1%, echo, dead 3, dead 5")
	f.Fuzz(func(t *testing.T, text string) {
		faults, err := ParseSlaveFaults(text)
		if err != nil {
			return
		}
		if again, err := ParseSlaveFaults(faults.String()); err != nil || again.String() != faults.String() {
			t.Fatalf("%q is %q, which is %q, %v", text, faults, again, err)
		}
	})
}

func FuzzCutRTU(f *testing.F) {
	f.Add([]byte("\x01\x03\x00\x0e\x00\x01\xe5\xc9"))
	f.Add([]byte("\xff\x01\x03\x00\x0e\x00\x01\xe5\xc9\x01\x03"))
	f.Fuzz(func(t *testing.T, b []byte) {
		request, rest := cutRTU(b)
		if request == nil {
			if !bytes.Equal(rest, b) {
				t.Fatalf("% X became % X", b, rest)
			}
			return
		}
		if !validRTU(request) || !bytes.HasSuffix(b, append(append([]byte(nil), request...), rest...)) {
			t.Fatalf("% X and % X out of % X", request, rest, b)
		}
	})
}

func FuzzTCPRequest(f *testing.F) {
	f.Add([]byte("\x00\x01\x00\x00\x00\x06\x11\x03\x00\x0e\x00\x01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		q, err := readTCP(bytes.NewReader(b))
		if err != nil {
			return
		}
		if len(q.pdu) == 0 || len(q.pdu) > maxADU {
			t.Fatalf("%d bytes", len(q.pdu))
		}
		u := unit{device: NewDevice(1, 1, JSON4, true), account: NewLedger().Account("u"), order: ABCD}
		if answer := u.request(q.pdu); len(answer) < 2 || len(answer) > maxADU-3 {
			t.Fatalf("% X is answered with % X", q.pdu, answer)
		}
	})
}

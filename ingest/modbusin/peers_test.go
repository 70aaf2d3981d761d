package modbusin

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/ingest/ingesttest"
	"github.com/tidegate/tidegate/internal/base/porttest"
	"github.com/tidegate/tidegate/internal/scalar"
	"github.com/tidegate/tidegate/internal/serialport"
	"github.com/tidegate/tidegate/reading"
)

// Slaves and masters that others have written are the ones that count.

// python is the interpreter that Debian's python3-pymodbus is installed for.
const python = "/usr/bin/python3"

// start runs a program until the test ends, once it has printed the line.
func start(t *testing.T, ready string, name string, args ...string) *os.Process {
	t.Helper()
	cmd := exec.Command(name, args...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Skipf("%s is not installed: %v", name, err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	if ready == "" {
		return cmd.Process
	}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if lines.Text() == ready {
			return cmd.Process
		}
	}
	t.Fatalf("%s ended before it was ready", name)
	return nil
}

func needPymodbus(t *testing.T) {
	t.Helper()
	out, err := exec.Command(python, "-c", "import pymodbus, serial_asyncio; print(pymodbus.__version__)").Output()
	if err != nil || !strings.HasPrefix(string(out), "3.0") {
		t.Skipf("needs Debian's python3-pymodbus 3.0, python3-serial and python3-serial-asyncio: %q, %v", out, err)
	}
}

// wires makes a pair of pseudo terminals that are connected like two ends of a
// cable.
func wires(t *testing.T) (ours, theirs string) {
	t.Helper()
	ours, theirs, _ = cable(t)
	return ours, theirs
}

// cable is wires that can be pulled, by ending the process.
func cable(t *testing.T) (ours, theirs string, socat *os.Process) {
	t.Helper()
	if _, err := exec.LookPath("socat"); err != nil {
		t.Skip("needs socat")
	}
	dir := t.TempDir()
	ours, theirs = filepath.Join(dir, "ours"), filepath.Join(dir, "theirs")
	socat = start(t, "", "socat", "pty,raw,echo=0,link="+ours, "pty,raw,echo=0,link="+theirs)
	for _, link := range []string{ours, theirs} {
		eventually(t, link+" is there", func() bool { _, err := os.Stat(link); return err == nil })
	}
	return ours, theirs, socat
}

// pymodbus starts slaves 1 and 2 and returns the url of their bus.
func pymodbus(t *testing.T, scheme string) string {
	t.Helper()
	needPymodbus(t)
	if scheme == "rtu" {
		ours, theirs := wires(t)
		start(t, "ready", python, "testdata/peers/slave.py", "rtu:"+theirs)
		return "rtu:" + ours
	}
	address := porttest.For(t)
	_, port, _ := net.SplitHostPort(address)
	start(t, "ready", python, "testdata/peers/slave.py", scheme+":"+port)
	eventually(t, "pymodbus listens", func() bool {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	return scheme + "://" + address
}

// TestPymodbusIsUnderstood reads every table of an independent slave, with a
// register that it does not have among its neighbours, and a unit that is not
// there.
func TestPymodbusIsUnderstood(t *testing.T) {
	for _, scheme := range []string{"tcp", "rtu", "rtu+tcp"} {
		t.Run(scheme, func(t *testing.T) {
			cfg := Config{URL: pymodbus(t, scheme)}
			cfg.Serial.Baud = 115200
			for unit := byte(1); unit <= 2; unit++ {
				slave := words(unit, upTo(20)...)
				slave.Timeout, slave.Probe = ingesttest.Patience, time.Hour
				slave.Registers = append(slave.Registers,
					Register{Metric: "abcd", Table: Input, Address: 0, Format: Format{Type: "f32"}},
					Register{Metric: "cdab", Table: Input, Address: 2, Format: Format{Type: "f32", Order: scalar.MidLittle}},
					Register{Metric: "coil9", Table: Coil, Address: 9},
					Register{Metric: "coil10", Table: Coil, Address: 10},
					Register{Metric: "discrete12", Table: Discrete, Address: 12},
				)
				cfg.Slaves = append(cfg.Slaves, slave)
			}
			s := run(t, cfg)
			rs := s.custody.Taken(t, 3*2*24)
			if err := s.stop(); err != nil {
				t.Error(err)
			}
			var plain []reading.Reading
			other := make(map[string]reading.Value)
			for _, r := range rs {
				if r.Metric[0] == 'w' {
					plain = append(plain, r)
				} else {
					other[r.Metric] = r.Value
				}
			}
			must(t, plain)
			want := map[string]reading.Value{
				"abcd": reading.Float(21.37), "cdab": reading.Float(21.37),
				"coil9": reading.Bool(true), "coil10": reading.Bool(false), "discrete12": reading.Bool(true),
			}
			for metric, v := range want {
				if other[metric] != v {
					t.Errorf("%s is %v, want %v", metric, other[metric], v)
				}
			}
			for _, st := range s.Stats().Slaves {
				if st.Bad != 1 || len(st.Errors) != 1 || st.Errors["illegal data address"] == 0 {
					t.Errorf("%+v", st)
				}
			}
		})
	}
}

// TestAPortThatGoesAwayEndsTheRun at once, so that it can be opened again under
// its name.
func TestAPortThatGoesAwayEndsTheRun(t *testing.T) {
	ours, theirs, socat := cable(t)
	p := &puppet{rtu: true}
	l, err := (&Source{kind: RTU, address: theirs}).dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go p.serve(lineConn{l})
	slave := words(1, 0)
	slave.Status, slave.Timeout, slave.Every = "up", ingesttest.Patience, 10*time.Millisecond
	cfg := Config{URL: "rtu:" + ours, Slaves: []Slave{slave}}
	custody := ingesttest.NewCustody()
	s, err := New(cfg, quietLog())
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Run(t.Context(), ingest.NewIntake(custody, nil, time.Now)) }()
	custody.Taken(t, 3)
	socat.Kill()
	select {
	case err := <-ended:
		if !errors.Is(err, serialport.ErrGone) {
			t.Errorf("%v", err)
		}
	case <-time.After(ingesttest.Patience):
		t.Fatal("it is still polling")
	}
	rs := custody.Taken(t, 0)
	if last := rs[len(rs)-1]; last.Metric != "up" || last.Value != reading.Bool(false) {
		t.Errorf("%+v", last)
	}
}

// TestMbpollAgreesWithOurSlave lets an independent master read the puppet that
// stands for all slaves in the other tests: what it answers is Modbus.
func TestMbpollAgreesWithOurSlave(t *testing.T) {
	mbpoll, err := exec.LookPath("mbpoll")
	if err != nil {
		t.Skip("needs mbpoll")
	}
	line := regexp.MustCompile(`(?m)^\[(\d+)\]:\s+(\d+)`)
	poll := func(t *testing.T, args ...string) (n int) {
		out, err := exec.Command(mbpoll, append([]string{"-0", "-1", "-a", "7", "-o", "10", "-r", "100", "-c", "30"}, args...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		for _, m := range line.FindAllStringSubmatch(string(out), -1) {
			var address, got uint16
			fmt.Sscan(m[1], &address)
			fmt.Sscan(m[2], &got)
			want := word(7, address)
			if strings.Contains(string(out), "coil") || strings.Contains(string(out), "discrete input") {
				want = 0
				if bit(address) {
					want = 1
				}
			}
			if got != want {
				t.Errorf("%v: [%d] is %d, want %d", args, address, got, want)
			}
			n++
		}
		return n
	}
	p := &puppet{}
	host, port, _ := net.SplitHostPort(p.listen(t))
	for _, table := range []string{"0", "1", "3", "4"} {
		if n := poll(t, "-m", "tcp", "-p", port, "-t", table, host); n != 30 {
			t.Errorf("table %s: %d values", table, n)
		}
	}
	ours, theirs := wires(t)
	serial := &puppet{rtu: true}
	l, err := (&Source{kind: RTU, address: ours, cfg: Config{}}).dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go serial.serve(lineConn{l})
	for _, table := range []string{"0", "1", "3", "4"} {
		if n := poll(t, "-m", "rtu", "-b", "9600", "-P", "none", "-t", table, theirs); n != 30 {
			t.Errorf("table %s over a serial line: %d values", table, n)
		}
	}
}

// lineConn lets a puppet serve a line.
type lineConn struct{ line }

func (c lineConn) Read(b []byte) (int, error) {
	for {
		if n, err := c.line.ReadTimeout(b, time.Hour); n > 0 || err != nil {
			return n, err
		}
	}
}
func (lineConn) LocalAddr() net.Addr              { return nil }
func (lineConn) RemoteAddr() net.Addr             { return nil }
func (lineConn) SetDeadline(time.Time) error      { return nil }
func (lineConn) SetReadDeadline(time.Time) error  { return nil }
func (lineConn) SetWriteDeadline(time.Time) error { return nil }

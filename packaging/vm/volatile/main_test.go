package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/tidegate/tidegate/internal/rerun"
)

// TestMain is the program itself when a test starts it as a process.
func TestMain(m *testing.M) {
	if os.Getenv("VOLATILE_TEST_RUN") != "" {
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// started is the program as a process.
type started struct {
	disk, socket, control string
	process               *exec.Cmd
	says                  *bufio.Scanner
}

func start(t *testing.T, sectors int, args ...string) *started {
	t.Helper()
	dir, err := os.MkdirTemp("", "volatile") // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := &started{disk: blank(t, sectors), socket: filepath.Join(dir, "nbd"), control: filepath.Join(dir, "control")}
	s.process = rerun.Command(append([]string{"-disk", s.disk, "-socket", s.socket, "-control", s.control}, args...)...)
	s.process.Env = append(os.Environ(), "VOLATILE_TEST_RUN=1")
	s.process.Stderr = os.Stderr
	out, err := s.process.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.process.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.process.Process.Kill(); s.process.Wait() })
	s.says = bufio.NewScanner(out)
	if !s.says.Scan() {
		t.Fatalf("it does not start: %v", s.says.Err())
	}
	return s
}

// tell sends a command and returns the answer.
func (s *started) tell(t *testing.T, line string) (r report) {
	t.Helper()
	c, err := net.Dial("unix", s.control)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintln(c, line)
	if err := json.NewDecoder(c).Decode(&r); err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	return r
}

func (s *started) connect(t *testing.T) *client {
	t.Helper()
	conn, err := net.Dial("unix", s.socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	c, err := hello(conn)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// qemu runs a tool of QEMU, or skips the test.
func qemu(t *testing.T, tool string, args ...string) string {
	t.Helper()
	path, err := exec.LookPath(tool)
	if err != nil {
		t.Skipf("%s is not installed: apt-get install qemu-utils", tool)
	}
	out, err := exec.Command(path, args...).CombinedOutput()
	if err != nil || bytes.Contains(out, []byte("failed")) {
		t.Fatalf("%s %q: %v\n%s", tool, args, err, out)
	}
	return string(out)
}

func TestQEMUWritesFlushesAndLoses(t *testing.T) {
	s := start(t, 1<<15, "-seed", "3") // 16 MiB
	url := "nbd+unix:///?socket=" + s.socket
	if out := qemu(t, "qemu-img", "info", url); !strings.Contains(out, "16 MiB (16777216 bytes)") {
		t.Errorf("qemu-img says %s", out)
	}
	if out := qemu(t, "qemu-img", "info", "nbd+unix:///disk?socket="+s.socket); !strings.Contains(out, "16 MiB") {
		t.Errorf("qemu-img says %s", out)
	}
	// qemu-io flushes when it ends in order, so it has to be ended otherwise: abort.
	qemu(t, "qemu-io", "-f", "raw", "-c", "write -P 0x11 0 4M", "-c", "write -z 1M 64k", "-c", "discard 2M 64k", "-c", "flush",
		"-c", "write -f -P 0x22 8M 64k", "-c", "read -P 0x22 8M 64k", "-c", "read -P 0 1M 64k", url)
	path, _ := exec.LookPath("qemu-io")
	err := exec.Command(path, "-t", "writeback", "-f", "raw", "-c", "write -P 0x33 4M 1M", "-c", "write -f -P 0x44 9M 64k", "-c", "abort", url).Run()
	if err == nil {
		t.Fatal("qemu-io ended in order")
	}
	r := s.tell(t, "cut")
	if r.Unflushed != 2048 || r.Kept+r.Lost != 2048 || r.Flushes == 0 || r.FUAs == 0 || r.Zeroes == 0 || r.Trims == 0 {
		t.Errorf("the cut says %+v", r)
	}
	qemu(t, "qemu-io", "-f", "raw", "-c", "read -P 0x11 0 1M", "-c", "read -P 0x44 9M 64k", "-c", "read -P 0 1M 64k", "-c", "read -P 0x22 8M 64k", url)
	if again := s.tell(t, "state"); again.Unflushed != 0 || again.Cut != 1 {
		t.Errorf("after the cut: %+v", again)
	}
}

// TestLiarLosesWhatWasFlushed is the control.
func TestLiarLosesWhatWasFlushed(t *testing.T) {
	s := start(t, 1<<10, "-lie", "-seed", "5")
	c := s.connect(t)
	for lost := 0; lost == 0; {
		c.must(t, 1, 1, 0, 64*sector, filled(7, 64), nil)
		c.must(t, 3, 0, 0, 0, nil, nil)
		r := s.tell(t, "cut")
		if !r.Lie || r.Unflushed != 64 || r.Flushes != 1 || r.FUAs != 1 {
			t.Fatalf("the cut says %+v", r)
		}
		lost = r.Lost
		c = s.connect(t)
	}
}

func TestSignalsCutAndEnd(t *testing.T) {
	s := start(t, 1<<10)
	c := s.connect(t)
	c.must(t, 1, 0, 0, sector, filled(7, 1), nil)
	if err := s.process.Process.Signal(syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	var r report
	if !s.says.Scan() || json.Unmarshal(s.says.Bytes(), &r) != nil || r.Unflushed != 1 {
		t.Errorf("it says %q", s.says.Text())
	}
	if _, err := c.do(0, 0, 0, sector, nil, make([]byte, sector)); err == nil {
		t.Error("a machine is served whose power was cut")
	}
	c = s.connect(t)
	c.must(t, 1, 0, sector, sector, filled(8, 1), nil)
	s.process.Process.Signal(syscall.SIGTERM)
	if err := s.process.Wait(); err != nil {
		t.Error(err)
	}
	content, err := os.ReadFile(s.disk)
	if err != nil || !bytes.Equal(content[sector:2*sector], filled(8, 1)) {
		t.Errorf("an end in order lost something: %v", err)
	}
}

// TestFlushesHoldForAllWhileThePowerIsCut has machines that write numbers that
// grow, each to a sector of its own, over two connections each: one writes, the
// other flushes. After a cut a sector has no less than was flushed, and no more
// than was sent.
func TestFlushesHoldForAllWhileThePowerIsCut(t *testing.T) {
	s := start(t, 1<<10)
	const machines = 4
	sent, safe := [machines]byte{}, [machines]byte{}
	for range 15 {
		var all sync.WaitGroup
		begun := make(chan bool, machines)
		for m := range machines {
			writer, flusher := s.connect(t), s.connect(t)
			all.Go(func() {
				for i := 0; sent[m] < 250; i++ {
					sent[m]++
					if _, err := writer.do(1, 0, int64(m*sector), sector, filled(sent[m], 1), nil); err != nil {
						return
					}
					if i%3 == 0 {
						if code, err := flusher.do(3, 0, 0, 0, nil, nil); err != nil || code != 0 {
							return
						}
						safe[m] = sent[m]
						select {
						case begun <- true:
						default:
						}
					}
				}
			})
		}
		<-begun
		s.tell(t, "cut")
		all.Wait()
		c, content := s.connect(t), make([]byte, machines*sector)
		c.must(t, 0, 0, 0, len(content), nil, content)
		for m := range machines {
			got := content[m*sector]
			if got < safe[m] || got > sent[m] {
				t.Fatalf("machine %d has %d, %d was flushed, %d was sent", m, got, safe[m], sent[m])
			}
			sent[m], safe[m] = got, got
		}
		c.conn.Close()
		if sent[0] > 200 {
			c := s.connect(t)
			c.must(t, 6, 1, 0, machines*sector, nil, nil)
			c.conn.Close()
			sent, safe = [machines]byte{}, [machines]byte{}
		}
	}
}

func TestCommandsThatAreNoneAreRefused(t *testing.T) {
	s := start(t, 1<<10)
	c, err := net.Dial("unix", s.control)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "explode\nstate\n")
	in := bufio.NewReader(c)
	if line, err := in.ReadString('\n'); err != nil || !strings.Contains(line, `"error"`) {
		t.Errorf("%q, %v", line, err)
	}
	if line, err := in.ReadString('\n'); err != nil || !strings.Contains(line, `"unflushed":0`) {
		t.Errorf("%q, %v", line, err)
	}
	if err := run([]string{"-disk", "x"}, io.Discard, io.Discard); err == nil {
		t.Error("no socket, and no error")
	}
}

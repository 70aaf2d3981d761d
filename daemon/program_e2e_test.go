package daemon

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// program is a process of the site.
type program struct {
	*site
	name  string
	cmd   *exec.Cmd
	ended chan struct{} // closed when cmd has been waited for
}

// quickExit is for processes under the race detector, which would otherwise
// sleep for a second before they end.
const quickExit = "atexit_sleep_ms=10"

// start starts one of the programs of TestMain. The end of the test kills it.
func (s *site) start(name string, args ...string) *program {
	s.Helper()
	return s.startWith(name, s.log, args...)
}

// startWith has its log written elsewhere.
func (s *site) startWith(name string, log *os.File, args ...string) *program {
	s.Helper()
	p := &program{site: s, name: name, cmd: exec.Command(name, args...), ended: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = s.log, log
	p.cmd.Env = append(os.Environ(), "GORACE="+quickExit)
	if err := p.cmd.Start(); err != nil {
		s.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait() // what it has to say stands in ProcessState
		close(p.ended)
	}()
	s.Cleanup(p.kill)
	return p
}

func (s *site) startGateway() *program {
	s.Helper()
	return s.start("tidegate", "run", "-config", s.configFile())
}

// startCloud starts a receiver and waits until it listens.
func (s *site) startCloud() *program {
	s.Helper()
	p := s.start("cloud", s.cloud, filepath.Join(s.dir, "cloud"))
	s.eventually("the cloud listens", func() bool { return listens(s.cloud) })
	return p
}

func listens(address string) bool {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

// kill is kill -9.
func (p *program) kill() {
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.ended
}

func (p *program) signal(sig os.Signal) {
	p.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		p.Fatalf("signal %s: %v", p.name, err)
	}
}

// waitExit waits for the end of the process.
func (p *program) waitExit(within time.Duration) *os.ProcessState {
	p.Helper()
	select {
	case <-p.ended:
	case <-time.After(within):
		p.Fatalf("%s still runs after %v", p.name, within)
	}
	return p.cmd.ProcessState
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// stop is SIGTERM. The end must be clean.
func (p *program) stop() {
	p.Helper()
	p.signal(syscall.SIGTERM)
	if state := p.waitExit(patience); !state.Success() {
		p.Fatalf("%s ended with %v", p.name, state)
	}
}

// memory returns a figure of the process, in bytes: VmRSS, or VmHWM for the
// highest so far.
func (p *program) memory(figure string) int64 {
	p.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		p.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), figure+":")
	kilobytes, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
	if err != nil {
		p.Fatal(err)
	}
	return kilobytes << 10
}

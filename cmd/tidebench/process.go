package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	startPatience = 30 * time.Second
	stopPatience  = 20 * time.Second
	lastWords     = 600 // bytes of a log
)

// child is a system under test. It lives until stop, or until this process
// ends in whatever way: its standard input closes then.
type child struct {
	kind  string
	log   string
	addr  string // host:port where it listens
	began time.Time
	cmd   *exec.Cmd
	leash io.Closer
	ended chan struct{} // closed when it has ended; then err says how
	err   error
	// isProgram says that it is no part of this one, and knows no leash.
	isProgram bool
}

// start starts a system under test and returns when it listens. dir is its
// folder.
func (b *bench) start(ctx context.Context, kind, addr, dir string, args ...string) (*child, error) {
	args = append([]string{"serve", kind, "-listen", addr, "-dir", dir}, args...)
	return startCommand(ctx, exec.Command(b.program, args...), kind, addr, dir)
}

// startCommand starts a program that ends when its standard input does.
func startCommand(ctx context.Context, cmd *exec.Cmd, kind, addr, dir string) (*child, error) {
	log, err := os.Create(filepath.Join(dir, kind+".log"))
	if err != nil {
		return nil, err
	}
	defer log.Close() // the child has its own descriptor
	c := &child{kind: kind, log: log.Name(), addr: addr, cmd: cmd, ended: make(chan struct{})}
	c.cmd.Stdout, c.cmd.Stderr = log, log
	if c.leash, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	c.began = time.Now()
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		c.err = c.cmd.Wait()
		close(c.ended)
	}()
	if err := poll(ctx, time.Millisecond, startPatience, kind+" listens", c.listens); err != nil {
		return nil, errors.Join(err, c.stop())
	}
	return c, nil
}

func (c *child) listens() (bool, error) {
	if err := c.failure(); err != nil {
		return false, err
	}
	conn, err := net.DialTimeout("tcp", c.addr, time.Second)
	if err != nil {
		return false, nil // not yet
	}
	return true, conn.Close()
}

// failure describes how a child ended that should not have; nil while it runs.
func (c *child) failure() error {
	select {
	case <-c.ended:
	default:
		return nil
	}
	words, _ := os.ReadFile(c.log)
	words = bytes.TrimSpace(words[max(0, len(words)-lastWords):])
	return fmt.Errorf("%s has ended (%v); its last words:\n%s", c.kind, c.err, words)
}

// stop asks the child to end, and insists when it does not. The error says that
// it did not end as it should.
func (c *child) stop() error {
	c.leash.Close()
	if c.isProgram {
		c.cmd.Process.Signal(unix.SIGTERM)
	}
	insist := time.AfterFunc(stopPatience, func() { c.cmd.Process.Kill() })
	defer insist.Stop()
	<-c.ended
	if c.err != nil {
		return c.failure()
	}
	return nil
}

// kill is kill -9.
func (c *child) kill() {
	c.leash.Close()
	c.cmd.Process.Kill()
	<-c.ended
}

// cpu is the CPU time that the child has used.
func (c *child) cpu() (time.Duration, error) { return cpuOf(c.cmd.Process.Pid) }

// cpuOf is the CPU time that a process has used, all threads together. The clock
// is what clock_getcpuclockid(3) returns: the tenths of /proc/PID/stat are too
// coarse for what takes milliseconds.
func cpuOf(pid int) (time.Duration, error) {
	const scheduler = 2 // CPUCLOCK_SCHED of the kernel: nanoseconds
	var used unix.Timespec
	if err := unix.ClockGettime(int32(^pid)<<3|scheduler, &used); err != nil {
		return 0, fmt.Errorf("CPU time of process %d: %w", pid, err)
	}
	return time.Duration(used.Nano()), nil
}

// memory is the child's resident memory in MiB.
func (c *child) memory() (float64, error) { return memoryOf(c.cmd.Process.Pid) }

func memoryOf(pid int) (float64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	return parseMemory(string(status))
}

func parseMemory(status string) (float64, error) {
	for line := range strings.Lines(status) {
		if kB, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			n, err := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(kB), "kB")), 64)
			return n / 1024, err
		}
	}
	return 0, fmt.Errorf("/proc status without VmRSS")
}

// freeAddress returns an address of this machine on which nobody listens now.
func freeAddress() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return listener.Addr().String(), listener.Close()
}

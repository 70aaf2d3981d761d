package main

import (
	"context"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestMain lets the test binary be a system under test, as the program can.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "serve" {
		os.Exit(command(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// testBench is a quick run in a folder of its own. Its name is short, because a
// gateway's admin socket is in there.
func testBench(t *testing.T) *bench {
	t.Helper()
	if testing.Short() {
		t.Skip("starts processes")
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "tb-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return &bench{program: program, dir: dir, quick: true, progress: io.Discard, report: newReport()}
}

// startPlain starts the library's server. It has a race of its own when it is
// closed while somebody connects, as whoever waits for it does: that is told in
// its log, and is no failure of the child.
func startPlain(t *testing.T) *child {
	t.Helper()
	t.Setenv("GORACE", "exitcode=0")
	addr, err := freeAddress()
	if err != nil {
		t.Fatal(err)
	}
	c, err := testBench(t).start(t.Context(), "plain", addr, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestChildEndsWhenTold(t *testing.T) {
	c := startPlain(t)
	pid := c.cmd.Process.Pid
	if err := c.stop(); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, 0); err == nil {
		t.Errorf("process %d is still there", pid)
	}
}

func TestChildThatDiesIsNoticed(t *testing.T) {
	c := startPlain(t)
	c.cmd.Process.Kill()
	<-c.ended
	if err := c.failure(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("failure: %v", err)
	}
	if c.stop() == nil {
		t.Error("stop is content with a child that was killed")
	}
}

func TestChildThatCannotStartSaysWhy(t *testing.T) {
	addr, err := freeAddress()
	if err != nil {
		t.Fatal(err)
	}
	_, err = testBench(t).start(t.Context(), "tidegate", addr, t.TempDir(), "-config", "/nonexistent/tidegate.toml")
	if err == nil || !strings.Contains(err.Error(), "/nonexistent/tidegate.toml") {
		t.Errorf("start: %v", err)
	}
}

func TestChildIsMeasured(t *testing.T) {
	c := startPlain(t)
	defer c.stop()
	if rss, err := c.memory(); err != nil || rss < 1 || rss > 1000 {
		t.Errorf("%v MiB, %v", rss, err)
	}
	if _, err := c.cpu(); err != nil {
		t.Error(err)
	}
}

func TestCPUTimeIsThatOfTheProcess(t *testing.T) {
	before, err := cpuOf(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	var own syscall.Rusage
	for worked := before; worked < before+20*time.Millisecond; {
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &own); err != nil {
			t.Fatal(err)
		}
		worked = time.Duration(own.Utime.Nano() + own.Stime.Nano())
	}
	after, err := cpuOf(os.Getpid())
	if used := after - before; err != nil || used < 10*time.Millisecond {
		t.Errorf("after 20 ms of work it is %v more, %v", used, err)
	}
	if _, err := cpuOf(4_194_303); err == nil {
		t.Error("a process that does not exist has used time")
	}
}

func TestProcFilesAreRead(t *testing.T) {
	if rss, err := parseMemory("Name:\ttidebench\nVmHWM:\t  9999 kB\nVmRSS:\t   20480 kB\n"); err != nil || rss != 20 {
		t.Errorf("memory %v, %v; want 20", rss, err)
	}
	block := "      12        0       96        1       40        3      100        7        0        8        9"
	if n, err := parseWritten(block); err != nil || n != 51200 {
		t.Errorf("written %v, %v; want 51200", n, err)
	}
	if _, err := parseWritten("1 2 3"); err == nil {
		t.Error("written of half a line")
	}
}

func TestPollGivesUpAndSaysOnWhat(t *testing.T) {
	never := func() (bool, error) { return false, nil }
	err := poll(t.Context(), time.Millisecond, 5*time.Millisecond, "the tide", never)
	if err == nil || !strings.Contains(err.Error(), "the tide") {
		t.Errorf("poll: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := poll(ctx, time.Millisecond, time.Hour, "the tide", never); err != context.Canceled {
		t.Errorf("poll after the end: %v", err)
	}
}

func TestWrongCallsAreRefused(t *testing.T) {
	for _, args := range [][]string{{"-cells", "tide"}, {"drain"}, {"-bogus"}} {
		if code := command(args, strings.NewReader(""), io.Discard, io.Discard); code != exitUsage {
			t.Errorf("%q: exit code %d", args, code)
		}
	}
	if code := command([]string{"serve", "tide"}, strings.NewReader(""), io.Discard, io.Discard); code != exitFailure {
		t.Errorf("serve of an unknown kind: exit code %d", code)
	}
}

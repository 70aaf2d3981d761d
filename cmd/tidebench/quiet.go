package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/tidegate/tidegate/internal/servertest"
)

// asInstalled is the configuration that a gateway is delivered with, and an uplink. To be
// filled in are the folder, the addresses, and the uplink's.
const asInstalled = `
[gateway]
id = "bench"
data_dir = %q
[ingest.mqtt]
listen = %q
[dashboard]
listen = "127.0.0.1:0"
[[uplink.http]]
name = "cloud"
url = %q
`

// startProgram starts "tidegate run" with a configuration of its own: the program that
// lies beside this one, if there is one, else what this one has of it. That is larger.
func (b *bench) startProgram(ctx context.Context, addr, dir, text string, env ...string) (*gateway, error) {
	config := filepath.Join(dir, "tidegate.toml")
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	cmd := exec.Command(b.program, "serve", "run", "-config", config)
	beside := filepath.Join(filepath.Dir(b.program), "tidegate")
	_, err := os.Stat(beside)
	if err == nil {
		cmd = exec.Command(beside, "run", "-config", config)
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // it has no leash
	}
	cmd.Env = append(os.Environ(), env...)
	c, failed := startCommand(ctx, cmd, "run", addr, dir)
	if failed != nil {
		return nil, failed
	}
	c.isProgram = err == nil
	return &gateway{child: c}, nil
}

// idle looks at what a gateway costs that has nothing to do: how often it wakes the
// machine, and its memory. Beside it is a broker that has nothing to do either.
func (b *bench) idle(ctx context.Context) error {
	t := table{Cell: "idle", Columns: []string{"system", "wake-ups/s", "MiB"}}
	peer := math.NaN()
	err := servertest.Use(b.dir, servertest.Mosquitto, nil, func(s *servertest.Server) error {
		at, err := b.rest(ctx, s.PID())
		peer = at.wakes
		t.Rows = append(t.Rows, row{[]string{"mosquitto"}, []float64{at.wakes, at.memory}})
		return err
	})
	if errors.Is(err, servertest.ErrMissing) {
		t.Foot = append(t.Foot, err.Error())
	} else if err != nil {
		return err
	}
	err = b.withFarSide(ctx, func(url string) error {
		for _, s := range []struct{ name, url string }{{"link down", nowhere}, {"link up", url}} {
			at, err := b.idleGateway(ctx, s.url)
			if err != nil {
				return err
			}
			t.Rows = append(t.Rows, row{[]string{"tidegate, " + s.name}, []float64{at.wakes, at.memory}})
			b.report.add("idle", s.name+": wake-ups", at.wakes, "/s", most(5))
			if !math.IsNaN(peer) {
				b.report.add("idle", s.name+": wake-ups, tidegate / mosquitto", at.wakes/peer, "x", noBar())
			}
			b.report.add("idle", s.name+": memory", at.memory, "MiB", most(25))
		}
		return nil
	})
	b.report.Tables = append(b.report.Tables, t)
	return err
}

// withFarSide runs f beside a cloud.
func (b *bench) withFarSide(ctx context.Context, f func(url string) error) (err error) {
	dir, remove, err := b.folder("cloud")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	addr, err := freeAddress()
	if err != nil {
		return err
	}
	c, err := b.start(ctx, "cloud", addr, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.stop()) }()
	return f("http://" + addr + "/v1/ingest")
}

func (b *bench) idleGateway(ctx context.Context, url string) (at rested, err error) {
	dir, remove, err := b.folder("idle")
	if err != nil {
		return at, err
	}
	defer func() { err = errors.Join(err, remove()) }()
	addr, err := freeAddress()
	if err != nil {
		return at, err
	}
	g, err := b.startProgram(ctx, addr, dir, fmt.Sprintf(asInstalled, filepath.Join(dir, "data"), addr, url))
	if err != nil {
		return at, err
	}
	defer func() { err = errors.Join(err, g.stop()) }()
	if at, err = b.rest(ctx, g.cmd.Process.Pid); err != nil {
		return at, err
	}
	return at, g.failure()
}

// rested is what a process costs at rest.
type rested struct {
	wakes  float64 // a second
	memory float64 // MiB
}

// rest leaves a process alone, and then counts.
func (b *bench) rest(ctx context.Context, pid int) (at rested, err error) {
	span := pick(b, 10*time.Second, time.Minute)
	if err := let(ctx, span); err != nil {
		return at, err
	}
	before, err := switchesOf(pid)
	if err == nil {
		err = let(ctx, span)
	}
	if err != nil {
		return at, err
	}
	after, err := switchesOf(pid)
	if err != nil {
		return at, err
	}
	at.wakes = float64(after-before) / span.Seconds()
	at.memory, err = memoryOf(pid)
	return at, err
}

// switchesOf is how often the kernel has switched to the threads that a process has now:
// each wake-up ends in one such switch away, whether the thread wants to wait (voluntary)
// or is made to.
func switchesOf(pid int) (n uint64, err error) {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if err == nil && len(threads) == 0 {
		err = fmt.Errorf("process %d has ended", pid)
	}
	if err != nil {
		return 0, err
	}
	for _, name := range threads {
		status, err := os.ReadFile(name)
		if errors.Is(err, os.ErrNotExist) {
			continue // a thread that has ended
		}
		if err != nil {
			return 0, err
		}
		one, err := parseSwitches(string(status))
		if err != nil {
			return 0, err
		}
		n += one
	}
	return n, nil
}

func parseSwitches(status string) (n uint64, err error) {
	found := 0
	for line := range strings.Lines(status) {
		name, value, _ := strings.Cut(line, ":")
		if name != "voluntary_ctxt_switches" && name != "nonvoluntary_ctxt_switches" {
			continue
		}
		one, err := strconv.ParseUint(strings.TrimSpace(value), 10, 64)
		if err != nil {
			return 0, err
		}
		n += one
		found++
	}
	if found != 2 {
		return 0, fmt.Errorf("/proc status with %d counts of switches", found)
	}
	return n, nil
}

package servertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

var errNotRunning = errors.New("it is not running")

// process is a program that was started, in a process group of its own.
type process struct {
	pid   int
	ended chan struct{}
	err   error // how it ended; after ended
}

// launch starts a program whose output goes to the end of the file. It does not
// outlive this process: the kernel kills it when the thread that started it dies,
// and that thread waits for it.
func launch(argv, env []string, dir, output string) (*process, error) {
	f, err := os.OpenFile(output, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer f.Close() // the program has its own
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env, cmd.Dir, cmd.Stdout, cmd.Stderr = append(os.Environ(), env...), dir, f, f
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	p, started := &process{ended: make(chan struct{})}, make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		if err == nil {
			p.pid = cmd.Process.Pid
		}
		started <- err
		if err == nil {
			p.err = cmd.Wait()
			close(p.ended)
		}
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

// running says whether the program has not ended.
func (p *process) running() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// signal goes to the whole group.
func (p *process) signal(sig syscall.Signal) error {
	if !p.running() {
		return errNotRunning
	}
	return syscall.Kill(-p.pid, sig)
}

// kill returns when the program is gone. What else is in its group is killed even
// if the program has ended by itself.
func (p *process) kill() {
	_ = syscall.Kill(-p.pid, syscall.SIGKILL) // ESRCH: gone already
	<-p.ended
}

// start starts the server and waits until it is up.
func (e *engine) start() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.server != nil && e.server.running() {
		return errors.New("it is running already")
	}
	var err error
	if e.plan.helper != nil && e.helper == nil {
		if e.helper, err = launch(e.plan.helper, e.plan.env, e.dir, e.logFile()); err != nil {
			return err
		}
	}
	if e.server, err = launch(e.plan.argv, e.plan.env, e.dir, e.logFile()); err != nil {
		return err
	}
	e.frozen = false
	if err := e.awaitReady(); err != nil {
		return err
	}
	if e.kind.settle == nil || e.settled {
		return nil
	}
	e.settled = true
	return e.kind.settle(e)
}

// awaitReady tries each protocol until all have answered.
func (e *engine) awaitReady() error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	often := time.NewTicker(25 * time.Millisecond)
	defer often.Stop()
	for protocol, greet := range e.plan.ready {
		for {
			err := try(ctx, e.addrs[protocol], greet)
			if err == nil {
				break
			}
			select {
			case <-e.server.ended:
				return fmt.Errorf("it ended by itself (%v)", e.server.err)
			case <-ctx.Done():
				return fmt.Errorf("%s is not answered after %v: %w", protocol, patience, err)
			case <-often.C:
			}
		}
	}
	return nil
}

func (e *engine) kill() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.server == nil {
		return errNotRunning
	}
	e.server.kill()
	e.server, e.frozen = nil, false
	return nil
}

func (e *engine) stop() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.server == nil {
		return errNotRunning
	}
	if err := syscall.Kill(e.server.pid, syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-e.server.ended:
		e.server.kill() // what it may have left in its group
		err := e.server.err
		e.server = nil
		if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.Sys().(syscall.WaitStatus).Signaled() {
			return fmt.Errorf("it did not end in order: %w", err) // and is not to be blamed for what it forgets
		}
		return nil
	case <-time.After(patience):
		return fmt.Errorf("it has not ended %v after SIGTERM", patience)
	}
}

func (e *engine) freeze(yes bool) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.server == nil {
		return errNotRunning
	}
	e.frozen = yes
	if !yes {
		return e.server.signal(syscall.SIGCONT)
	}
	if err := e.server.signal(syscall.SIGSTOP); err != nil {
		return err
	}
	// The signal stops thread after thread, and one may still answer.
	often := time.NewTicker(time.Millisecond)
	defer often.Stop()
	for e.server.running() {
		if stopped, err := e.server.stopped(); stopped || err != nil {
			return err
		}
		<-often.C
	}
	return errNotRunning
}

// stopped says whether all threads of the program have stopped.
func (p *process) stopped() (bool, error) {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", p.pid))
	if err != nil {
		return false, err
	}
	for _, path := range threads {
		text, err := os.ReadFile(path)
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			continue // the thread has ended
		}
		if err != nil {
			return false, err
		}
		// pid (name) state …, where the name may hold anything.
		if _, state, _ := strings.Cut(string(text[bytes.LastIndexByte(text, ')')+1:]), " "); !strings.HasPrefix(state, "T") {
			return false, nil
		}
	}
	return len(threads) > 0, nil
}

func (e *engine) fill(full bool) error {
	if e.kind.fill == nil {
		return errors.New("there is no way to make it full")
	}
	e.full = full
	return e.kind.fill(e, full)
}

// revive brings the server back to what a test expects, whatever the test before
// has left.
func (e *engine) revive() error {
	e.mu.Lock()
	frozen, dead := e.frozen, e.server == nil || !e.server.running()
	e.mu.Unlock()
	var err error
	if dead {
		err = e.start()
	} else if frozen {
		err = e.freeze(false)
	}
	if err == nil && e.full {
		err = e.fill(false)
	}
	return err
}

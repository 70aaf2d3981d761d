package firmwaresim

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/tidegate/tidegate/internal/backoff"
)

const (
	startPatience = 10 * time.Second
	stopPatience  = 10 * time.Second
	lastWords     = 600 // bytes of a log
)

// process is a program that the demo started; what it prints goes to a file.
type process struct {
	name  string
	log   string
	stop  context.CancelFunc // asks with SIGTERM, insists after stopPatience
	ended chan struct{}      // closed when it has ended; then err says how
	err   error
}

// startProcess starts the program with the given path. stopAndWait ends it.
func startProcess(dir, path string, args ...string) (*process, error) {
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("%w — hint: run \"make build\", or say with -bin where the programs are", err)
	}
	name := filepath.Base(path)
	log, err := os.Create(filepath.Join(dir, name+".log"))
	if err != nil {
		return nil, err
	}
	defer log.Close() // the program has its own descriptor
	// Its own lifetime: it outlives the context of the demo's phases, so that it
	// is stopped in order.
	ctx, stop := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = stopPatience
	if err := cmd.Start(); err != nil {
		stop()
		return nil, err
	}
	p := &process{name: name, log: log.Name(), stop: stop, ended: make(chan struct{})}
	go func() {
		p.err = cmd.Wait()
		close(p.ended)
	}()
	return p, nil
}

func (p *process) stopAndWait() {
	p.stop()
	<-p.ended
}

// failure describes how a process ended that should not have; nil while it
// runs.
func (p *process) failure() error {
	select {
	case <-p.ended:
	default:
		return nil
	}
	words, _ := os.ReadFile(p.log)
	words = bytes.TrimSpace(words[max(0, len(words)-lastWords):])
	return fmt.Errorf("%s ended by itself (%v); its last words:\n%s", p.name, p.err, words)
}

// listening waits until somebody accepts connections at an address.
func (p *process) listening(ctx context.Context, addr string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, startPatience,
		fmt.Errorf("%s does not listen on %s after %v", p.name, addr, startPatience))
	defer cancel()
	pause := backoff.Backoff{Min: 10 * time.Millisecond, Max: 200 * time.Millisecond}
	for {
		if conn, err := net.DialTimeout("tcp", addr, time.Second); err == nil {
			return conn.Close()
		}
		if err := p.failure(); err != nil {
			return err
		}
		if err := backoff.Sleep(ctx, pause.Next(), p.ended); err != nil {
			return err
		}
	}
}

// background runs something that ends with its context. The function returned
// ends it, waits, and returns its error, as often as it is called.
func background(run func(context.Context) error) (stop func() error) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	var err error
	go func() {
		defer close(ended)
		err = run(ctx)
	}()
	return func() error {
		cancel()
		<-ended
		return err
	}
}

// freeAddress returns an address of this machine on which nobody listens now.
func freeAddress() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return listener.Addr().String(), listener.Close()
}

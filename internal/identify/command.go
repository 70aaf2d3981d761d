package identify

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	// grace is how long a program has to end after it was asked to.
	grace = 2 * time.Second
	// mostOutput is how many bytes of what it says are kept.
	mostOutput = 4 << 10
)

// run runs a program until it ends or ctx does: then it, and all that it has
// started, is asked to end, and ended after the grace. That it had to be is no
// error.
func run(ctx context.Context, argv []string, d time.Duration) (output string, err error) {
	said, pipe, err := os.Pipe()
	if err != nil {
		return "", err
	}
	defer said.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return "", errors.Join(err, pipe.Close())
	}
	process, err := os.StartProcess(argv[0], append(argv[:len(argv):len(argv)], strconv.Itoa(int(d.Seconds()))), &os.ProcAttr{
		Dir: "/", Env: []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8"},
		Files: []*os.File{null, pipe, pipe}, Sys: &syscall.SysProcAttr{Setpgid: true},
	})
	if err = errors.Join(err, null.Close(), pipe.Close()); err != nil {
		return "", err
	}
	heard := make(chan string, 1)
	go func() { heard <- listen(said) }()
	ended := make(chan error, 1)
	go func() { ended <- wait(process) }()
	select {
	case err = <-ended:
	case <-ctx.Done():
		err = end(process.Pid, ended)
	}
	_ = said.SetReadDeadline(time.Now().Add(grace)) // whoever holds the pipe still is not waited for
	return <-heard, err
}

// end ends a group of processes.
func end(pid int, ended <-chan error) error {
	_ = syscall.Kill(-pid, syscall.SIGTERM) // it may have ended
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-ended:
		_ = syscall.Kill(-pid, syscall.SIGKILL) // what it has left behind
		return nil
	case <-timer.C:
		_ = syscall.Kill(-pid, syscall.SIGKILL)
		<-ended
		return nil
	}
}

// wait waits for the process and says what is wrong with its end.
func wait(process *os.Process) error {
	state, err := process.Wait()
	if err == nil && !state.Success() {
		err = fmt.Errorf("it ended with %s", state)
	}
	return err
}

// listen reads to the end, and returns the first of what it hears.
func listen(said io.Reader) string {
	first, _ := io.ReadAll(io.LimitReader(said, mostOutput)) // an end like any other
	_, _ = io.Copy(io.Discard, said)                         // a full pipe would stop the program
	return strings.ToValidUTF8(strings.TrimSpace(string(first)), "?")
}

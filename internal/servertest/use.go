package servertest

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"testing"
)

// ErrMissing says that a server is not installed; the text names the package.
var ErrMissing = errors.New("left out")

// Use is for programs that are no tests: it starts a server in a folder of its own
// below dir, calls f with it, and ends it. The error is f's, or says why a method
// of the server has failed, which ends f.
func Use(dir string, constructor func(testing.TB, ...Option) *Server, opts []Option, f func(*Server) error) error {
	v := &visit{TB: new(testing.T), dir: dir}
	ended := make(chan struct{})
	go func() {
		defer close(ended) // also when v has had enough
		if s := constructor(v, opts...); s != nil {
			v.err = f(s)
		}
	}()
	<-ended
	for i := len(v.cleanup) - 1; i >= 0; i-- {
		v.cleanup[i]()
	}
	return v.err
}

// PID is the process of the server itself, 0 when it does not run.
func (s *Server) PID() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.server == nil {
		return 0
	}
	return s.server.pid
}

// visit is what a server takes for its test. What ends a test ends the goroutine.
type visit struct {
	testing.TB // of no test: for what servers ask of one in vain
	dir        string
	cleanup    []func()
	err        error
}

// Failed is about the server's last words, which are in the error.
func (*visit) Failed() bool { return false }

// Cleanup waits for Use.
func (v *visit) Cleanup(f func()) { v.cleanup = append(v.cleanup, f) }

// TempDir is removed by Use.
func (v *visit) TempDir() string {
	dir, err := os.MkdirTemp(v.dir, "server-")
	if err != nil {
		v.Fatal(err)
	}
	v.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// Fatal ends the goroutine with an error.
func (v *visit) Fatal(args ...any) {
	v.err = errors.New(fmt.Sprint(args...))
	runtime.Goexit()
}

// Fatalf is Fatal.
func (v *visit) Fatalf(format string, args ...any) { v.Fatal(fmt.Sprintf(format, args...)) }

// Log says nothing.
func (*visit) Log(...any) {}

// Logf says nothing.
func (*visit) Logf(string, ...any) {}

// Skip ends the goroutine with ErrMissing.
func (v *visit) Skip(args ...any) {
	v.err = fmt.Errorf("%w: %s", ErrMissing, fmt.Sprint(args...))
	runtime.Goexit()
}

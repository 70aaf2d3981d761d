package servertest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// Shared is a server that the tests of a package share, because it takes long to
// start. The first test that asks for it starts it:
//
//	var rabbit = servertest.Share(servertest.RabbitMQ)
//
//	func TestMain(m *testing.M) { servertest.Main(m, rabbit) }
//
//	func TestCustody(t *testing.T) { s := rabbit.Get(t) … }
//
// Tests that share a server name their queues differently, and do not run in
// parallel if they kill it.
type Shared struct {
	begin func(testing.TB, ...Option) *Server
	opts  []Option

	mu      sync.Mutex
	server  *Server
	cleanup []func()
}

// Share returns a server of a constructor of this package that is not started yet.
func Share(constructor func(testing.TB, ...Option) *Server, opts ...Option) *Shared {
	return &Shared{begin: constructor, opts: opts}
}

// Main runs the tests of a package, ends what they shared, and exits. After a
// panic the kernel ends it, and only its folder is left.
func Main(m *testing.M, shared ...*Shared) {
	code := m.Run()
	for _, s := range shared {
		s.end()
	}
	os.Exit(code)
}

// Get returns the shared server, running: also when the test before has killed or
// frozen it.
func (s *Shared) Get(t testing.TB) *Server {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.server == nil {
		s.server = s.begin(lasting{t, s}, s.opts...)
	}
	mine := &Server{t: t, engine: s.server.engine}
	mine.must("start again", mine.revive())
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the end of what %s said:\n%s", mine.Name(), mine.Log())
		}
	})
	return mine
}

func (s *Shared) end() {
	for i := len(s.cleanup) - 1; i >= 0; i-- {
		s.cleanup[i]()
	}
}

// lasting is the test that starts a shared server, except that folders and
// clean-ups last as long as the package's tests.
type lasting struct {
	testing.TB
	shared *Shared
}

// TempDir is removed by Main.
func (l lasting) TempDir() string {
	l.Helper()
	dir, err := os.MkdirTemp("", "tidegate-server")
	if err != nil {
		l.Fatal(err)
	}
	l.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// Cleanup waits for Main.
func (l lasting) Cleanup(f func()) { l.shared.cleanup = append(l.shared.cleanup, f) }

// Failed is for the clean-up only, when the test is long over.
func (l lasting) Failed() bool { return false }

// require skips a test whose server is not installed, or fails it if all are asked
// for. It reports false to one that can do without.
func require(t testing.TB, k kind, opts []Option) bool {
	t.Helper()
	var asked options
	for _, o := range opts {
		o(&asked)
	}
	all := os.Getenv("TIDEGATE_E2E") == "all"
	var reason string
	if missing := lacking(k); missing != nil {
		reason = missing.Error()
	} else if k.slow && testing.Testing() && testing.Short() && !all {
		reason = k.name + " takes seconds to start: not in -short"
	}
	switch {
	case reason == "":
		return true
	case all:
		t.Fatal(reason)
	case asked.orNil:
		t.Log(reason)
	default:
		t.Skip(reason)
	}
	return false
}

func lacking(k kind) error {
	for _, program := range k.programs {
		var err error
		if filepath.IsAbs(program) {
			_, err = os.Stat(program)
		} else {
			_, err = exec.LookPath(program)
		}
		if err != nil {
			return fmt.Errorf("%s is not installed (%s is missing) — hint: apt-get install %s", k.name, program, k.pack)
		}
	}
	return nil
}

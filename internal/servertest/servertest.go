// Package servertest starts real servers for tests: RabbitMQ, ActiveMQ, Redis,
// nats-server, mosquitto, InfluxDB and VictoriaMetrics, each in a folder of its
// own and on free ports of the loopback interface. They can be killed, stopped,
// frozen and made full, and come back on the same ports with the same folder:
//
//	s := servertest.Redis(t, servertest.User("gw", "secret"))
//	dial(s.Addr("redis"))
//	s.Kill()
//	s.Start()
//
// A test whose server is not installed skips itself and names the package of
// Debian that brings it; with TIDEGATE_E2E=all in the environment it fails.
// A server that takes seconds to start is shared by the tests of a package:
// see Shared. Nothing survives the test process, however that ends.
package servertest

import (
	"errors"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidegate/tidegate/internal/base/porttest"
)

// patience bounds a start, a stop, and what must come true: the machine may have other
// things to do.
const patience = 2 * time.Minute

// Server is a real server, as one test sees it. Its methods end the test when
// they fail, so call them from the test's own goroutine.
type Server struct {
	t testing.TB
	*engine
}

// engine is the server itself. It may outlive a test: see Shared.
type engine struct {
	kind    kind
	dir     string
	options options
	plan    plan
	settled bool

	mu     sync.Mutex
	addrs  map[string]string
	claims []io.Closer // of ports
	helper *process    // runs as long as the engine; nil for none
	server *process    // nil when it was not started, or was killed
	frozen bool
	full   bool
}

// kind is what the servers differ in.
type kind struct {
	name     string
	pack     string   // of Debian
	programs []string // which it must have brought
	slow     bool     // takes seconds to start
	// plan writes the configuration, and says what to run and when it is up.
	plan func(e *engine) (plan, error)
	// settle is called once, when the server is up for the first time; nil for
	// none.
	settle func(e *engine) error
	// fill makes the server refuse more, or take it again; nil if nothing can.
	fill func(e *engine, full bool) error
	// ctl runs the server's own tool; nil if there is none.
	ctl func(e *engine, args ...string) (string, error)
}

// plan is how a server is started.
type plan struct {
	helper []string // what must run beside it; nil for nothing
	argv   []string
	env    []string          // beside the test's own
	ready  map[string]greet  // by protocol: all must succeed
	alias  map[string]string // other names of protocols
}

// Name is the server's name, for example "RabbitMQ".
func (s *Server) Name() string { return s.kind.name }

// Dir is the server's folder.
func (s *Server) Dir() string { return s.dir }

// Addr returns host:port of a protocol, named like the scheme of its URLs:
// "amqp" and "amqp1.0", "mqtt", "stomp", "redis", "nats", "http"; and with TLS
// "amqps", "mqtts", "stomp+ssl", "rediss", "tls" (that is NATS), "https".
func (s *Server) Addr(protocol string) string {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if addr, ok := s.addrs[protocol]; ok {
		return addr
	}
	s.t.Fatalf("%s does not listen for %q here, only for %s", s.kind.name, protocol,
		strings.Join(slices.Sorted(maps.Keys(s.addrs)), ", "))
	return ""
}

// Start starts a server that was killed or stopped, on the same ports and with
// the same folder, and returns when it answers in all its protocols.
func (s *Server) Start() { s.t.Helper(); s.must("start", s.start()) }

// Kill is kill -9, for the server and all its processes.
func (s *Server) Kill() { s.t.Helper(); s.must("kill", s.kill()) }

// Stop asks the server to end, as a service manager does, and returns when it
// has.
func (s *Server) Stop() { s.t.Helper(); s.must("stop", s.stop()) }

// Restart is Kill and Start; with other options if there are any, which are
// added to those that it has.
func (s *Server) Restart(more ...Option) { s.t.Helper(); s.must("restart", s.restart(more)) }

// Freeze stops the server's processes where they are: its connections stay, and
// say nothing.
func (s *Server) Freeze() { s.t.Helper(); s.must("freeze", s.freeze(true)) }

// Thaw lets a frozen server go on.
func (s *Server) Thaw() { s.t.Helper(); s.must("thaw", s.freeze(false)) }

// Fill makes the server refuse messages for lack of space, in the way that is its
// own (an alarm, an error, silence). Some are stopped and started again for it.
func (s *Server) Fill() { s.t.Helper(); s.must("fill", s.fill(true)) }

// Clear ends Fill.
func (s *Server) Clear() { s.t.Helper(); s.must("clear", s.fill(false)) }

// Ctl runs the server's own tool (rabbitmqctl) and returns what it printed.
func (s *Server) Ctl(args ...string) string {
	s.t.Helper()
	if s.kind.ctl == nil {
		s.t.Fatalf("%s has no tool to control it", s.kind.name)
	}
	out, err := s.kind.ctl(s.engine, args...)
	s.must(strings.Join(args, " "), err)
	return out
}

func (s *Server) must(what string, err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatalf("%s: %s: %v\n%s", s.kind.name, what, err, s.Log())
	}
}

// Log is the end of what the server has printed, up to 4 KiB.
func (e *engine) Log() string {
	const most = 4 << 10
	text, err := os.ReadFile(e.logFile())
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-most):])
}

func (e *engine) logFile() string { return filepath.Join(e.dir, "output.log") }

// begin returns a Server of the kind that lives as long as the test.
func begin(t testing.TB, k kind, opts []Option) *Server {
	t.Helper()
	if !require(t, k, opts) {
		return nil
	}
	s := &Server{t: t, engine: &engine{kind: k, dir: t.TempDir(), addrs: map[string]string{}}}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the end of what %s said:\n%s", k.name, s.Log())
		}
		s.end()
	})
	s.must("start", s.restart(opts))
	return s
}

// end leaves nothing behind.
func (e *engine) end() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, p := range []*process{e.server, e.helper} {
		if p != nil {
			p.kill()
		}
	}
	e.server, e.helper = nil, nil
	for _, c := range e.claims {
		c.Close()
	}
}

func (e *engine) restart(more []Option) error {
	if err := e.kill(); err != nil && !errors.Is(err, errNotRunning) {
		return err
	}
	if err := e.configure(more); err != nil {
		return err
	}
	return e.start()
}

func (e *engine) configure(more []Option) error {
	for _, o := range more {
		o(&e.options)
	}
	var err error
	if e.plan, err = e.kind.plan(e); err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for name, protocol := range e.plan.alias {
		e.addrs[name] = e.addrs[protocol]
	}
	return nil
}

// address returns the protocol's host:port, with a port that stays the server's.
func (e *engine) address(protocol string) (string, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if addr, ok := e.addrs[protocol]; ok {
		return addr, nil
	}
	addr, c, err := porttest.Claim()
	if err != nil {
		return "", err
	}
	e.claims = append(e.claims, c)
	e.addrs[protocol] = addr
	return addr, nil
}

// ports returns the ports of the protocols, in their order.
func (e *engine) ports(protocols ...string) ([]string, error) {
	var found []string
	for _, p := range protocols {
		addr, err := e.address(p)
		if err != nil {
			return nil, err
		}
		_, port, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, err
		}
		found = append(found, port)
	}
	return found, nil
}

// write writes a file of the server's folder and returns its path.
func (e *engine) write(name, text string) (string, error) {
	path := filepath.Join(e.dir, name)
	return path, os.WriteFile(path, []byte(text), 0o600)
}

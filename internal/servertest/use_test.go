package servertest

import (
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"
)

func TestUseStartsAndEnds(t *testing.T) {
	if lacking(kind{name: "Redis", programs: []string{"redis-server"}}) != nil {
		t.Skip("redis-server is not installed")
	}
	dir, pid := t.TempDir(), 0
	wrong := errors.New("wrong")
	err := Use(dir, Redis, nil, func(s *Server) error {
		pid = s.PID()
		if err := lives(&Server{t: t, engine: s.engine}); err != nil {
			t.Error(err)
		}
		return wrong
	})
	if !errors.Is(err, wrong) {
		t.Errorf("the error is %v", err)
	}
	if pid == 0 || !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		t.Errorf("process %d is still there", pid)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestUseTurnsTheEndOfATestIntoAnError(t *testing.T) {
	missing := func(t testing.TB, opts ...Option) *Server {
		return begin(t, kind{name: "Nothing", pack: "nothing", programs: []string{"/nowhere/nothing"}}, opts)
	}
	t.Setenv("TIDEGATE_E2E", "")
	err := Use(t.TempDir(), missing, nil, func(*Server) error { return errors.New("called") })
	if !errors.Is(err, ErrMissing) || !strings.Contains(err.Error(), "apt-get install nothing") {
		t.Errorf("a server that is not installed: %v", err)
	}
	if lacking(kind{name: "Redis", programs: []string{"redis-server"}}) != nil {
		t.Skip("redis-server is not installed")
	}
	err = Use(t.TempDir(), Redis, nil, func(s *Server) error {
		s.Addr("amqp")
		return errors.New("went on")
	})
	if err == nil || !strings.Contains(err.Error(), "amqp") {
		t.Errorf("a protocol that it does not speak: %v", err)
	}
}

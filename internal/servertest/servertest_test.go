package servertest

import (
	"context"
	"errors"
	"net"
	"slices"
	"testing"
	"time"
)

var rabbit = Share(RabbitMQ)

func TestMain(m *testing.M) { Main(m, rabbit) }

// inTime repeats what fails until it does not, or its time is over.
func inTime(do func() error) error {
	often := time.NewTicker(25 * time.Millisecond)
	defer often.Stop()
	for late := time.Now().Add(patience); ; <-often.C {
		if err := do(); err == nil || time.Now().After(late) {
			return err
		}
	}
}

// lives tries each protocol until it is answered.
func lives(s *Server) error { return inTime(func() error { return answers(s) }) }

// answers tries each protocol of the server once.
func answers(s *Server) error {
	for protocol, g := range s.plan.ready {
		ctx, cancel := context.WithTimeout(s.t.Context(), time.Second)
		err := try(ctx, s.Addr(protocol), g)
		cancel()
		if err != nil {
			return err
		}
	}
	return nil
}

// TestLife takes every server through all that can happen to one.
func TestLife(t *testing.T) {
	t.Parallel() // servers are waited for most of the time
	for _, c := range servers() {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if c.name == "RabbitMQ" {
				life(t, rabbit.Get(t))
				return
			}
			life(t, c.start(t))
		})
	}
}

func life(t *testing.T, s *Server) {
	if err := lives(s); err != nil {
		t.Errorf("at first: %v", err)
	}
	s.Freeze()
	var timeout net.Error
	if err := answers(s); !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("while it is frozen: %v, want a timeout", err)
	}
	s.Thaw()
	if err := lives(s); err != nil {
		t.Errorf("after it was frozen: %v", err)
	}
	s.Kill()
	if err := answers(s); err == nil {
		t.Error("it answers, and was killed")
	}
	s.Start()
	if err := lives(s); err != nil {
		t.Errorf("after it was killed: %v", err)
	}
	s.Stop()
	if err := answers(s); err == nil {
		t.Error("it answers, and was stopped")
	}
	s.Start()
	if err := lives(s); err != nil {
		t.Errorf("after it was stopped: %v", err)
	}
}

// TestWithTLSAndPassword starts every server with TLS and a user.
func TestWithTLSAndPassword(t *testing.T) {
	t.Parallel() // servers are waited for most of the time
	for _, c := range servers() {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := c.start(t, TLS(NewAuthority(t)), User("north", "s3cr3t"))
			if err := lives(s); err != nil {
				t.Error(err)
			}
			if !slices.ContainsFunc([]string{"amqps", "stomp+ssl", "rediss", "tls", "mqtts", "https"}, func(protocol string) bool { return s.addrs[protocol] != "" }) {
				t.Errorf("it listens at %v: nothing with TLS", s.addrs)
			}
		})
	}
}

func TestWhatIsNotInstalledIsNamed(t *testing.T) {
	err := lacking(kind{name: "Nothing", pack: "nothing-server", programs: []string{"sh", "nothingd"}})
	if want := "Nothing is not installed (nothingd is missing) — hint: apt-get install nothing-server"; err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
	err = lacking(kind{name: "Nothing", pack: "nothing-server", programs: []string{"/nowhere/nothing.jar"}})
	if err == nil {
		t.Error("a file that is not there is not missed")
	}
}

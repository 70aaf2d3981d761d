package servertest

import (
	"context"
	"errors"
	"net"
	"os/exec"
	"testing"
	"time"
)

var rabbit = Share(RabbitMQ)

func TestMain(m *testing.M) { Main(m, rabbit) }

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
	for _, c := range []struct {
		name  string
		start func(testing.TB, ...Option) *Server
	}{
		{"ActiveMQ", ActiveMQ}, {"Redis", Redis}, {"NATS", NATS}, {"Mosquitto", Mosquitto},
		{"InfluxDB", InfluxDB}, {"VictoriaMetrics", VictoriaMetrics},
		{"RabbitMQ", func(t testing.TB, _ ...Option) *Server { return rabbit.Get(t) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := c.start(t)
			life(t, s)
		})
	}
}

func life(t *testing.T, s *Server) {
	if err := answers(s); err != nil {
		t.Errorf("at first: %v", err)
	}
	s.Freeze()
	var timeout net.Error
	if err := answers(s); !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("while it is frozen: %v, want a timeout", err)
	}
	s.Thaw()
	if err := answers(s); err != nil {
		t.Errorf("after it was frozen: %v", err)
	}
	s.Kill()
	if err := answers(s); err == nil {
		t.Error("it answers, and was killed")
	}
	s.Start()
	if err := answers(s); err != nil {
		t.Errorf("after it was killed: %v", err)
	}
	s.Stop()
	if err := answers(s); err == nil {
		t.Error("it answers, and was stopped")
	}
	s.Start()
	if err := answers(s); err != nil {
		t.Errorf("after it was stopped: %v", err)
	}
}

// TestWithTLSAndPassword starts every server with TLS and a user.
func TestWithTLSAndPassword(t *testing.T) {
	for _, c := range []struct {
		name, protocol string
		start          func(testing.TB, ...Option) *Server
	}{
		{"ActiveMQ", "stomp+ssl", ActiveMQ}, {"Redis", "rediss", Redis}, {"NATS", "tls", NATS}, {"Mosquitto", "mqtts", Mosquitto},
		{"InfluxDB", "https", InfluxDB}, {"VictoriaMetrics", "https", VictoriaMetrics}, {"RabbitMQ", "amqps", RabbitMQ},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := c.start(t, TLS(NewAuthority(t)), User("north", "s3cr3t"))
			if err := answers(s); err != nil {
				t.Error(err)
			}
			if conn, err := net.Dial("tcp", s.Addr(c.protocol)); err != nil {
				t.Error(err)
			} else {
				conn.Close()
			}
		})
	}
}

func TestWhatIsNotInstalledIsNamed(t *testing.T) {
	err := lacking(kind{name: "Nothing", pack: "nothing-server", program: "nothingd"})
	if want := "Nothing is not installed (nothingd is missing) — hint: apt-get install nothing-server"; err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
	if _, err := exec.LookPath("sh"); err == nil && lacking(kind{program: "sh"}) != nil {
		t.Error("sh is said to be missing")
	}
}

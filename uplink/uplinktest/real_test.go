package uplinktest

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"

	"github.com/tidegate/tidegate/internal/netfault"
	"github.com/tidegate/tidegate/internal/rerun"
	"github.com/tidegate/tidegate/internal/servertest"
	"github.com/tidegate/tidegate/uplink"
)

// plainSink is a door to Redis that is as small as an honest one can be: a
// connection for each message. How it lies, if it does, is in lie.
type plainSink struct {
	address, password string
	tls               *tls.Config
	lie               string
}

func (s plainSink) dial(ctx context.Context) (net.Conn, error) {
	var d net.Dialer
	if s.lie == "holds on" {
		ctx = context.Background()
	}
	if s.tls == nil {
		return d.DialContext(ctx, "tcp", s.address)
	}
	return (&tls.Dialer{Config: s.tls}).DialContext(ctx, "tcp", s.address)
}

func (s plainSink) Send(ctx context.Context, m uplink.Message) error {
	conn, err := s.dial(ctx)
	if err != nil {
		return s.explain(err)
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok && s.lie != "holds on" {
		if err := conn.SetDeadline(deadline); err != nil {
			return err
		}
	}
	key := m.Key.String()
	if s.lie == "new keys" {
		key = fmt.Sprintf("%s/%d", key, time.Now().UnixNano())
	}
	body := string(m.Body)
	if s.lie == "changes bodies" {
		body = strings.ToUpper(body)
	}
	text := words("AUTH", "default", s.password) + words("XADD", "tide", "*", "key", key, "body", body)
	if _, err := io.WriteString(conn, text); err != nil {
		return s.explain(err)
	}
	if s.lie == "believes its writes" {
		return nil
	}
	answers := bufio.NewReader(conn)
	for range 2 {
		line, err := answers.ReadString('\n')
		if err != nil {
			return s.explain(err)
		}
		if strings.HasPrefix(line, "-") {
			return s.refusal(strings.TrimSpace(line))
		}
	}
	return nil
}

func (s plainSink) explain(err error) error {
	switch s.lie {
	case "no hints":
		return err
	case "gives up":
		return uplink.Permanent(err)
	}
	return netfault.Explain(err)
}

func (s plainSink) refusal(line string) error {
	if s.lie == "shows the password" {
		line += " with " + s.password
	}
	if s.lie == "gives up" {
		return uplink.Permanent(errors.New(line))
	}
	if strings.HasPrefix(line, "-WRONGPASS") {
		return uplink.RetryAfter(errors.New(line+" — hint: check the password"), time.Minute)
	}
	return errors.New(line + " — hint: the server has no room")
}

func words(of ...string) string {
	text := fmt.Sprintf("*%d\r\n", len(of))
	for _, w := range of {
		text += fmt.Sprintf("$%d\r\n%s\r\n", len(w), w)
	}
	return text
}

func plain(lie string) Real {
	const password = "right"
	return Real{
		Server: func(t *testing.T) *servertest.Server {
			return servertest.Redis(t, servertest.User("default", password))
		},
		Protocol: "redis",
		New: func(_ *testing.T, address string) uplink.Sink {
			return plainSink{address: address, password: password, lie: lie}
		},
		BadPassword: func(_ *testing.T, address string) uplink.Sink {
			return plainSink{address: address, password: WrongPassword, lie: lie}
		},
		TLS: func(_ *testing.T, address string, cfg *tls.Config) uplink.Sink {
			return plainSink{address: address, password: password, tls: cfg, lie: lie}
		},
		Fills: true,
		Fill: func(t *testing.T, s *servertest.Server) func() {
			set := func(limit int) {
				conn, err := redis.Dial("tcp", s.Addr("redis"), redis.DialPassword(password))
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				if _, err := conn.Do("CONFIG", "SET", "maxmemory", limit); err != nil {
					t.Fatal(err)
				}
			}
			set(1)
			return func() { set(0) }
		},
		Read: func(t *testing.T, address string) []Received {
			conn, err := redis.Dial("tcp", address, redis.DialPassword(password))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			entries, err := redis.Values(conn.Do("XRANGE", "tide", "-", "+"))
			if err != nil {
				t.Fatal(err)
			}
			var found []Received
			for _, e := range entries {
				parts, err := redis.Values(e, nil)
				if err != nil {
					t.Fatal(err)
				}
				fields, err := redis.StringMap(parts[1], nil)
				if err != nil {
					t.Fatal(err)
				}
				found = append(found, Received{Key: fields["key"], Body: []byte(fields["body"])})
			}
			return found
		},
	}
}

// TestRealPassesTheHonest runs the suite against the smallest honest door.
func TestRealPassesTheHonest(t *testing.T) { RunReal(t, plain("")) }

// lieVariable tells a process of these tests how to lie.
const lieVariable = "TIDEGATE_TEST_LIE"

// TestRealOfALiar is run by TestRealCatchesLiars, in a process of its own: it must
// fail.
func TestRealOfALiar(t *testing.T) {
	lie, ok := os.LookupEnv(lieVariable)
	if !ok {
		t.Skip("only when it is asked for")
	}
	RunReal(t, plain(lie))
}

func TestRealCatchesLiars(t *testing.T) {
	servertest.Redis(t) // skips where there is none
	for _, c := range []struct{ lie, caughtBy, saying string }{
		{"believes its writes", "Frozen", "nobody has the message"},
		{"believes its writes", "KillInMidStream", "lost:"},
		{"new keys", "TakesAndKeeps", "invented:"},
		{"changes bodies", "TakesAndKeeps", "changed:"},
		{"holds on", "Frozen", "test timed out"},
		{"gives up", "KillInMidStream", "permanent"},
		{"gives up", "Full", "permanent"},
		{"no hints", "Certificates", "no hint"},
		{"shows the password", "WrongPassword", "shows the password"},
	} {
		t.Run(c.lie+"/"+c.caughtBy, func(t *testing.T) {
			timeout := "-test.timeout=5m"
			if c.lie == "holds on" {
				timeout = "-test.timeout=5s" // it would for ever
			}
			cmd := rerun.Command("-test.run=^TestRealOfALiar$/^"+c.caughtBy+"$", timeout)
			cmd.Env = append(os.Environ(), lieVariable+"="+c.lie)
			out, err := cmd.CombinedOutput()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || !strings.Contains(string(out), c.saying) {
				t.Errorf("a door that lies (%s) is not caught by %s saying %q: %v\n%s", c.lie, c.caughtBy, c.saying, err, out)
			}
		})
	}
}

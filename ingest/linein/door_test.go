package linein

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/ingest/decode"
	"github.com/tidegate/tidegate/ingest/frame"
	"github.com/tidegate/tidegate/ingest/ingesttest"
	"github.com/tidegate/tidegate/ingest/route"
)

// config is a door that keeps what it cannot decode.
func config() Config {
	return Config{
		Address: "127.0.0.1:0",
		Target:  route.Target{Device: "d", Metric: "m", Decoder: decode.NewJSON(decode.JSONConfig{}), KeepOpaque: true},
	}
}

func newSource(t testing.TB, cfg Config) *Source {
	t.Helper()
	s, err := New(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestDoor(t *testing.T) {
	for name, door := range map[string]struct {
		network string
		change  func(*Config)
	}{
		"tcp": {"tcp", func(c *Config) { c.Reply = "OK\n" }},
		"tcp length": {"tcp", func(c *Config) {
			c.Reply, c.Framing = "OK\n", frame.Config{Kind: frame.Length, Checksum: frame.CRC16CCITT}
		}},
		"tcp silent": {"tcp", func(*Config) {}},
		"udp":        {"udp", func(c *Config) { c.Transport, c.Reply = Datagrams, "OK\n" }},
		"udp silent": {"udp", func(c *Config) { c.Transport = Datagrams; c.Framing.Kind = frame.Gap }},
	} {
		cfg := config()
		door.change(&cfg)
		t.Run(name, func(t *testing.T) {
			ingesttest.Run(t, ingesttest.Door{
				New: func(t *testing.T) ingest.Source { return newSource(t, cfg) },
				Speak: func(t *testing.T, source ingest.Source) ingesttest.Peer {
					conn := dial(t, door.network, source.(*Source))
					return &peer{t: t, Conn: conn, framing: cfg.Framing, in: bufio.NewReader(conn)}
				},
				Silent: cfg.Reply == "",
			})
		})
	}
}

func dial(t testing.TB, network string, s *Source) net.Conn {
	t.Helper()
	addr := s.Addr(t.Context())
	if addr == nil {
		t.Fatal("it does not listen")
	}
	conn, err := net.Dial(network, addr.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// peer is a device that counts the replies.
type peer struct {
	net.Conn
	t       *testing.T
	framing frame.Config
	in      *bufio.Reader
	acked   int
}

func (p *peer) Send(n int) {
	b, err := p.framing.Append(nil, fmt.Appendf(nil, `{"a":%d}`, n))
	if err != nil {
		p.t.Fatal(err)
	}
	p.Write(b)
}

func (p *peer) Acked(ctx context.Context) (int, error) {
	deadline, _ := ctx.Deadline()
	if err := p.SetReadDeadline(deadline); err != nil {
		return 0, err
	}
	reply, err := p.in.ReadString('\n')
	if err != nil {
		return 0, err
	}
	if reply != "OK\n" {
		return 0, fmt.Errorf("replied %q", reply)
	}
	p.acked++
	return p.acked - 1, nil
}

func (p *peer) Garbage(b []byte) { p.Write(b) }

// world is a running door.
type world struct {
	*Source
	t       testing.TB
	custody *ingesttest.Custody
	intake  *ingest.Intake
	ended   chan error
	stop    context.CancelFunc
}

// start runs a door over a custody that stores everything at once.
func start(t testing.TB, cfg Config) *world {
	t.Helper()
	custody := ingesttest.NewCustody()
	custody.CommitAtOnce()
	w := startOn(t, cfg, custody)
	w.custody = custody
	return w
}

func startOn(t testing.TB, cfg Config, custody ingest.Custody) *world {
	t.Helper()
	w := &world{Source: newSource(t, cfg), t: t, ended: make(chan error, 1), intake: ingest.NewIntake(custody, nil, time.Now)}
	ctx, cancel := context.WithCancel(context.Background())
	w.stop = cancel
	go func() { w.ended <- w.Run(ctx, w.intake) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-w.ended:
			if err != nil {
				t.Error(err)
			}
			w.ended <- nil
		case <-time.After(ingesttest.Patience):
			t.Error("run did not return")
		}
	})
	return w
}

// values waits for n readings and returns their values as text.
func (w *world) values(n int) (all []string) {
	w.t.Helper()
	for _, r := range w.custody.Taken(w.t, n) {
		all = append(all, r.Device+" "+r.Metric+"="+r.Value.String())
	}
	return all
}

// until waits until the counts are as they should be.
func (w *world) until(what string, ok func(Stats) bool) {
	w.t.Helper()
	late := time.Now().Add(ingesttest.Patience)
	for tick := time.NewTicker(time.Millisecond); ; <-tick.C {
		if ok(w.Stats()) {
			tick.Stop()
			return
		}
		if time.Now().After(late) {
			w.t.Fatalf("%s: %+v", what, w.Stats())
		}
	}
}

func (w *world) send(conn net.Conn, text string) {
	w.t.Helper()
	if _, err := conn.Write([]byte(text)); err != nil {
		w.t.Fatal(err)
	}
}

// mustEnd waits until the door closes the connection.
func mustEnd(t testing.TB, conn net.Conn) {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(ingesttest.Patience)); err != nil {
		t.Fatal(err)
	}
	var netErr net.Error
	if n, err := conn.Read(make([]byte, 100)); err == nil || errors.As(err, &netErr) && netErr.Timeout() {
		t.Fatalf("the connection goes on: %d bytes, %v", n, err)
	}
}

package coapin

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/ingest/decode"
	"github.com/tidegate/tidegate/ingest/ingesttest"
	"github.com/tidegate/tidegate/ingest/route"
	"github.com/tidegate/tidegate/reading"
)

// routes are those of the tests: picky/# drops what is no JSON, raw/# keeps all.
func routes(t testing.TB, users bool) *route.Table {
	t.Helper()
	json := decode.NewJSON(decode.JSONConfig{})
	rules := []route.Rule{
		{Topic: "picky/{device}", Decoder: json},
		{Topic: "raw/#", Decoder: decode.Raw{}},
		{Topic: "alarm/{device}", Decoder: json, KeepOpaque: true, Lane: reading.Alarm},
	}
	if users {
		rules = append(rules, route.Rule{Topic: "mine", Device: "{user}", Decoder: json, KeepOpaque: true, Users: true})
	}
	table, err := route.NewTable(rules, json)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func newSource(t testing.TB, cfg Config) *Source {
	t.Helper()
	if cfg.Listen == "" && cfg.ListenDTLS == "" {
		cfg.Listen = "127.0.0.1:0"
	}
	if cfg.Routes == nil {
		cfg.Routes = routes(t, true)
	}
	return New(cfg, slog.New(slog.DiscardHandler))
}

// run runs a server until stop is called, or the test ends.
func run(t testing.TB, custody ingest.Custody, cfg Config) (s *Source, stop func()) {
	t.Helper()
	s = newSource(t, cfg)
	return s, runSource(t, ingest.NewIntake(custody, nil, time.Now), s)
}

func runSource(t testing.TB, intake *ingest.Intake, s *Source) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	runs, over := context.WithCancel(t.Context())
	go func() { err := s.Run(ctx, intake); over(); ended <- err }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("run: %v", err)
			}
		case <-time.After(ingesttest.Patience):
			t.Error("run did not return")
		}
	}
	t.Cleanup(stop)
	if s.Addrs(runs); runs.Err() != nil { // it has ended: stop says of what
		t.FailNow()
	}
	return stop
}

func start(t testing.TB, custody ingest.Custody, cfg Config) *Source {
	t.Helper()
	s, _ := run(t, custody, cfg)
	return s
}

func instant() *ingesttest.Custody {
	c := ingesttest.NewCustody()
	c.CommitAtOnce()
	return c
}

func plainAddr(t testing.TB, s *Source) netip.AddrPort {
	t.Helper()
	plain, _ := s.Addrs(t.Context())
	return plain.(*net.UDPAddr).AddrPort()
}

// client is a peer that says exactly what it is told to.
type client struct {
	testing.TB
	conn net.Conn
	id   uint16
}

func dial(t testing.TB, at netip.AddrPort) *client {
	t.Helper()
	conn, err := net.Dial("udp", at.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &client{TB: t, conn: conn, id: 100}
}

// request returns a message with the next message ID, and its low byte as token.
func (c *client) request(k kind, method code, path ...string) message {
	c.id++
	m := message{kind: k, code: method, id: c.id, token: []byte{byte(c.id)}}
	for _, segment := range path {
		m.options = append(m.options, option{optUriPath, []byte(segment)})
	}
	return m
}

// with adds an option, which must not be before those that are there.
func (m message) with(number uint16, value ...byte) message {
	m.options = append(m.options[:len(m.options):len(m.options)], option{number, value})
	return m
}

func (m message) carrying(payload string) message {
	m.payload = []byte(payload)
	return m
}

// value returns the value of the first option with the number.
func (m message) value(number uint16) (uint32, bool) {
	for _, o := range m.options {
		if o.number == number {
			return uintValue(o.value), true
		}
	}
	return 0, false
}

func (c *client) send(m message) { c.sendBytes(m.appendTo(nil)) }

func (c *client) sendBytes(b []byte) {
	c.Helper()
	if _, err := c.conn.Write(b); err != nil {
		c.Fatal(err)
	}
}

var errNothing = errors.New("nothing came")

func (c *client) receiveWithin(d time.Duration) (message, error) {
	c.Helper()
	if err := c.conn.SetReadDeadline(time.Now().Add(d)); err != nil {
		c.Fatal(err)
	}
	b := make([]byte, maxDatagram)
	n, err := c.conn.Read(b)
	if err != nil {
		return message{}, errNothing
	}
	var m message
	if err := m.parse(b[:n]); err != nil {
		c.Fatalf("%x: %v", b[:n], err)
	}
	return m, nil
}

func (c *client) receive() message {
	c.Helper()
	m, err := c.receiveWithin(ingesttest.Patience)
	if err != nil {
		c.Fatal(err)
	}
	return m
}

func (c *client) nothing() {
	c.Helper()
	if m, err := c.receiveWithin(ingesttest.Impatience); err == nil {
		c.Fatalf("got %+v", m)
	}
}

// caughtUp waits until the door has taken what was sent to it, over UDP without DTLS:
// one datagram after the other, and a ping is reset at once.
func (c *client) caughtUp() {
	c.Helper()
	c.id++
	c.send(message{kind: confirmable, code: empty, id: c.id})
	if got := c.receive(); got.kind != reset || got.id != c.id {
		c.Fatalf("got %+v before anything is due", got)
	}
}

// do sends a request and returns the answer, which must be for it.
func (c *client) do(m message) message {
	c.Helper()
	c.send(m)
	got := c.receive()
	if m.kind == confirmable && (got.kind != acknowledgement || got.id != m.id) || m.kind == nonConfirmable && got.kind != nonConfirmable {
		c.Fatalf("kind %d, id %d in answer to kind %d, id %d", got.kind, got.id, m.kind, m.id)
	}
	if string(got.token) != string(m.token) {
		c.Fatalf("token %x in answer to %x", got.token, m.token)
	}
	return got
}

// expect is do with a look at the code.
func (c *client) expect(m message, want code) message {
	c.Helper()
	got := c.do(m)
	if got.code != want {
		c.Fatalf("got %v %q, want %v", got.code, got.payload, want)
	}
	return got
}

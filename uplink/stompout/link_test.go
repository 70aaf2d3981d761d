package stompout

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/uplink"
	"github.com/tidegate/tidegate/uplink/uplinktest"
)

// message is the n-th message, with a body of size bytes.
func message(n, size int) uplink.Message {
	first := uint64(n)*100 + 1
	return uplink.Message{
		Key:   uplink.Key{Gateway: "north-7", Epoch: 0x4d2, Lane: reading.Normal, First: first, Last: first + 98},
		Count: 99, ContentType: "application/json", Body: []byte(strings.Repeat("x", size)),
	}
}

// inParts cuts a message into parts of one reading of a device each.
func inParts(m uplink.Message, devices ...string) uplink.Message {
	size := len(m.Body) / len(devices)
	for i, d := range devices {
		n := m.First + uint64(i)
		m.Parts = append(m.Parts, uplink.Part{Body: m.Body[i*size : (i+1)*size], First: n, Last: n, Count: 1, Device: d})
	}
	return m
}

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// receive returns the next of a channel.
func receive[T any](t *testing.T, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(soon):
		t.Fatal("nothing came")
		panic("unreachable")
	}
}

// sent is a SEND that has arrived, and where the answer goes.
type sent struct {
	*frame
	conn *fakeConn
}

func (s sent) receipt() { s.conn.say(receiptCommand, "", "receipt-id", s.get("receipt")) }

// collector is a server that leaves the answers to the test.
func collector(t *testing.T) (address string, server *fakeServer, arrived <-chan sent) {
	t.Helper()
	all := make(chan sent, 100)
	server = &fakeServer{answer: func(c *fakeConn, f *frame) { all <- sent{f, c} }}
	return server.serve(t), server, all
}

// begin sends in a goroutine.
func begin(ctx context.Context, s *Sink, m uplink.Message) <-chan error {
	ended := make(chan error, 1)
	go func() { ended <- s.Send(ctx, m) }()
	return ended
}

func TestFramesAreTheOneInThePackageComment(t *testing.T) {
	address, _, arrived := collector(t)
	sink := newSink(t, Config{Address: address})
	ended := begin(within(t, soon), sink, message(0, 4711))
	f := receive(t, arrived)
	want := []header{
		{"destination", "/queue/telemetry"}, {"content-type", "application/json"}, {"content-length", "4711"},
		{"persistent", "true"}, {"receipt", "1"}, {KeyHeader, "north-7/00000000000004d2/normal/1-99"},
	}
	if !slices.Equal(f.headers, want) {
		t.Errorf("%v, want %v", f.headers, want)
	}
	f.receipt()
	if err := receive(t, ended); err != nil {
		t.Error(err)
	}
}

func TestMessageOfNoPartsIsNotSent(t *testing.T) {
	server := &fakeServer{answer: func(*fakeConn, *frame) { t.Error("it was sent") }}
	if err := newSink(t, Config{Address: server.serve(t)}).Send(within(t, soon), uplink.Message{Parts: []uplink.Part{}}); err != nil {
		t.Error(err)
	}
}

// JMS clients of ActiveMQ get a TextMessage for this header, a BytesMessage without.
func TestTextIsMarked(t *testing.T) {
	for text, want := range map[bool]string{true: "text", false: ""} {
		address, _, arrived := collector(t)
		ended := begin(within(t, soon), newSink(t, Config{Address: address, Text: text}), message(0, 10))
		f := receive(t, arrived)
		if got := f.get("amq-msg-type"); got != want {
			t.Errorf("%v: %q, want %q", text, got, want)
		}
		f.receipt()
		if err := receive(t, ended); err != nil {
			t.Error(err)
		}
	}
}

func TestLoginIsAsConfigured(t *testing.T) {
	got := make(chan *frame, 1)
	server := &fakeServer{connect: func(c *fakeConn, f *frame) {
		got <- f
		c.say(connectedCommand, "", "version", "1.2", "server", "fake/1", "heart-beat", "0,0")
	}}
	sink := newSink(t, Config{
		Address: server.serve(t), Vhost: "/plant", Username: `gw\n:1`, Password: uplinktest.Secret(t, `p:\c`), Heartbeat: 20 * time.Second,
	})
	about, err := sink.Probe(within(t, soon))
	if err != nil || about != "fake 1, STOMP 1.2, /queue/telemetry" {
		t.Errorf("%q, %v", about, err)
	}
	// The server has undone escapes that were never made: what it sees is what was sent.
	f := receive(t, got)
	for name, want := range map[string]string{"accept-version": "1.2", "host": "/plant", "heart-beat": "20000,20000"} {
		if f.get(name) != want {
			t.Errorf("%s is %q, want %q", name, f.get(name), want)
		}
	}
	if f.get("login") != "gw\n:1" || f.get("passcode") != "p::" {
		t.Errorf("login %q, passcode %q: escaped", f.get("login"), f.get("passcode"))
	}
}

func TestRefusedLoginsWaitForPeople(t *testing.T) {
	for name, c := range map[string]struct {
		answer func(c *fakeConn, f *frame)
		class  string
		hint   string
	}{
		"Password": {func(c *fakeConn, _ *frame) {
			c.say(errorCommand, "Access refused for user 'gw'\n", "message", "Bad CONNECT")
		}, "1m0s", "password_file"},
		"OldVersion": {func(c *fakeConn, _ *frame) { c.say(connectedCommand, "", "version", "1.1") }, "1m0s", "1.2"},
		"Full": {func(c *fakeConn, _ *frame) {
			c.say(errorCommand, "", "message", "The maximum data length was exceeded")
		}, isTransient, "smaller"},
		"HTTP":      {func(c *fakeConn, _ *frame) { c.write("HTTP/1.1 400 Bad Request\r\n\r\n") }, isTransient, "the port"},
		"HangsUp":   {func(c *fakeConn, _ *frame) { c.Close() }, isTransient, "the port"},
		"HeartBeat": {func(c *fakeConn, _ *frame) { c.say(connectedCommand, "", "version", "1.2", "heart-beat", "often") }, isTransient, "STOMP"},
	} {
		t.Run(name, func(t *testing.T) {
			server := &fakeServer{connect: c.answer}
			err := newSink(t, Config{Address: server.serve(t)}).Send(within(t, soon), message(0, 10))
			if got := classOf(err); got != c.class || !strings.Contains(err.Error(), c.hint) {
				t.Errorf("%s, want %s and %q: %v", got, c.class, c.hint, err)
			}
		})
	}
}

// A message of parts is in custody when each has its receipt, whatever their order.
func TestReceiptsComeInAnyOrder(t *testing.T) {
	address, server, arrived := collector(t)
	sink := newSink(t, Config{Address: address, Destination: template(t, "/queue/plant.{device}")})
	ctx := within(t, soon)
	first := begin(ctx, sink, inParts(message(0, 30), "a", "b.c/d", "e"))
	var parts []sent
	for range 3 {
		parts = append(parts, receive(t, arrived))
	}
	second := begin(ctx, sink, inParts(message(1, 30), "f"))
	last := receive(t, arrived)
	last.receipt()
	if err := receive(t, second); err != nil {
		t.Error(err)
	}
	slices.SortFunc(parts, func(a, b sent) int { return strings.Compare(b.get("receipt"), a.get("receipt")) })
	for i, p := range parts {
		want := []string{"/queue/plant.e", "/queue/plant.b%2Ec%2Fd", "/queue/plant.a"}[i]
		if p.get("destination") != want || len(p.body) != 10 {
			t.Errorf("%s with %d bytes, want %s", p.get("destination"), len(p.body), want)
		}
		select {
		case err := <-first:
			t.Fatalf("%v with %d receipts missing", err, 3-i)
		default:
		}
		p.receipt()
		p.receipt() // a server that stutters confirms nothing else by it
	}
	if err := receive(t, first); err != nil {
		t.Error(err)
	}
	if n := server.connections(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

// While the server is alive, a message without its receipt is not sent again: the
// next Send waits where the one before gave up.
func TestServerThatHoldsBackIsNotSentTheSameAgain(t *testing.T) {
	address, server, arrived := collector(t)
	sink := newSink(t, Config{Address: address})
	m := message(0, 1000)
	give := func() sent {
		ctx, cancel := context.WithCancel(t.Context())
		ended := begin(ctx, sink, m)
		s := receive(t, arrived)
		alive(t, sink, s.conn)
		cancel()
		err := receive(t, ended)
		if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "alive") || classOf(err) != isTransient {
			t.Errorf("%v", err)
		}
		return s
	}
	s := give()
	again := begin(within(t, soon), sink, m)
	s.receipt()
	if err := receive(t, again); err != nil {
		t.Errorf("the second Send: %v", err)
	}
	m = message(1, 1000)
	s = give()
	s.receipt() // while nobody waits
	landed(t, sink)
	if err := sink.Send(within(t, soon), m); err != nil {
		t.Errorf("confirmed in between: %v", err)
	}
	m = message(2, 1000)
	s = give()
	m.Body = []byte("made anew under the same key")
	other := begin(within(t, soon), sink, m)
	if got := receive(t, arrived); string(got.body) != string(m.Body) {
		t.Errorf("%q", got.body)
	} else {
		s.receipt() // that of the other bytes
		got.receipt()
	}
	if err := receive(t, other); err != nil {
		t.Error(err)
	}
	if n := server.connections(); n != 1 || len(arrived) != 0 {
		t.Errorf("%d connections, %d more messages", n, len(arrived))
	}
}

// alive lets the server show life, and waits until the sink has seen it.
func alive(t *testing.T, s *Sink, c *fakeConn) {
	t.Helper()
	l := linkOf(t, s)
	heard := l.wire.Heard()
	c.write("\n")
	wait(t, func() bool { return l.wire.Heard() > heard })
}

// landed waits until nothing is under way.
func landed(t *testing.T, s *Sink) {
	t.Helper()
	l := linkOf(t, s)
	wait(t, func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return len(l.flying) == 0
	})
}

func linkOf(t *testing.T, s *Sink) *link {
	t.Helper()
	l, err := s.seat.Get(within(t, soon), func(context.Context) (*link, error) { return nil, errors.New("there is none") })
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// wait waits until something has happened.
func wait(t *testing.T, until func() bool) {
	t.Helper()
	often := time.NewTicker(time.Millisecond)
	defer often.Stop()
	for late := time.After(soon); !until(); {
		select {
		case <-often.C:
		case <-late:
			t.Fatal("it has not happened")
		}
	}
}

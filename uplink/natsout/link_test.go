package natsout

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidegate/tidegate/internal/base/porttest"
	"github.com/tidegate/tidegate/internal/servertest"
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

// published is a message that has arrived, and where the answer goes.
type published struct {
	publish
	conn *fakeConn
}

// collector is a server that leaves the answers to the test.
func collector(t *testing.T, info string) (address string, server *fakeServer, arrived <-chan published) {
	t.Helper()
	all := make(chan published, 100)
	server = &fakeServer{info: info, answer: func(c *fakeConn, p publish) { all <- published{p, c} }}
	return server.serve(t), server, all
}

func begin(ctx context.Context, s *Sink, m uplink.Message) <-chan error {
	ended := make(chan error, 1)
	go func() { ended <- s.Send(ctx, m) }()
	return ended
}

func TestMessagesAreTheOneInThePackageComment(t *testing.T) {
	address, _, arrived := collector(t, "")
	sink := newSink(t, Config{Servers: []string{address}, Subject: template(t, "telemetry.{gateway}.{lane}"), Stream: "TELEMETRY"})
	ended := begin(within(t, soon), sink, message(0, 100))
	p := receive(t, arrived)
	key := "north-7/00000000000004d2/normal/1-99"
	for name, want := range map[string]string{idHeader: key, KeyHeader: key, typeHeader: "application/json", streamHeader: "TELEMETRY"} {
		if got := p.header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if p.subject != "telemetry.north-7.normal" || len(p.header) != 4 || len(p.body) != 100 {
		t.Errorf("%s %v, %d bytes", p.subject, p.header, len(p.body))
	}
	p.conn.confirm(p.publish)
	if err := receive(t, ended); err != nil {
		t.Error(err)
	}
}

// A message of parts is in custody when each has its answer, whatever their order.
func TestAnswersComeInAnyOrder(t *testing.T) {
	address, server, arrived := collector(t, "")
	sink := newSink(t, Config{Servers: []string{address}, Subject: template(t, "plant.{device}")})
	ended := begin(within(t, soon), sink, inParts(message(0, 30), "a", "b.c d", "$SYS.>"))
	all := []published{receive(t, arrived), receive(t, arrived), receive(t, arrived)}
	slices.SortFunc(all, func(a, b published) int { return strings.Compare(b.reply, a.reply) })
	for i, p := range all {
		if want := []string{"plant.%24SYS%2E%3E", "plant.b%2Ec%20d", "plant.a"}[i]; p.subject != want {
			t.Errorf("subject %s, want %s", p.subject, want)
		}
		select {
		case err := <-ended:
			t.Fatalf("%v with %d answers missing", err, 3-i)
		default:
		}
		p.conn.confirm(p.publish)
		p.conn.confirm(p.publish) // twice is not another one
	}
	if err := receive(t, ended); err != nil || server.connections() != 1 {
		t.Errorf("%v, %d connections", err, server.connections())
	}
}

func TestTheWorstAnswerDecides(t *testing.T) {
	address, _, arrived := collector(t, "")
	sink := newSink(t, Config{Servers: []string{address}})
	say := func(p published, code string) {
		p.conn.reply(p.publish, `{"error":{"err_code":`+code+`,"description":"no"}}`)
	}
	for want, codes := range map[string][]string{"30s": {"10008", "10077", "10009"}, isTooLarge: {"10077", "10054"}, isTransient: {"10008"}} {
		ended := begin(within(t, soon), sink, inParts(message(0, 30), make([]string, len(codes))...))
		for _, code := range codes {
			say(receive(t, arrived), code)
		}
		if err := receive(t, ended); classOf(err) != want {
			t.Errorf("%v: %v, want %s", codes, err, want)
		}
	}
	if n := sink.Limit(); n <= 0 || n >= 15+headOf(message(0, 15), uplink.Part{Device: "?"}) {
		t.Errorf("the limit is %d, and 15 bytes were too large, with their headers", n)
	}
}

// That a subject is forbidden is said unasked, and without an answer.
func TestForbiddenSubjectsWaitForPeople(t *testing.T) {
	address, server, arrived := collector(t, "")
	sink := newSink(t, Config{Servers: []string{address}, Subject: template(t, "plant.{device}")})
	ctx := within(t, soon)
	bad, good := begin(ctx, sink, inParts(message(0, 30), "forbidden")), begin(ctx, sink, inParts(message(1, 30), "allowed"))
	for range 2 {
		p := receive(t, arrived)
		if p.subject == "plant.forbidden" {
			p.conn.say("-ERR 'Permissions Violation for Publish to \"plant.forbidden\"'\r\n")
		} else {
			defer p.conn.confirm(p.publish)
		}
	}
	if err := receive(t, bad); classOf(err) != "1m0s" || !strings.Contains(err.Error(), "may not publish") {
		t.Errorf("%v", err)
	}
	select {
	case err := <-good:
		t.Errorf("the other message ended with it: %v", err)
	default:
	}
	if server.connections() != 1 {
		t.Errorf("%d connections", server.connections())
	}
}

func TestForbiddenAnswersWaitForPeople(t *testing.T) {
	address, _, arrived := collector(t, "")
	sink := newSink(t, Config{Servers: []string{address}})
	ended := begin(within(t, soon), sink, message(0, 30))
	receive(t, arrived).conn.say("-ERR 'Permissions Violation for Subscription to \"_INBOX.x.*\"'\r\n")
	if err := receive(t, ended); classOf(err) != "1m0s" || !strings.Contains(err.Error(), "inbox_prefix") {
		t.Errorf("%v", err)
	}
}

// What is too large for the server is known before it is sent.
func TestServersLimitIsRespected(t *testing.T) {
	address, server, _ := collector(t, `"max_payload":4096`)
	sink := newSink(t, Config{Servers: []string{address}})
	if n := sink.Limit(); n != 0 {
		t.Errorf("a limit of %d before anything is known", n)
	}
	if err := sink.Send(within(t, soon), message(0, 4096)); classOf(err) != isTooLarge {
		t.Errorf("%v", err)
	}
	if n := sink.Limit(); n != 4096-headRoom || server.connections() != 1 {
		t.Errorf("the limit is %d, %d connections", n, server.connections())
	}
}

func TestTheNextServerIsTried(t *testing.T) {
	closed := porttest.For(t)
	sink := newSink(t, Config{Servers: []string{closed, peer(t, accept)}})
	if err := sink.Send(within(t, soon), message(0, 10)); err != nil {
		t.Error(err)
	}
	nobody := newSink(t, Config{Servers: []string{closed}})
	if err := nobody.Send(within(t, soon), message(0, 10)); err == nil || !strings.Contains(err.Error(), "nothing listens") {
		t.Errorf("%v", err)
	}
}

// Whoever insists on TLS does not log in without, whatever the server says first.
func TestNothingIsToldWithoutTLS(t *testing.T) {
	address, server, _ := collector(t, "")
	sink := newSink(t, Config{Servers: []string{address}, Secure: true, Username: "gw", Password: uplinktest.Secret(t, "p")})
	err := sink.Send(within(t, soon), message(0, 10))
	if classOf(err) != "1m0s" || !strings.Contains(err.Error(), "no TLS") {
		t.Errorf("%v", err)
	}
	server.hangUp()
}

func TestTLSMayComeFirst(t *testing.T) {
	authority := servertest.NewAuthority(t)
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{authority.Issue(servertest.Certificate{}).TLS}})
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	server := &fakeServer{info: `"max_payload":1048576,"tls_required":true`, answer: (*fakeConn).confirm}
	server.tasks.Go(func() {
		if raw, err := listener.Accept(); err == nil {
			server.talk(&fakeConn{Conn: raw})
		}
	})
	defer server.tasks.Wait()
	sink := newSink(t, Config{Servers: []string{listener.Addr().String()}, TLSFirst: true, TLS: &tls.Config{RootCAs: authority.Pool()}})
	if err := sink.Send(within(t, soon), message(0, 10)); err != nil {
		t.Error(err)
	}
	sink.Close()
}

// The bound that the documentation states: a connection whose server does not answer
// is given up after two pings.
func TestSilentServerIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hungUp := make(chan time.Duration, 1)
		cfg := Config{Servers: []string{"server:4222"}, Dial: func(context.Context, string, string) (net.Conn, error) {
			near, far := net.Pipe()
			go func() {
				begun := time.Now()
				(&fakeServer{answer: func(*fakeConn, publish) {}, pong: once()}).talk(&fakeConn{Conn: far})
				hungUp <- time.Since(begun)
			}()
			return near, nil
		}}
		sink := newSink(t, cfg)
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		err := sink.Send(ctx, message(0, 10))
		if took := <-hungUp; took != 2*time.Minute {
			t.Errorf("given up after %v", took)
		}
		if classOf(err) != isTransient || !strings.Contains(err.Error(), "pings") {
			t.Errorf("%v", err)
		}
		sink.Close()
		synctest.Wait()
	})
}

// once answers the first ping, that of the login.
func once() func(*fakeConn) {
	answered := false
	return func(c *fakeConn) {
		if !answered {
			answered = true
			c.say("PONG\r\n")
		}
	}
}

// A server that reads nothing holds up neither Send nor Close.
func TestServerThatDoesNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := newSink(t, Config{Servers: []string{"server:4222"}, Dial: func(context.Context, string, string) (net.Conn, error) {
			near, far := net.Pipe()
			go func() {
				c := &fakeConn{Conn: far}
				c.say("INFO {\"headers\":true,\"max_payload\":1048576}\r\n")
				io.ReadFull(far, make([]byte, 10)) // and nothing of the rest of CONNECT
				time.Sleep(10 * time.Minute)
				far.Close()
			}()
			return near, nil
		}})
		for range 2 {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			begun := time.Now()
			err := sink.Send(ctx, message(0, 100_000))
			cancel()
			if took := time.Since(begun); classOf(err) != isTransient || took > 20*time.Second {
				t.Errorf("%v after %v", err, took)
			}
		}
		sink.Close()
		time.Sleep(20 * time.Minute) // the server ends
	})
}

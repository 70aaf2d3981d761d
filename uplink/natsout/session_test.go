package natsout

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidegate/tidegate/internal/servertest"
)

// piped is a Dial to servers that are functions, by address. Each runs until its
// connection ends.
func piped(servers map[string]func(c *fakeConn, in *bufio.Reader)) func(context.Context, string, string) (net.Conn, error) {
	return func(_ context.Context, _, address string) (net.Conn, error) {
		near, far := net.Pipe()
		go func() {
			defer far.Close()
			servers[address](&fakeConn{Conn: far}, bufio.NewReader(far))
		}()
		return near, nil
	}
}

// welcome lets somebody in, and returns what CONNECT and SUB were.
func welcome(c *fakeConn, in *bufio.Reader) (lines string) {
	c.say("INFO {\"version\":\"2.10.0\",\"proto\":1,\"headers\":true,\"max_payload\":1048576}\r\n")
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return lines
		}
		if line == "PING\r\n" {
			break
		}
		lines += line
	}
	c.say("+OK\r\nINFO {\"version\":\"2.10.0\",\"headers\":true}\r\nPONG\r\n")
	return lines
}

// A server's own pings are answered, and lines that mean nothing to us end nothing.
func TestPingsAreAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		said := make(chan string, 10)
		sink := newSink(t, Config{Servers: []string{"a:1"}, Dial: piped(map[string]func(*fakeConn, *bufio.Reader){"a:1": func(c *fakeConn, in *bufio.Reader) {
			said <- welcome(c, in)
			go c.say("PING\r\n+OK\r\nMSG other 1 2\r\n{}\r\nMSG other 2 2\r\n{}\r\nPING\r\n")
			for {
				line, err := in.ReadString('\n')
				if err != nil {
					close(said)
					return
				}
				said <- line
			}
		}})})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := sink.seat.Get(ctx, sink.open); err != nil {
			t.Fatal(err)
		}
		hello := <-said
		for _, want := range []string{`CONNECT {"verbose":false,"pedantic":false,"tls_required":false,`, `"echo":false,`, `"headers":true,"no_responders":true}`, "\r\nSUB _INBOX.", ".* 1\r\n"} {
			if !strings.Contains(hello, want) {
				t.Errorf("no %s in %s", want, hello)
			}
		}
		if got := <-said; got != "PONG\r\n" {
			t.Errorf("%q", got)
		}
		synctest.Wait()
		sink.Close()
		for line := range said {
			if line != "PONG\r\n" {
				t.Errorf("%q", line)
			}
		}
	})
}

// An idle link is tried once a keepalive, and lives on when that is answered.
func TestIdleLinkLives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pings := 0
		sink := newSink(t, Config{Servers: []string{"a:1"}, Dial: piped(map[string]func(*fakeConn, *bufio.Reader){"a:1": func(c *fakeConn, in *bufio.Reader) {
			welcome(c, in)
			for {
				line, err := in.ReadString('\n')
				if err != nil {
					return
				}
				if line == "PING\r\n" {
					pings++
					c.say("PONG\r\n")
				}
			}
		}})})
		l, err := sink.seat.Get(t.Context(), sink.open)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour + time.Second)
		if synctest.Wait(); !l.Alive() || pings != 60 {
			t.Errorf("alive: %v, %d pings in an hour", l.Alive(), pings)
		}
		sink.Close()
		synctest.Wait()
	})
}

// A server that is full of its own pings and reads nothing is given up in time, too.
func TestDeafServerIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := newSink(t, Config{Servers: []string{"a:1"}, Dial: piped(map[string]func(*fakeConn, *bufio.Reader){"a:1": func(c *fakeConn, in *bufio.Reader) {
			welcome(c, in)
			for {
				if _, err := io.WriteString(c, "PING\r\n"); err != nil {
					return
				}
				time.Sleep(10 * time.Second)
			}
		}})})
		l, err := sink.seat.Get(t.Context(), sink.open)
		if err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		<-l.gone
		if took := time.Since(begun); took > 2*DefaultKeepalive || classOf(l.err) != isTransient {
			t.Errorf("given up after %v: %v", took, l.err)
		}
		sink.Close()
		time.Sleep(time.Minute) // the server ends
	})
}

// A server that hangs takes no more than its share of the time.
func TestHangingServerIsPassedOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		servers := map[string]func(*fakeConn, *bufio.Reader){
			"hangs:1": func(c *fakeConn, in *bufio.Reader) { in.ReadByte() },
			"refuses:1": func(c *fakeConn, in *bufio.Reader) {
				c.say("INFO {\"headers\":true}\r\n-ERR 'maximum connections exceeded'\r\n")
			},
			"works:1": func(c *fakeConn, in *bufio.Reader) { welcome(c, in); in.ReadByte() },
		}
		for last, want := range map[string]string{"works:1": accepted, "refuses:1": "1m0s", "hangs:1": isTransient} {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			sink := newSink(t, Config{Servers: []string{"hangs:1", "refuses:1", last}, Dial: piped(servers)})
			begun := time.Now()
			_, err := sink.seat.Get(ctx, sink.open)
			if took := time.Since(begun); classOf(err) != want || took > 20*time.Second || want == accepted && took > 10*time.Second {
				t.Errorf("%s: %v after %v", last, err, took)
			}
			cancel()
			sink.Close()
			synctest.Wait()
		}
	})
}

// What a server says in the place of PONG, and later on.
func TestComplaintsHaveTheirClass(t *testing.T) {
	for text, want := range map[string]string{
		"Authorization Violation": "1m0s", "User Authentication Expired": "1m0s", "User Authentication Revoked": "1m0s",
		"Account Authentication Expired": "1m0s", "maximum connections exceeded": "1m0s", "maximum account active connections exceeded": "1m0s",
		"Stale Connection": isTransient, "Slow Consumer": isTransient, "Parser Error": isTransient, "Unknown Protocol Operation": isTransient,
		"Permissions Violation for Subscription to \"_INBOX.x.*\"": "1m0s", "": isTransient,
	} {
		for _, later := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				sink := newSink(t, Config{Servers: []string{"a:1"}, Dial: piped(map[string]func(*fakeConn, *bufio.Reader){"a:1": func(c *fakeConn, in *bufio.Reader) {
					if later {
						welcome(c, in)
						in.ReadString('\n') // HPUB
					} else {
						c.say("INFO {\"headers\":true}\r\n")
						in.ReadString('\n') // CONNECT
					}
					c.say("-ERR '%s'\r\n", text)
				}})})
				err := sink.Send(t.Context(), message(0, 10))
				if classOf(err) != want || !strings.Contains(err.Error(), "hint: ") || strings.Count(err.Error(), "hint: ") != 1 {
					t.Errorf("%q, later %v: %s, want %s: %v", text, later, classOf(err), want, err)
				}
				sink.Close()
				synctest.Wait()
			})
		}
	}
}

// What comes in plain text where TLS must begin may be anybody's.
func TestNothingPrecedesTLS(t *testing.T) {
	address, server, _ := collector(t, "\"tls_required\":true}\r\n+OK\r\nINFO {\"headers\":true")
	err := newSink(t, Config{Servers: []string{address}}).Send(within(t, soon), message(0, 10))
	if !errors.Is(err, errNotNATS) || !strings.Contains(err.Error(), "plain text") {
		t.Errorf("%v", err)
	}
	server.hangUp()
}

// A server that announces to close down is left: what is under way has its answers,
// what comes goes to the next one.
func TestLameDuckIsLeft(t *testing.T) {
	leaving, _, first := collector(t, "")
	next, _, second := collector(t, "")
	sink := newSink(t, Config{Servers: []string{leaving, next}})
	ctx := within(t, soon)
	one, two := begin(ctx, sink, message(0, 10)), begin(ctx, sink, message(1, 10))
	a, b := receive(t, first), receive(t, first)
	a.conn.say("INFO {\"headers\":true,\"ldm\":true}\r\n")
	a.conn.confirm(a.publish)
	open := two
	select {
	case err := <-one:
		if err != nil {
			t.Fatal(err)
		}
	case err := <-two:
		if err != nil {
			t.Fatal(err)
		}
		open = one
	case <-ctx.Done():
		t.Fatal(ctx.Err())
	}
	// The first in the list is what is tried first: it takes nobody any more.
	sink.cfg.Servers = []string{next}
	three := begin(ctx, sink, message(2, 10))
	b.conn.confirm(b.publish)
	if err := receive(t, open); err != nil {
		t.Error(err)
	}
	c := receive(t, second)
	c.conn.confirm(c.publish)
	if err := receive(t, three); err != nil {
		t.Error(err)
	}
}

// TestRealServerTakesEveryByte: in pedantic mode nats-server checks what it takes,
// and in verbose mode it says so to each.
func TestRealServerTakesEveryByte(t *testing.T) {
	server := servertest.NATS(t, servertest.User(user, password))
	conn, err := net.Dial("tcp", server.Addr("nats"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(soon))
	e := newEar(conn)
	if v, err := e.next(); err != nil || v.op != opInfo {
		t.Fatalf("%+v, %v", v, err)
	}
	said, err := appendLogin(nil, login{Verbose: true, Pedantic: true, User: user, Password: password, Name: `"quoted" <ü>`, Language: "go", Version: "tidegate", Protocol: 1, Headers: true, NoResponders: true}, "_INBOX.abc.")
	if err != nil {
		t.Fatal(err)
	}
	headers := append(appendHeader(appendHeader([]byte("NATS/1.0\r\n"), idHeader, "a/b-c"), "Content-Type", "x"), "\r\n"...)
	said = append(appendPublish(said, "nobody", "_INBOX.abc.", 35, headers, 2), "{}\r\n"...)
	said = appendRequest(said, "$JS.API.INFO", "_INBOX.abc.", 36, nil)
	if _, err := conn.Write(append(said, "PING\r\n"...)); err != nil {
		t.Fatal(err)
	}
	counts, pongs := map[string]int{}, 0
	for pongs < 2 || counts["_INBOX.abc.10"] == 0 {
		v, err := e.next()
		switch {
		case err != nil || v.op == opError:
			t.Fatalf("%s %v, after %v", v.text, err, counts)
		case v.op == opPong:
			pongs++
		case v.op == opOK:
			counts["OK"]++
		case v.op == opMessage:
			counts[string(v.subject)]++
			if v.sid != subscription || string(v.subject) == "_INBOX.abc.z" && v.status != "503" || v.status == "" && len(v.body) == 0 {
				t.Errorf("%s %s %s", v.subject, v.status, v.body)
			}
		}
	}
	if counts["OK"] != 4 || counts["_INBOX.abc.z"] != 1 {
		t.Errorf("%v", counts)
	}
}

// TestAnotherClientReadsWhatIsMeant: an independent subscriber sees the headers and
// the body as they were.
func TestAnotherClientReadsWhatIsMeant(t *testing.T) {
	server := servertest.NATS(t, servertest.User(user, password))
	address := server.Addr("nats")
	makeStream(t, address, jetstream.StreamConfig{})
	nc, err := nats.Connect("nats://"+address, nats.UserInfo(user, password))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	sub, err := nc.SubscribeSync("telemetry.>")
	if err == nil {
		err = nc.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	m := inParts(message(0, 0), "ü/é", "b.c d", "large")
	m.Parts[0].Body, m.Parts[1].Body, m.Parts[2].Body = []byte("\r\nPING\r\n"), nil, []byte(strings.Repeat("x", 100_000))
	if err := as(t, address, password, Config{Subject: template(t, "telemetry.{device}"), Stream: stream}).Send(within(t, soon), m); err != nil {
		t.Fatal(err)
	}
	for i, subject := range []string{"telemetry.ü/é", "telemetry.b%2Ec%20d", "telemetry.large"} {
		got, err := sub.NextMsgWithContext(within(t, soon))
		if err != nil {
			t.Fatal(err)
		}
		key := m.PartKey(m.Parts[i])
		want := nats.Header{idHeader: {key}, KeyHeader: {key}, typeHeader: {"application/json"}, streamHeader: {stream}}
		if got.Subject != subject || fmt.Sprint(got.Header) != fmt.Sprint(want) || string(got.Data) != string(m.Parts[i].Body) {
			t.Errorf("%s %v, %d bytes", got.Subject, got.Header, len(got.Data))
		}
	}
}

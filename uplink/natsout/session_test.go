package natsout

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidegate/tidegate/uplink/natsline"
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
	if !errors.Is(err, natsline.ErrNotNATS) || !strings.Contains(err.Error(), "plain text") {
		t.Errorf("%v", err)
	}
	server.hangUp()
}

// A Send that comes too late to be sent takes no others with it.
func TestLateSendEndsAlone(t *testing.T) {
	sink := newSink(t, Config{Servers: []string{peer(t, accept)}})
	if err := sink.Send(within(t, soon), message(0, 10)); err != nil {
		t.Fatal(err)
	}
	l, err := sink.seat.Get(t.Context(), sink.open)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 100 { // which of two is ready first is drawn
		if err := l.send(ctx, message(1, 10)); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	}
	if !l.Alive() {
		t.Error(l.err)
	}
}

// What a user may send at most is in the INFO that follows the login.
func TestUsersLimitIsRespected(t *testing.T) {
	for _, before := range []bool{true, false} {
		info := "INFO {\"headers\":true,\"max_payload\":2000}\r\n"
		server := &fakeServer{answer: (*fakeConn).confirm, pong: func(c *fakeConn) {
			if before {
				c.say("%sPONG\r\n", info)
			} else {
				c.say("PONG\r\n%sINFO {\"headers\":true}\r\nINFO nonsense\r\n", info)
			}
		}}
		sink := newSink(t, Config{Servers: []string{server.serve(t)}})
		if err := sink.Send(within(t, soon), message(0, 10)); err != nil {
			t.Fatal(err)
		}
		if n := sink.Limit(); n != 2000-headRoom {
			t.Errorf("before %v: the limit is %d", before, n)
		}
		if err := sink.Send(within(t, soon), message(1, 2000)); classOf(err) != isTooLarge {
			t.Errorf("before %v: %v", before, err)
		}
	}
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

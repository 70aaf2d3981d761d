package coapin

import (
	"errors"
	"io"
	"runtime"
	"testing"
	"time"

	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/ingest/ingesttest"
)

func TestHandshakesAreBounded(t *testing.T) {
	const most = 4
	hello := helloOf(t)
	for tries := 1; ; tries++ {
		s := start(t, instant(), Config{ListenDTLS: "127.0.0.1:0", Key: testKeys, MaxHandshakes: most})
		at, began := secureAddr(t, s), time.Now()
		for range most + 3 {
			dial(t, at).sendBytes(hello)
		}
		late := func() bool { return time.Since(began) >= hasty } // others may make room by now
		eventually(t, func() bool { return s.Stats().TurnedAway == 3 || late() })
		if s.Stats().TurnedAway != 3 && tries < 5 {
			continue
		}
		if n := s.Stats().TurnedAway; n != 3 {
			t.Errorf("%d were turned away", n)
		}
		dialDTLS(t, at) // when those who do not go on have had their time
		return
	}
}

func TestTheLongestSilentSessionMakesRoom(t *testing.T) {
	custody := instant()
	s := start(t, custody, Config{ListenDTLS: "127.0.0.1:0", Key: testKeys, MaxSessions: 2})
	at := secureAddr(t, s)
	first, second := dialDTLS(t, at), dialDTLS(t, at)
	for _, c := range []*client{second, first} {
		c.expect(c.request(confirmable, post, "d").carrying("1"), changed)
	}
	third := dialDTLS(t, at)
	for _, c := range []*client{first, third} {
		c.expect(c.request(confirmable, post, "d").carrying("2"), changed)
	}
	if _, err := second.conn.Read(make([]byte, 100)); err == nil {
		t.Error("the session goes on")
	}
	if n := s.Stats().Sessions; n != 2 {
		t.Errorf("%d sessions", n)
	}
}

func TestPeersAreToldThatTheServerStops(t *testing.T) {
	s, stop := run(t, instant(), Config{ListenDTLS: "127.0.0.1:0", Key: testKeys})
	c := dialDTLS(t, secureAddr(t, s))
	eventually(t, func() bool { return s.Stats().Sessions == 1 }) // the peer is the first to know
	stop()
	if err := c.conn.SetReadDeadline(time.Now().Add(ingesttest.Patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.conn.Read(make([]byte, 100)); !errors.Is(err, io.EOF) {
		t.Errorf("got %v", err)
	}
}

// What is remembered of a session that is over, in case its requests come again,
// does not hold the session.
func TestSessionsThatAreOverTakeNoMemory(t *testing.T) {
	s := start(t, instant(), Config{ListenDTLS: "127.0.0.1:0", Key: testKeys})
	at := secureAddr(t, s)
	v := newServer(s, ingest.NewIntake(instant(), nil, time.Now))
	g := newGate(t.Context(), t.Context(), v, nil)
	ended := make(chan struct{})
	func() {
		ss := newSession(g, destination{addr: at})
		runtime.AddCleanup(ss, func(c chan struct{}) { close(c) }, ended)
		p := newEndpoint(ss.to, ss)
		if e, _ := v.begin(&worker{message: message{id: 1}}, []byte("x"), origin{peer: p, out: ss}); e == nil {
			t.Fatal("no exchange")
		}
		v.forget(p)
	}()
	eventually(t, func() bool {
		runtime.GC()
		select {
		case <-ended:
			return true
		default:
			return false
		}
	})
	if v.exchanges.length != 1 {
		t.Error("the exchange is gone, too")
	}
}

func TestASilentSessionEnds(t *testing.T) {
	s := start(t, instant(), Config{ListenDTLS: "127.0.0.1:0", Key: testKeys, SessionIdle: 50 * time.Millisecond})
	c := dialDTLS(t, secureAddr(t, s))
	if err := c.conn.SetReadDeadline(time.Now().Add(ingesttest.Patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.conn.Read(make([]byte, 100)); !errors.Is(err, io.EOF) {
		t.Errorf("got %v", err)
	}
	eventually(t, func() bool { return s.Stats().Sessions == 0 })
}

package mqttin

import (
	"bufio"
	"net"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"
)

// Programs of this machine may do without TLS while the fleet may not: one
// broker, two listeners.
func TestPlainListenerBesideTLS(t *testing.T) {
	ca := newAuthority(t)
	src := start(t, instant(), Config{TLS: ca.server("", false), ListenPlain: "127.0.0.1:0", MaxClients: 2})
	secure := dialTLS(t, src, ca.trusting())
	secure.hello(packets.Packet{Connect: packets.ConnectParams{ClientIdentifier: "device", Clean: true}})
	secure.subscribe(1, 1, "command")

	plain := dialPlain(t, src)
	plain.hello(packets.Packet{Connect: packets.ConnectParams{ClientIdentifier: "boss", Clean: true}})
	plain.publish("command", "open", 1, 1)
	if got := secure.read(); string(got.Payload) != "open" {
		t.Errorf("got %+v", got)
	}
	dialPlain(t, src).hungUp()
	if src.Stats().TurnedAway != 1 {
		t.Error("the listeners do not share the limit of connections")
	}
}

func dialPlain(t *testing.T, src *Source) *client {
	t.Helper()
	addr := src.places.Wait(t.Context())[1]
	conn, err := net.Dial("tcp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &client{Conn: conn, t: t, in: bufio.NewReader(conn), version: 4}
}

// A broker that could only open one of its listeners does not run.
func TestBothListenersOrNone(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	src := idleSource(t)
	src.cfg.ListenPlain = taken.Addr().String()
	if err := src.Run(t.Context(), nil); err == nil {
		t.Error("it runs")
	}
}

// When one listener breaks, the other ends, too: the supervisor starts both anew.
func TestOneBrokenListenerEndsBoth(t *testing.T) {
	src := idleSource(t)
	src.cfg.ListenPlain = "127.0.0.1:0"
	listeners, err := src.listen(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	closeAll(listeners[1:])
	ended := make(chan error, 1)
	go func() { ended <- src.serveAll(t.Context(), nil, listeners) }()
	if err := <-ended; err == nil {
		t.Error("it ended without an error")
	}
}

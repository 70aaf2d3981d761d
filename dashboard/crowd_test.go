package dashboard

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"time"
)

// distant is a listener whose connections come from where the test says.
type distant struct {
	net.Listener
	from func() net.IP
}

func (d distant) Accept() (net.Conn, error) {
	conn, err := d.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &fromAfar{conn, d.from()}, nil
}

type fromAfar struct {
	net.Conn
	ip net.IP
}

func (f *fromAfar) RemoteAddr() net.Addr { return &net.TCPAddr{IP: f.ip, Port: 4711} }

// isServed says whether a request on the connection is answered.
func isServed(conn net.Conn) bool {
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	fmt.Fprintf(conn, "GET /api/v1/session HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	return err == nil && resp.StatusCode == http.StatusOK
}

// Whoever opens connections and says nothing must not take the descriptors that the
// journal needs, nor everybody else's place.
func TestConnectionsAreBounded(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	host := make(chan net.IP, 1)
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() {
		hub := NewHub(Config{}, func() Status { return Status{} })
		served <- NewServer(hub, nil, slog.New(slog.DiscardHandler)).Serve(ctx, distant{listener, func() net.IP { return <-host }})
	}()
	var open []net.Conn
	defer func() {
		for _, conn := range open {
			conn.Close()
		}
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	}()
	visit := func(ip string) bool {
		t.Helper()
		host <- net.ParseIP(ip)
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, conn)
		return isServed(conn)
	}
	for i := range MaxConnections / 4 {
		if !visit(fmt.Sprintf("2001:db8::%x", i)) {
			t.Fatalf("connection %d is not served", i)
		}
	}
	if visit("2001:db8::ffff") {
		t.Error("one network may have all connections")
	}
	if !visit("192.168.4.20") {
		t.Error("the others are not served any more")
	}
	for i := MaxConnections/4 + 1; i < MaxConnections; i++ {
		if !visit("127.0.0.1") { // a proxy speaks for many
			t.Fatalf("connection %d is not served", i)
		}
	}
	if visit("192.168.4.21") {
		t.Error("there is no end of connections")
	}
	open[0].Close() // one of the first network makes room
	for deadline := time.Now().Add(10 * time.Second); !visit("192.168.4.21"); {
		if time.Now().After(deadline) {
			t.Fatal("who has left keeps his place")
		}
	}
}

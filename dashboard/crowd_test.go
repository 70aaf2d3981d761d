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

// serveFrom serves whoever connects, as if he came from the next host, until the test
// ends, and returns the address.
func serveFrom(t *testing.T, host <-chan net.IP) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() {
		hub := NewHub(Config{}, func() Status { return Status{} })
		served <- NewServer(hub, nil, slog.New(slog.DiscardHandler)).Serve(ctx, distant{listener, func() net.IP { return <-host }})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return listener.Addr().String()
}

// Whoever opens connections and says nothing must not take the descriptors that the
// journal needs, nor everybody else's place.
func TestConnectionsAreBounded(t *testing.T) {
	host := make(chan net.IP, 1)
	address := serveFrom(t, host)
	var open []net.Conn
	defer func() {
		for _, conn := range open {
			conn.Close()
		}
	}()
	// visit says whether a connection from ip is served; it stays open.
	visit := func(ip string) bool {
		t.Helper()
		host <- net.ParseIP(ip)
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, conn)
		_ = conn.SetDeadline(time.Now().Add(time.Minute))
		fmt.Fprintf(conn, "GET /api/v1/session HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		return err == nil && resp.StatusCode == http.StatusOK
	}
	all := func(from, to int, ip func(i int) string) {
		t.Helper()
		for i := from; i < to; i++ {
			if !visit(ip(i)) {
				t.Fatalf("connection %d is not served", i)
			}
		}
	}
	all(0, MaxConnections/4, func(i int) string { return fmt.Sprintf("2001:db8::%x", i) })
	if visit("2001:db8::ffff") {
		t.Error("one network may have all connections")
	}
	if !visit("192.168.4.20") {
		t.Error("the others are not served any more")
	}
	all(MaxConnections/4+1, MaxConnections, func(int) string { return "127.0.0.1" }) // a proxy speaks for many
	if visit("192.168.4.21") {
		t.Error("there is no end of connections")
	}
	open[0].Close() // one of the first network makes room
	for deadline := time.Now().Add(time.Minute); !visit("192.168.4.21"); {
		if time.Now().After(deadline) {
			t.Fatal("who has left keeps his place")
		}
	}
}

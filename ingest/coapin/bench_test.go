package coapin

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/ingest/ingesttest"
)

const benchJSON = `{"ts":1700000000123,"temp":21.37,"hum":48.2,"bat":3.71,"rssi":-67}`

// BenchmarkRequests measures acknowledged confirmable POSTs over loopback,
// generator included, and a bare echo of the same datagrams beside them. The name
// says how many endpoints there are, and how many requests each has under way.
func BenchmarkRequests(b *testing.B) {
	for _, load := range [][2]int{{1, 1}, {1, 16}, {16, 4}} {
		name := fmt.Sprintf("%dx%d", load[0], load[1])
		b.Run("echo/"+name, func(b *testing.B) { postAll(b, echo(b), load[0], load[1], "raw") })
		for _, path := range []string{"raw", "json"} {
			b.Run("tidegate-"+path+"/"+name, func(b *testing.B) {
				s := start(b, ingesttest.Discard{}, Config{})
				postAll(b, plainAddr(b, s), load[0], load[1], path)
				if n := s.Stats().Requests; n < uint64(b.N) {
					b.Fatalf("%d requests of %d", n, b.N)
				}
			})
		}
	}
}

// echo is the least that a server can do.
func echo(b *testing.B) netip.AddrPort {
	b.Helper()
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	if err != nil {
		b.Fatal(err)
	}
	var ended sync.WaitGroup
	ended.Go(func() {
		buffer := make([]byte, maxDatagram)
		for {
			n, from, err := conn.ReadFromUDPAddrPort(buffer)
			if err != nil {
				return
			}
			_, _ = conn.WriteToUDPAddrPort(buffer[:n], from)
		}
	})
	b.Cleanup(func() {
		conn.Close()
		ended.Wait()
	})
	return conn.LocalAddr().(*net.UDPAddr).AddrPort()
}

// postAll sends b.N requests, in equal parts from all endpoints.
func postAll(b *testing.B, at netip.AddrPort, endpoints, window int, path string) {
	b.ReportAllocs()
	var all sync.WaitGroup
	errors := make(chan error, endpoints)
	conns := make([]net.Conn, endpoints)
	for i := range conns {
		conns[i] = dial(b, at).conn
	}
	b.ResetTimer()
	for i, conn := range conns {
		n := b.N / endpoints
		if i < b.N%endpoints {
			n++
		}
		all.Go(func() { errors <- post1(conn, n, window, path) })
	}
	all.Wait()
	b.StopTimer()
	for range conns {
		if err := <-errors; err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "acked/s")
}

// post1 keeps window requests under way until n are answered.
func post1(conn net.Conn, n, window int, path string) error {
	m := message{kind: confirmable, code: post, token: make([]byte, 8), payload: []byte(benchJSON)}
	m.options = []option{{optUriPath, []byte(path)}, {optUriPath, []byte("d")}}
	out, in := make([]byte, 0, 512), make([]byte, 2048)
	if err := conn.SetReadDeadline(time.Now().Add(longPatience)); err != nil {
		return err
	}
	sent := 0
	send := func() error {
		sent++
		m.id = uint16(sent)
		binary.BigEndian.PutUint64(m.token, uint64(sent))
		_, err := conn.Write(m.appendTo(out))
		return err
	}
	for range min(window, n) {
		if err := send(); err != nil {
			return err
		}
	}
	for range n {
		if _, err := conn.Read(in); err != nil {
			return err
		}
		if sent < n {
			if err := send(); err != nil {
				return err
			}
		}
	}
	return nil
}

// BenchmarkMessage is what a datagram costs without sockets.
func BenchmarkMessage(b *testing.B) {
	s := newSource(b, Config{})
	v := newServer(s, ingest.NewIntake(ingesttest.Discard{}, nil, time.Now))
	ctx, cancel := context.WithCancel(b.Context())
	var ended sync.WaitGroup
	ended.Go(func() { v.acknowledge(ctx) })
	sent := make(counter, 1)
	at := destination{addr: netip.MustParseAddrPort("127.0.0.1:1")}
	m := message{kind: confirmable, code: post, token: make([]byte, 8), payload: []byte(benchJSON)}
	m.options = []option{{optUriPath, []byte("json")}, {optUriPath, []byte("d")}}
	out, n := make([]byte, 0, 512), uint64(0)
	b.ReportAllocs()
	for b.Loop() {
		n++
		m.id = uint16(n)
		binary.BigEndian.PutUint64(m.token, n)
		v.take(ctx, m.appendTo(out), origin{at: at, out: sent})
		<-sent
	}
	cancel()
	ended.Wait()
}

// counter is a carrier that tells when something was sent.
type counter chan struct{}

func (c counter) send([]byte, destination) { c <- struct{}{} }

// BenchmarkHandshake is what a DTLS handshake and one request cost, both sides
// together.
func BenchmarkHandshake(b *testing.B) {
	s := start(b, ingesttest.Discard{}, Config{ListenDTLS: "127.0.0.1:0", Key: testKeys})
	at := secureAddr(b, s)
	b.ReportAllocs()
	for b.Loop() {
		c, err := shake(b, at, nil, testIdentity, testKey)
		if err != nil {
			b.Fatal(err)
		}
		c.expect(c.request(confirmable, post, "d").carrying("1"), changed)
		c.conn.Close()
	}
}

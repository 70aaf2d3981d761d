package firmwaresim

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// published is a broker's hook that keeps what clients publish.
type published struct {
	mqtt.HookBase
	locked   bool // only "sensor" with "secret" may connect
	mu       sync.Mutex
	payloads map[string]int // by topic and payload: how often
}

func (h *published) ID() string { return "published" }

func (h *published) Provides(b byte) bool {
	return b == mqtt.OnPublish || b == mqtt.OnConnectAuthenticate || b == mqtt.OnACLCheck
}

func (h *published) OnConnectAuthenticate(_ *mqtt.Client, pk packets.Packet) bool {
	return !h.locked || string(pk.Connect.Username) == "sensor" && string(pk.Connect.Password) == "secret"
}

func (h *published) OnACLCheck(*mqtt.Client, string, bool) bool { return true }

func (h *published) OnPublish(_ *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.payloads[pk.TopicName+" "+string(pk.Payload)]++
	return pk, nil
}

func (h *published) count(message string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.payloads[message]
}

func (h *published) distinct() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.payloads)
}

// startMochi runs a broker; a locked one asks for name and password.
func startMochi(tb testing.TB, locked bool) (addr string, got *published) {
	tb.Helper()
	broker := mqtt.New(&mqtt.Options{Logger: slog.New(slog.DiscardHandler)})
	got = &published{locked: locked, payloads: make(map[string]int)}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	if err := errors.Join(broker.AddHook(got, nil), broker.Serve()); err != nil {
		tb.Fatal(err)
	}
	stop := attend(listener, func(c net.Conn) { _ = broker.EstablishConnection("test", c) })
	tb.Cleanup(func() {
		stop()
		broker.Close() // it races with whoever connects
	})
	return listener.Addr().String(), got
}

// attend serves each connection in a goroutine, until all have been closed and have ended.
func attend(listener net.Listener, serve func(net.Conn)) (stop func()) {
	var tasks sync.WaitGroup
	over := make(chan struct{})
	tasks.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			ended := make(chan struct{})
			tasks.Go(func() {
				defer close(ended)
				serve(conn)
			})
			tasks.Go(func() {
				defer conn.Close()
				select {
				case <-over:
				case <-ended:
				}
			})
		}
	})
	return func() {
		listener.Close()
		close(over)
		tasks.Wait()
	}
}

// scripted is a broker whose every answer is written down in the test.
type scripted struct {
	tb   testing.TB
	conn net.Conn
	in   *bufio.Reader
}

// packet reads the next packet and returns its first byte and its body.
func (s *scripted) packet() (byte, []byte) {
	s.tb.Helper()
	s.conn.SetReadDeadline(time.Now().Add(patience))
	first, err := s.in.ReadByte()
	if err != nil {
		s.tb.Fatalf("the client sent nothing: %v", err)
	}
	length, err := binary.ReadUvarint(s.in)
	if err != nil {
		s.tb.Fatal(err)
	}
	body := make([]byte, length)
	if _, err := io.ReadFull(s.in, body); err != nil {
		s.tb.Fatal(err)
	}
	return first, body
}

// publish reads a PUBLISH on topic "t" and returns its first byte, id and payload.
func (s *scripted) publish() (first byte, id uint16, payload string) {
	s.tb.Helper()
	first, body := s.packet()
	if first&0xf0 != packetPublish {
		s.tb.Fatalf("got packet %#x, want PUBLISH", first)
	}
	return first, binary.BigEndian.Uint16(body[3:]), string(body[5:])
}

func (s *scripted) ack(kind byte, id uint16) {
	s.conn.Write(binary.BigEndian.AppendUint16([]byte{kind, 2}, id))
}

// accept takes the next connection through its CONNECT.
func accept(tb testing.TB, listener net.Listener) *scripted {
	tb.Helper()
	conn, err := listener.Accept()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { conn.Close() })
	s := &scripted{tb: tb, conn: conn, in: bufio.NewReader(conn)}
	if first, _ := s.packet(); first != packetConnect {
		tb.Fatalf("got packet %#x, want CONNECT", first)
	}
	conn.Write([]byte{packetConnack, 2, 0, 0})
	return s
}

func listen(tb testing.TB) net.Listener {
	tb.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { listener.Close() })
	return listener
}

// accept5 is accept for version 5, with a keep-alive of two seconds.
func accept5(tb testing.TB, listener net.Listener) *scripted {
	tb.Helper()
	conn, err := listener.Accept()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { conn.Close() })
	s := &scripted{tb: tb, conn: conn, in: bufio.NewReader(conn)}
	s.packet()
	conn.Write([]byte{packetConnack, 6, 0, 0, 3, 0x13, 0, 2})
	return s
}

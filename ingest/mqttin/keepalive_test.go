package mqttin

import (
	"io"
	"log/slog"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/tidegate/tidegate/ingest"
)

// inVirtualTime runs a source in virtual time: what it waits for comes to pass when
// nothing else can, however slow the machine. join opens a connection, on which nothing
// has been said.
func inVirtualTime(t *testing.T, cfg Config, test func(t *testing.T, src *Source, join func() *client)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		cfg.Routes, cfg.Anonymous = testRoutes(t), cfg.Authorize == nil
		src := New(cfg, slog.New(slog.DiscardHandler))
		b, err := newBroker(t.Context(), src, ingest.NewIntake(instant(), nil, time.Now))
		if err != nil {
			t.Fatal(err)
		}
		src.open(b, nil)
		var pipes []io.Closer
		test(t, src, func() *client {
			ours, theirs := net.Pipe()
			pipes = append(pipes, ours)
			b.ended.Go(func() { b.serve(theirs, false) })
			return newClient(t, ours)
		})
		for _, p := range pipes {
			p.Close()
		}
		b.stop()
	})
}

// inBubble runs a test in virtual time, with a client whose keep-alive is 10 s.
func inBubble(t *testing.T, test func(c *client, connected time.Time)) {
	t.Helper()
	inVirtualTime(t, Config{}, func(_ *testing.T, _ *Source, join func() *client) {
		c := join()
		c.hello(packets.Packet{Connect: packets.ConnectParams{ClientIdentifier: "c", Clean: true, Keepalive: 10}})
		test(c, time.Now())
	})
}

func TestSilentPeerIsDisconnected(t *testing.T) {
	inBubble(t, func(c *client, connected time.Time) {
		c.SetReadDeadline(time.Time{})
		io.Copy(io.Discard, c)
		checkPatience(t, time.Since(connected))
	})
}

// Bytes are no signs of life, packets are.
func TestDribblingPeerIsDisconnected(t *testing.T) {
	inBubble(t, func(c *client, connected time.Time) {
		long := c.encode(publishPacket("d", string(make([]byte, 1000)), 0, 0))
		for _, b := range long {
			if _, err := c.Write([]byte{b}); err != nil {
				checkPatience(t, time.Since(connected))
				return
			}
			<-time.After(time.Second)
		}
		t.Error("it took a quarter of an hour over one packet")
	})
}

// checkPatience checks the time after which a peer counted as gone.
func checkPatience(t *testing.T, d time.Duration) {
	t.Helper()
	if d < 15*time.Second || d > 18*time.Second {
		t.Errorf("disconnected after %v, want one and a half times 10s", d)
	}
}

func TestPingingPeerStaysConnected(t *testing.T) {
	inBubble(t, func(c *client, _ time.Time) {
		for range 100 {
			<-time.After(14 * time.Second)
			c.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Pingreq}})
			c.expect(packets.Pingresp, 0)
		}
	})
}

package mqttin

import (
	"bufio"
	"io"
	"log/slog"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/tidegate/tidegate/ingest"
)

// inBubble runs a test in virtual time, with a client whose keep-alive is 10 s.
func inBubble(t *testing.T, test func(c *client, connected time.Time)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		src := New(Config{Routes: testRoutes(t), Anonymous: true}, slog.New(slog.DiscardHandler))
		b, err := newBroker(t.Context(), src, ingest.NewIntake(instant(), nil, time.Now))
		if err != nil {
			t.Fatal(err)
		}
		ours, theirs := net.Pipe()
		go b.serve(theirs, false)
		c := &client{Conn: ours, t: t, in: bufio.NewReader(ours), version: 4}
		c.hello(packets.Packet{Connect: packets.ConnectParams{ClientIdentifier: "c", Clean: true, Keepalive: 10}})
		test(c, time.Now())
		ours.Close()
		b.stop()
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

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

func TestPaceLetsASecondsWorthComeAtOnce(t *testing.T) {
	p := pace{rate: 10}
	now := time.Unix(1000, 0)
	for _, tt := range []struct {
		after         time.Duration
		packets       int
		want, atleast time.Duration
	}{
		{after: 0, packets: 10, want: 0},
		{after: 0, packets: 10, want: time.Second},
		{after: time.Second, packets: 0, want: 0},
		{after: 0, packets: 1, want: 100 * time.Millisecond},
		{after: time.Hour, packets: 10, want: 0},
		{after: 0, packets: 100, want: 10 * time.Second},
	} {
		now = now.Add(tt.after)
		if got := p.add(tt.packets, 1<<20, now).Round(time.Microsecond); got != tt.want {
			t.Errorf("after %v, %d packets: wait %v, want %v", tt.after, tt.packets, got, tt.want)
		}
	}
}

// Who sends too fast is made to wait, and everything of his is taken.
func TestFasterThanAllowedIsSlowedDown(t *testing.T) {
	for _, cfg := range []Config{{MaxRate: 100}, {MaxByteRate: 3200}} {
		synctest.Test(t, func(t *testing.T) {
			custody := instant()
			cfg.Routes, cfg.Anonymous = testRoutes(t), true
			src := New(cfg, slog.New(slog.DiscardHandler))
			b, err := newBroker(t.Context(), src, ingest.NewIntake(custody, nil, time.Now))
			if err != nil {
				t.Fatal(err)
			}
			ours, theirs := net.Pipe()
			b.ended.Go(func() { b.serve(theirs, false) })
			c := newClient(t, ours)
			c.hello(packets.Packet{Connect: packets.ConnectParams{ClientIdentifier: "c", Clean: true}})
			began := time.Now()
			packet := c.encode(publishPacket("d", "1234567890123456789012345", 1, 1)) // 32 bytes
			read := make(chan error)
			go func() {
				_, err := io.ReadFull(ours, make([]byte, 1000*4))
				read <- err
			}()
			for range 1000 {
				ours.SetWriteDeadline(time.Now().Add(time.Hour))
				if _, err := ours.Write(packet); err != nil {
					t.Fatal(err)
				}
			}
			ours.SetReadDeadline(time.Now().Add(time.Hour))
			if err := <-read; err != nil {
				t.Fatal(err)
			}
			if took := time.Since(began); took < 8*time.Second || took > 11*time.Second {
				t.Errorf("a thousand messages took %v, want some 9 s", took)
			}
			if n := src.Stats().Slowed; n == 0 {
				t.Error("nobody was counted")
			}
			ours.Close()
			b.stop()
		})
	}
}

// A gateway that stops does not wait for who is being slowed down.
func TestStopDoesNotWaitForTheSlowed(t *testing.T) {
	src, stop := run(t, instant(), Config{Anonymous: true, MaxRate: 1, Linger: time.Hour})
	c := connect(t, src, 4, "c")
	for id := range uint16(600) {
		c.publish("d", "1", 1, id+1)
	}
	c.expect(packets.Puback, 1)
	retry(t, func() bool { return src.Stats().Slowed > 0 })
	c.Close()
	stop()
}

package main

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/tidegate/tidegate/buffer"
	firmwaresim "github.com/tidegate/tidegate/firmware-sim"
	"github.com/tidegate/tidegate/wire"
)

func TestEveryContenderAcknowledges(t *testing.T) {
	b := testBench(t)
	for _, c := range contenders() {
		t.Run(c.name, func(t *testing.T) {
			server, err := b.startContender(t.Context(), c, shortDir(t, b))
			if err != nil {
				t.Fatal(err)
			}
			defer server.stop()
			fleet := firmwaresim.FleetConfig{Addr: server.addr, Devices: 3, QoS: 1, Shape: c.shape, Topic: c.topic}
			if err := fill(t.Context(), fleet, 50); err != nil {
				t.Error(err)
			}
		})
	}
}

func shortDir(t *testing.T, b *bench) string {
	t.Helper()
	dir, _, err := b.folder("x")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestDurablePeersKeepWhatTheyAcknowledge: a peer that did not would be beaten
// for the wrong reason.
func TestDurablePeersKeepWhatTheyAcknowledge(t *testing.T) {
	const messages = 50
	for kind, kept := range map[string]func(*testing.T, string) int{"naive": inBolt, "blocking": inBuffer} {
		t.Run(kind, func(t *testing.T) {
			b := testBench(t)
			dir := shortDir(t, b)
			server, err := b.startContender(t.Context(), contender{kind: kind}, dir)
			if err != nil {
				t.Fatal(err)
			}
			err = fill(t.Context(), firmwaresim.FleetConfig{Addr: server.addr, QoS: 1, Shape: firmwaresim.Opaque, Topic: rawTopic}, messages)
			server.cmd.Process.Kill()
			<-server.ended
			if err != nil {
				t.Fatal(err)
			}
			if n := kept(t, dir); n != messages {
				t.Errorf("%d of %d acknowledged messages are there", n, messages)
			}
		})
	}
}

func inBolt(t *testing.T, dir string) (n int) {
	db, err := bbolt.Open(filepath.Join(dir, "messages.db"), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	err = db.View(func(tx *bbolt.Tx) error {
		n = tx.Bucket([]byte("messages")).Stats().KeyN
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func inBuffer(t *testing.T, dir string) int {
	b, err := buffer.Open(buffer.Config{Dir: filepath.Join(dir, "journal"), MaxBytes: buffer.MinBytes, Clock: buffer.Clock{
		Uptime: func() time.Duration { return 0 }, State: func() wire.ClockState { return wire.Synced },
	}}, logger())
	if err != nil {
		t.Fatal(err)
	}
	n := int(b.Stats().Held)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestBacklogArrivesWhole(t *testing.T) {
	b := testBench(t)
	e, err := b.ebb(t.Context(), backlog{messages: 300, buffer: forSpeed, fleet: crowd, shape: wideOpen})
	if err != nil {
		t.Fatal(err)
	}
	if e.took <= 0 || e.took > time.Minute {
		t.Errorf("it took %v", e.took)
	}
}

func TestThinLinkIsThin(t *testing.T) {
	b := testBench(t)
	e, err := b.ebb(t.Context(), backlog{messages: 100, buffer: forSpeed, fleet: crowd, shape: thin})
	if err != nil {
		t.Fatal(err)
	}
	// Two round trips: the handshake and the request.
	if e.took < 550*time.Millisecond {
		t.Errorf("it took %v, which is less than two round trips", e.took)
	}
}

func TestBytesAreCountedForEveryReading(t *testing.T) {
	b := testBench(t)
	perReading, err := b.waitedBytes(t.Context(), waited{name: "test", devices: 50, messages: 50})
	if err != nil {
		t.Fatal(err)
	}
	if perReading < 0.2 || perReading > 20 {
		t.Errorf("%v bytes a reading", perReading)
	}
}

func TestPassageFollowsEveryMessage(t *testing.T) {
	b := testBench(t)
	p := newPassage()
	const messages = 200
	if err := b.pass(t.Context(), p, messages); err != nil {
		t.Fatal(err)
	}
	if p.broken != nil || len(p.stored) != messages || len(p.acked) != messages {
		t.Fatalf("%d stored, %d acknowledged of %d, %v", len(p.stored), len(p.acked), messages, p.broken)
	}
	if first := quantile(p.stored, 0); first <= 0 || quantile(p.stored, 1) > time.Minute {
		t.Errorf("from %v to %v", first, quantile(p.stored, 1))
	}
}

func TestLoadEndsWithWhatItAccompanies(t *testing.T) {
	broken := errors.New("broken")
	load := func(ctx context.Context) error {
		<-ctx.Done()
		return ctx.Err()
	}
	if err := during(t.Context(), load, func() error { return nil }); err != nil {
		t.Errorf("a load that was ended: %v", err)
	}
	if err := during(t.Context(), load, func() error { return broken }); !errors.Is(err, broken) {
		t.Errorf("a measurement that broke: %v", err)
	}
	failing := func(context.Context) error { return broken }
	if err := during(t.Context(), failing, func() error { return nil }); !errors.Is(err, broken) {
		t.Errorf("a load that broke: %v", err)
	}
}

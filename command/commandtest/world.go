// Package commandtest is the conformance suite of couriers. A courier passes it
// over a real server, or over the protocol's own other end:
//
//	commandtest.Run(t, func(t *testing.T) commandtest.Peer { … })
//
// It proves that a command is acknowledged to the other side only when it was
// decided, that it is brought again if not, and that whatever happens to the
// gateway, the server or the connection, it is published once.
package commandtest

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/tidegate/tidegate/command"
	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/ingest/ingesttest"
	"github.com/tidegate/tidegate/internal/bootclock"
	"github.com/tidegate/tidegate/reading"
)

// Gateway is the name of the gateway in the suite.
const Gateway = "north-7"

// Published is what a World has published.
type Published struct {
	ID, Topic, Payload string
}

// World is a Desk over custody of its own, whose broker keeps what it is given.
type World struct {
	Custody *ingesttest.Custody
	Desk    *command.Desk
	Clerk   *command.Clerk

	t    *testing.T
	stop func()
	mu   sync.Mutex
	all  []Published
}

// NewWorld returns a World in which commands may go to dev/+/set, and commits
// happen at once.
func NewWorld(t *testing.T) *World {
	w := &World{t: t, Custody: ingesttest.NewCustody()}
	w.begin()
	t.Cleanup(func() { w.stop() })
	return w
}

func (w *World) begin() {
	w.Custody.CommitAtOnce()
	cfg := command.Config{Gateway: Gateway, Allow: []string{"dev/+/set"}, Rate: 60_000, Clock: right()}
	w.Desk = command.New(cfg, w, ingest.NewIntake(w.Custody, nil, time.Now), slog.New(slog.DiscardHandler))
	w.Clerk = w.Desk.Clerk("suite", command.Narrow{})
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := w.Desk.Run(ctx); err != nil {
			w.t.Errorf("desk: %v", err)
		}
	})
	w.stop = func() { cancel(); running.Wait() }
}

// right is the machine's clock, which is believed: the suite is not about that.
func right() command.Clock {
	return command.Clock{Boot: bootclock.BootID(), Uptime: bootclock.Uptime, Now: time.Now, Synced: func() bool { return true }}
}

// Crash cuts the gateway's power, and gives it back. No courier may run.
func (w *World) Crash() {
	next := w.Custody.Crash()
	w.stop()
	w.Custody = next
	w.begin()
}

// Publish implements command.Outlet.
func (w *World) Publish(ctx context.Context, c command.Command, topic string, _ time.Duration, rs []reading.Reading, notes ...reading.Note) (ingest.Receipt, int, error) {
	receipt, err := w.Custody.Accept(ctx, rs, notes...)
	if err != nil {
		return nil, 0, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all = append(w.all, Published{c.ID, topic, string(c.Payload)})
	return receipt, 1, nil
}

// Published returns what was published so far, in all lives.
func (w *World) Published() []Published {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]Published(nil), w.all...)
}

// times counts how often a command was published.
func (w *World) times(id string) (n int) {
	for _, p := range w.Published() {
		if p.ID == id {
			n++
		}
	}
	return n
}

// Start runs a courier until stop is called, again and again as a daemon does.
func (w *World) Start(c command.Courier) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		for ctx.Err() == nil {
			err := c.Run(ctx, w.Clerk)
			w.Clerk.Down(err)
			if err == nil && ctx.Err() == nil {
				w.t.Error("it returned without an error before it was told to")
			} else if err != nil {
				w.t.Logf("courier: %v", err)
			}
			pause(ctx, 50*time.Millisecond)
		}
	})
	var once sync.Once
	stop = func() { once.Do(func() { cancel(); running.Wait() }) }
	w.t.Cleanup(stop)
	Eventually(w.t, "it is connected", func() bool { about, _, _ := w.Clerk.Link(); return about != "" })
	return stop
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// Patience is how long is waited for what must happen, on a machine that may be busy.
const Patience = time.Minute

// Eventually waits until it is so.
func Eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	for end := time.Now().Add(Patience); !so(); pause(t.Context(), 5*time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

// Doc is a command with the ID that may be published.
func Doc(id string) string {
	return fmt.Sprintf(`{"id":%q,"topic":"dev/pump/set","payload":"on %s","ttl":"1h"}`, id, id)
}

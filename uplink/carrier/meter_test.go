package carrier

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"testing"
	"time"
)

func quietLog() *slog.Logger { return slog.New(slog.DiscardHandler) }

func textLog(w io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(w, nil)) }

// open returns a Link that trusts its clock.
func open(t *testing.T, cfg Config) *Link {
	t.Helper()
	if cfg.Clock.Synced == nil {
		cfg.Clock.Synced = func() bool { return true }
	}
	return Open(cfg, quietLog())
}

func (l *Link) sum() passed {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.tally.sum
}

// near fails unless the meter is as exact as it promises to be. What arrived again
// it does not promise to count: a machine under load lets even a cable's TCP wait
// until it is sent again.
func near(t *testing.T, what string, counted passed, wire seen) {
	t.Helper()
	const segment = 1500 // of Ethernet
	off := func(a, b int64) float64 { return 100 * (float64(a) - float64(b)) / float64(max(b, 1)) }
	t.Logf("%s: counted %d sent, %d received; on the wire %d, %d: %+.2f %%, %+.2f %%", what,
		counted.sent, counted.received, wire.sent, wire.received, off(counted.sent, wire.sent), off(counted.received, wire.received))
	all := counted.sent + counted.received
	least := wire.sent + wire.received - wire.again*segment
	if low, high := off(all, least), off(all, wire.sent+wire.received); low < -2 || high > 2 {
		t.Errorf("%s: %+.2f %%, more than 2 %% off, though the peer sent %d segments again", what, high, wire.again)
	}
}

// seen is what an interface has seen pass, and how many segments in it the peer had
// sent before.
type seen struct {
	passed
	again int64
}

func (s seen) minus(o seen) seen { return seen{s.passed.minus(o.passed), s.again - o.again} }

// settled waits until nothing has passed over the interface for a while.
func (n *nets) settled(name string) seen {
	n.t.Helper()
	last, since := n.wire(name), time.Now()
	for tick := range time.Tick(20 * time.Millisecond) {
		if now := n.wire(name); now != last {
			last, since = now, tick
		} else if tick.Sub(since) > 300*time.Millisecond {
			break
		}
	}
	return seen{last, n.sentAgain()}
}

func TestTheMeterAgreesWithTheInterface(t *testing.T) {
	n := apart(t)
	if n == nil {
		return
	}
	n.cable("e0", 0)
	for _, c := range []struct {
		name string
		talk func(t *testing.T, l *Link)
	}{
		{"OneMegabyteUp", func(t *testing.T, l *Link) { say(t, l, portDiscard, 1<<20, 1<<16) }},
		{"ManySmallMessages", func(t *testing.T, l *Link) { echo(t, l, 500, 120) }},
		{"OneMegabyteDown", func(t *testing.T, l *Link) { fetchBytes(t, l, 1<<20) }},
		{"ShortConnections", func(t *testing.T, l *Link) {
			for range 20 {
				echo(t, l, 1, 800)
			}
		}},
		{"NamesAreLookedUp", func(t *testing.T, l *Link) {
			for i := range 30 {
				c, err := l.Dial(t.Context(), "tcp", fmt.Sprintf("cloud-%d.example:%s", i, portEcho))
				if err != nil {
					t.Fatal(err)
				}
				c.Close()
			}
		}},
		{"BareConnections", func(t *testing.T, l *Link) {
			for range 20 {
				dial(t, l, portEcho).Close()
			}
		}},
		{"NobodyListens", func(t *testing.T, l *Link) {
			for range 20 {
				if _, err := l.Dial(t.Context(), "tcp", hub+":4711"); err == nil {
					t.Fatal("somebody listens")
				}
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := open(t, Config{Name: "eth", Interface: "e0", DNS: []netip.AddrPort{netip.MustParseAddrPort("10.9.0.2:" + portNames)}})
			before := n.settled("e0")
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- l.Run(ctx) }()
			c.talk(t, l)
			after := n.settled("e0")
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
			near(t, c.name, l.sum(), after.minus(before))
			if l.tally.estimated {
				t.Error("estimated, though the kernel counts")
			}
		})
	}
}

func dial(t *testing.T, l *Link, port string) net.Conn {
	t.Helper()
	c, err := l.Dial(t.Context(), "tcp", hub+":"+port)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func say(t *testing.T, l *Link, port string, bytes, each int) {
	t.Helper()
	c := dial(t, l, port)
	defer c.Close()
	for range bytes / each {
		if _, err := c.Write(make([]byte, each)); err != nil {
			t.Fatal(err)
		}
	}
}

func echo(t *testing.T, l *Link, times, size int) {
	t.Helper()
	c := dial(t, l, portEcho)
	defer c.Close()
	for range times {
		if _, err := c.Write(make([]byte, size)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, make([]byte, size)); err != nil {
			t.Fatal(err)
		}
	}
}

func fetchBytes(t *testing.T, l *Link, n int) {
	t.Helper()
	c := dial(t, l, portGive)
	defer c.Close()
	if _, err := c.Write(binary.BigEndian.AppendUint64(nil, uint64(n))); err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(io.Discard, c, int64(n)); err != nil {
		t.Fatal(err)
	}
}

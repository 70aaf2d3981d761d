package carrier

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
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

// settled waits until no connection is about to end, and nothing has passed over the
// interface for so many looks. Looks, not time: a machine that stands still for a
// while passes nothing, either.
func (n *nets) settled(name string) seen {
	n.t.Helper()
	last, looks := n.wire(name), 0
	for range time.Tick(20 * time.Millisecond) {
		if now := n.wire(name); now != last || n.ending() {
			last, looks = now, 0
		} else if looks++; looks > 15 {
			break
		}
	}
	return seen{last, n.sentAgain()}
}

// ending reports whether one end of a connection has said goodbye, and the other
// has not.
func (n *nets) ending() bool {
	n.t.Helper()
	const finWait1, finWait2, lastAck, closing = "04", "05", "09", "0B" // of linux/tcp_states.h
	for _, table := range []string{"/proc/self/net/tcp", "/proc/self/net/tcp6"} {
		text, err := os.ReadFile(table)
		if err != nil {
			n.t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if f := strings.Fields(line); len(f) > 3 && slices.Contains([]string{finWait1, finWait2, lastAck, closing}, f[3]) {
				return true
			}
		}
	}
	return false
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
		{"NobodyListens", callNobody},
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

func callNobody(t *testing.T, l *Link) {
	t.Helper()
	for left := 20; left > 0; left-- {
		begun := time.Now()
		if _, err := l.Dial(t.Context(), "tcp", hub+":4711"); err == nil {
			t.Fatal("somebody listens")
		}
		// Whoever waits for seconds is taken for one who has asked again. If it was
		// the machine that stood still, more of the others make up for it.
		left += 60 * int(time.Since(begun)/time.Second)
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

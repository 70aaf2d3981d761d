package linein

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/ingest/decode"
	"github.com/tidegate/tidegate/ingest/frame"
	"github.com/tidegate/tidegate/ingest/ingesttest"
)

// Who sends a byte a minute holds a connection for a frame's time, not for ever.
func TestSlowFramesEndTheirConnection(t *testing.T) {
	for name, framing := range map[string]frame.Config{"line": {}, "gap": {Kind: frame.Gap}} {
		t.Run(name, func(t *testing.T) { sendSlowly(t, framing) })
	}
}

// sendSlowly begins a frame that never ends.
func sendSlowly(t *testing.T, framing frame.Config) {
	cfg := config()
	cfg.Framing, cfg.FrameTimeout = framing, 50*time.Millisecond
	w := start(t, cfg)
	conn := dial(t, "tcp", w.Source)
	if framing.Kind == frame.Line {
		w.send(conn, "1\n")
	}
	trickle := time.NewTicker(5 * time.Millisecond)
	defer trickle.Stop()
	for late := time.Now().Add(ingesttest.Patience); ; <-trickle.C {
		if _, err := conn.Write([]byte("2")); err != nil {
			break
		}
		if time.Now().After(late) {
			t.Fatal("it may go on for ever")
		}
	}
	w.until("slow", func(s Stats) bool {
		return s.Slow == 1 && s.Frames.Partial == 1 && s.Clients == 0
	})
}

// A long frame that comes as fast as it can is not slow, nor are many short ones.
func TestFramesInTimeAreNotSlow(t *testing.T) {
	cfg := config()
	cfg.FrameTimeout, cfg.IdleTimeout = ingesttest.Patience, ingesttest.Patience
	cfg.Framing.MaxFrame = 1 << 20
	cfg.Target.Decoder = decode.Raw{}
	w := start(t, cfg)
	conn := dial(t, "tcp", w.Source)
	for range 10 {
		w.send(conn, strings.Repeat("x", 1<<20)+"\n"+strings.Repeat("y\n", 10_000))
	}
	w.until("all", func(s Stats) bool { return s.Frames.Frames == 100_010 && s.Slow == 0 })
}

// Each frame has its own time, and so has each silence: a connection may go on for
// as long as it likes.
func TestTimeoutsAreOfAFrameAndNotOfAConnection(t *testing.T) {
	cfg := config()
	cfg.FrameTimeout, cfg.IdleTimeout = 2*time.Second, 2*time.Second
	const step = 1900 * time.Millisecond
	events, want := []event{{text: "2"}}, []string(nil)
	for range 10 { // a frame is under way all the time
		events = append(events, event{after: step, text: "1\n2"})
		want = append(want, "m=21")
	}
	events = append(events, event{after: step, text: "\n3\n"}, event{after: time.Hour, err: io.EOF})
	want = append(want, "m=2", "m=3")
	got, s := hearStats(t, cfg, &scripted{events: events})
	if !slices.Equal(got, want) || s.Slow != 1 || s.Frames.Partial != 0 { // slow is the hour
		t.Errorf("%q, %+v", got, s)
	}
}

func TestIdleConnectionsEnd(t *testing.T) {
	cfg := config()
	cfg.IdleTimeout = 20 * time.Millisecond
	w := start(t, cfg)
	mustEnd(t, dial(t, "tcp", w.Source))
	w.until("idle", func(s Stats) bool { return s.Slow == 1 && s.Clients == 0 })
	// So does one that has said something, however late the test is.
	got, s := hearStats(t, cfg, &scripted{events: []event{{text: "1\n"}, {after: time.Hour, text: "2\n"}}})
	if !slices.Equal(got, []string{"m=1"}) || s.Slow != 1 || s.Frames.Frames != 1 || s.Frames.Partial != 0 {
		t.Errorf("%q, %+v", got, s)
	}
}

func TestConnectionsBeyondTheLimitsAreTurnedAway(t *testing.T) {
	for _, perHost := range []bool{false, true} {
		cfg := config()
		cfg.MaxClients = 3
		if perHost {
			cfg.MaxClients, cfg.MaxPerHost = 100, 3
		}
		w := start(t, cfg)
		conns := []net.Conn{dial(t, "tcp", w.Source), dial(t, "tcp", w.Source), dial(t, "tcp", w.Source)}
		w.until("three", func(s Stats) bool { return s.Clients == 3 })
		mustEnd(t, dial(t, "tcp", w.Source))
		w.until("one more", func(s Stats) bool { return s.TurnedAway == 1 })
		conns[0].Close()
		w.until("room", func(s Stats) bool { return s.Clients == 2 })
		w.send(dial(t, "tcp", w.Source), "1\n")
		w.values(1)
	}
}

// As many as descriptors allow, up to ten thousand: each says something, and none
// beyond the limit is let in.
func TestTenThousandConnections(t *testing.T) {
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		t.Fatal(err)
	}
	n := min(10_000, (int(files.Max)-500)/2) // both ends are in this process
	if testing.Short() {
		n = min(n, 500)
	}
	cfg := config()
	cfg.MaxClients = n
	w := start(t, cfg)
	conns := make([]net.Conn, n)
	for i := range conns {
		conns[i] = dial(t, "tcp", w.Source)
	}
	w.until("all", func(s Stats) bool { return s.Clients == n })
	mustEnd(t, dial(t, "tcp", w.Source))
	for i, conn := range conns {
		w.send(conn, fmt.Sprintf("%d\nhalf a line", i))
	}
	w.values(n)
	for _, conn := range conns {
		conn.Close()
	}
	w.until("none", func(s Stats) bool {
		return s.Clients == 0 && s.TurnedAway == 1 && s.Frames.Frames == uint64(n) && s.Frames.Partial == uint64(n)
	})
	t.Logf("%d connections", n)
}

func TestPeersThatSendTooFastAreMadeToWait(t *testing.T) {
	cfg := config()
	cfg.MaxRate = 20
	w := start(t, cfg)
	began := time.Now()
	w.send(dial(t, "tcp", w.Source), strings.Repeat("1\n", 30))
	w.values(30)
	w.until("slowed", func(s Stats) bool { return s.Slowed > 0 })
	w.send(dial(t, "tcp", w.Source), "2\n") // the others are not
	w.values(31)
	if time.Since(began) > ingesttest.Patience {
		t.Error("others wait, too")
	}
}

// What custody has no room for stays with the peers.
func TestPeersAreMadeToWaitForCustody(t *testing.T) {
	custody := ingesttest.NewCustody()
	custody.Refuse(ingest.ErrFull)
	w := startOn(t, config(), custody)
	conn := dial(t, "tcp", w.Source)
	lines := bytes.Repeat([]byte("21.5\n"), 100_000)
	sent := 0
	for ; sent < 100; sent++ {
		if err := conn.SetWriteDeadline(time.Now().Add(500 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write(lines); errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
	}
	if sent == 100 {
		t.Errorf("%d MB were taken by nobody", sent/2)
	}
	if s := w.Stats(); s.Frames.Frames > maxUnsettled {
		t.Errorf("%d frames were read", s.Frames.Frames)
	}
}

// What is held to be stored again is bounded; what is beyond is counted when a
// commit fails.
func TestWhatIsHeldIsBounded(t *testing.T) {
	const conns, lines = 10, 8000
	custody := ingesttest.NewCustody()
	w := startOn(t, config(), custody)
	for range conns {
		w.send(dial(t, "tcp", w.Source), strings.Repeat("1\n", lines))
	}
	w.until("all are held that can be", func(s Stats) bool { return s.Frames.Frames == conns*lines })
	custody.Fail(errors.New("disk is gone"))
	custody.CommitAtOnce()
	stored := 0
	w.until("all", func(s Stats) bool {
		stored = len(custody.Stored())
		return stored+int(s.NotStored) == conns*lines
	})
	if stored > maxHeld || stored < maxHeld-conns*maxReadings {
		t.Errorf("%d were held, of %d at the most", stored, maxHeld)
	}
}

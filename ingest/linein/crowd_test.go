package linein

import (
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidegate/tidegate/ingest/ingesttest"
	"github.com/tidegate/tidegate/reading"
)

// crowd opens connections that send a lot at once.
func crowd(t *testing.T, w *world, n int, text string) {
	t.Helper()
	for range n {
		conn := dial(t, "tcp", w.Source)
		if err := conn.(*net.TCPConn).SetReadBuffer(4096); err != nil {
			t.Fatal(err)
		}
		go conn.Write([]byte(text)) // which ends with the connection at the latest
	}
}

// Those who send faster than they may wait for nobody but themselves, however many
// they are.
func TestOthersAreServedWhileManySendTooFast(t *testing.T) {
	const many = 4 * largeReads
	cfg := config()
	cfg.MaxRate = 600 // less than a large read holds, more than a small one
	w := start(t, cfg)
	crowd(t, w, many, strings.Repeat("1\n", 400_000))
	for taken, waiting := 0, false; !waiting; { // however long it takes until all of them wait
		w.until("more comes, or all wait", func(s Stats) bool {
			before := taken
			taken, waiting = len(w.custody.Taken(t, 0)), s.Slowed >= many
			return waiting || taken > before
		})
	}
	w.send(dial(t, "tcp", w.Source), "2\n")
	w.until("served", func(Stats) bool {
		return slices.ContainsFunc(w.custody.Taken(t, 0), func(r reading.Reading) bool { return r.Value.Float() == 2 })
	})
}

// A peer that reads no replies is not waited for by others.
func TestOthersAreServedWhileManyReadNoReplies(t *testing.T) {
	const many = 32
	cfg := config()
	cfg.Reply, cfg.WriteTimeout = strings.Repeat("r", MaxReply-1)+"\n", time.Hour
	w := start(t, cfg)
	crowd(t, w, many, strings.Repeat("1\n", 400_000))
	// All have as many frames on their way as they may when nothing more comes,
	// however long that takes.
	for taken, moves := 0, true; moves; {
		still := 0
		w.until("more comes, or all that may", func(Stats) bool {
			now := len(w.custody.Taken(t, 0))
			still++
			taken, moves = now, now > taken
			return moves || now >= many*maxUnsettled && still > 300
		})
	}
	conn := dial(t, "tcp", w.Source)
	w.send(conn, "2\n")
	if err := conn.SetReadDeadline(time.Now().Add(ingesttest.Patience)); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 2*MaxReply)
	if n, err := conn.Read(b); err != nil || string(b[:n]) != cfg.Reply {
		t.Errorf("%d bytes, %v", n, err)
	}
}

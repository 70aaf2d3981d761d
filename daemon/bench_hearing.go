package daemon

import (
	"bytes"
	"strings"
	"sync"
	"time"

	"github.com/tidegate/tidegate/dashboard/api"
	"github.com/tidegate/tidegate/ingest/serialin"
)

// What is kept of a line between two looks at it. Nobody reads faster than that, and
// a line at 921,600 baud brings four times as much.
const (
	maxHeard       = 2048 // bytes
	maxHeardPieces = 64
	maxPiece       = 96 // bytes
)

// newPiece is the silence that begins a new piece: USB adapters hand over bytes in
// lumps that are up to 16 ms apart.
const newPiece = 20 * time.Millisecond

// hearing is what was heard on a line and not told yet: the latest of it, and how
// much came before. Whoever hears never waits for who is told.
type hearing struct {
	mu     sync.Mutex
	pieces []api.SerialPiece
	ends   time.Time // of the last piece
	bytes  int
	missed int
}

// add adds what was seen. It does not keep its bytes.
func (h *hearing) add(p serialin.Piece) {
	h.mu.Lock()
	defer h.mu.Unlock()
	fresh := p.At.Sub(h.ends) > newPiece || p.Missed > 0
	for b := p.Bytes; len(b) > 0; fresh = false {
		at := len(h.pieces) - 1
		if at < 0 || fresh || isWhole(h.pieces[at], string(p.Direction)) {
			h.pieces = append(h.pieces, api.SerialPiece{At: p.At.UnixMilli(), Direction: string(p.Direction)})
			at++
		}
		last := &h.pieces[at]
		n := min(len(b), maxPiece-len(last.Bytes))
		if end := bytes.IndexByte(b[:n], '\n'); end >= 0 {
			n = end + 1
		}
		last.Bytes, b = append(last.Bytes, b[:n]...), b[n:]
		if p.Damaged && len(b) == 0 {
			last.Damaged = append(last.Damaged, len(last.Bytes)-1)
		}
	}
	h.ends = p.At
	h.bytes += len(p.Bytes)
	h.missed += p.Missed // pieces, of a byte at least
	h.forget()
}

// isWhole says whether what follows in a direction is another piece.
func isWhole(p api.SerialPiece, direction string) bool {
	n := len(p.Bytes)
	return p.Direction != direction || n >= maxPiece || p.Bytes[n-1] == '\n'
}

// forget drops what is too much, the oldest first.
func (h *hearing) forget() {
	for h.bytes > maxHeard || len(h.pieces) > maxHeardPieces {
		n := len(h.pieces[0].Bytes)
		h.bytes, h.missed, h.pieces = h.bytes-n, h.missed+n, h.pieces[1:]
	}
}

// take returns what was heard since the last call.
func (h *hearing) take() (pieces []api.SerialPiece, missed int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	pieces, missed = h.pieces, h.missed
	h.pieces, h.bytes, h.missed = nil, 0, 0
	return pieces, missed
}

// wrongs is how much of what came is wrong, and what that is.
func wrongs(c api.SerialCounts) (n uint64, words string) {
	all := []string{}
	for _, k := range []struct {
		n    uint64
		what string
	}{
		{c.BadChecksums, "wrong checksum"}, {c.Damaged, "damaged byte"}, {c.ParityErrors, "parity error"},
		{c.FrameErrors, "missing stop bit"}, {c.Breaks, "break"}, {c.Overruns, "lost byte"},
	} {
		if k.n > 0 {
			all = append(all, count(k.n, k.what))
		}
	}
	return c.BadChecksums + c.Damaged + c.Overruns, strings.Join(all, ", ")
}

// advisor says what the counts of a line mean, from those of the last seconds.
type advisor struct {
	began time.Time
	past  []api.SerialCounts // a second apart, the oldest first
	last  time.Time
}

// Over how many seconds counts are looked at, and from how many bytes on, and from
// how many damaged ones in a hundred on, they tell something.
const (
	adviceSpan  = 5
	leastHeard  = 40
	mostDamaged = 5
)

// advise is called with the counts of now.
func (a *advisor) advise(now time.Time, c api.SerialCounts) string {
	if a.began.IsZero() {
		a.began = now
	}
	if now.Sub(a.last) >= time.Second {
		a.last = now
		if a.past = append(a.past, c); len(a.past) > adviceSpan {
			a.past = a.past[1:]
		}
	}
	before := a.past[0]
	heard, damaged := c.Received-before.Received, c.Damaged-before.Damaged
	switch {
	case c.Received == 0 && now.Sub(a.began) >= adviceSpan*time.Second:
		return "nothing comes — hint: many devices speak only when asked; else look at power, ground, and whether RX and TX are crossed"
	case heard >= leastHeard && 100*damaged > mostDamaged*heard:
		return "too much comes damaged: is it another speed, or another parity? — hint: let the gateway find out by itself"
	case c.Overruns > before.Overruns:
		return "bytes are lost because they come faster than they are taken — hint: a slower speed, or flow control, or another adapter"
	case c.BadChecksums-before.BadChecksums > (c.Frames-before.Frames)/10+1:
		return "too many checksums are wrong — hint: look at cable, shield, ground and termination"
	}
	return ""
}

package daemon

import (
	"bytes"
	"sync"
	"time"

	"github.com/tidegate/tidegate/dashboard/api"
	"github.com/tidegate/tidegate/ingest/serialin"
)

// What is kept of a line between two looks at it. Nobody reads faster than that, and
// a line at 921,600 baud brings four times as much.
const (
	maxHeard       = 2048 // bytes
	maxHeardPieces = 48
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
	n := len(h.pieces)
	if n == 0 || h.pieces[n-1].Direction != string(p.Direction) || p.At.Sub(h.ends) > newPiece || p.Missed > 0 {
		h.pieces = append(h.pieces, api.SerialPiece{At: p.At.UnixMilli(), Direction: string(p.Direction)})
		n++
	}
	last := &h.pieces[n-1]
	last.Bytes = append(last.Bytes, p.Bytes...)
	if p.Damaged {
		last.Damaged = append(last.Damaged, len(last.Bytes)-1)
	}
	h.ends = p.At
	h.bytes += len(p.Bytes)
	h.forget()
}

// forget drops what is too much, the oldest first.
func (h *hearing) forget() {
	for len(h.pieces) > 1 && (h.bytes > maxHeard || len(h.pieces) > maxHeardPieces) {
		n := len(h.pieces[0].Bytes)
		if over := h.bytes - maxHeard; len(h.pieces) <= maxHeardPieces && over < n {
			n = over
		}
		h.drop(n)
	}
	if h.bytes > maxHeard {
		h.drop(h.bytes - maxHeard)
	}
}

// drop drops the first n bytes of the first piece.
func (h *hearing) drop(n int) {
	p := &h.pieces[0]
	h.bytes -= n
	h.missed += n
	if n == len(p.Bytes) {
		h.pieces = h.pieces[1:]
		return
	}
	p.Bytes = p.Bytes[n:]
	kept := p.Damaged[:0]
	for _, at := range p.Damaged {
		if at >= n {
			kept = append(kept, at-n)
		}
	}
	p.Damaged = kept
}

// take returns what was heard since the last call.
func (h *hearing) take() (pieces []api.SerialPiece, missed int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	pieces, missed = h.pieces, h.missed
	for i := range pieces {
		pieces[i].Bytes = bytes.Clone(pieces[i].Bytes) // lets go of what was dropped before it
	}
	h.pieces, h.bytes, h.missed = nil, 0, 0
	return pieces, missed
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

package serialin

import (
	"math"

	"github.com/tidegate/tidegate/ingest/frame"
)

// trust is what one wrong or lost byte can do to a framing, beyond the frame that
// it was in. With a checksum it is nothing: no two wrongs pass for a frame.
type trust struct {
	sums bool
	// cutsAnywhere says that a wrong byte can make two frames out of one, starts
	// that it can let one begin within another, and lengths that it can let one
	// end beyond another.
	cutsAnywhere, starts, lengths bool
	// counts says that frames are only counted off: what shifts one shifts all.
	counts bool
	// gaps says that nothing but a silence tells frames apart.
	gaps bool
}

func trustOf(c frame.Config) (t trust) {
	if t.sums = c.Checksum != frame.None; t.sums {
		return t
	}
	t.counts, t.gaps = !c.Resyncs(), c.Kind == frame.Gap
	switch c.Kind {
	case frame.Line, frame.SLIP, frame.HDLC, frame.COBS:
		t.cutsAnywhere = true
	case frame.STXETX:
		t.starts = c.Envelope.Escapes != frame.NoEscapes
	case frame.Fixed:
		t.starts = true
	case frame.Length, frame.Octets:
		t.starts, t.lengths = true, true
	}
	return t
}

// forever is beyond the end of any stream.
const forever = math.MaxUint64

// end returns where the distrust of a place in the stream ends. What was shifted
// is so until the line is silent.
func (t trust) end(at uint64, shifts bool) uint64 {
	if t.counts && shifts {
		return forever
	}
	return at
}

// damage knows which bytes of the stream are not to be trusted.
type damage struct {
	spans []span
}

type span struct{ from, to uint64 }

// maxSpans bounds what is kept. Beyond it, everything from the last span on is
// not trusted: a line like that has the wrong speed.
const maxSpans = 32

func (d *damage) add(from, to uint64) {
	if n := len(d.spans); n > 0 && (from <= d.spans[n-1].to || n == maxSpans) {
		d.spans[n-1].to = max(d.spans[n-1].to, to)
		return
	}
	d.spans = append(d.spans, span{from, to})
}

func (d *damage) hits(from, to uint64) bool {
	for _, s := range d.spans {
		if s.from < to && from < s.to {
			return true
		}
	}
	return false
}

// forget drops what lies before a place.
func (d *damage) forget(before uint64) {
	kept := d.spans[:0]
	for _, s := range d.spans {
		if s.to > before {
			kept = append(kept, s)
		}
	}
	d.spans = kept
}

package linein

import (
	"fmt"
	"net"
	"time"

	"github.com/tidegate/tidegate/ingest/decode"
	"github.com/tidegate/tidegate/ingest/route"
	"github.com/tidegate/tidegate/reading"
)

// watch knows whether somebody was looking when a silence may have been: while
// custody takes its time or this program gets none, several frames may come, and
// nothing but the silence between would tell them apart. What is doubtful is kept
// whole: of "21" and "22", nobody has measured 2122. The zero value is for framings
// that do not depend on it.
type watch struct {
	silence time.Duration // zero: nothing is doubtful
	whole   route.Target  // of what is doubtful

	looks, looked time.Time // when a read began and ended last
	unsure        bool      // nobody looked for as long as a silence is
	doubt         bool      // about what has come since the last silence
}

// waiting is how long a read takes for which bytes were waiting, at the most.
const waiting = time.Millisecond

func newWatch(silence time.Duration, target route.Target) watch {
	target.Decoder = unclear{}
	return watch{silence: silence, whole: target}
}

// read reads from conn.
func (w *watch) read(conn net.Conn, b []byte) (int, error) {
	if w.silence == 0 {
		return conn.Read(b)
	}
	w.looks = time.Now()
	if !w.looked.IsZero() && w.looks.Sub(w.looked) >= w.silence {
		w.unsure = true
	}
	n, err := conn.Read(b)
	w.looked = time.Now()
	return n, err
}

// heard tells that bytes have come, and whether a frame had begun before.
func (w *watch) heard(begun bool) {
	if w.unsure && (begun || w.looked.Sub(w.looks) < waiting) {
		w.doubt = true
	}
	w.unsure = false
}

// missed tells that nobody looked when a silence would have been over.
func (w *watch) missed() { w.unsure = true }

// fellSilent tells that a silence has ended what came before.
func (w *watch) fellSilent() { w.doubt, w.unsure = false, false }

// target returns what a frame means.
func (w *watch) target(certain *route.Target) *route.Target {
	if w.doubt && w.silence > 0 {
		return &w.whole
	}
	return certain
}

// unclear is a decoder for what may be several payloads.
type unclear struct{}

// Decode implements decode.Decoder.
func (unclear) Decode(dst []reading.Reading, f decode.Frame) ([]reading.Reading, error) {
	return dst, fmt.Errorf("%w: %d bytes may be several frames, as nobody could look for silences between — hint: use a framing with marks or a checksum", decode.ErrMalformed, len(f.Payload))
}

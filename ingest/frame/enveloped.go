package frame

import "bytes"

// enveloped finds frames between control characters.
type enveloped struct {
	Envelope
	start   []byte // what a frame begins with
	longest int    // with the checksum, unless that follows the end
	max     int
	seal    seal

	// state is where in a frame at is: that many bytes of the window are done
	// with. window[:to] is the payload so far.
	state   state
	at, to  int
	escaped bool   // by the byte before at
	reg     uint32 // of all bytes after the start, if the checksum follows the end
}

type state uint8

const (
	outside state = iota
	inside
	skipping // the rest of a frame that is too long
	behind   // the end, before the checksum
)

func newEnveloped(c Config) *enveloped {
	e := &enveloped{Envelope: c.Envelope, start: []byte{c.Envelope.Start}, max: c.MaxFrame, longest: c.MaxFrame, seal: c.sealOf()}
	if e.Escapes == EscapeDouble {
		e.start = []byte{e.Escape, e.Start}
	}
	if !e.SumAfterEnd {
		e.longest += e.seal.size
	}
	return e
}

func (e *enveloped) reset() { e.state, e.at, e.to, e.escaped = outside, 0, 0, false }

func (e *enveloped) cut(window []byte, _ bool) cut {
	if e.state == outside {
		if n := e.beforeStart(window); n > 0 {
			return cut{fate: filling, size: n, garbage: n - newlines(window[:n])}
		}
		if e.state == outside { // half a start
			return cut{}
		}
	}
	for e.state != behind {
		e.pass(window)
		if e.at == len(window) {
			return e.wait()
		}
		e.at++
		if c := e.step(window); c.fate != more {
			return c
		}
	}
	return e.finish(window)
}

// beforeStart returns how many bytes of the window are before a start. If that
// is where the window begins, a frame begins.
func (e *enveloped) beforeStart(window []byte) int {
	at := bytes.Index(window, e.start)
	if at < 0 {
		at = len(window)
		if len(e.start) > 1 && window[at-1] == e.start[0] {
			at--
		}
		return at
	}
	if at == 0 {
		e.state, e.at, e.to, e.escaped = inside, len(e.start), 0, false
		if e.SumAfterEnd {
			e.reg = e.seal.algorithm.initial
		}
	}
	return at
}

// newlines counts what is often sent between frames, and is no noise.
func newlines(b []byte) int { return bytes.Count(b, []byte{'\r'}) + bytes.Count(b, []byte{'\n'}) }

// wait is for a window that ends within a frame.
func (e *enveloped) wait() cut {
	if e.state != skipping {
		return cut{}
	}
	n := e.at
	if e.escaped { // stays, with what it escapes
		n--
	}
	e.at, e.escaped = 0, false
	if n == 0 {
		return cut{}
	}
	return cut{fate: filling, size: n, garbage: n}
}

// pass moves on over bytes that are data whatever is before and behind them.
func (e *enveloped) pass(window []byte) {
	rest := window[e.at:]
	if e.state == inside {
		rest = rest[:min(len(rest), e.longest-e.to)]
	}
	if e.escaped {
		return
	}
	n := 0
	for n < len(rest) && rest[n] != e.Start && rest[n] != e.End && rest[n] != e.Escape {
		n++
	}
	if e.SumAfterEnd {
		e.reg = e.seal.algorithm.update(e.reg, rest[:n])
	}
	if e.state == inside {
		e.to += copy(window[e.to:], rest[:n]) // at is beyond to, because of the start
	}
	e.at += n
}

// step looks at the byte before at. It answers more while the frame goes on.
func (e *enveloped) step(window []byte) cut {
	c := window[e.at-1]
	if e.SumAfterEnd {
		e.reg = e.seal.algorithm.step(e.reg, c)
	}
	double := e.Escapes == EscapeDouble
	control := e.escaped == double // whether c may be a control character
	switch {
	case !e.escaped && e.Escapes != NoEscapes && c == e.Escape:
		e.escaped = true
		return cut{}
	case control && c == e.End:
		e.state, e.escaped = e.ended(), false
		if e.state == outside {
			return e.drop(filling, e.at)
		}
		return cut{}
	case control && c == e.Start: // the end of the frame before is lost
		return e.drop(broken, e.at-len(e.start))
	case e.escaped && double && c != e.Escape:
		return e.drop(broken, e.at)
	}
	e.escaped = false
	return e.put(window, c)
}

func (e *enveloped) ended() state {
	if e.state == skipping {
		return outside
	}
	return behind
}

// drop gives up what has begun. A frame that was too long is counted already.
func (e *enveloped) drop(why fate, n int) cut {
	if e.state == skipping || e.state == outside {
		why = filling
	}
	e.reset()
	return cut{fate: why, size: n, garbage: n}
}

// put adds a byte to the payload.
func (e *enveloped) put(window []byte, c byte) cut {
	if e.state == skipping {
		return cut{}
	}
	if e.to == e.longest {
		n := e.at
		e.state, e.at, e.to = skipping, 0, 0
		return cut{fate: tooLong, size: n, garbage: n}
	}
	window[e.to] = c
	e.to++
	return cut{}
}

// finish looks at the checksum of a frame that has its end.
func (e *enveloped) finish(window []byte) cut {
	payload, ok, size := window[:e.to], true, e.at
	if e.SumAfterEnd {
		if size += e.seal.size; size > len(window) {
			return cut{}
		}
		told, readable := e.seal.read(window[e.at:size])
		ok = readable && told == e.seal.algorithm.final(e.reg)
	} else {
		payload, ok = e.seal.open(payload)
	}
	if !ok {
		return e.drop(badSum, e.at) // what follows may be the next frame
	}
	e.reset()
	switch {
	case len(payload) > e.max:
		return cut{fate: tooLong, size: size, garbage: size}
	case len(payload) == 0:
		return cut{fate: filling, size: size}
	}
	return cut{fate: whole, size: size, frame: payload}
}

package frame

// running keeps the register of a checksum after each byte of a window. With it
// the checksum of any part of the window costs the same, however long the part
// is: without it, noise in which each byte looks like the beginning of a long
// frame would cost the length of a frame for every byte.
type running struct {
	a *algorithm
	// after[gone+i] is the register after i bytes of the window.
	after []uint32
	gone  int
}

// direct is the longest part that is summed up at once, because that is cheaper.
const direct = 256

// sum returns the final register of window[from:to].
func (r *running) sum(window []byte, from, to int) uint32 {
	if to-from <= direct {
		return r.a.final(r.a.update(r.a.initial, window[from:to]))
	}
	if len(r.after) == 0 {
		r.after = append(r.after, 0)
	}
	for known := len(r.after) - r.gone - 1; known < to; known++ {
		r.after = append(r.after, r.a.step(r.after[len(r.after)-1], window[known]))
	}
	return r.a.final(r.a.between(r.after[r.gone+from], r.after[r.gone+to], to-from))
}

// pass tells that the window has moved on by n bytes.
func (r *running) pass(n int) {
	if r.gone += n; r.gone >= len(r.after) {
		r.forget()
		return
	}
	if r.gone > len(r.after)/2 { // so that moving costs no more than summing
		r.after = r.after[:copy(r.after, r.after[r.gone:])]
		r.gone = 0
	}
}

func (r *running) forget() { r.after, r.gone = r.after[:0], 0 }

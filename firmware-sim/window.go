package firmwaresim

import "time"

// maxWindow is the largest window that 16-bit packet ids allow.
const maxWindow = 65535

// window holds the messages in flight: a ring from the oldest one that is not
// settled to the newest. Positions count up for ever; a packet id is a position
// modulo 65535, plus one, so an id comes back into use as late as possible and
// an acknowledgement that arrives twice is seen for what it is.
type window struct {
	slots      []flight
	head, tail uint64 // positions [head, tail) are in flight
}

// flight is one message in flight. Its frame is kept, and its memory used again
// by a later message, because a broken connection means to send it again.
type flight struct {
	frame []byte
	tag   uint64
	sent  time.Time
	qos   byte
	state flightState
}

type flightState byte

const (
	awaitingAck  flightState = iota // PUBACK, or PUBREC at QoS 2
	awaitingComp                    // PUBREC has come; PUBCOMP has not
	settled
)

func newWindow(size int) window { return window{slots: make([]flight, size)} }

func (w *window) inFlight() int { return int(w.tail - w.head) }

func (w *window) at(position uint64) *flight { return &w.slots[position%uint64(len(w.slots))] }

// push takes the next free slot and gives its packet id. The caller has seen to
// it that there is one.
func (w *window) push() (*flight, uint16) {
	f := w.at(w.tail)
	id := uint16(w.tail%maxWindow) + 1
	w.tail++
	f.state = awaitingAck
	return f, id
}

// find returns the flight of a packet id; nil when no such message is in flight.
func (w *window) find(id uint16) *flight {
	if id == 0 {
		return nil
	}
	ahead := (uint64(id-1) + maxWindow - w.head%maxWindow) % maxWindow
	if ahead >= w.tail-w.head {
		return nil
	}
	if f := w.at(w.head + ahead); f.state != settled {
		return f
	}
	return nil
}

// advance moves the window past everything that is settled.
func (w *window) advance() {
	for w.head < w.tail && w.at(w.head).state == settled {
		w.head++
	}
}

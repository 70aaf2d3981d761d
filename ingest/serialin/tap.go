package serialin

import (
	"sync"
	"sync/atomic"
	"time"
)

// Direction is which way bytes went.
type Direction string

// The directions, as the gateway sees them.
const (
	In  Direction = "in"
	Out Direction = "out"
)

// Piece is bytes that were seen on the line.
type Piece struct {
	At        time.Time `json:"at"`
	Direction Direction `json:"direction"`
	Bytes     []byte    `json:"bytes"`
	// Damaged says that the driver marked the last of them.
	Damaged bool `json:"damaged,omitempty"`
	// Missed is how many pieces before this one were not shown, because who
	// looks was too slow.
	Missed int `json:"missed,omitempty"`
}

// maxPieces is how many pieces wait for one who looks.
const maxPieces = 256

// taps are those who look at the line. It costs one load while nobody does.
type taps struct {
	looking *atomic.Int32
	mu      *sync.Mutex
	all     map[chan Piece]int // pieces missed
}

func newTaps() taps {
	return taps{new(atomic.Int32), new(sync.Mutex), make(map[chan Piece]int)}
}

// Tap returns what goes over the line from now on, until stop is called. Who is
// slow misses pieces; the line never waits.
func (s *Source) Tap() (pieces <-chan Piece, stop func()) {
	c := make(chan Piece, maxPieces)
	s.taps.mu.Lock()
	defer s.taps.mu.Unlock()
	s.taps.all[c] = 0
	s.taps.looking.Add(1)
	return c, sync.OnceFunc(func() {
		s.taps.mu.Lock()
		defer s.taps.mu.Unlock()
		delete(s.taps.all, c)
		s.taps.looking.Add(-1)
	})
}

func (t *taps) show(b []byte, d Direction, damaged bool) {
	if len(b) == 0 || t.looking.Load() == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	p := Piece{At: time.Now(), Direction: d, Bytes: append([]byte(nil), b...), Damaged: damaged}
	for c, missed := range t.all {
		p.Missed = missed
		select {
		case c <- p:
			t.all[c] = 0
		default:
			t.all[c]++
		}
	}
}

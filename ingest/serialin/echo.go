package serialin

import (
	"bytes"
	"hash/maphash"
	"sync"

	"github.com/tidegate/tidegate/ingest/frame"
)

// isEcho says whether a frame is the request itself, heard on a line that two
// wires are shared on.
func isEcho(request, f []byte) bool {
	return 2*len(f) >= len(request) && bytes.Contains(request, f)
}

// echoes are the confirmations that were written last. On two wires they are heard
// as well, and each would be confirmed in its turn, without end.
type echoes struct {
	mu      sync.Mutex
	scanner *frame.Scanner
	seed    maphash.Seed
	last    [maxEchoes]uint64 // hashes of what the line makes of them
	next    int
}

// maxEchoes is how many confirmations may be written before they are heard: more
// than are handed over at once.
const maxEchoes = 2 * enough

func newEchoes(c frame.Config) (*echoes, error) {
	scanner, err := frame.New(c)
	return &echoes{scanner: scanner, seed: maphash.MakeSeed()}, err
}

// add remembers the confirmation of a frame. One that is the frame itself cannot be
// told from a device that sends again.
func (e *echoes) add(confirmation, of []byte) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.scanner.Write(confirmation)
	e.scanner.Idle()
	for f, ok := e.scanner.Next(); ok; f, ok = e.scanner.Next() {
		if !bytes.Equal(f, of) {
			e.last[e.next] = maphash.Bytes(e.seed, f)
			e.next = (e.next + 1) % maxEchoes
		}
	}
	e.scanner.Reset() // none may begin with the rest of the one before
}

// hear says whether a frame is a confirmation that is heard, once for each.
func (e *echoes) hear(f []byte) bool {
	h := maphash.Bytes(e.seed, f)
	e.mu.Lock()
	defer e.mu.Unlock()
	for i, last := range e.last {
		if last == h {
			e.last[i] = 0
			return true
		}
	}
	return false
}

package serialin

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/tidegate/tidegate/internal/serialport"
)

// backlog holds frames between the line and custody. One goroutine puts, another
// takes everything that is there. Two batches take turns, so that nothing is
// allocated while they are large enough.
type backlog struct {
	max  int
	size *atomic.Int64 // for Stats

	mu     sync.Mutex
	batch  batch
	count  uint64 // of frames so far
	closed bool

	filled chan struct{} // something is there, or it is closed
	room   chan struct{} // something was taken
}

// batch is frames, one after the other.
type batch struct {
	data   []byte
	frames []arrival
	before uint64 // how many frames came before them
}

// arrival is where a frame ends in the data, from which port and when it came, and
// which poll it answers, or -1.
type arrival struct {
	end  int
	poll int
	at   int64
	port *serialport.Port
}

// spareBatch is the largest batch whose memory is kept for the next one.
const spareBatch = 64 << 10

func newBacklog(max int, size *atomic.Int64) *backlog {
	return &backlog{max: max, size: size, filled: make(chan struct{}, 1), room: make(chan struct{}, 1)}
}

// put adds a copy of a frame. It waits while the backlog is full; one frame that
// is larger than all of it gets in alone.
func (b *backlog) put(ctx context.Context, f []byte, a arrival) error {
	for !b.add(f, a) {
		select {
		case <-b.room:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	tell(b.filled)
	return nil
}

func (b *backlog) add(f []byte, a arrival) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.batch.data) > 0 && b.batch.weight()+len(f)+frameWeight > b.max {
		return false
	}
	b.batch.data = append(b.batch.data, f...)
	a.end = len(b.batch.data)
	b.batch.frames = append(b.batch.frames, a)
	b.count++
	b.size.Store(int64(len(b.batch.data)))
	return true
}

// frameWeight is what a frame takes besides its bytes.
const frameWeight = 32

func (b *batch) weight() int { return len(b.data) + frameWeight*len(b.frames) }

// take waits for frames and returns all that there are. It gets the batch that
// it returned before back. It returns false when the backlog is closed and empty.
func (b *backlog) take(ctx context.Context, before batch) (batch, bool) {
	if cap(before.data) > spareBatch {
		before = batch{}
	}
	for {
		b.mu.Lock()
		taken, closed := b.batch, b.closed
		if len(taken.frames) > 0 {
			b.batch = batch{before.data[:0], before.frames[:0], b.count}
			b.size.Store(0)
			b.mu.Unlock()
			tell(b.room)
			return taken, true
		}
		b.mu.Unlock()
		if closed {
			return before, false
		}
		select {
		case <-b.filled:
		case <-ctx.Done():
			return before, false
		}
	}
}

// came returns how many frames were put so far.
func (b *backlog) came() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.count
}

// close says that nothing more is put.
func (b *backlog) close() {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	tell(b.filled)
}

func tell(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

package ingest

import (
	"context"
	"sync"
	"sync/atomic"
)

// watch remembers receipts until they have resolved, to learn whether one fails
// without waiting for any.
type watch struct {
	unresolved atomic.Int32
	mu         sync.Mutex
	open       []Receipt
}

// add watches a receipt. Those of one group are one.
func (w *watch) add(r Receipt) {
	if r == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if n := len(w.open); n > 0 && w.open[n-1] == r {
		return
	}
	w.open = append(w.open, r)
	w.unresolved.Store(int32(len(w.open)))
}

// failed reports whether a receipt has failed since it was asked last. It costs
// next to nothing while all have resolved.
func (w *watch) failed() bool {
	if w.unresolved.Load() == 0 {
		return false
	}
	over, cancel := context.WithCancel(context.Background())
	cancel()
	w.mu.Lock()
	defer w.mu.Unlock()
	kept, failed := w.open[:0], false
	for _, r := range w.open {
		switch err := r.Wait(over); err {
		case nil:
		case over.Err():
			kept = append(kept, r)
		default:
			failed = true
		}
	}
	clear(w.open[len(kept):])
	w.open = kept
	w.unresolved.Store(int32(len(kept)))
	return failed
}

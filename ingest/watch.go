package ingest

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
)

// watch remembers receipts until they have resolved, to learn whether one fails
// without waiting for any.
type watch struct {
	unresolved atomic.Int32
	mu         sync.Mutex
	open       []Receipt
	joint      *joint // of those that were open when it was asked for last
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

// join watches a receipt, which may be nil, and returns one that resolves with it
// and with all before it that have not resolved, and fails if one of them does.
func (w *watch) join(r Receipt) Receipt {
	w.add(r)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.settle()
	switch {
	case len(w.open) == 0:
		return &joint{}
	case len(w.open) == 1:
		return w.open[0]
	case w.joint == nil || !slices.Equal(w.joint.all, w.open):
		w.joint = &joint{slices.Clone(w.open)}
	}
	return w.joint
}

// joint is a receipt for several groups.
type joint struct{ all []Receipt }

// Wait implements Receipt.
func (j *joint) Wait(ctx context.Context) error {
	for _, r := range j.all {
		if err := r.Wait(ctx); err != nil {
			return err
		}
	}
	return nil
}

// pending reports whether there may be receipts that have not resolved.
func (w *watch) pending() bool { return w.unresolved.Load() > 0 }

// failed reports whether a receipt has failed since it was asked last. It costs
// next to nothing while all have resolved.
func (w *watch) failed() bool {
	if w.unresolved.Load() == 0 {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	failed := w.settle()
	w.open = slices.DeleteFunc(w.open, func(r Receipt) bool { return slices.Contains(failed, r) })
	w.unresolved.Store(int32(len(w.open)))
	return len(failed) > 0
}

// settle lets go of the receipts that have resolved well, and returns those that
// have failed.
func (w *watch) settle() (failed []Receipt) {
	over, cancel := context.WithCancel(context.Background())
	cancel()
	kept := w.open[:0]
	for _, r := range w.open {
		err := r.Wait(over)
		if err == nil {
			continue
		}
		if kept = append(kept, r); err != over.Err() {
			failed = append(failed, r)
		}
	}
	clear(w.open[len(kept):])
	w.open = kept
	w.unresolved.Store(int32(len(kept)))
	return failed
}

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
	w.mu.Lock()
	defer w.mu.Unlock()
	if r != nil && !slices.Contains(w.open, r) {
		w.open = append(w.open, r)
		w.unresolved.Store(int32(len(w.open)))
	}
}

// pending reports whether there may be receipts that have not resolved.
func (w *watch) pending() bool { return w.unresolved.Load() > 0 }

// begin watches what is about to be handed to custody, which may take its time.
func (w *watch) begin() *coming {
	c := &coming{taken: make(chan struct{})}
	w.add(c)
	return c
}

// end tells what came of it. The receipt that it returns stands for everything
// that was watched before, too; it is nil if custody has not taken it.
func (w *watch) end(c *coming, r Receipt, err error) Receipt {
	c.receipt, c.err = r, err
	close(c.taken)
	w.mu.Lock()
	defer w.mu.Unlock()
	at := slices.Index(w.open, Receipt(c))
	before := slices.Clone(w.open[:at])
	if err != nil || slices.Contains(w.open, r) {
		w.open = slices.Delete(w.open, at, at+1)
	} else {
		w.open[at] = r
	}
	w.unresolved.Store(int32(len(w.open)))
	if err != nil {
		return nil
	}
	if !slices.Contains(before, r) {
		before = append(before, r)
	}
	return w.all(before)
}

// join returns a receipt that stands for everything that is watched.
func (w *watch) join() Receipt {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.settle()
	return w.all(w.open)
}

// all returns one receipt for several: the same for the same ones.
func (w *watch) all(open []Receipt) Receipt {
	switch {
	case len(open) == 1:
		return open[0]
	case w.joint == nil || !slices.Equal(w.joint.all, open):
		w.joint = &joint{slices.Clone(open)}
	}
	return w.joint
}

// failed reports whether a receipt has failed since it was asked last. It costs
// next to nothing while all have resolved.
func (w *watch) failed() bool {
	if !w.pending() {
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

// joint is a receipt for several groups; of none, it has resolved.
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

// coming is the receipt of something that custody has not taken yet.
type coming struct {
	taken   chan struct{}
	receipt Receipt // read only after taken
	err     error
}

// Wait implements Receipt.
func (c *coming) Wait(ctx context.Context) error {
	select {
	case <-c.taken:
	default:
		select {
		case <-c.taken:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if c.err != nil {
		return c.err
	}
	return c.receipt.Wait(ctx)
}

package ingest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
)

// watch remembers receipts until they have resolved, to learn whether one fails
// without waiting for any.
type watch struct {
	unresolved atomic.Int32
	joints     joints
	mu         sync.Mutex
	open       []Receipt
	loss       *coming // tells one loss from another; it has failed
}

// way is the way of readings from a filter to custody.
type way struct {
	coming *coming
	loss   *coming // the last one when it began
}

// pending reports whether there may be receipts that have not resolved.
func (w *watch) pending() bool { return w.unresolved.Load() > 0 }

// begin watches what will be handed to custody, and settles.
func (w *watch) begin(lost func()) *way {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tell(lost)
	c := &coming{taken: make(chan struct{})}
	w.put(append(w.open, c))
	return &way{c, w.loss}
}

// end tells what came of it. The receipt that it returns stands for everything
// else that is watched, too, and fails if there was a loss since the beginning; it
// is nil if custody has not taken it. What was not taken is watched on as a
// failure, until somebody settles.
func (w *watch) end(y *way, r Receipt, err error) Receipt {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := y.coming
	if err != nil {
		c.err = fmt.Errorf("not taken: %w", err)
	}
	c.receipt = r
	close(c.taken) // not sooner: whoever looks lets go of what has resolved
	if err != nil {
		return nil
	}
	others := slices.DeleteFunc(w.open, func(r Receipt) bool { return r == Receipt(c) })
	w.put(union(others, partsOf(r)))
	if y.loss != w.loss {
		return w.joints.of(append(slices.Clip(w.open), w.loss))
	}
	return w.joints.of(w.open)
}

// join returns a receipt that stands for everything that is watched.
func (w *watch) join() Receipt {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.look()
	return w.joints.of(w.open)
}

// settle calls lost if a receipt has failed since it was called last. It costs
// next to nothing while all have resolved.
func (w *watch) settle(lost func()) {
	if !w.pending() {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tell(lost)
}

// tell calls lost if a receipt has failed, and only then lets go of it: in
// between, nobody sees neither.
func (w *watch) tell(lost func()) {
	failed := w.look()
	if len(failed) == 0 {
		return
	}
	lost()
	w.loss = &coming{taken: make(chan struct{}), err: errLost}
	close(w.loss.taken)
	w.put(slices.DeleteFunc(w.open, func(r Receipt) bool { return slices.Contains(failed, r) }))
}

var errLost = errors.New("not stored: it may lean on what was lost meanwhile")

// look lets go of the receipts that have resolved well, and returns those that
// have failed.
func (w *watch) look() (failed []Receipt) {
	if len(w.open) == 0 {
		return nil
	}
	open, failed := sift(w.open)
	clear(w.open[len(open):])
	w.put(open)
	return failed
}

func (w *watch) put(open []Receipt) {
	w.open = open
	w.unresolved.Store(int32(len(open)))
}

// sift takes out of a list, in place, the receipts that have resolved well. Those
// that have failed are still there, and returned besides.
func sift(all []Receipt) (open, failed []Receipt) {
	over, cancel := context.WithCancel(context.Background())
	cancel()
	open = all[:0]
	for _, r := range all {
		err := r.Wait(over)
		if err == nil {
			continue
		}
		if open = append(open, r); err != over.Err() {
			failed = append(failed, r)
		}
	}
	return open, failed
}

// joints make one receipt of several.
type joints struct {
	mu   sync.Mutex
	last *joint
}

// of returns one receipt for several: the same for the same ones as last time.
// Of none, it has resolved.
func (j *joints) of(parts []Receipt) Receipt {
	if len(parts) == 1 {
		return parts[0]
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.last == nil || !slices.Equal(j.last.parts, parts) {
		j.last = &joint{slices.Clone(parts)}
	}
	return j.last
}

// joint is a receipt for several groups; of none, it has resolved.
type joint struct{ parts []Receipt }

// Wait implements Receipt.
func (j *joint) Wait(ctx context.Context) error {
	for _, r := range j.parts {
		if err := r.Wait(ctx); err != nil {
			return err
		}
	}
	return nil
}

// partsOf returns the receipts that one stands for.
func partsOf(r Receipt) []Receipt {
	if j, several := r.(*joint); several {
		return j.parts
	}
	return []Receipt{r}
}

// union appends what is not in a list yet.
func union(list, more []Receipt) []Receipt {
	for _, r := range more {
		if !slices.Contains(list, r) {
			list = append(list, r)
		}
	}
	return list
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

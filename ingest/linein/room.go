package linein

import (
	"context"
	"slices"
	"sync"
)

// room is an amount of bytes that are being decoded or wait for custody, of all
// connections together: a few bytes may be many readings. Who finds none waits in
// line, and meanwhile nothing is read from that connection.
type room struct {
	mu      sync.Mutex
	left    int
	waiting []*waiter
}

type waiter struct {
	want  int
	ready chan struct{}
}

// take takes n bytes, which must not be more than there are in all.
func (r *room) take(ctx context.Context, n int) error {
	r.mu.Lock()
	if len(r.waiting) == 0 && r.left >= n {
		r.left -= n
		r.mu.Unlock()
		return nil
	}
	w := &waiter{want: n, ready: make(chan struct{})}
	r.waiting = append(r.waiting, w)
	r.mu.Unlock()
	select {
	case <-w.ready:
		return nil
	case <-ctx.Done():
		r.leave(w)
		return ctx.Err()
	}
}

// leave ends waiting, and gives back what came too late.
func (r *room) leave(w *waiter) {
	r.mu.Lock()
	i := slices.Index(r.waiting, w)
	if i >= 0 {
		r.waiting = slices.Delete(r.waiting, i, i+1)
	}
	r.mu.Unlock()
	if i < 0 {
		r.give(w.want)
		return
	}
	r.give(0) // others may find room now
}

func (r *room) give(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.left += n
	for len(r.waiting) > 0 && r.waiting[0].want <= r.left {
		first := r.waiting[0]
		r.waiting = r.waiting[1:]
		r.left -= first.want
		close(first.ready)
	}
}

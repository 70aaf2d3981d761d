package api

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"
)

// turns lets so many at a time do what takes the processor for long, and each
// viewer one.
type turns struct {
	most int

	mu    sync.Mutex
	busy  map[string]bool
	freed chan struct{} // closed when somebody is through
}

// patience is how long a request waits for its turn: a page that has changed its
// mind asks anew before the gateway knows that the old question has no listener.
const patience = 3 * time.Second

var errBusy = errors.New("others are looking through what is on flash — hint: try again in a few seconds")

func newTurns(most int) *turns {
	return &turns{most: most, busy: make(map[string]bool), freed: make(chan struct{})}
}

// take waits for a turn of the request's viewer, which ends when done is called.
func (t *turns) take(r *http.Request) (done func(), err error) {
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	viewer := viewerOf(r)
	for {
		t.mu.Lock()
		if len(t.busy) < t.most && !t.busy[viewer] {
			t.busy[viewer] = true
			t.mu.Unlock()
			return func() { t.end(viewer) }, nil
		}
		freed := t.freed
		t.mu.Unlock()
		select {
		case <-freed:
		case <-ctx.Done():
			return nil, Unavailable(errBusy)
		}
	}
}

func (t *turns) end(viewer string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.busy, viewer)
	close(t.freed)
	t.freed = make(chan struct{})
}

// viewerOf names who asks: the address, whatever the port.
func viewerOf(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

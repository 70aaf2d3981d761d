package daemon

import (
	"context"
	"errors"
	"testing"
)

// Who waits for a door to let go of its port is told when somebody else takes that over.
// The door, which was only to pause, begins anew once it has let go: it did not break.
func TestWhoWaitsForADoorIsToldWhoseThePortIs(t *testing.T) {
	r, begun, letGo, ended := new(rest), make(chan struct{}), make(chan struct{}), make(chan error, 1)
	ctx, stop := context.WithCancel(t.Context())
	go func() {
		ended <- r.run(ctx, func(run context.Context) error { begun <- struct{}{}; <-run.Done(); <-letGo; return run.Err() })
	}()
	<-begun
	asks, taken := context.WithCancelCause(t.Context())
	taken(errTaken)
	if _, err := r.hold(asks); !errors.Is(err, errTaken) {
		t.Error(err)
	}
	close(letGo)
	select {
	case <-begun:
	case err := <-ended:
		t.Fatalf("nobody holds the door any more, and it ends with %v", err)
	}
	stop()
	<-ended
}

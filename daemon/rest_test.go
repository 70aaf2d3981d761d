package daemon

import (
	"context"
	"errors"
	"testing"
)

// Who waits for a door to let go of its port is told when somebody else takes that over.
func TestWhoWaitsForADoorIsToldWhoseThePortIs(t *testing.T) {
	r, begun, goOn, ended := new(rest), make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- r.run(t.Context(), func(context.Context) error { close(begun); <-goOn; return nil })
	}()
	<-begun
	ctx, stop := context.WithCancelCause(t.Context())
	stop(errTaken)
	if _, err := r.hold(ctx); !errors.Is(err, errTaken) {
		t.Error(err)
	}
	close(goOn)
	<-ended
}

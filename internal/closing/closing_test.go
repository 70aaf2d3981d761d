package closing

import (
	"context"
	"testing"
	"testing/synctest"
)

func TestReleaseWaitsForWhatIsBeingClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		begun, free, released := false, make(chan struct{}), false
		release := Until(ctx, func() { begun = true; <-free })
		cancel()
		synctest.Wait()
		go func() { release(); released = true }()
		synctest.Wait()
		if !begun || released {
			t.Errorf("closing has begun: %v; released while it closes: %v", begun, released)
		}
		close(free)
		synctest.Wait()
		if !released {
			t.Error("not released when it is closed")
		}
	})
}

func TestReleaseBeforeTheEndClosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		Until(ctx, func() { t.Error("closed") })()
		cancel()
		synctest.Wait()
	})
}

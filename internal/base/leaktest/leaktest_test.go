package leaktest

import (
	"testing"
	"time"

	"go.uber.org/goleak"
)

// TestWhoTakesTheirTimeAreWaitedFor: three seconds are more than goleak has.
func TestWhoTakesTheirTimeAreWaitedFor(t *testing.T) {
	before := goleak.IgnoreCurrent()
	go func() { <-time.After(3 * time.Second) }()
	if goleak.Find(before) == nil {
		t.Fatal("goleak alone waited for three seconds")
	}
	None(t, before)
}

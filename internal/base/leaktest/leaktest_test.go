package leaktest

import (
	"strings"
	"testing"
	"testing/synctest"
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

// TestWhoIsLeftIsTold, in virtual time: the patience is over at once.
func TestWhoIsLeftIsTold(t *testing.T) {
	before := goleak.IgnoreCurrent()
	goOn := make(chan struct{})
	defer close(goOn)
	go left(goOn)
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		if err := find(before); err == nil || !strings.Contains(err.Error(), "leaktest.left") {
			t.Errorf("found %v", err)
		}
		if waited := time.Since(began); waited < patience {
			t.Errorf("told after %v", waited)
		}
	})
}

func left(goOn <-chan struct{}) { <-goOn }

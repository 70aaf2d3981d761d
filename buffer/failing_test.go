package buffer

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tidegate/tidegate/reading"
)

// the buffer is full and the link is down.
func TestOneBadSpotDoesNotStopAFullBuffer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, t.TempDir(), nil)
		r.Cursor("cloud")
		n := 0
		for ; r.Stats().Lost == 0; n++ {
			r.acceptAll(noise("a", n, 1<<20))
		}
		synctest.Wait() // Run waits: nobody else looks
		lost := r.Stats().Lost
		r.active.sync = func(file) error { return unix.EIO }
		began := time.Now()
		for err := errors.New("not yet"); err != nil; {
			if time.Since(began) > 2*evictPatience {
				t.Fatalf("one failed sync, and nothing is stored ever since: %v", err)
			}
			var receipt *Receipt
			if receipt, err = r.Accept(t.Context(), []reading.Reading{value(1, reading.Normal)}); err == nil {
				err = receipt.Wait(t.Context())
			}
		}
		if waited := time.Since(began); waited < evictPatience {
			t.Errorf("undelivered readings made room after %v", waited)
		}
		if more := r.Stats().Lost - lost; more > 2*8 {
			t.Errorf("%d readings made room", more)
		}
	})
}

// one gap, when writing works again.
func TestFailingMediumDoesNotFillTheGroupWithGaps(t *testing.T) {
	b := open(t, t.TempDir(), nil)
	for range 50 { // failed commits, without the pauses between them
		if _, err := b.Accept(t.Context(), []reading.Reading{value(1, reading.Normal)}); err != nil {
			t.Fatal(err)
		}
		g, _ := b.takeDue(false)
		next := b.next
		if _, _, err := b.encode(nil, g); err != nil {
			t.Fatal(err)
		}
		b.burn(next)
		b.fail(g, unix.EIO)
	}
	if n := b.open.count; n != 0 {
		t.Errorf("%d readings of gaps wait after 50 failures", n)
	}
	r := runBuffer(t, b)
	r.accept("a", 1)
	r.eventually(func() bool { gaps, _ := r.Gaps(); return len(gaps) > 0 })
	r.wantGap(reading.Normal, 1, 50)
	if n := r.Stats().Lost; n != 50 {
		t.Errorf("%d readings lost, want 50", n)
	}
}

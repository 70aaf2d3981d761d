package modbusin

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidegate/tidegate/ingest/ingesttest"
)

// TestPollsWhoseCommitFailedAreCounted: nobody sends them again.
func TestPollsWhoseCommitFailedAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		custody := ingesttest.NewCustody()
		p := &puppet{took: time.Millisecond}
		s := runInto(t, p.config(words(1, 0, 1), words(2, 0)), custody, quietLog())
		time.Sleep(2500 * time.Millisecond) // six polls
		custody.Fail(errors.New("write error"))
		time.Sleep(2 * time.Second) // four
		custody.Commit()
		time.Sleep(2 * time.Second) // four that nobody has decided about
		if err := s.stop(); err != nil {
			t.Error(err)
		}
		if n := s.Stats().NotStored; n != 6 {
			t.Errorf("%d polls not stored, want 6", n)
		}
	})
}

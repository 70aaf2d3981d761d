package uplink_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/uplink"
)

// A block that cannot be set aside keeps readings back, and not alarms.
func TestAlarmsPassABlockThatCannotBeSetAside(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, s *sea) {
		s.shelf.full = errors.New("quarantine is full")
		s.shore.answer = func(_ context.Context, m uplink.Message) error {
			if m.Lane == reading.Normal && m.First == 1 {
				return uplink.Permanent(errors.New("bad reading"))
			}
			return nil
		}
		s.tank.pour(reading.Normal, 4)
		s.run(t)
		pass(time.Minute)
		for i := range 5 {
			s.tank.pour(reading.Alarm, 1)
			pass(2 * time.Minute)
			if n := s.tank.ackedUpTo(reading.Alarm); n != uint64(i)+1 {
				t.Fatalf("acked up to alarm %d, want %d", n, i+1)
			}
		}
	})
}

// The delay that the other side asks for counts, although something arrives that
// was on its way already.
func TestAProbeThatArrivesDoesNotUndoADelay(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, s *sea) {
		var h hold
		s.shore.answer = h.answer
		s.tank.pourBytes(reading.Normal, 15_000)
		s.tank.pourBytes(reading.Normal, 15_000)
		s.tank.pourBytes(reading.Normal, 15_000)
		s.run(t)
		synctest.Wait()
		h.word(1) <- errCut
		pass(2 * time.Second) // the first is a probe now
		h.word(2) <- uplink.RetryAfter(errors.New("slow down"), 10*time.Minute)
		synctest.Wait()
		h.word(1) <- nil
		pass(time.Second)
		tried := len(s.shore.tried())
		h.word(3) <- nil
		pass(9 * time.Minute)
		if n := len(s.shore.tried()); n != tried {
			t.Errorf("%d tries within the delay", n-tried)
		}
		h.word(2) <- nil
		pass(2 * time.Minute)
		if n := s.tank.ackedUpTo(reading.Normal); n != 3 {
			t.Errorf("acked up to %d after the delay, want 3", n)
		}
	})
}

// One message that fails among others that arrive is no outage: the others show
// that the link works.
func TestOneFailureAmongManyIsNoOutage(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, s *sea) {
		var h hold
		s.shore.answer = h.answer
		for range 3 {
			s.tank.pourBytes(reading.Normal, 15_000)
		}
		s.run(t)
		synctest.Wait()
		h.word(1) <- errCut
		pass(10 * time.Millisecond)
		h.word(2) <- nil
		synctest.Wait()
		if n := len(s.shore.tried()); n != 4 || s.forwarder.Stats().State != uplink.Up {
			t.Errorf("%d tries, %+v; want the first again at once", n, s.forwarder.Stats())
		}
	})
}

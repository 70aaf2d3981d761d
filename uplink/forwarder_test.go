package uplink_test

import (
	"bytes"
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/uplink"
	"github.com/tidegate/tidegate/wire"
)

func TestNothingIsAckedBeforeTheSinkSaysSo(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, s *sea) {
		var h hold
		s.shore.answer = h.answer
		s.tank.pour(reading.Normal, 10)
		s.run(t)
		pass(20 * time.Second)
		if got := s.tank.ackedUpTo(reading.Normal); got != 0 {
			t.Fatalf("acked up to %d while the sink was silent", got)
		}
		h.word(1) <- nil
		synctest.Wait()
		if got := s.tank.ackedUpTo(reading.Normal); got != 10 {
			t.Errorf("acked up to %d after the sink said so, want 10", got)
		}
	})
}

func TestAcksNameExactlyWhatHasArrived(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, s *sea) {
		var h hold
		s.shore.answer = h.answer
		s.run(t)
		for range 3 { // large enough to go although others are in flight
			s.tank.pour(reading.Normal, 9000)
			synctest.Wait()
		}
		h.word(18001) <- nil
		h.word(9001) <- nil
		synctest.Wait()
		if got := s.tank.ackedUpTo(reading.Normal); got != 0 || s.tank.acks != 2 {
			t.Fatalf("%d acks, up to %d; want those of the two messages that have arrived", s.tank.acks, got)
		}
		h.word(1) <- nil
		synctest.Wait()
		if got := s.tank.ackedUpTo(reading.Normal); got != 27000 {
			t.Errorf("acked up to %d, want 27000", got)
		}
		if s.tank.acks != 3 {
			t.Errorf("%d acks, want one a message", s.tank.acks)
		}
	})
}

func TestLanesAreAckedIndependently(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, s *sea) {
		var h hold
		s.shore.answer = func(ctx context.Context, m uplink.Message) error {
			if m.Lane == reading.Alarm {
				return nil
			}
			return h.answer(ctx, m)
		}
		s.tank.pour(reading.Normal, 10)
		s.run(t)
		synctest.Wait()
		s.tank.pour(reading.Alarm, 1)
		synctest.Wait()
		if normal, alarm := s.tank.ackedUpTo(reading.Normal), s.tank.ackedUpTo(reading.Alarm); normal != 0 || alarm != 1 {
			t.Errorf("acked normal up to %d and alarm up to %d, want 0 and 1", normal, alarm)
		}
	})
}

func TestSendsAtOnceWhenNothingIsInFlight(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, s *sea) {
		s.run(t)
		begun := time.Now()
		for range 5 {
			s.tank.pour(reading.Normal, 4)
			synctest.Wait()
		}
		if n := len(s.shore.took()); n != 5 {
			t.Errorf("5 blocks that came one by one made %d messages", n)
		}
		if passed := time.Since(begun); passed != 0 {
			t.Errorf("%v passed, want none", passed)
		}
	})
}

func TestBatchesByItselfWhileSomethingIsInFlight(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, s *sea) {
		var h hold
		s.shore.answer = h.answer
		s.run(t)
		for range 20 {
			s.tank.pour(reading.Normal, 4)
			synctest.Wait()
		}
		if n := len(s.shore.tried()); n != 1 {
			t.Fatalf("%d messages in flight, want 1: the others are not worth their headers yet", n)
		}
		h.word(1) <- nil
		synctest.Wait()
		tried := s.shore.tried()
		if len(tried) != 2 || tried[1].First != 5 || tried[1].Last != 80 {
			t.Errorf("after the first, %d more messages; want one of 5 to 80", len(tried)-1)
		}
	})
}

func TestAlarmsDoNotWaitForABatch(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, s *sea) {
		var h hold
		s.shore.answer = h.answer
		s.run(t)
		for _, lane := range []reading.Lane{reading.Normal, reading.Normal, reading.Alarm, reading.Alarm} {
			s.tank.pour(lane, 4)
			synctest.Wait()
		}
		tried := s.shore.tried()
		if len(tried) != 3 || tried[1].Lane != reading.Alarm || tried[2].Lane != reading.Alarm {
			t.Errorf("%d messages are in flight, want the first and both alarms", len(tried))
		}
	})
}

// A backlog of one lane that keeps the link busy does not make the readings of
// another wait for company.
func TestLanesDoNotWaitForEachOther(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, s *sea) {
		s.shore.answer = func(context.Context, uplink.Message) error {
			time.Sleep(time.Second)
			return nil
		}
		for range 100 {
			s.tank.pourBytes(reading.Bulk, 20_000)
		}
		s.run(t)
		for i := range 10 {
			pass(1500 * time.Millisecond)
			s.tank.pour(reading.Normal, 4)
			pass(2100 * time.Millisecond)
			if got, want := s.tank.ackedUpTo(reading.Normal), uint64(i+1)*4; got != want {
				t.Fatalf("acked up to %d two seconds after reading %d came", got, want)
			}
		}
		if s.tank.ackedUpTo(reading.Bulk) == 0 {
			t.Error("nothing of the backlog has arrived")
		}
	})
}

func TestWindowIsBounded(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, s *sea) {
		s.cfg.Window = 3
		s.shore.answer = func(context.Context, uplink.Message) error {
			time.Sleep(time.Second)
			return nil
		}
		for range 40 {
			s.tank.pourBytes(reading.Normal, 9000)
		}
		s.run(t)
		pass(time.Minute)
		if got, want := s.tank.ackedUpTo(reading.Normal), s.tank.lastOf(reading.Normal); got != want {
			t.Errorf("acked up to %d of %d", got, want)
		}
		if crowd := s.shore.mostAtOnce(); crowd != 3 {
			t.Errorf("at most %d messages in flight at once, want the window of 3 used and kept", crowd)
		}
	})
}

// While the window is full nothing is read ahead, so that an alarm is not
// behind a batch that was fetched before it.
func TestAlarmIsNextWhenTheWindowWasFull(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, s *sea) {
		var h hold
		s.shore.answer = h.answer
		s.cfg.Window = 2
		for range 10 {
			s.tank.pour(reading.Normal, 9000)
		}
		s.run(t)
		synctest.Wait()
		s.tank.pour(reading.Alarm, 1)
		synctest.Wait()
		h.word(s.shore.tried()[0].First) <- nil
		synctest.Wait()
		if tried := s.shore.tried(); len(tried) != 3 || tried[2].Lane != reading.Alarm {
			t.Errorf("the next message is %v, want the alarm", tried[len(tried)-1].Key)
		}
	})
}

// One connection that hangs must not keep the others from working, nor what
// they delivered from being acked.
func TestHangingMessageDoesNotStopTheOthers(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, s *sea) {
		var h hold
		s.shore.answer = func(ctx context.Context, m uplink.Message) error {
			if m.First == 1 {
				return h.answer(ctx, m)
			}
			return nil
		}
		s.tank.pourBytes(reading.Normal, 30_000)
		s.run(t)
		synctest.Wait()
		for range 200 {
			s.tank.pourBytes(reading.Normal, 250_000)
		}
		pass(time.Second)
		if s.tank.acks < 50 || s.tank.acked[reading.Normal][1] || !s.tank.acked[reading.Normal][201] {
			t.Errorf("%d messages were acked; want all but the one that hangs", s.tank.acks)
		}
		h.word(1) <- nil
		pass(time.Second)
		if got := s.tank.ackedUpTo(reading.Normal); got != 201 {
			t.Errorf("acked up to %d, want 201", got)
		}
	})
}

func TestEpochsNeverMix(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, s *sea) {
		s.tank.pour(reading.Normal, 4)
		s.tank.pour(reading.Normal, 4)
		s.tank.epoch = 8
		s.tank.pour(reading.Normal, 4)
		s.run(t)
		synctest.Wait()
		took := s.shore.took()
		if len(took) != 2 || took[0].Epoch != 7 || took[0].Last != 8 || took[1].Epoch != 8 || took[1].First != 9 {
			t.Errorf("messages %v, want 1-8 of epoch 7 and 9-12 of epoch 8", took)
		}
	})
}

func TestMessageCarriesItsBlocks(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, s *sea) {
		s.tank.pour(reading.Bulk, 30)
		s.tank.pour(reading.Bulk, 12)
		s.run(t)
		synctest.Wait()
		m := s.shore.took()[0].Message
		if key := m.Key.String(); key != "gw/0000000000000007/bulk/1-42" {
			t.Errorf("key %s", key)
		}
		c, err := wire.ParseChunk(m.Body)
		if err != nil {
			t.Fatal(err)
		}
		if m.Count != 42 || c.Count() != 42 || c.First() != m.First || c.Last() != m.Last {
			t.Errorf("%d readings announced, %d..%d in the body", m.Count, c.First(), c.Last())
		}
		if m.ContentType != "application/vnd.tidegate.chunk" {
			t.Errorf("content type %s", m.ContentType)
		}
	})
}

func TestRetryRepeatsTheSameKey(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, s *sea) {
		failures := 3
		s.shore.answer = func(context.Context, uplink.Message) error {
			if failures--; failures >= 0 {
				return errCut
			}
			return nil
		}
		s.tank.pour(reading.Normal, 4)
		s.run(t)
		synctest.Wait()
		s.tank.pour(reading.Normal, 4) // must not join the message that is to be repeated
		pass(time.Minute)
		tried := s.shore.tried()
		if len(tried) != 5 {
			t.Fatalf("%d tries, want 4 of the first message and 1 of the second", len(tried))
		}
		for i, a := range tried[1:4] {
			if a.Key != tried[0].Key || !bytes.Equal(a.Body, tried[0].Body) {
				t.Errorf("retry %d is not the same message", i+1)
			}
			want := time.Second<<i - 1
			if delay := a.at.Sub(tried[i].at); delay != want {
				t.Errorf("retry %d came after %v, want %v", i+1, delay, want)
			}
		}
	})
}

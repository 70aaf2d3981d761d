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

// sending asks for the message that had the reading, of the tank's epoch.
func (s *sea) sending(t *testing.T, lane reading.Lane, seq uint64) uplink.Sending {
	t.Helper()
	got, ok, _ := s.forwarder.Sending(7, lane, seq)
	if !ok {
		t.Fatalf("nothing is known of %s %d", lane, seq)
	}
	return got
}

func TestASendingIsRememberedFromItsStartToItsAck(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, s *sea) {
		var h hold
		s.shore.answer = h.answer
		s.tank.pour(reading.Normal, 10)
		s.run(t)
		if _, ok, since := s.forwarder.Sending(7, reading.Normal, 11); ok || !since.Equal(time.Now()) {
			t.Errorf("of a reading that nobody has seen: %v, since %v", ok, since)
		}
		synctest.Wait()
		begun := time.Now()
		for _, seq := range []uint64{1, 5, 10} {
			got := s.sending(t, reading.Normal, seq)
			if got.Outcome != uplink.UnderWay || got.First != 1 || got.Last != 10 || got.Readings != 10 || got.Bytes == 0 || !got.Sent.Equal(begun) || !got.Ended.IsZero() || got.Tries != 1 {
				t.Errorf("under way: %+v", got)
			}
		}
		for _, other := range []struct {
			epoch uint64
			lane  reading.Lane
			seq   uint64
		}{{8, reading.Normal, 5}, {7, reading.Alarm, 5}, {7, reading.Normal, 11}, {7, reading.Normal, 0}} {
			if got, ok, _ := s.forwarder.Sending(other.epoch, other.lane, other.seq); ok {
				t.Errorf("%+v is taken for %+v", got, other)
			}
		}
		pass(1500 * time.Millisecond)
		h.word(1) <- nil
		synctest.Wait()
		if got := s.sending(t, reading.Normal, 5); got.Outcome != uplink.Acked || got.Ended.Sub(got.Sent) != 1500*time.Millisecond {
			t.Errorf("acked: %+v", got)
		}
	})
}

// A message that is tried again and again is one entry, that of its first try: an
// outage does not make the book forget what was before it.
func TestAnOutageTakesOnePage(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, s *sea) {
		s.tank.pour(reading.Normal, 4)
		made := time.Now()
		s.run(t)
		synctest.Wait()
		s.shore.mu.Lock()
		s.shore.answer = func(context.Context, uplink.Message) error { return errCut }
		s.shore.mu.Unlock()
		s.tank.pour(reading.Normal, 4)
		synctest.Wait()
		begun := time.Now()
		pass(24 * time.Hour)
		got := s.sending(t, reading.Normal, 6)
		if got.Outcome != uplink.Failed || got.Tries < 1000 || !got.Sent.Equal(begun) || time.Since(got.Tried) > time.Minute || !got.Ended.Equal(got.Tried) {
			t.Errorf("after a day: %+v", got)
		}
		if got := s.sending(t, reading.Normal, 1); got.Outcome != uplink.Acked {
			t.Errorf("from before the outage: %+v", got)
		}
		if _, _, since := s.forwarder.Sending(7, reading.Normal, 1); !since.Equal(made) {
			t.Errorf("since %v, want %v: nothing was forgotten", since, made)
		}
	})
}

func TestWhatIsRefusedIsRememberedByItsHalves(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, s *sea) {
		poison := uint64(7)
		s.shore.answer = func(_ context.Context, m uplink.Message) error {
			if m.First <= poison && poison <= m.Last {
				return uplink.Permanent(errors.New("no such field"))
			}
			return nil
		}
		for range 4 {
			s.tank.pour(reading.Normal, 3) // 7 to 9 are the third
		}
		s.run(t)
		pass(time.Minute)
		for _, tt := range []struct {
			seq  uint64
			want uplink.Outcome
		}{{1, uplink.Acked}, {6, uplink.Acked}, {7, uplink.SetAside}, {9, uplink.SetAside}, {12, uplink.Acked}} {
			got := s.sending(t, reading.Normal, tt.seq)
			if got.Outcome != tt.want || tt.want == uplink.SetAside && (got.First != 7 || got.Last != 9) {
				t.Errorf("reading %d: %+v", tt.seq, got)
			}
		}
	})
}

// The book goes round: it knows the latest messages, and when the last one ended
// that it does not know any more.
func TestTheBookGoesRound(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, s *sea) {
		const messages, remembered = 2500, 1024
		s.run(t)
		begun := time.Now()
		for range messages {
			s.tank.pour(reading.Normal, 2)
			pass(time.Second)
		}
		for i := range messages {
			_, ok, since := s.forwarder.Sending(7, reading.Normal, uint64(2*i+2))
			if ok != (i >= messages-remembered) {
				t.Fatalf("message %d of %d: %v", i, messages, ok)
			}
			if want := begun.Add((messages - remembered - 1) * time.Second); !since.Equal(want) {
				t.Fatalf("since %v, want %v", since, want)
			}
		}
	})
}

// An answer that comes when its message is forgotten already moves the time up to
// which nothing can be said.
func TestALateAnswerIsNotBeforeWhatIsRemembered(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, s *sea) {
		var h hold
		s.cfg.Timeout = 10 * time.Hour
		s.shore.answer = func(ctx context.Context, m uplink.Message) error {
			if m.Lane == reading.Bulk {
				return h.answer(ctx, m)
			}
			return nil
		}
		s.tank.pour(reading.Bulk, 2)
		s.run(t)
		synctest.Wait()
		for range 1200 {
			s.tank.pour(reading.Alarm, 1)
			pass(time.Second)
		}
		if _, ok, _ := s.forwarder.Sending(7, reading.Bulk, 1); ok {
			t.Fatal("the message is not forgotten: nothing is tested")
		}
		h.word(1) <- nil
		synctest.Wait()
		if _, _, since := s.forwarder.Sending(7, reading.Bulk, 1); !since.Equal(time.Now()) {
			t.Errorf("since %v, want now: the answer came now", since)
		}
	})
}

// When Run ends, nothing is under way any more; with a new sink, the same readings
// are a new message, and the book goes on.
func TestTheBookOutlivesRunAndSink(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, s *sea) {
		var h hold
		s.shore.answer = h.answer
		s.tank.pour(reading.Normal, 3)
		blocks := s.tank.blocks[reading.Normal]
		s.run(t)
		synctest.Wait()
		s.stop()
		if err := <-s.ended; err != nil {
			t.Fatal(err)
		}
		if got := s.sending(t, reading.Normal, 2); got.Outcome != uplink.Failed || got.Ended.IsZero() {
			t.Errorf("after Run: %+v", got)
		}
		s.tank.blocks[reading.Normal] = blocks // as a cursor that begins anew
		fresh := &shore{}
		s.forwarder.Renew(fresh)
		ctx, stop := context.WithCancel(t.Context())
		s.stop = stop
		go func() { s.ended <- s.forwarder.Run(ctx) }()
		synctest.Wait()
		if got := s.sending(t, reading.Normal, 2); got.Outcome != uplink.Acked || len(fresh.took()) != 1 {
			t.Errorf("with another sink: %+v", got)
		}
	})
}

// Whoever looks does not hold up the Forwarder, and reads whole entries.
func TestTheBookIsReadWhileItIsWritten(t *testing.T) {
	s := newSea()
	s.run(t)
	for i := range 300 {
		s.tank.pour(reading.Normal, 2)
		if got, ok, _ := s.forwarder.Sending(7, reading.Normal, uint64(i)); ok && (got.First > uint64(i) || got.Last < uint64(i) || got.Readings == 0) {
			t.Fatalf("reading %d: %+v", i, got)
		}
	}
	s.stop()
	if err := <-s.ended; err != nil {
		t.Error(err)
	}
}

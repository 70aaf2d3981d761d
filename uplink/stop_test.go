package uplink_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidegate/tidegate/internal/base/leaktest"
	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/uplink"
)

func TestStatsTellTheProgress(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, s *sea) {
		var h hold
		s.shore.answer = h.answer
		s.run(t)
		synctest.Wait()
		if got := s.forwarder.Stats(); got.State != uplink.Idle {
			t.Errorf("%s before the first reading, want idle", got.State)
		}
		s.tank.pour(reading.Normal, 4)
		synctest.Wait()
		if got := s.forwarder.Stats(); got.State != uplink.Up || got.InFlight != 1 {
			t.Errorf("%s with %d in flight, want up with 1", got.State, got.InFlight)
		}
		h.word(1) <- errCut
		synctest.Wait()
		if got := s.forwarder.Stats(); got.State != uplink.Down || got.LastError != "cut" || got.InFlight != 0 {
			t.Errorf("%+v, want down because of the cut", got)
		}
		h.word(1) <- nil
		pass(time.Second)
		got := s.forwarder.Stats()
		want := uplink.Stats{
			State: uplink.Idle, LastAck: time.Now(), AckedReadings: 4, Retries: 1,
			SentMessages: 2, SentBytes: 2 * uint64(len(s.shore.took()[0].Body)), MaxBody: uplink.DefaultMaxBatch,
		}
		want.LastAck, want.Since = got.LastAck, got.LastAck // it came up again with that ack
		if got != want || time.Since(got.LastAck) > time.Second {
			t.Errorf("%+v, want %+v", got, want)
		}
	})
}

func TestWaitIdleWaitsForTheLastAck(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, s *sea) {
		s.shore.answer = func(context.Context, uplink.Message) error {
			time.Sleep(3 * time.Second)
			return nil
		}
		s.tank.pour(reading.Normal, 4)
		s.run(t)
		synctest.Wait()
		begun := time.Now()
		if err := s.forwarder.WaitIdle(t.Context()); err != nil {
			t.Fatal(err)
		}
		if waited := time.Since(begun); waited != 3*time.Second || s.tank.ackedUpTo(reading.Normal) != 4 {
			t.Errorf("waited %v, acked up to %d", waited, s.tank.ackedUpTo(reading.Normal))
		}
	})
}

func TestWaitIdleEndsWithItsContextOrWithTheLink(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, s *sea) {
		var h hold
		s.shore.answer = h.answer
		s.tank.pour(reading.Normal, 4)
		s.run(t)
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := s.forwarder.WaitIdle(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("WaitIdle returned %v while a message was in flight", err)
		}
		h.word(1) <- errCut
		if err := s.forwarder.WaitIdle(t.Context()); err != nil {
			t.Errorf("WaitIdle returned %v, want nil: the link is down", err)
		}
	})
}

func TestStopsPromptly(t *testing.T) {
	defer leaktest.None(t)
	s := newSea()
	var h hold
	s.shore.answer = h.answer
	arrived := make(chan struct{}, 1)
	s.shore.answer = func(ctx context.Context, m uplink.Message) error {
		arrived <- struct{}{}
		return h.answer(ctx, m)
	}
	s.tank.pour(reading.Normal, 4)
	s.run(t)
	<-arrived
	s.stop()
	select {
	case err := <-s.ended:
		if err != nil {
			t.Errorf("Run: %v", err)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("Run did not return")
	}
	if got := s.tank.ackedUpTo(reading.Normal); got != 0 {
		t.Errorf("acked up to %d, and nothing arrived", got)
	}
}

// What the sink took while Run was ending is not sent again after the next
// start.
func TestStoppingStillAcksWhatArrived(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSea()
		s.shore.answer = func(ctx context.Context, _ uplink.Message) error {
			<-ctx.Done() // and then the answer comes in after all
			return nil
		}
		s.tank.pour(reading.Normal, 4)
		s.run(t)
		synctest.Wait()
		s.stop()
		if err := <-s.ended; err != nil {
			t.Errorf("Run: %v", err)
		}
		if got := s.tank.ackedUpTo(reading.Normal); got != 4 {
			t.Errorf("acked up to %d, want 4", got)
		}
	})
}

func TestBrokenCursorEndsRun(t *testing.T) {
	for name, breakIt := range map[string]func(k *tank, err error){
		"Next": func(k *tank, err error) { k.broken = err },
		"Ack":  func(k *tank, err error) { k.ackErr = err },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, broken := newSea(), errors.New("no such segment")
				breakIt(s.tank, broken)
				s.tank.pour(reading.Normal, 4)
				s.run(t)
				if err := <-s.ended; !errors.Is(err, broken) {
					t.Errorf("Run: %v, want the cursor's error", err)
				}
				if got := s.forwarder.Stats(); got.State != uplink.Down || got.LastError == "" {
					t.Errorf("%+v, want down and why", got)
				}
			})
		})
	}
}

func TestRunsAgainAfterTheCursorWasRepaired(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, s *sea) {
		s.tank.ackErr = errors.New("read-only file system")
		s.tank.pour(reading.Normal, 4)
		blocks := s.tank.blocks[reading.Normal]
		s.run(t)
		if err := <-s.ended; err == nil {
			t.Fatal("Run returned nil")
		}
		s.tank.ackErr, s.tank.blocks[reading.Normal] = nil, blocks
		go func() { s.ended <- s.forwarder.Run(s.ctx) }()
		synctest.Wait()
		if got := s.tank.ackedUpTo(reading.Normal); got != 4 {
			t.Errorf("acked up to %d, want 4", got)
		}
		if got := s.forwarder.Stats(); got.SentMessages != 2 || got.State != uplink.Idle || got.LastError != "" {
			t.Errorf("%+v, want idle after 2 messages", got)
		}
	})
}

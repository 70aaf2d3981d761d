package uplink_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/uplink"
)

// A Sink that never comes back is given up, and what it had is sent by the next.
func TestASinkThatIsStuckIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSea()
		s.cfg.Stall = 10 * time.Minute
		free := make(chan struct{})
		s.shore.answer = func(context.Context, uplink.Message) error {
			<-free // whatever its context says
			return nil
		}
		s.tank.pour(reading.Normal, 4)
		s.run(t)
		pass(9 * time.Minute)
		select {
		case err := <-s.ended:
			t.Fatalf("given up after nine minutes: %v", err)
		default:
		}
		pass(2 * time.Minute)
		if err := <-s.ended; !errors.Is(err, uplink.ErrStalled) {
			t.Fatalf("Run: %v, want ErrStalled", err)
		}
		if n := s.tank.ackedUpTo(reading.Normal); n != 0 {
			t.Errorf("acked up to %d, and nobody has it", n)
		}
		s.tank = newTank()
		s.tank.pour(reading.Normal, 4)
		s.shore = &shore{}
		s.run(t)
		synctest.Wait()
		if n := s.tank.ackedUpTo(reading.Normal); n != 4 {
			t.Errorf("acked up to %d by the new sink, want 4", n)
		}
		s.stop()
		if err := <-s.ended; err != nil {
			t.Error(err)
		}
		close(free)
		synctest.Wait()
	})
}

func TestASinkThatOnlyFailsIsGivenUpWithItsLastWords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSea()
		s.cfg.Stall = 10 * time.Minute
		s.shore.answer = func(context.Context, uplink.Message) error { return errors.New("client is closed") }
		s.tank.pour(reading.Normal, 4)
		s.run(t)
		pass(11 * time.Minute)
		if err := <-s.ended; !errors.Is(err, uplink.ErrStalled) || !strings.Contains(err.Error(), "client is closed") {
			t.Errorf("Run: %v, want ErrStalled and why", err)
		}
	})
}

// What is slow, closed, idle, or asked for patience is not stuck.
func TestNobodyIsGivenUpWithoutACause(t *testing.T) {
	for name, prepare := range map[string]func(s *sea){
		"Idle":   func(s *sea) { s.tank.pour(reading.Normal, 4) },
		"Closed": func(s *sea) { s.cfg.Gate = newSluice(uplink.Permit{}); s.tank.pour(reading.Normal, 4) },
		"Asked": func(s *sea) {
			s.shore.answer = func(context.Context, uplink.Message) error {
				return uplink.RetryAfter(errors.New("later"), 59*time.Minute)
			}
			s.tank.pour(reading.Normal, 4)
		},
		"Slow": func(s *sea) {
			s.cfg.Timeout = 10 * time.Minute
			s.shore.answer = func(ctx context.Context, _ uplink.Message) error {
				time.Sleep(9 * time.Minute)
				return ctx.Err()
			}
			for range 100 {
				s.tank.pourBytes(reading.Normal, 60_000)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			inVirtualTime(t, func(t *testing.T, s *sea) {
				s.cfg.Stall = 10 * time.Minute
				prepare(s)
				s.run(t)
				pass(5 * time.Hour)
			})
		})
	}
}

// A link that is up again after a long outage begins to count anew.
func TestAnAcknowledgementBeginsTheCountAnew(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, s *sea) {
		s.cfg.Stall = 10 * time.Minute
		var up atomic.Bool
		s.shore.answer = func(context.Context, uplink.Message) error {
			if !up.Load() {
				return errCut
			}
			return nil
		}
		s.run(t)
		for range 5 {
			s.tank.pour(reading.Normal, 4)
			pass(9 * time.Minute)
			up.Store(true)
			pass(2 * time.Minute)
			up.Store(false)
		}
		if n := s.tank.ackedUpTo(reading.Normal); n != 20 {
			t.Errorf("acked up to %d, want 20", n)
		}
	})
}

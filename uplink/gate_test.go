package uplink_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/uplink"
)

// sluice is a Gate that a test opens and closes.
type sluice struct {
	mu      sync.Mutex
	permit  uplink.Permit
	changed chan struct{}
}

func newSluice(p uplink.Permit) *sluice { return &sluice{permit: p, changed: make(chan struct{})} }

func (s *sluice) Permit() (uplink.Permit, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.permit, s.changed
}

func (s *sluice) set(p uplink.Permit) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.permit = p
	close(s.changed)
	s.changed = make(chan struct{})
}

func TestOnlyTheLanesTravelThatTheGatePermits(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, s *sea) {
		gate := newSluice(uplink.Permit{Lanes: reading.LanesOf(reading.Alarm)})
		s.cfg.Gate = gate
		for range 8 {
			s.tank.pour(reading.Normal, 9000)
		}
		s.run(t)
		pass(time.Hour)
		s.tank.pour(reading.Alarm, 4)
		synctest.Wait()
		if a, n := s.tank.ackedUpTo(reading.Alarm), s.tank.ackedUpTo(reading.Normal); a != 4 || n != 0 {
			t.Errorf("acked up to %d alarms and %d normal readings, want 4 and none", a, n)
		}
		if got := s.forwarder.Stats().State; got != uplink.Held {
			t.Errorf("the state is %v with a backlog before a closed gate", got)
		}
		gate.set(uplink.Permit{Lanes: reading.AllLanes})
		synctest.Wait()
		if n := s.tank.ackedUpTo(reading.Normal); n != 72000 {
			t.Errorf("acked up to %d after the gate opened, want 72000", n)
		}
		if got := s.forwarder.Stats().State; got != uplink.Idle {
			t.Errorf("the state is %v when all is elsewhere", got)
		}
	})
}

// A gate that closes while the window is full of what may not travel any more
// must still let alarms by.
func TestAlarmsPassWhatTheGateHoldsBack(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, s *sea) {
		gate := newSluice(uplink.Permit{Lanes: reading.AllLanes})
		s.cfg.Gate = gate
		down := true
		s.shore.answer = func(_ context.Context, _ uplink.Message) error {
			if down {
				return errCut
			}
			return nil
		}
		for range 8 {
			s.tank.pour(reading.Normal, 9000)
		}
		s.run(t)
		pass(10 * time.Second)
		gate.set(uplink.Permit{Lanes: reading.LanesOf(reading.Alarm)})
		down = false
		s.tank.pour(reading.Alarm, 4)
		pass(time.Minute)
		if a, n := s.tank.ackedUpTo(reading.Alarm), s.tank.ackedUpTo(reading.Normal); a != 4 || n != 0 {
			t.Errorf("acked up to %d alarms and %d normal readings, want 4 and none", a, n)
		}
	})
}

func TestMessagesWaitForCompanyAsLongAsTheGateSays(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, s *sea) {
		s.cfg.Gate = newSluice(uplink.Permit{Lanes: reading.AllLanes, MinBytes: 4 << 10, MinAge: time.Minute})
		s.tank.pour(reading.Normal, 4)
		s.run(t)
		pass(59 * time.Second)
		if n := len(s.shore.tried()); n != 0 {
			t.Fatalf("%d messages left before they were worth it", n)
		}
		if got := s.forwarder.Stats().State; got != uplink.Held {
			t.Errorf("the state is %v while a message waits for company", got)
		}
		s.tank.pour(reading.Normal, 4)
		s.tank.pour(reading.Alarm, 4)
		synctest.Wait()
		if a, n := s.tank.ackedUpTo(reading.Alarm), s.tank.ackedUpTo(reading.Normal); a != 4 || n != 0 {
			t.Errorf("acked up to %d alarms and %d normal readings, want the alarms at once", a, n)
		}
		pass(time.Second)
		if n := s.tank.ackedUpTo(reading.Normal); n != 8 {
			t.Errorf("acked up to %d after a minute, want 8", n)
		}
		s.tank.pour(reading.Normal, 9000)
		synctest.Wait()
		if n := s.tank.ackedUpTo(reading.Normal); n != 9008 {
			t.Errorf("acked up to %d, want a large message at once", n)
		}
	})
}

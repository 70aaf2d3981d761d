package carrier

import (
	"errors"
	"net"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tidegate/tidegate/reading"
)

func TestTheNextLinkTakesOver(t *testing.T) {
	within(t, "WhenADialFails", func(t *testing.T) {
		s := sail(t, PathConfig{}, eth(), lte())
		defer s.stop()
		s.wantOver(t, "eth").Close()
		s.links[0].set("", syscall.ECONNREFUSED)
		s.wantOver(t, "lte").Close()
		dials := s.links[0].dialled()
		s.wantOver(t, "lte").Close()
		if n := s.links[0].dialled(); n != dials {
			t.Errorf("what has just failed was dialled %d times more", n-dials)
		}
	})
	within(t, "WhenADialIsSwallowed", func(t *testing.T) {
		s := sail(t, PathConfig{}, eth(), lte())
		defer s.stop()
		s.links[0].set("", errHole)
		begun := time.Now()
		s.wantOver(t, "lte").Close()
		if took := time.Since(begun); took > DefaultDialTimeout {
			t.Errorf("took %v", took)
		}
	})
	within(t, "WhenAConnectionDies", func(t *testing.T) {
		s := sail(t, PathConfig{}, eth(), lte())
		defer s.stop()
		c := s.wantOver(t, "eth").(*conn)
		defer c.Close()
		c.judge(&net.OpError{Op: "read", Err: unix.ETIMEDOUT}) // as TCP_USER_TIMEOUT does
		s.wantOver(t, "lte").Close()
	})
	within(t, "NotWhenThePeerHangsUp", func(t *testing.T) {
		s := sail(t, PathConfig{}, eth(), lte())
		defer s.stop()
		c := s.wantOver(t, "eth").(*conn)
		s.links[0].ends[0].Close()
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Error("read from a closed connection")
		}
		c.Close()
		s.wantOver(t, "eth").Close()
	})
}

func TestALostCarrierMovesThePath(t *testing.T) {
	within(t, "AfterAMoment", func(t *testing.T) {
		moved := make(chan struct{}, 9)
		s := sail(t, PathConfig{Moved: func() { moved <- struct{}{} }}, eth(), lte())
		defer s.stop()
		c := s.wantOver(t, "eth")
		s.links[0].set("eth0 has no carrier", nil)
		time.Sleep(lostCarrier / 2)
		if s.Stats().Present != "eth" || closed(c) {
			t.Error("moved, though the cable may be back at once")
		}
		time.Sleep(lostCarrier)
		synctest.Wait()
		if s.Stats().Present != "lte" || len(moved) != 1 {
			t.Errorf("%s is used, moved %d times", s.Stats().Present, len(moved))
		}
		if !closed(c) {
			t.Error("a connection over a cable that is gone is still open")
		}
	})
	within(t, "AtOnceWhenSomebodyDials", func(t *testing.T) {
		s := sail(t, PathConfig{}, eth(), lte())
		defer s.stop()
		s.links[0].set("eth0 has no carrier", nil)
		begun := time.Now()
		s.wantOver(t, "lte").Close()
		if took := time.Since(begun); took > 0 || s.Stats().Present != "lte" {
			t.Errorf("took %v, and %s is used", took, s.Stats().Present)
		}
	})
}

func TestNoLinkIsAnErrorThatSaysWhy(t *testing.T) {
	within(t, "AllDown", func(t *testing.T) {
		s := sail(t, PathConfig{}, eth(), lte())
		defer s.stop()
		s.links[0].set("eth0 has no carrier", nil)
		s.links[1].set("there is no interface wwan0", nil)
		_, err := s.Dial(t.Context(), "tcp", cloud)
		if !errors.Is(err, ErrClosed) || !strings.Contains(err.Error(), "eth: eth0 has no carrier; lte: there is no interface wwan0") {
			t.Errorf("%v", err)
		}
	})
	within(t, "AllFail", func(t *testing.T) {
		s := sail(t, PathConfig{}, eth(), lte())
		defer s.stop()
		s.links[0].set("", syscall.ECONNREFUSED)
		s.links[1].set("", syscall.EHOSTUNREACH)
		_, err := s.Dial(t.Context(), "tcp", cloud)
		if !errors.Is(err, syscall.ECONNREFUSED) || !errors.Is(err, syscall.EHOSTUNREACH) || !strings.Contains(err.Error(), "over lte: ") {
			t.Errorf("%v", err)
		}
		if s.Stats().Present != "eth" {
			t.Error("moved to a link that fails as well")
		}
	})
	within(t, "OneLinkSpeaksForItself", func(t *testing.T) {
		s := sail(t, PathConfig{}, eth())
		defer s.stop()
		s.links[0].set("", syscall.ECONNREFUSED)
		if _, err := s.Dial(t.Context(), "tcp", cloud); strings.Contains(err.Error(), "over eth") {
			t.Errorf("%v", err)
		}
	})
}

// TestAnOutageOfTheCloudCostsTheSecondLinkLittle: nobody answers over either
// link for an hour, and the Forwarder tries every 15 seconds.
func TestAnOutageOfTheCloudCostsTheSecondLinkLittle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := sail(t, PathConfig{}, eth(), lte())
		defer s.stop()
		for _, l := range s.links {
			l.set("", syscall.ECONNREFUSED)
		}
		for range 240 {
			if _, err := s.Dial(t.Context(), "tcp", cloud); err == nil {
				t.Fatal("dialled")
			}
			time.Sleep(15 * time.Second)
		}
		if n := s.links[0].dialled(); n < 240 {
			t.Errorf("the first link was tried %d times", n)
		}
		if n := s.links[1].dialled(); n < 5 || n > 20 {
			t.Errorf("the second link was tried %d times", n)
		}
	})
}

func TestTheBetterLinkIsUsedAgain(t *testing.T) {
	within(t, "AfterItsHoldDown", func(t *testing.T) {
		s := sail(t, PathConfig{}, eth(), lte())
		defer s.stop()
		s.links[0].set("", errHole)
		old := s.wantOver(t, "lte")
		s.links[0].set("", nil)
		begun := time.Now()
		for s.Stats().Present != "eth" {
			if time.Since(begun) > 10*time.Minute {
				t.Fatal("never")
			}
			time.Sleep(time.Second)
		}
		if took := time.Since(begun); took < DefaultHoldDown || took > DefaultHoldDown+DefaultMinProbe*3/2 {
			t.Errorf("after %v", took)
		}
		if n := s.links[0].dialled(); n > 3 {
			t.Errorf("%d dials", n)
		}
		time.Sleep(DefaultGrace)
		synctest.Wait()
		if !closed(old) {
			t.Error("the connection over the worse link is still open")
		}
		s.wantOver(t, "eth").Close()
	})
	within(t, "ProbesBackOff", func(t *testing.T) {
		s := sail(t, PathConfig{}, eth(), lte())
		defer s.stop()
		s.links[0].set("", errHole)
		s.wantOver(t, "lte").Close()
		time.Sleep(24 * time.Hour)
		if n := s.links[0].dialled(); n < 24*60/5/2 || n > 24*60/5*4/3+10 {
			t.Errorf("%d probes in a day", n)
		}
	})
}

func TestTheBetterLinkIsNotUsedTooEarly(t *testing.T) {
	within(t, "ItsCableEndsThePause", func(t *testing.T) {
		s := sail(t, PathConfig{}, eth(), lte())
		defer s.stop()
		s.links[0].set("", errHole)
		s.wantOver(t, "lte").Close()
		time.Sleep(time.Hour) // the pauses are minutes now
		s.links[0].set("eth0 has no carrier", nil)
		time.Sleep(time.Minute)
		s.links[0].set("", nil)
		time.Sleep(DefaultHoldDown + time.Second)
		if s.Stats().Present != "eth" {
			t.Error("still paused")
		}
	})
	within(t, "NotWhileItFlaps", func(t *testing.T) {
		s := sail(t, PathConfig{}, eth(), lte())
		defer s.stop()
		s.links[0].set("", errHole)
		s.wantOver(t, "lte").Close()
		for range 60 { // up for 30 s, down for 10
			s.links[0].set("", nil)
			time.Sleep(30 * time.Second)
			s.links[0].set("eth0 has no carrier", nil)
			time.Sleep(10 * time.Second)
			if s.Stats().Present != "lte" {
				t.Fatal("bounced")
			}
		}
	})
	within(t, "LaterIfItFailsAgain", func(t *testing.T) {
		s := sail(t, PathConfig{}, eth(), lte())
		defer s.stop()
		var waits []time.Duration
		for range 3 {
			s.links[0].set("", errHole)
			s.wantOver(t, "lte").Close()
			s.links[0].set("", nil)
			begun := time.Now()
			for s.Stats().Present != "eth" && time.Since(begun) < time.Hour {
				time.Sleep(time.Second)
			}
			waits = append(waits, time.Since(begun))
			time.Sleep(30 * time.Second)
		}
		if waits[1] < 2*DefaultHoldDown || waits[2] < 4*DefaultHoldDown {
			t.Errorf("came back after %v", waits)
		}
	})
}

func TestConnectionsOverTheWorseLinkHaveTheirGrace(t *testing.T) {
	within(t, "ABusyOne", func(t *testing.T) {
		s := sail(t, PathConfig{}, eth(), lte())
		defer s.stop()
		s.links[0].set("", errHole)
		old := s.wantOver(t, "lte")
		s.links[0].set("", nil)
		for s.Stats().Present != "eth" {
			if _, err := old.Write([]byte("x")); err != nil {
				t.Fatal(err)
			}
			time.Sleep(100 * time.Millisecond)
		}
		begun := time.Now()
		for {
			if _, err := old.Write([]byte("x")); err != nil {
				break
			}
			time.Sleep(100 * time.Millisecond)
		}
		if took := time.Since(begun); took < DefaultGrace-time.Second || took > DefaultGrace+time.Second {
			t.Errorf("closed after %v", took)
		}
	})
}

func TestTheGateFollowsTheLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sat := Config{Name: "sat", Lanes: alarms, Expensive: true}
		s := sail(t, PathConfig{}, eth(), sat)
		defer s.stop()
		permit, changed := s.Permit()
		if permit != (Permit{Lanes: reading.AllLanes}) {
			t.Errorf("%+v", permit)
		}
		s.links[0].set("eth0 has no carrier", nil)
		<-changed
		permit, changed = s.Permit()
		if permit != (Permit{Lanes: alarms, MinBytes: expensiveBytes, MinAge: expensiveAge}) {
			t.Errorf("%+v", permit)
		}
		s.links[0].set("", nil)
		<-changed
		if permit, _ = s.Permit(); permit.Lanes != reading.AllLanes {
			t.Errorf("%+v", permit)
		}
	})
}

func TestALinkWithoutAllowanceIsPassedOver(t *testing.T) {
	within(t, "Stop", func(t *testing.T) {
		dear := Config{Name: "lte", Budget: Budget{Day: 2000, WhenSpent: SpentStop}}
		s := sail(t, PathConfig{}, dear, Config{Name: "sat", Lanes: alarms})
		defer s.stop()
		_, changed := s.Permit()
		c := s.wantOver(t, "lte")
		c.Write(make([]byte, 3000))
		c.Close()
		<-changed
		if permit, _ := s.Permit(); permit.Lanes != alarms || s.Stats().Present != "sat" {
			t.Errorf("%+v over %s", permit, s.Stats().Present)
		}
		s.wantOver(t, "sat").Close()
		time.Sleep(24*time.Hour + 2*DefaultHoldDown) // a new day
		if s.Stats().Present != "lte" {
			t.Error("a new day, and still over the satellite")
		}
	})
	within(t, "ItsConnectionsAreClosed", func(t *testing.T) { // keepalives cost, too
		s := sail(t, PathConfig{}, Config{Name: "lte", Budget: Budget{Day: 2000, WhenSpent: SpentStop}})
		defer s.stop()
		c := s.wantOver(t, "lte")
		c.Write(make([]byte, 3000))
		synctest.Wait()
		if closed(c) {
			t.Error("closed while an answer may be on its way")
		}
		time.Sleep(busyTurn + silence)
		synctest.Wait()
		if !closed(c) {
			t.Error("open though nothing may pass")
		}
	})
	within(t, "Alarms", func(t *testing.T) {
		dear := Config{Name: "lte", Budget: Budget{Day: 2000}}
		s := sail(t, PathConfig{}, dear, Config{Name: "sat"})
		defer s.stop()
		_, changed := s.Permit()
		c := s.wantOver(t, "lte")
		c.Write(make([]byte, 3000))
		c.Close()
		<-changed
		if permit, _ := s.Permit(); permit.Lanes != alarms || s.Stats().Present != "lte" {
			t.Errorf("%+v over %s", permit, s.Stats().Present)
		}
	})
}

func TestAPathFollowsASchedule(t *testing.T) {
	within(t, "Night", func(t *testing.T) {
		night := Config{Name: "wifi", Schedule: Schedule{window(t, "0 2 * * * for 1h")}, Zone: time.UTC}
		s := sail(t, PathConfig{}, night)
		defer s.stop()
		permit, changed := s.Permit() // midnight, at the beginning of virtual time
		if permit.Lanes != 0 {
			t.Errorf("%+v", permit)
		}
		if _, err := s.Dial(t.Context(), "tcp", cloud); !errors.Is(err, ErrClosed) || !strings.Contains(err.Error(), "schedule") {
			t.Errorf("%v", err)
		}
		begun := time.Now()
		<-changed
		if took := time.Since(begun); took < 2*time.Hour || took > 2*time.Hour+time.Second {
			t.Errorf("opened after %v", took)
		}
		if permit, changed = s.Permit(); permit.Lanes != reading.AllLanes {
			t.Errorf("%+v", permit)
		}
		<-changed
		if took := time.Since(begun); took < 3*time.Hour || took > 3*time.Hour+time.Second {
			t.Errorf("closed after %v", took)
		}
	})
}

package carrier

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/tidegate/tidegate/reading"
)

// setBack is a time as time.Now returns it after somebody has set the clock back:
// the wall shows less, and what nobody can set shows more.
func setBack(t time.Time, by time.Duration) time.Time {
	back := t.Add(-by)
	type inside struct {
		wall uint64
		ext  int64
	}
	(*inside)(unsafe.Pointer(&back)).ext += int64(by + time.Second)
	return back
}

func TestAScheduleFollowsAClockThatIsSetBack(t *testing.T) {
	now := time.Now()
	open := now.UTC().Truncate(time.Minute)
	if back := setBack(now, time.Hour); !now.Before(back) || !back.Round(0).Before(now.Round(0)) {
		t.Fatal("the time does not look as if the clock had been set back")
	}
	l := Open(Config{
		Name: "sat", Zone: time.UTC, Schedule: Schedule{window(t, open.Format("4 15 2 1")+" * for 2h")},
		Clock: Clock{Now: func() time.Time { return now }, Synced: func() bool { return true }},
	}, quietLog())
	if !l.Stats().Open {
		t.Fatalf("%v is closed at %v", l.cfg.Schedule, now)
	}
	now = setBack(now, 12*time.Hour)
	if s := l.Stats(); s.Open {
		t.Errorf("set back to %v, it is open until %v", now, s.Changes)
	}
}

func TestAClockThatNobodyDisciplines(t *testing.T) {
	c := &clock{}
	c.set(time.Date(2026, 5, 4, 2, 30, 0, 0, time.UTC))
	c.uptime.Store(int64(90 * 24 * time.Hour))
	l := open(t, Config{
		Name: "sat", Schedule: Schedule{window(t, "0 2 * * * for 1h")}, Always: alarms, Zone: time.UTC,
		Budget: Budget{Day: 1000, WhenSpent: SpentAlarms}, Clock: c.clock(),
	})
	want := func(when string, lanes reading.LaneSet) {
		t.Helper()
		if p := l.Permit(); p.Lanes != lanes {
			t.Errorf("%s: %v, want %v", when, p.Lanes, lanes)
		}
	}
	pass := func(d time.Duration) {
		c.offset.Add(int64(d))
		c.uptime.Add(int64(d))
		l.Permit()
	}
	want("in the window", reading.AllLanes)
	c.offset.Add(-int64(2 * time.Second))
	want("corrected by two seconds", reading.AllLanes)
	pass(time.Hour)
	want("after the window", alarms)
	c.offset.Add(-int64(2 * time.Second))
	want("corrected by two seconds, after the window", alarms)

	// Somebody sets it ten years ahead and, when that is noticed, right again.
	l.ledger.add(1000, 0)
	c.offset.Add(int64(10 * 365 * 24 * time.Hour))
	l.Permit()
	l.ledger.add(1000, 0)
	c.offset.Add(-int64(10 * 365 * 24 * time.Hour))
	want("of two times one is wrong", alarms)
	pass(23 * time.Hour) // 02:30 of the next day
	want("it is not known which", alarms)
	pass(25 * time.Hour)
	pass(23 * time.Hour) // 02:30, two days later
	want("it has gone on for a day", reading.AllLanes)
}

// TestAnotherBillingDayForgetsNothing: the month that begins by another rule
// than the one on file may have had what was counted.
func TestAnotherBillingDayForgetsNothing(t *testing.T) {
	file := filepath.Join(t.TempDir(), "lte")
	run := func(b Budget, zone *time.Location, now string) Stats {
		l := open(t, Config{Name: "lte", Budget: b, Zone: zone, State: file, Clock: Clock{Now: func() time.Time { return at(t, now) }}})
		defer l.end()
		l.ledger.roll(at(t, now))
		l.ledger.add(1000, 0)
		return l.Stats()
	}
	run(Budget{BillingDay: 1}, berlin(t), "2026-11-18 12:00")
	if s := run(Budget{BillingDay: 15}, berlin(t), "2026-11-20 12:00"); s.Month.Used != 2000 || s.Today.Used != 1000 {
		t.Errorf("billing day 15 instead of 1: %+v", s)
	}
	if s := run(Budget{BillingDay: 15}, berlin(t), "2026-12-15 12:00"); s.Month.Used != 1000 {
		t.Errorf("the next month: %+v", s)
	}
	if s := run(Budget{BillingDay: 15}, time.UTC, "2026-12-15 23:30"); s.Month.Used != 2000 || s.Today.Used != 2000 {
		t.Errorf("another zone: %+v", s)
	}
	if s := run(Budget{BillingDay: 15}, time.UTC, "2026-12-16 12:00"); s.Today.Used != 1000 {
		t.Errorf("the next day: %+v", s)
	}
}

// TestALinkThatHasFailedTakesOverFromOneThatIsClosed: nobody dials while nothing
// may travel, so nobody else would find out that it works again.
func TestALinkThatHasFailedTakesOverFromOneThatIsClosed(t *testing.T) {
	within(t, "LongAgo", func(t *testing.T) {
		s := sail(t, PathConfig{}, Config{Name: "eth", Budget: Budget{Day: 1000, WhenSpent: SpentStop}}, lte())
		defer s.stop()
		s.links[0].set("", syscall.ECONNREFUSED)
		s.links[1].set("", syscall.ECONNREFUSED)
		if _, err := s.Dial(t.Context(), "tcp", cloud); err == nil {
			t.Fatal("dialled")
		}
		s.links[0].set("", nil)
		s.links[1].set("", nil)
		s.wantOver(t, "eth").Close()
		time.Sleep(DefaultMaxProbe)
		s.links[0].count(passed{sent: 2000}, nil, false)
		synctest.Wait()
		if p, _ := s.Permit(); p.Lanes != reading.AllLanes || s.Stats().Present != "lte" {
			t.Errorf("%v may travel over %s", p.Lanes, s.Stats().Present)
		}
	})
	within(t, "JustNow", func(t *testing.T) {
		s := sail(t, PathConfig{}, Config{Name: "eth", Budget: Budget{Day: 1000, WhenSpent: SpentStop}}, lte())
		defer s.stop()
		s.links[0].set("", syscall.ECONNREFUSED)
		s.links[1].set("", syscall.ECONNREFUSED)
		s.Dial(t.Context(), "tcp", cloud)
		s.links[0].count(passed{sent: 2000}, nil, false)
		synctest.Wait()
		if s.Stats().Present != "eth" {
			t.Errorf("moved to %s, which has failed just now", s.Stats().Present)
		}
		time.Sleep(2 * DefaultMinProbe)
		if p, _ := s.Permit(); p.Lanes != reading.AllLanes || s.Stats().Present != "lte" {
			t.Errorf("%v may travel over %s", p.Lanes, s.Stats().Present)
		}
	})
}

// TestALateDialDoesNotMoveThePathBack: it has begun over the link that was the
// best then.
func TestALateDialDoesNotMoveThePathBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := sail(t, PathConfig{HoldDown: time.Minute}, eth(), lte())
		defer s.stop()
		s.links[0].set("", syscall.ECONNREFUSED)
		s.wantOver(t, "lte").Close()
		release := make(chan struct{})
		s.links[1].connect = func(ctx context.Context, network, address string, bind bool) (net.Conn, error) {
			<-release
			return s.links[1].dialFake(ctx, network, address, bind)
		}
		slow := make(chan net.Conn)
		go func() {
			c, err := s.Dial(t.Context(), "tcp", cloud)
			if err != nil {
				t.Error(err)
			}
			slow <- c
		}()
		synctest.Wait()
		s.links[0].set("", nil)
		time.Sleep(3 * time.Minute)
		if s.Stats().Present != "eth" {
			t.Fatalf("%+v", s.Stats())
		}
		close(release)
		c := <-slow
		defer c.Close()
		if s.Stats().Present != "eth" {
			t.Error("the path went back to the worse link")
		}
	})
}

// TestAPermitThatWasSeenIsTakenBack: whoever has seen one between two looks of
// Run is told when it is over.
func TestAPermitThatWasSeenIsTakenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &clock{}
		c.synced.Store(true)
		c.set(time.Date(2026, 5, 4, 2, 59, 30, 0, time.UTC))
		s := sail(t, PathConfig{}, Config{Name: "eth", Zone: time.UTC, Schedule: Schedule{window(t, "0 2 * * * for 1h")}, Clock: c.clock()})
		defer s.stop()
		synctest.Wait()
		c.set(time.Date(2026, 5, 4, 3, 30, 0, 0, time.UTC)) // for a moment, while Run sleeps
		seen, changed := s.Permit()
		if seen.Lanes != 0 {
			t.Fatalf("after the window: %+v", seen)
		}
		c.set(time.Date(2026, 5, 4, 2, 59, 29, 0, time.UTC))
		time.Sleep(5 * time.Second)
		select {
		case <-changed:
		default:
			t.Error("nobody says that the window is open")
		}
	})
}

// TestAnInterfaceThatAppearsUnnoticed: the kernel's events can be missed, before
// anybody listens or where nobody may.
func TestAnInterfaceThatAppearsUnnoticed(t *testing.T) {
	unnoticed := func(f *fakeLink, down string) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.down = down
	}
	within(t, "ADialLooks", func(t *testing.T) {
		s := sail(t, PathConfig{}, eth())
		defer s.stop()
		s.links[0].set("there is no interface eth0", nil)
		unnoticed(s.links[0], "")
		s.wantOver(t, "eth").Close()
	})
	within(t, "ABetterLinkIsSeen", func(t *testing.T) {
		s := sail(t, PathConfig{}, eth(), lte())
		defer s.stop()
		s.links[0].set("there is no interface eth0", nil)
		s.wantOver(t, "lte").Close()
		time.Sleep(time.Second)
		unnoticed(s.links[0], "")
		time.Sleep(4 * time.Minute)
		if s.Stats().Present != "eth" {
			t.Errorf("%+v", s.Stats())
		}
	})
}

// TestKeepalivesKeepToTheBound: the system takes whole seconds only.
func TestKeepalivesKeepToTheBound(t *testing.T) {
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	for _, dead := range []time.Duration{2 * time.Second, 3 * time.Second, 7500 * time.Millisecond, DefaultDeadAfter, 30 * time.Minute} {
		l := open(t, Config{Name: "lte", DeadAfter: dead})
		c, err := l.Dial(t.Context(), "tcp", server.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		raw, err := c.(*conn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		var idle, interval, count, user int
		raw.Control(func(fd uintptr) {
			interval, _ = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_KEEPINTVL)
			count, _ = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_KEEPCNT)
			idle, _ = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_KEEPIDLE)
			user, _ = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT)
		})
		if took := time.Duration(interval*count) * time.Second; took > dead || took < dead/2 || count < 2 {
			t.Errorf("dead after %v: %d probes every %d s", dead, count, interval)
		}
		if time.Duration(user)*time.Millisecond != dead || time.Duration(idle)*time.Second != l.cfg.Keepalive {
			t.Errorf("dead after %v, keepalive %v: sent in vain for %d ms, asked after %d s", dead, l.cfg.Keepalive, user, idle)
		}
		c.Close()
	}
}

// TestASlowDiskHoldsNobodyBeyondHisDeadline: whoever has no time left does not
// wait for a save.
func TestASlowDiskHoldsNobodyBeyondHisDeadline(t *testing.T) {
	for name, use := range map[string]func(c *conn) error{
		"Read":  func(c *conn) error { _, err := c.Read(make([]byte, 1)); return err },
		"Write": func(c *conn) error { _, err := c.Write(make([]byte, 1)); return err },
	} {
		within(t, name, func(t *testing.T) {
			l := open(t, Config{Name: "lte", Budget: Budget{Day: 10_000}})
			near, far := net.Pipe()
			go io.Copy(io.Discard, far)
			c := l.join(newConn(l, near, nil))
			l.tally.keeping = make(chan struct{}) // a save that never ends
			l.count(passed{sent: 100_000}, nil, false)
			c.SetDeadline(time.Now().Add(time.Second))
			ended := make(chan error, 1)
			go func() { ended <- use(c) }()
			time.Sleep(2 * time.Second)
			synctest.Wait()
			select {
			case err := <-ended:
				if !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Error(err)
				}
			default:
				t.Error("it still waits")
			}
			c.Close()
			far.Close()
		})
	}
}

// TestWhatIsSentLateIsWatched: a Write that waits for the rate may wait for so
// long that its connection is left to its keepalive meanwhile.
func TestWhatIsSentLateIsWatched(t *testing.T) {
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	l := open(t, Config{Name: "lte", Rate: 1 << 20})
	dialled, err := l.Dial(t.Context(), "tcp", server.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c := dialled.(*conn)
	defer c.Close()
	c.used = c.used.Add(-time.Hour)
	l.pace.reserve(1<<18, time.Now()) // a quarter of a second
	ended := make(chan error)
	go func() {
		_, err := c.Write(make([]byte, 10))
		ended <- err
	}()
	for {
		c.rest() // as Run does
		select {
		case err := <-ended:
			if c.rest(); err != nil || c.quiet {
				t.Errorf("what was sent just now may be unacknowledged for ever; %v", err)
			}
			return
		default:
		}
	}
}

// TestAProbeThatFailsBeginsTheHoldDownAnew: a link that works now and then does not
// work.
func TestAProbeThatFailsBeginsTheHoldDownAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := sail(t, PathConfig{HoldDown: 10 * time.Second}, eth(), lte())
		defer s.stop()
		s.links[0].set("", syscall.ECONNREFUSED)
		s.wantOver(t, "lte").Close()
		for _, fault := range []error{nil, syscall.ECONNREFUSED, nil} {
			s.links[0].set("", fault)
			for before := s.links[0].dialled(); s.links[0].dialled() == before; {
				time.Sleep(time.Second)
			}
			synctest.Wait()
			if s.Stats().Present != "lte" {
				t.Fatal("a link that has failed since is used again")
			}
		}
		time.Sleep(15 * time.Second)
		if s.Stats().Present != "eth" {
			t.Errorf("%+v", s.Stats())
		}
	})
}

package uplink_test

import (
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/uplink"
	"github.com/tidegate/tidegate/uplink/encode"
)

func TestOnlyOneProbeIsSentWhileTheLinkIsDown(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, s *sea) {
		s.cfg.Window = 4
		var up atomic.Bool
		s.shore.answer = func(context.Context, uplink.Message) error {
			time.Sleep(10 * time.Millisecond)
			if !up.Load() {
				return errCut
			}
			return nil
		}
		for range 8 {
			s.tank.pour(reading.Normal, 9000)
		}
		s.run(t)
		pass(100 * time.Millisecond)
		window := len(s.shore.tried())
		if window != 4 {
			t.Fatalf("%d messages tried at first, want the window of 4", window)
		}
		s.shore.mostAtOnce()
		pass(10 * time.Minute)
		crowd := s.shore.mostAtOnce()
		probes := s.shore.tried()[window:]
		if crowd != 1 || len(probes) > 20 {
			t.Errorf("%d tries in ten minutes of outage, %d at once; want single probes at least a minute apart in the end",
				len(probes), crowd)
		}
		for _, p := range probes {
			if p.First != 1 {
				t.Errorf("probed with the message from %d, want the oldest", p.First)
			}
		}
		up.Store(true)
		pass(2 * time.Minute)
		if got := s.tank.ackedUpTo(reading.Normal); got != 72000 {
			t.Errorf("acked up to %d after the outage, want 72000", got)
		}
		if got := s.forwarder.Stats(); got.State != uplink.Idle || got.LastError != "" {
			t.Errorf("%+v after the outage", got)
		}
	})
}

func TestBackoffEndsWhenTheLinkComesUp(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, s *sea) {
		wake := make(chan struct{}, 1)
		s.cfg.Wake = wake
		var up atomic.Bool
		s.shore.answer = func(context.Context, uplink.Message) error {
			if !up.Load() {
				return errCut
			}
			return nil
		}
		s.tank.pour(reading.Normal, 4)
		s.run(t)
		pass(10*time.Minute + 20*time.Second) // in the middle of a delay of a minute
		synctest.Wait()
		before := len(s.shore.tried())
		up.Store(true)
		wake <- struct{}{}
		synctest.Wait()
		if len(s.shore.tried()) != before+1 || s.tank.ackedUpTo(reading.Normal) != 4 {
			t.Errorf("%d tries at the moment the link came up, want 1", len(s.shore.tried())-before)
		}
		close(wake) // a watcher that ends must not make the loop spin
		pass(time.Hour)
	})
}

// A try that hangs in a dead connection must not outlast the outage.
func TestHangingProbeEndsWhenTheLinkComesUp(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, s *sea) {
		wake := make(chan struct{}, 1)
		s.cfg.Wake = wake
		var up atomic.Bool
		s.shore.answer = func(ctx context.Context, _ uplink.Message) error {
			if up.Load() {
				time.Sleep(300 * time.Millisecond)
				return ctx.Err()
			}
			<-ctx.Done()
			return ctx.Err()
		}
		s.tank.pour(reading.Normal, 4)
		s.run(t)
		pass(70 * time.Second) // in the middle of the second try, which has a minute
		tries := len(s.shore.tried())
		up.Store(true)
		for range 5 { // link, address, route, ...
			wake <- struct{}{}
			pass(200 * time.Millisecond)
		}
		pass(time.Second)
		if got := s.tank.ackedUpTo(reading.Normal); got != 4 {
			t.Errorf("nothing arrived two seconds after the link came up")
		}
		if n := len(s.shore.tried()) - tries; n != 1 {
			t.Errorf("%d tries after the link came up, want 1", n)
		}
	})
}

func TestRetryAfterIsHonouredAndBounded(t *testing.T) {
	for _, c := range []struct{ asked, want time.Duration }{
		{7 * time.Second, 7 * time.Second},
		{300 * 24 * time.Hour, time.Hour},
		{0, time.Second - 1}, // "now" is no permission to hammer
	} {
		t.Run(c.asked.String(), func(t *testing.T) {
			inVirtualTime(t, func(t *testing.T, s *sea) {
				wake := make(chan struct{}, 1)
				s.cfg.Wake = wake
				first := true
				s.shore.answer = func(context.Context, uplink.Message) error {
					if first {
						first = false
						return uplink.RetryAfter(errors.New("slow down"), c.asked)
					}
					return nil
				}
				s.tank.pour(reading.Normal, 4)
				s.run(t)
				synctest.Wait()
				if c.asked > 0 {
					wake <- struct{}{} // our link coming up does not undo the other side's wish
				}
				pass(2 * time.Hour)
				tried := s.shore.tried()
				if len(tried) != 2 {
					t.Fatalf("%d tries, want 2", len(tried))
				}
				if delay := tried[1].at.Sub(tried[0].at); delay != c.want {
					t.Errorf("asked for %v, tried again after %v, want %v", c.asked, delay, c.want)
				}
			})
		})
	}
}

func TestTimeoutBoundsASendAndGrows(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, s *sea) {
		var took []time.Duration
		s.shore.answer = func(ctx context.Context, _ uplink.Message) error {
			begun := time.Now()
			<-ctx.Done()
			took = append(took, time.Since(begun))
			return ctx.Err()
		}
		s.tank.pour(reading.Normal, 4)
		s.run(t)
		pass(20 * time.Minute)
		want := []time.Duration{30 * time.Second, time.Minute, 2 * time.Minute, 4 * time.Minute, 4 * time.Minute}
		if len(took) < len(want) {
			t.Fatalf("%d tries ended, want %d", len(took), len(want))
		}
		for i, w := range want {
			if took[i] != w {
				t.Errorf("try %d was given %v, want %v", i+1, took[i], w)
			}
		}
	})
}

func TestPoisonChunkDoesNotBlockTheTide(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, s *sea) {
		const poison = 4*37 + 1
		s.shore.answer = func(_ context.Context, m uplink.Message) error {
			if m.First <= poison && poison <= m.Last {
				return uplink.Permanent(errors.New("bad reading"))
			}
			return nil
		}
		for range 100 {
			s.tank.pour(reading.Normal, 4)
		}
		s.run(t)
		begun := time.Now()
		synctest.Wait()
		if got := s.tank.ackedUpTo(reading.Normal); got != 400 {
			t.Errorf("acked up to %d, want 400", got)
		}
		if s.shelf.len() != 1 || s.shelf.blocks[0].First != poison || !strings.Contains(s.shelf.reasons[0], "bad reading") {
			t.Errorf("set aside: %d blocks, %q", s.shelf.len(), s.shelf.reasons)
		}
		count := 0
		for _, m := range s.shore.took() {
			count += m.Count
		}
		if count != 396 {
			t.Errorf("%d readings were taken, want all 396 others, once", count)
		}
		if tries := len(s.shore.tried()); tries > 20 {
			t.Errorf("%d messages for one poisoned block of 100, want a bisection", tries)
		}
		if passed := time.Since(begun); passed != 0 {
			t.Errorf("the others waited %v", passed)
		}
		if got := s.forwarder.Stats(); got.Quarantined != 4 || got.AckedReadings != 396 || got.State != uplink.Idle {
			t.Errorf("%+v", got)
		}
	})
}

func TestBisectionKeepsToTheWindow(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, s *sea) {
		s.cfg.Window = 2
		s.shore.answer = func(_ context.Context, m uplink.Message) error {
			time.Sleep(10 * time.Millisecond)
			if m.Count > 4 {
				return uplink.Permanent(errors.New("one at a time, please"))
			}
			return nil
		}
		for range 64 {
			s.tank.pour(reading.Normal, 4)
		}
		s.run(t)
		pass(time.Minute)
		if crowd := s.shore.mostAtOnce(); crowd > 2 {
			t.Errorf("%d messages in flight at once, want at most 2", crowd)
		}
		if got := s.tank.ackedUpTo(reading.Normal); got != 256 || s.shelf.len() != 0 {
			t.Errorf("acked up to %d with %d set aside, want 256 and none", got, s.shelf.len())
		}
	})
}

// A sink that refuses everything is misconfigured: the backlog must not be
// poured into the quarantine.
func TestSinkThatRefusesEverythingGetsTheBacklogSlowly(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, s *sea) {
		s.shore.answer = func(context.Context, uplink.Message) error {
			return uplink.Permanent(errors.New("no such tenant"))
		}
		for range 500 {
			s.tank.pour(reading.Normal, 4)
		}
		s.run(t)
		pass(time.Hour)
		if n := s.shelf.len(); n < 2 || n > 70 {
			t.Errorf("%d blocks set aside in an hour, want about one a minute", n)
		}
		if got := s.forwarder.Stats(); got.State != uplink.Down || !strings.Contains(got.LastError, "no such tenant") {
			t.Errorf("%+v, want down and why", got)
		}
	})
}

func TestNothingIsAckedBeforeQuarantineHasIt(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, s *sea) {
		s.shelf.full = errors.New("disk full")
		s.shore.answer = func(_ context.Context, m uplink.Message) error {
			if m.First == 1 {
				return uplink.Permanent(errors.New("bad reading"))
			}
			return nil
		}
		s.tank.pour(reading.Normal, 4)
		s.run(t)
		pass(time.Minute)
		if got := s.tank.ackedUpTo(reading.Normal); got != 0 {
			t.Fatalf("acked up to %d, and nobody has it", got)
		}
		s.shelf.mu.Lock()
		s.shelf.full = nil
		s.shelf.mu.Unlock()
		pass(5 * time.Minute)
		if got := s.tank.ackedUpTo(reading.Normal); got != 4 || s.shelf.len() != 1 {
			t.Errorf("acked up to %d with %d blocks set aside, want 4 and 1", got, s.shelf.len())
		}
	})
}

func TestBlockThatCannotBeEncodedIsSetAside(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, s *sea) {
		s.encoder = encode.NewJSON("gw")
		s.tank.pour(reading.Normal, 4)
		s.tank.pour(reading.Normal, 4)
		s.tank.pour(reading.Normal, 4)
		damage(s.tank.blocks[reading.Normal][1].Raw)
		s.run(t)
		synctest.Wait()
		if got := s.tank.ackedUpTo(reading.Normal); got != 12 {
			t.Errorf("acked up to %d, want 12", got)
		}
		if s.shelf.len() != 1 || s.shelf.blocks[0].First != 5 || !strings.Contains(s.shelf.reasons[0], "corrupt") {
			t.Errorf("set aside: %v", s.shelf.reasons)
		}
		if got := s.forwarder.Stats(); got.AckedReadings != 8 || got.Retries != 0 {
			t.Errorf("%+v, want 8 readings acked and no retry", got)
		}
	})
}

// damage spoils the end of a block's body and makes the checksum match again.
func damage(raw []byte) {
	for i := len(raw) - 8; i < len(raw); i++ {
		raw[i] ^= 0xa5
	}
	table := crc32.MakeTable(crc32.Castagnoli)
	binary.LittleEndian.PutUint32(raw[4:], crc32.Update(crc32.Checksum(raw[:4], table), table, raw[8:]))
}

func TestBodiesKeepToMaxBatch(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, s *sea) {
		s.cfg.MaxBatch = 64 << 10
		s.encoder = encode.NewJSON("gw") // fifty times as large as its blocks
		for range 400 {
			s.tank.pour(reading.Normal, 40)
		}
		s.run(t)
		synctest.Wait()
		if got := s.tank.ackedUpTo(reading.Normal); got != 16000 {
			t.Errorf("acked up to %d, want 16000", got)
		}
		tried := s.shore.tried()
		for _, a := range tried {
			if len(a.Body) > 64<<10 {
				t.Errorf("a body of %d bytes", len(a.Body))
			}
		}
		if len(tried) > 80 {
			t.Errorf("%d messages for 2 MB of JSON, want them well filled", len(tried))
		}
	})
}

func TestSinkThatTakesSmallMessagesOnlyIsLearnedOnce(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, s *sea) {
		refused := 0
		s.shore.answer = func(_ context.Context, m uplink.Message) error {
			if len(m.Body) > 20<<10 {
				refused++
				return uplink.TooLarge(errors.New("413"))
			}
			return nil
		}
		for range 300 {
			s.tank.pourBytes(reading.Normal, 1500)
		}
		s.run(t)
		synctest.Wait()
		if got := s.tank.ackedUpTo(reading.Normal); got != 300 || s.shelf.len() != 0 {
			t.Errorf("acked up to %d, set aside %d", got, s.shelf.len())
		}
		if refused > 12 {
			t.Errorf("%d messages were refused as too large, want the size to be learned", refused)
		}
	})
}

package uplink_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/uplink"
	"github.com/tidegate/tidegate/wire"
)

// weather answers at random, and keeps account like a receiver that drops what
// it has already.
type weather struct {
	mu     sync.Mutex
	rng    *rand.Rand
	poison map[uint64]bool // sequence numbers of the normal lane
	have   [reading.Lanes]map[uint64]bool
}

func (w *weather) answer(ctx context.Context, m uplink.Message) error {
	w.mu.Lock()
	kind, delay := w.rng.IntN(10), time.Duration(w.rng.IntN(2000))*time.Millisecond
	w.mu.Unlock()
	select {
	case <-time.After(delay):
	case <-ctx.Done():
		return ctx.Err()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for seq := m.First; seq <= m.Last && m.Lane == reading.Normal; seq++ {
		if w.poison[seq] {
			return uplink.Permanent(fmt.Errorf("reading %d is bad", seq))
		}
	}
	switch kind {
	case 0:
		return errCut
	case 1:
		return uplink.RetryAfter(errors.New("busy"), 3*time.Second)
	}
	for seq := m.First; seq <= m.Last; seq++ {
		w.have[m.Lane][seq] = true
	}
	if kind == 2 {
		return errCut // it has arrived, and the answer was lost
	}
	return nil
}

// Whatever the sink answers, and wherever a crash falls, every reading is
// there in the end, or set aside; and nothing was acked that was neither.
func TestEveryReadingArrivesWhateverTheWeather(t *testing.T) {
	for seed := range uint64(10) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { sailThrough(t, seed) })
		})
	}
}

func sailThrough(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 1))
	w := &weather{rng: rand.New(rand.NewPCG(seed, 2)), poison: map[uint64]bool{}}
	for lane := range w.have {
		w.have[lane] = map[uint64]bool{}
	}
	for range rng.IntN(4) {
		w.poison[1+rng.Uint64N(1000)] = true
	}
	s := newSea()
	s.shore.answer = w.answer
	all := [reading.Lanes][]int{}
	for range 3 {
		s.run(t)
		for range 25 {
			lane, n := reading.Lane(rng.IntN(reading.Lanes)), 1+rng.IntN(60)
			if rng.IntN(20) == 0 {
				n = 3000
			}
			s.tank.pour(lane, n)
			all[lane] = append(all[lane], n)
			pass(time.Duration(rng.IntN(500)) * time.Millisecond)
		}
		checkAcked(t, s, w)
		crash(t, s, all)
	}
	s.run(t)
	pass(24 * time.Hour)
	checkAcked(t, s, w)
	for lane := range reading.Lane(reading.Lanes) {
		if acked, last := s.tank.ackedUpTo(lane), s.tank.lastOf(lane); acked != last {
			t.Errorf("%s: acked up to %d of %d after a day", lane, acked, last)
		}
	}
	s.stop()
	if err := <-s.ended; err != nil {
		t.Error(err)
	}
}

// checkAcked checks that everything acked has arrived or was set aside.
func checkAcked(t *testing.T, s *sea, w *weather) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	s.shelf.mu.Lock()
	defer s.shelf.mu.Unlock()
	aside := map[uint64]bool{}
	for _, b := range s.shelf.blocks {
		for seq := b.First; seq <= b.Last(); seq++ {
			aside[seq] = true
		}
	}
	for lane := range reading.Lane(reading.Lanes) {
		for seq := range s.tank.acked[lane] {
			if !w.have[lane][seq] && !(lane == reading.Normal && aside[seq]) {
				t.Fatalf("%s %d is acked, and nobody has it", lane, seq)
			}
		}
	}
}

// crash ends the Forwarder, and begins anew with what is not acked, as a
// restart does. all are the sizes of the blocks so far.
func crash(t *testing.T, s *sea, all [reading.Lanes][]int) {
	t.Helper()
	s.stop()
	if err := <-s.ended; err != nil {
		t.Fatal(err)
	}
	fresh := newTank()
	for lane := range reading.Lane(reading.Lanes) {
		for _, n := range all[lane] {
			fresh.pour(lane, n)
		}
		fresh.acked[lane] = s.tank.acked[lane]
		fresh.blocks[lane] = slices.DeleteFunc(fresh.blocks[lane], func(b wire.Block) bool { return fresh.acked[lane][b.First] })
	}
	s.tank = fresh
}

// thinLink is a link that all messages share: so many bytes a second, and a
// round trip for each. The first message of a connection costs one more.
type thinLink struct {
	mu        sync.Mutex
	rate      int // bytes a second
	roundTrip time.Duration
	free      time.Time // when the last byte so far has left
	conns     int       // made so far
	idle      int
	sent      int
}

func (l *thinLink) answer(ctx context.Context, m uplink.Message) error {
	time.Sleep(l.connect())
	time.Sleep(l.transmit(len(m.Body)+400) + l.roundTrip) // 400: headers
	l.mu.Lock()
	defer l.mu.Unlock()
	l.idle++
	return ctx.Err()
}

func (l *thinLink) connect() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.idle > 0 {
		l.idle--
		return 0
	}
	l.conns++
	return l.roundTrip
}

func (l *thinLink) transmit(n int) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if l.free.Before(now) {
		l.free = now
	}
	l.free = l.free.Add(time.Duration(n) * time.Second / time.Duration(l.rate))
	l.sent += n
	return l.free.Sub(now)
}

// 10,000 messages of four metrics over 256 kbit/s with a round trip of 300 ms.
func TestDrainsAThinLinkInTwoAndAHalfSeconds(t *testing.T) {
	for _, c := range []struct {
		name    string
		perOnce int // readings a commit
	}{{"CommitsOfABurst", 4000}, {"CommitsOfASecond", 400}} {
		t.Run(c.name, func(t *testing.T) {
			inVirtualTime(t, func(t *testing.T, s *sea) {
				link := &thinLink{rate: 256_000 / 8, roundTrip: 300 * time.Millisecond}
				s.shore.answer = link.answer
				for done := 0; done < 40_000; done += c.perOnce {
					s.tank.pour(reading.Normal, c.perOnce)
				}
				begun := time.Now()
				s.run(t)
				synctest.Wait()
				if err := s.forwarder.WaitIdle(t.Context()); err != nil {
					t.Fatal(err)
				}
				took := time.Since(begun)
				least := time.Duration(link.sent)*time.Second/time.Duration(link.rate) + 2*link.roundTrip
				t.Logf("%d bytes in %d messages, %v; the link alone needs %v", link.sent, len(s.shore.took()), took, least)
				if got := s.tank.ackedUpTo(reading.Normal); got != 40_000 {
					t.Errorf("acked up to %d, want 40000", got)
				}
				if took > 2500*time.Millisecond {
					t.Errorf("took %v, want at most 2.5 s", took)
				}
			})
		})
	}
}

// A link that has become a hundred times slower still gets everything through,
// in messages that it can carry.
func TestFitsItsMessagesToTheLink(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, s *sea) {
		link := &thinLink{rate: 1 << 20, roundTrip: 50 * time.Millisecond}
		s.shore.answer = func(ctx context.Context, m uplink.Message) error {
			if d := link.transmit(len(m.Body)) + link.roundTrip; d < 0 || !sleep(ctx, d) {
				return ctx.Err()
			}
			return nil
		}
		for range 500 {
			s.tank.pourBytes(reading.Normal, 10_000)
		}
		s.run(t)
		pass(2 * time.Second)
		large := 0
		for _, a := range s.shore.took() {
			large = max(large, len(a.Body))
		}
		if large < 128<<10 {
			t.Errorf("the largest message on a fast link has %d bytes, want it to grow towards 256 KiB", large)
		}
		link.mu.Lock()
		link.rate = 10 << 10
		link.mu.Unlock()
		pass(2 * time.Hour)
		took := s.shore.took()
		if got, want := s.tank.ackedUpTo(reading.Normal), s.tank.lastOf(reading.Normal); got != want {
			t.Errorf("acked up to %d of %d over the slow link", got, want)
		}
		if last := took[len(took)-1]; len(last.Body) > 64<<10 {
			t.Errorf("the last message has %d bytes, want it to fit the slow link", len(last.Body))
		}
	})
}

func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

package modbusin

import (
	"bytes"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidegate/tidegate/ingest/ingesttest"
)

// TestALateAnswerIsNeverTakenForTheNext delays one answer until after its time,
// to where the next question to the same slave would be under way.
func TestALateAnswerIsNeverTakenForTheNext(t *testing.T) {
	both(t, func(t *testing.T, p *puppet) {
		for late := 220 * time.Millisecond; late < 395*time.Millisecond; late += 15 * time.Millisecond {
			p.log = nil
			first := true
			p.script = func(q asked) []reply {
				if q.address == 0 && first {
					first = false
					return []reply{{late, p.frame(q, q.right())}}
				}
				return nil
			}
			slave := words(1, 0, 100) // two questions of equal form
			slave.Gap, slave.Retries = 0, 0
			s := run(t, p.config(slave))
			time.Sleep(3*time.Second + 500*time.Millisecond)
			if err := s.stop(); err != nil {
				t.Error(err)
			}
			must(t, s.custody.Stored())
			if n := len(s.custody.Stored()); n != 7 {
				t.Errorf("late by %v: %d readings, want 7 of 8", late, n)
			}
			st := s.Stats()
			if f := st.Slaves[0].Errors["no answer"]; f != 1 {
				t.Errorf("late by %v: no answer %d times", late, f)
			}
			if !p.rtu && st.Late != 1 || p.rtu && st.Stray != 7 {
				t.Errorf("late by %v: %+v", late, st)
			}
		}
	})
}

// TestFaultsLoseOneExchangeAndInventNothing breaks the first answer in every way
// and expects the retry to bring what it should have.
func TestFaultsLoseOneExchangeAndInventNothing(t *testing.T) {
	type fault struct {
		name, kind string
		bad        func(p *puppet, q asked) []byte
		tcp, rtu   bool
	}
	flip := func(at int) func(p *puppet, q asked) []byte {
		return func(p *puppet, q asked) []byte {
			f := p.frame(q, q.right())
			f[at] ^= 0x10
			return f
		}
	}
	faults := []fault{
		{"bad checksum", "wrong checksum", flip(23), false, true},
		{"a bit of the data", "wrong checksum", flip(5), false, true},
		{"the unit of another", "answer of another unit", func(p *puppet, q asked) []byte {
			right := q.right()
			q.unit++
			return p.frame(q, right)
		}, true, true},
		{"cut short", "malformed answer", func(p *puppet, q asked) []byte { f := p.frame(q, q.right()); return f[:len(f)-4] }, false, true},
		{"fewer words than asked", "malformed answer", func(p *puppet, q asked) []byte { q.count--; return p.frame(q, q.right()) }, true, true},
		{"another function", "malformed answer", func(p *puppet, q asked) []byte { q.fn = 4; return p.frame(q, q.right()) }, true, true},
		{"only noise", "malformed answer", func(p *puppet, q asked) []byte { return bytes.Repeat([]byte{1, 0x55, 0xaa}, 80) }, false, true},
		{"busy", "device busy", func(p *puppet, q asked) []byte { return p.frame(q, q.exception(6)) }, true, true},
		{"acknowledge", "acknowledge", func(p *puppet, q asked) []byte { return p.frame(q, q.exception(5)) }, true, true},
		{"no path", "gateway path unavailable", func(p *puppet, q asked) []byte { return p.frame(q, q.exception(10)) }, true, true},
		{"no target", "gateway target failed to respond", func(p *puppet, q asked) []byte { return p.frame(q, q.exception(11)) }, true, true},
	}
	both(t, func(t *testing.T, p *puppet) {
		for _, f := range faults {
			if p.rtu && !f.rtu || !p.rtu && !f.tcp {
				continue
			}
			p.log = nil
			p.script = func(q asked) []reply {
				if q.n == 0 {
					return []reply{{5 * time.Millisecond, f.bad(p, q)}}
				}
				return nil
			}
			s := run(t, p.config(words(1, upTo(10)...)))
			time.Sleep(900 * time.Millisecond)
			if err := s.stop(); err != nil {
				t.Error(err)
			}
			must(t, s.custody.Stored())
			st := s.Stats().Slaves[0]
			if n := len(s.custody.Stored()); n != 10 || len(st.Errors) != 1 || st.Errors[f.kind] != 1 || !st.Up || st.Asked != 2 {
				t.Errorf("%s: %d readings, %+v", f.name, n, st)
			}
			if seen := p.seen(); f.kind == "wrong checksum" && seen[1].at.Sub(seen[0].at) > 80*time.Millisecond {
				t.Errorf("%s: asked again only after %v", f.name, seen[1].at.Sub(seen[0].at))
			}
		}
	})
}

// TestNoiseBeforeAnAnswerAndEchoAreBorne tries what cheap adapters do.
func TestNoiseBeforeAnAnswerAndEchoAreBorne(t *testing.T) {
	for name, before := range map[string]func(p *puppet, q asked) []byte{
		"a byte of the switch of direction": func(*puppet, asked) []byte { return []byte{0} },
		"noise with our unit in it":         func(*puppet, asked) []byte { return []byte{1, 3, 20, 1, 3, 0xff} },
		"an echo":                           echo,
		"a damaged echo":                    func(p *puppet, q asked) []byte { f := echo(p, q); f[7] ^= 1; return f },
		"an echo with noise before":         func(p *puppet, q asked) []byte { return append([]byte{0xfe}, echo(p, q)...) },
		"a late answer of another":          func(p *puppet, q asked) []byte { q.unit = 9; return p.frame(q, q.right()) },
		"a late answer of another form":     func(p *puppet, q asked) []byte { q.count -= 3; return p.frame(q, q.right()) },
		"more noise than fits":              func(*puppet, asked) []byte { return bytes.Repeat([]byte{0x55}, 700) },
	} {
		synctest.Test(t, func(t *testing.T) {
			p := &puppet{rtu: true}
			p.script = func(q asked) []reply {
				noise, answer := before(p, q), p.frame(q, q.right())
				return []reply{{time.Millisecond, noise}, {3 * time.Millisecond, answer[:7]}, {12 * time.Millisecond, answer[7:]}}
			}
			s := run(t, p.config(words(1, upTo(10)...)))
			time.Sleep(900 * time.Millisecond)
			if err := s.stop(); err != nil {
				t.Error(err)
			}
			must(t, s.custody.Stored())
			if st := s.Stats().Slaves[0]; len(s.custody.Stored()) != 10 || st.Asked != 1 || len(st.Errors) != 0 {
				t.Errorf("%s: %d readings, %+v", name, len(s.custody.Stored()), st)
			}
		})
	}
}

// TestAnEchoThatLooksLikeAnAnswerIsWaitedFor: the address of word 512 begins with
// 2, as does the answer for one word, so that an echo is what an answer begins
// with; and the slave takes its time.
func TestAnEchoThatLooksLikeAnAnswerIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &puppet{rtu: true}
		p.script = func(q asked) []reply {
			return []reply{{time.Millisecond, echo(p, q)}, {150 * time.Millisecond, p.frame(q, q.right())}}
		}
		s := run(t, p.config(words(1, 512)))
		time.Sleep(4500 * time.Millisecond)
		if err := s.stop(); err != nil {
			t.Error(err)
		}
		must(t, s.custody.Stored())
		if st := s.Stats().Slaves[0]; len(s.custody.Stored()) != 5 || len(st.Errors) != 0 {
			t.Errorf("%d readings, %+v", len(s.custody.Stored()), st)
		}
	})
}

func echo(_ *puppet, q asked) []byte {
	f := []byte{q.unit, q.fn, byte(q.address >> 8), byte(q.address), byte(q.count >> 8), byte(q.count)}
	crc := slowCRC(f)
	return append(f, byte(crc), byte(crc>>8))
}

// TestALineThatIsNeverQuietIsNotTalkedInto: a device that sends for ever.
func TestALineThatIsNeverQuietIsNotTalkedInto(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &puppet{rtu: true}
		s := run(t, p.config(words(1, 0)))
		synctest.Wait()
		p.mu.Lock()
		conn := p.conns[0]
		p.mu.Unlock()
		time.Sleep(500 * time.Millisecond)
		talking := make(chan struct{})
		go func() {
			defer close(talking)
			for range 2000 { // for two seconds
				if _, err := conn.Write([]byte{0x55}); err != nil {
					return
				}
				time.Sleep(time.Millisecond)
			}
		}()
		<-talking
		if n := len(p.seen()); n != 1 {
			t.Errorf("asked %d times while somebody else talked", n-1)
		}
		time.Sleep(40 * time.Second)
		if st := s.Stats(); st.Stray < 100 || st.Slaves[0].Errors["malformed answer"] == 0 || !st.Slaves[0].Up {
			t.Errorf("%+v", st)
		}
		if err := s.stop(); err != nil {
			t.Error(err)
		}
	})
}

// TestABadRegisterCostsItsNeighboursNothing: addresses that the slave refuses
// are found by halving, reported once, left out, and tried again.
func TestABadRegisterCostsItsNeighboursNothing(t *testing.T) {
	both(t, func(t *testing.T, p *puppet) {
		start := time.Now()
		p.script = func(q asked) []reply {
			bad := []uint16{13, 40, 41}
			if time.Since(start) > 2*time.Second {
				bad = bad[:1]
			}
			for _, a := range bad {
				if q.address <= a && a < q.address+q.count {
					return []reply{{time.Millisecond, p.frame(q, q.exception(2))}}
				}
			}
			return nil
		}
		var log bytes.Buffer
		custody := ingesttest.NewCustody()
		custody.CommitAtOnce()
		s := runInto(t, p.config(words(1, upTo(64)...)), custody, slog.New(slog.NewTextHandler(&log, nil)))
		time.Sleep(900 * time.Millisecond)
		if n := len(custody.Stored()); n != 61 {
			t.Fatalf("the first poll gave %d readings, want 61", n)
		}
		halving := len(p.seen())
		time.Sleep(time.Second)
		if n := len(p.seen()) - halving; n != 3 { // 0..12, 14..39, 42..63
			t.Errorf("then %d questions a poll: %v", n, p.seen()[halving:])
		}
		if st := s.Stats().Slaves[0]; st.Bad != 3 || !st.Up {
			t.Errorf("%+v", st)
		}
		time.Sleep(time.Hour)
		if err := s.stop(); err != nil {
			t.Error(err)
		}
		must(t, custody.Stored())
		if st := s.Stats().Slaves[0]; st.Bad != 1 {
			t.Errorf("after an hour: %+v", st)
		}
		if n := strings.Count(log.String(), "does not have a register"); n != 3 {
			t.Errorf("%d warnings:\n%s", n, log.String())
		}
		t.Logf("found in %d questions", halving)
	})
}

// TestABlockThatIsRefusedAsAWholeIsReadInParts: no register is bad, but the
// device does not read across a border. What was joined once and refused again
// stays in parts.
func TestABlockThatIsRefusedAsAWholeIsReadInParts(t *testing.T) {
	both(t, func(t *testing.T, p *puppet) {
		p.script = func(q asked) []reply {
			if q.address < 20 && q.address+q.count > 20 {
				return []reply{{time.Millisecond, p.frame(q, q.exception(2))}}
			}
			return nil
		}
		s := run(t, p.config(words(1, upTo(40)...)))
		time.Sleep(4500 * time.Millisecond)
		if err := s.stop(); err != nil {
			t.Error(err)
		}
		must(t, s.custody.Stored())
		if n := len(s.custody.Stored()); n != 5*40 {
			t.Errorf("%d readings, want 200", n)
		}
		if refused := s.Stats().Slaves[0].Errors["illegal data address"]; refused > 2 {
			t.Errorf("refused %d times", refused)
		}
	})
}

func TestAnUnreadableSlaveIsReportedOnceAndStaysUp(t *testing.T) {
	both(t, func(t *testing.T, p *puppet) {
		p.script = func(q asked) []reply { return []reply{{time.Millisecond, p.frame(q, q.exception(1))}} }
		var log bytes.Buffer
		custody := ingesttest.NewCustody()
		s := runInto(t, p.config(words(1, 0)), custody, slog.New(slog.NewTextHandler(&log, nil)))
		time.Sleep(9500 * time.Millisecond)
		if err := s.stop(); err != nil {
			t.Error(err)
		}
		st := s.Stats().Slaves[0]
		if len(custody.Taken(t, 0)) != 0 || !st.Up || st.Errors["illegal function"] != 10 || strings.Count(log.String(), "illegal function") != 1 {
			t.Errorf("%+v\n%s", st, log.String())
		}
	})
}

func TestStatusIsToldOnChange(t *testing.T) {
	both(t, func(t *testing.T, p *puppet) {
		start := time.Now()
		p.script = func(q asked) []reply {
			if at := time.Since(start); at > 10*time.Second && at < 100*time.Second {
				return []reply{}
			}
			return nil
		}
		slave := words(1, 0)
		slave.Status = "up"
		s := run(t, p.config(slave))
		time.Sleep(3 * time.Minute)
		if err := s.stop(); err != nil {
			t.Error(err)
		}
		var told []string
		for _, r := range s.custody.Stored() {
			if r.Metric == "up" {
				told = append(told, r.Value.String()+" "+string('0'+rune(r.Flags.Quality())))
			}
		}
		if want := []string{"true 0", "false 2", "true 0"}; !slices.Equal(told, want) {
			t.Errorf("told %v, want %v", told, want)
		}
	})
}

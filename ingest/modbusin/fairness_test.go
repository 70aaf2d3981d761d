package modbusin

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/ingest/ingesttest"
	"github.com/tidegate/tidegate/reading"
)

// inBubble runs a part of a test in virtual time.
func inBubble(t *testing.T, name string, test func(t *testing.T)) {
	t.Run(name, func(t *testing.T) { synctest.Test(t, test) })
}

// byUnit counts questions.
func byUnit(all []asked) map[byte]int {
	n := make(map[byte]int)
	for _, q := range all {
		n[q.unit]++
	}
	return n
}

// TestManyDeadSlavesCostTheOthersLittle: a floor without power. Their probes
// alone would keep the bus busy for longer than there is time between them.
func TestManyDeadSlavesCostTheOthersLittle(t *testing.T) {
	both(t, func(t *testing.T, p *puppet) {
		const slaves, dead = 60, 50
		power := &atomic.Bool{}
		p.script = func(q asked) []reply {
			if q.unit > slaves-dead && !power.Load() {
				return []reply{}
			}
			return nil
		}
		var all []Slave
		for unit := byte(1); unit <= slaves; unit++ {
			s := words(unit, upTo(10)...)
			s.Device = fmt.Sprintf("d%d", unit)
			s.Timeout, s.Every = time.Second, 5*time.Second
			all = append(all, s)
		}
		s := run(t, p.config(all...))
		time.Sleep(10 * time.Minute) // to learn who is dead
		before := len(p.seen())
		time.Sleep(10 * time.Minute)
		asked := byUnit(p.seen()[before:])
		for unit := byte(1); unit <= slaves; unit++ {
			switch n := asked[unit]; {
			case unit <= slaves-dead && n < 118:
				t.Errorf("slave %d was asked %d times in 600 s, and should have been 120 times", unit, n)
			case unit > slaves-dead && n < 2:
				t.Errorf("dead slave %d was asked %d times in 600 s", unit, n)
			}
		}
		power.Store(true)
		time.Sleep(time.Minute)
		for _, st := range s.Stats().Slaves {
			if !st.Up {
				t.Errorf("unit %d is not known to be back after a minute", st.Unit)
			}
		}
		if err := s.stop(); err != nil {
			t.Error(err)
		}
	})
}

// TestAConnectionThatOneSlavesQuestionsEndDoesNotSilenceTheOthers: gateways
// that close it when a unit is not there.
func TestAConnectionThatOneSlavesQuestionsEndDoesNotSilenceTheOthers(t *testing.T) {
	for name, c := range map[string]struct {
		from, every time.Duration
		runs        int
	}{"from the first question on": {0, time.Second, 2}, "later, and while the others say nothing": {25 * time.Second, 10 * time.Second, 1}} {
		inBubble(t, name, func(t *testing.T) {
			p := &puppet{took: time.Millisecond}
			start := time.Now()
			p.script = func(q asked) []reply {
				if q.unit != 2 || time.Since(start) < c.from {
					return nil
				}
				p.mu.Lock()
				defer p.mu.Unlock()
				p.conns[len(p.conns)-1].Close()
				return []reply{}
			}
			one, two, three := words(1, 0), words(2, 0), words(3, 0)
			one.Every, three.Every = c.every, c.every
			s, err := New(p.config(one, two, three), quietLog())
			if err != nil {
				t.Fatal(err)
			}
			custody := ingesttest.NewCustody()
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
			defer cancel()
			runs := 0
			for ; ctx.Err() == nil; runs++ { // as the daemon does
				s.Run(ctx, ingest.NewIntake(custody, nil, time.Now))
				select {
				case <-ctx.Done():
				case <-time.After(15 * time.Second):
				}
			}
			n := count(custody.Taken(t, 0))
			if least := int(10*time.Minute/c.every) - 20; n["device-a"] < least || n["device-c"] < least || runs > c.runs {
				t.Errorf("%v readings in 600 s, in %d runs", n, runs)
			}
		})
	}
}

// patient is a custody that takes its time.
type patient struct {
	sink
	wait  func(rs []reading.Reading) time.Duration
	taken []reading.Reading
}

func (c *patient) Accept(ctx context.Context, rs []reading.Reading, notes ...reading.Note) (ingest.Receipt, error) {
	time.Sleep(c.wait(rs))
	c.taken = append(c.taken, rs...)
	return c.sink.Accept(ctx, rs, notes...)
}

// TestAnswersThatCameWhileCustodyBlockedAreTaken: the gateway was late, not the
// slaves.
func TestAnswersThatCameWhileCustodyBlockedAreTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &puppet{}
		p.script = func(q asked) []reply {
			return []reply{{time.Duration(10*q.unit) * time.Millisecond, p.frame(q, q.right())}}
		}
		var all []Slave
		for unit := byte(1); unit <= 5; unit++ {
			s := words(unit, 0)
			s.Retries = 0
			all = append(all, s)
		}
		cfg := p.config(all...)
		cfg.Pipeline = 5
		s, err := New(cfg, quietLog())
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		custody := &patient{wait: func([]reading.Reading) time.Duration {
			if d := time.Since(start); d > 3*time.Second && d < 4*time.Second {
				return 3 * time.Minute
			}
			return 0
		}}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		if err := s.Run(ctx, ingest.NewIntake(custody, nil, time.Now)); err != nil {
			t.Error(err)
		}
		for _, st := range s.Stats().Slaves {
			if len(st.Errors) != 0 || st.Answers+1 < st.Asked {
				t.Errorf("%+v", st)
			}
		}
	})
}

// TestAnswersOfARoundThatIsOverAreNotTakenIntoTheNext: a slave is taken for dead
// while more questions are under way, and then answers the rest of them.
func TestAnswersOfARoundThatIsOverAreNotTakenIntoTheNext(t *testing.T) {
	for name, every := range map[string]time.Duration{"one interval": time.Second, "two": 500 * time.Millisecond} {
		inBubble(t, name, func(t *testing.T) {
			p := &puppet{took: time.Millisecond}
			start := time.Now()
			p.script = func(q asked) []reply {
				took := map[uint16]time.Duration{0: 150, 100: 160, 200: 0, 300: 0, 400: 0, 500: 60, 600: 70}
				after, ok := took[q.address]
				if at := q.at.Sub(start); !ok || at < 900*time.Millisecond || at > 1190*time.Millisecond {
					return nil
				}
				if after == 0 {
					return []reply{}
				}
				return []reply{{after * time.Millisecond, p.frame(q, q.right())}}
			}
			slave := words(1, 0, 100, 200, 300, 400, 500, 600, 700, 800, 900)
			slave.Registers[9].Every = every
			slave.Retries = 0
			cfg := p.config(slave)
			cfg.Pipeline = 5
			s := run(t, cfg)
			time.Sleep(10*time.Second + 500*time.Millisecond)
			if err := s.stop(); err != nil {
				t.Error(err)
			}
			must(t, s.custody.Stored())
			seen := make(map[string]int64)
			for _, r := range s.custody.Stored() {
				if d := time.Duration(r.Time - seen[r.Metric]); d < 30*time.Millisecond {
					t.Errorf("%s twice within %v", r.Metric, d)
				}
				seen[r.Metric] = r.Time
			}
			if st := s.Stats().Slaves[0]; st.Polls < 10 {
				t.Errorf("the slave stands still: %+v", st)
			}
		})
	}
}

// TestABrokenBufferIsNotTakenForSilentSlaves: nobody is to look for a loose
// cable when the disk is full of errors.
func TestABrokenBufferIsNotTakenForSilentSlaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &puppet{took: time.Millisecond}
		slave := words(1, 0)
		slave.Status = "wup"
		custody := ingesttest.NewCustody()
		custody.CommitAtOnce()
		s := runInto(t, p.config(slave, words(2, 0)), custody, quietLog())
		time.Sleep(1500 * time.Millisecond)
		custody.Refuse(errors.New("input/output error"))
		time.Sleep(time.Second)
		if err := s.stop(); err == nil {
			t.Error("the run goes on")
		}
		for _, st := range s.Stats().Slaves {
			if !st.Up {
				t.Errorf("%+v", st)
			}
		}
	})
}

// TestALateAnswerIsNotTakenForTheNextWhenProbesComeSoon: a probe interval that is
// shorter than the timeout.
func TestALateAnswerIsNotTakenForTheNextWhenProbesComeSoon(t *testing.T) {
	for _, scheme := range []string{"rtu:/dev/puppet", "rtu+tcp://puppet:4001"} {
		inBubble(t, scheme, func(t *testing.T) {
			p := &puppet{rtu: true}
			p.script = func(q asked) []reply {
				late := 2 * time.Second
				if q.n < 3 {
					late = 6600 * time.Millisecond
				}
				return []reply{{late, p.frame(q, q.right())}}
			}
			slave := words(1, 0, 100, 200)
			slave.Timeout, slave.Probe, slave.Retries = 5*time.Second, time.Second, 0
			cfg := p.config(slave)
			cfg.URL = scheme
			s := run(t, cfg)
			time.Sleep(10 * time.Minute)
			if err := s.stop(); err != nil {
				t.Error(err)
			}
			must(t, s.custody.Stored())
		})
	}
}

// TestAnEchoIsNeverTakenForAnAnswer: a request for 17 to 24 bits at an address
// from 768 on looks like the answer to itself, with its checksum.
func TestAnEchoIsNeverTakenForAnAnswer(t *testing.T) {
	for name, before := range map[string][]byte{"plain": nil, "noise before": {0}, "more noise": {1, 1, 3, 0xff}} {
		inBubble(t, name, func(t *testing.T) {
			p := &puppet{rtu: true}
			p.script = func(q asked) []reply {
				return []reply{
					{time.Millisecond, append(before[:len(before):len(before)], echo(p, q)...)},
					{20 * time.Millisecond, p.frame(q, q.right())},
				}
			}
			slave := words(1)
			for a := range uint16(24) {
				slave.Registers = append(slave.Registers, Register{Metric: metric(768 + a), Table: Coil, Address: 768 + a})
			}
			s := run(t, p.config(slave))
			time.Sleep(900 * time.Millisecond)
			if err := s.stop(); err != nil {
				t.Error(err)
			}
			rs := s.custody.Stored()
			for i, r := range rs {
				if want := reading.Bool(bit(768 + uint16(i))); r.Value != want {
					t.Errorf("%s: %s is %v, want %v", name, r.Metric, r.Value, want)
				}
			}
			if len(rs) != 24 {
				t.Errorf("%s: %d readings, want 24: %+v", name, len(rs), s.Stats().Slaves[0])
			}
		})
	}
}

// TestAStateThatWasNotStoredIsToldAgain, also when no poll goes well any more.
func TestAStateThatWasNotStoredIsToldAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &puppet{script: func(asked) []reply { return []reply{} }}
		slave := words(1, 0)
		slave.Status = "wup"
		custody := ingesttest.NewCustody()
		s, err := New(p.config(slave), quietLog())
		if err != nil {
			t.Fatal(err)
		}
		intake := ingest.NewIntake(custody, nil, time.Now)
		intake.OnLoss(s.Filters()[0])
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		time.AfterFunc(10*time.Second, func() { custody.Fail(errors.New("write error")) })
		if err := s.Run(ctx, intake); err != nil {
			t.Error(err)
		}
		custody.Commit()
		if rs := custody.Stored(); len(rs) != 1 || rs[0].Value != reading.Bool(false) {
			t.Errorf("stored %v", rs)
		}
	})
}

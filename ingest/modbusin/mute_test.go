package modbusin

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// TestASlaveThatIsSilentForOneRequestIsReadOtherwise: many do not refuse what
// they do not have, but say nothing.
func TestASlaveThatIsSilentForOneRequestIsReadOtherwise(t *testing.T) {
	for _, retries := range []int{0, 1, 2, 5} {
		t.Run(fmt.Sprint(retries), func(t *testing.T) {
			both(t, func(t *testing.T, p *puppet) {
				p.script = func(q asked) []reply {
					if q.unit == 1 && q.address == 0 {
						return []reply{}
					}
					return nil
				}
				slave := words(1, 0, 100, 200)
				slave.Status, slave.Every, slave.Retries = "wup", 5*time.Second, retries
				s := run(t, p.config(slave, words(2, 0)))
				time.Sleep(10 * time.Minute)
				if err := s.stop(); err != nil {
					t.Error(err)
				}
				told, n := 0, 0
				for _, r := range s.custody.Stored() {
					switch {
					case r.Device != "device-a":
					case r.Metric == "wup":
						told++
					default:
						n++
					}
				}
				st := s.Stats().Slaves[0]
				if told != 1 || n < 2*110 || !st.Up || st.Bad != 1 || st.Errors["no answer"] > 40 {
					t.Errorf("%d readings in 120 polls, told %d times of its state, %+v", n, told, st)
				}
			})
		})
	}
}

// TestARequestThatWasLostNowAndThenIsNotLeftOut, be it lost with its repetitions.
func TestARequestThatWasLostNowAndThenIsNotLeftOut(t *testing.T) {
	both(t, func(t *testing.T, p *puppet) {
		start := time.Now()
		p.script = func(q asked) []reply {
			if at := time.Since(start) % (10 * time.Second); q.address == 0 && at > 4*time.Second && at < 6*time.Second {
				return []reply{}
			}
			return nil
		}
		slave := words(1, 0, 100, 200)
		slave.Every = 2 * time.Second
		s := run(t, p.config(slave))
		for range 60 {
			time.Sleep(10 * time.Second)
			if st := s.Stats().Slaves[0]; st.Bad != 0 || !st.Up {
				t.Fatalf("%+v", st)
			}
		}
		if err := s.stop(); err != nil {
			t.Error(err)
		}
		if n := len(s.custody.Stored()); n < 3*300-100 {
			t.Errorf("%d readings of 300 polls", n)
		}
	})
}

// TestADeadSlaveIsKnownSoon, whatever there is to ask.
func TestADeadSlaveIsKnownSoon(t *testing.T) {
	for _, c := range []struct{ retries, requests, questions int }{{0, 1, 3}, {0, 9, 3}, {2, 1, 3}, {2, 9, 4}, {5, 9, 7}} {
		inBubble(t, fmt.Sprint(c), func(t *testing.T) {
			p := &puppet{rtu: true}
			start := time.Now()
			p.script = func(asked) []reply {
				if time.Since(start) > 3*time.Second {
					return []reply{}
				}
				return nil
			}
			slave := words(1)
			for i := range uint16(c.requests) {
				slave.Registers = append(slave.Registers, Register{Metric: metric(100 * i), Table: Holding, Address: 100 * i})
			}
			slave.Retries, slave.Every = c.retries, 5*time.Second
			s := run(t, p.config(slave))
			time.Sleep(4 * time.Second)
			before := len(p.seen())
			time.Sleep(25 * time.Second)
			if n := len(p.seen()) - before; n != c.questions || s.Stats().Slaves[0].Up {
				t.Errorf("asked %d times, want %d: %+v", n, c.questions, s.Stats().Slaves[0])
			}
			if err := s.stop(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestASlowLineMayPauseWithinAnAnswer: at 300 baud a character takes 33 ms, and an
// adapter holds it back for 16 more.
func TestASlowLineMayPauseWithinAnAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &puppet{rtu: true}
		p.script = func(q asked) (all []reply) {
			answer := p.frame(q, q.right())
			for i := range answer {
				all = append(all, reply{time.Duration(1+60*i) * time.Millisecond, answer[i : i+1]})
			}
			return all
		}
		slave := words(1, 0)
		slave.Timeout = time.Second
		cfg := p.config(slave)
		cfg.Serial.Baud = 300
		s := run(t, cfg)
		time.Sleep(3500 * time.Millisecond)
		if err := s.stop(); err != nil {
			t.Error(err)
		}
		if st := s.Stats().Slaves[0]; len(s.custody.Stored()) < 3 || len(st.Errors) != 0 {
			t.Errorf("%d readings, %+v", len(s.custody.Stored()), st)
		}
	})
}

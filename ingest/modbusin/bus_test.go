package modbusin

import (
	"testing"
	"testing/synctest"
	"time"
)

// both runs a test over TCP and over a serial line, in virtual time.
func both(t *testing.T, test func(t *testing.T, p *puppet)) {
	for name, rtu := range map[string]bool{"tcp": false, "rtu": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { test(t, &puppet{rtu: rtu, took: 5 * time.Millisecond}) })
		})
	}
}

func TestPollsInItsIntervalWithOneAcceptAPoll(t *testing.T) {
	both(t, func(t *testing.T, p *puppet) {
		s := run(t, p.config(words(1, upTo(10)...)))
		time.Sleep(10*time.Second + 500*time.Millisecond)
		if err := s.stop(); err != nil {
			t.Error(err)
		}
		rs := s.custody.Stored()
		must(t, rs)
		if len(rs) != 110 || len(p.seen()) != 11 {
			t.Errorf("%d readings by %d questions, want 110 by 11", len(rs), len(p.seen()))
		}
		for i := 1; i < 11; i++ {
			if d := p.seen()[i].at.Sub(p.seen()[i-1].at); d != time.Second {
				t.Errorf("polls %v apart", d)
			}
		}
		for i, r := range rs {
			if want := p.seen()[i/10].at.Add(p.took); r.Time < want.UnixMilli()*1e6 || r.Time > want.Add(2*time.Millisecond).UnixNano() {
				t.Errorf("reading %d was stamped %v, and the answer came at %v", i, time.Unix(0, r.Time), want)
			}
		}
	})
}

// TestADeadSlaveCostsTheOthersNothing is about the oldest complaint of Modbus:
// one device without power, and the bus stands still.
func TestADeadSlaveCostsTheOthersNothing(t *testing.T) {
	both(t, func(t *testing.T, p *puppet) {
		const slaves, dead = 10, 5
		p.script = func(q asked) []reply {
			if q.unit == dead {
				return []reply{}
			}
			return nil
		}
		var all []Slave
		for unit := byte(1); unit <= slaves; unit++ {
			all = append(all, words(unit, upTo(10)...))
		}
		s := run(t, p.config(all...))
		time.Sleep(10 * time.Minute)
		if err := s.stop(); err != nil {
			t.Error(err)
		}
		asked := make(map[byte]int)
		for _, q := range p.seen() {
			asked[q.unit]++
		}
		for unit, n := range asked {
			switch {
			case unit == dead && (n < 20 || n > 23): // 3, and then one each 30 s
				t.Errorf("the dead slave was asked %d times", n)
			case unit != dead && n < 595:
				t.Errorf("slave %d was asked %d times in 600 s", unit, n)
			}
		}
		st := s.Stats()
		if d := st.Slaves[dead-1]; d.Up || !d.Known || d.Answers != 0 || d.Errors["no answer"] != uint64(asked[dead]) {
			t.Errorf("%+v", d)
		}
		t.Logf("asked in 600 s: %v", asked)
	})
}

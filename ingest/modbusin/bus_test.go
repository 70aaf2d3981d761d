package modbusin

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/reading"
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

// TestASlaveWithMuchToSayTakesTurns: one with 200 requests a poll does not keep
// another one waiting.
func TestASlaveWithMuchToSayTakesTurns(t *testing.T) {
	both(t, func(t *testing.T, p *puppet) {
		long := words(1)
		for i := range uint16(200) {
			long.Registers = append(long.Registers, Register{Metric: metric(3 * i), Table: Holding, Address: 3 * i})
		}
		long.Every = 30 * time.Second
		s := run(t, p.config(words(2, 0), long, words(3, 0)))
		time.Sleep(time.Minute)
		if err := s.stop(); err != nil {
			t.Error(err)
		}
		must(t, s.custody.Stored())
		last := make(map[byte]time.Time)
		for _, q := range p.seen() {
			if before, ok := last[q.unit]; ok && q.unit != 1 && q.at.Sub(before) > time.Second+60*time.Millisecond {
				t.Errorf("slave %d was asked after %v", q.unit, q.at.Sub(before))
			}
			last[q.unit] = q.at
		}
	})
}

func TestABusySlaveIsLeftAloneForLongerAndLonger(t *testing.T) {
	both(t, func(t *testing.T, p *puppet) {
		start := time.Now()
		p.script = func(q asked) []reply {
			if time.Since(start) < time.Minute {
				return []reply{{time.Millisecond, p.frame(q, q.exception(6))}}
			}
			return nil
		}
		s := run(t, p.config(words(1, 0)))
		time.Sleep(time.Minute)
		busy := len(p.seen())
		time.Sleep(time.Minute)
		if err := s.stop(); err != nil {
			t.Error(err)
		}
		if st := s.Stats().Slaves[0]; busy < 8 || busy > 16 || st.Polls < 45 || !st.Up {
			t.Errorf("asked %d times while it was busy; %+v", busy, st)
		}
	})
}

// TestADeviceThatRefusesEverythingWhileItStartsIsReadSoonAfter: its registers
// count as bad, but not for long.
func TestADeviceThatRefusesEverythingWhileItStartsIsReadSoonAfter(t *testing.T) {
	both(t, func(t *testing.T, p *puppet) {
		start := time.Now()
		p.script = func(q asked) []reply {
			if at := time.Since(start); at > 10*time.Second && at < 20*time.Second {
				return []reply{{time.Millisecond, p.frame(q, q.exception(2))}}
			}
			return nil
		}
		s := run(t, p.config(words(1, upTo(8)...)))
		time.Sleep(2 * time.Minute)
		if err := s.stop(); err != nil {
			t.Error(err)
		}
		if n := len(s.custody.Stored()); n < 8*55 {
			t.Errorf("%d readings of 8 registers in 120 s with a gap", n)
		}
		if st := s.Stats().Slaves[0]; st.Bad != 0 {
			t.Errorf("%+v", st)
		}
	})
}

// accepts remembers how many readings each Accept had.
type accepts struct {
	sink
	sizes []int
}

func (a *accepts) Accept(ctx context.Context, rs []reading.Reading, notes ...reading.Note) (ingest.Receipt, error) {
	a.sizes = append(a.sizes, len(rs))
	return a.sink.Accept(ctx, rs, notes...)
}

func TestTheReadingsOfAPollAreAcceptedTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &puppet{took: time.Millisecond}
		s, err := New(p.config(words(1, 0, 10, 20, 30)), quietLog())
		if err != nil {
			t.Fatal(err)
		}
		custody := &accepts{}
		ctx, cancel := context.WithTimeout(t.Context(), 2500*time.Millisecond)
		defer cancel()
		if err := s.Run(ctx, ingest.NewIntake(custody, nil, time.Now)); err != nil {
			t.Error(err)
		}
		if !slices.Equal(custody.sizes, []int{4, 4, 4}) || len(p.seen()) != 12 {
			t.Errorf("%v with %d questions", custody.sizes, len(p.seen()))
		}
	})
}

package modbusin

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidegate/tidegate/reading"
)

// badDay is a script in which everything happens, now and then: nothing, late,
// damaged, cut, foreign, doubled and noisy answers, exceptions, and slaves that
// are dead for a while.
type badDay struct {
	mu     sync.Mutex // a connection that is made anew overlaps the old one
	p      *puppet
	random *rand.Rand
	start  time.Time
}

// late answers are later than the timeout of 200 ms and earlier than twice that.
func (d *badDay) late() time.Duration {
	return 216*time.Millisecond + time.Duration(d.random.Int64N(int64(180*time.Millisecond)))
}

func (d *badDay) noise() []byte {
	b := make([]byte, 1+d.random.IntN(60))
	for i := range b {
		b[i] = []byte{1, 2, 3, 4, 20, 0x83, 0, 0xff, byte(d.random.Uint32())}[d.random.IntN(9)]
	}
	return b
}

func (d *badDay) script(q asked) []reply {
	d.mu.Lock()
	defer d.mu.Unlock()
	if minute := int(time.Since(d.start).Minutes()); minute%5 == int(q.unit) {
		return []reply{} // no power
	}
	right := d.p.frame(q, q.right())
	took := time.Duration(1+d.random.IntN(30)) * time.Millisecond
	damaged := append([]byte(nil), right...)
	switch d.random.IntN(32) {
	case 0:
		return []reply{}
	case 1, 2:
		return []reply{{d.late(), right}}
	case 3:
		return []reply{{took, d.p.frame(q, q.exception([]byte{1, 3, 4, 5, 6, 8, 10, 11}[d.random.IntN(8)]))}}
	case 4:
		if !d.p.rtu {
			return []reply{{took, right}, {took + time.Millisecond, right}} // doubled
		}
		damaged[d.random.IntN(len(damaged))] ^= 1 << d.random.IntN(8)
		return []reply{{took, damaged}}
	case 5:
		if !d.p.rtu {
			return nil
		}
		return []reply{{took, right[:d.random.IntN(len(right))]}}
	case 6:
		if !d.p.rtu {
			return nil
		}
		return []reply{{took, d.noise()}, {took + 5*time.Millisecond, right}}
	case 7:
		q.unit++
		return []reply{{took, d.p.frame(q, q.right())}}
	case 8:
		if !d.p.rtu {
			return nil
		}
		return []reply{{time.Millisecond, echo(d.p, q)}, {took + time.Millisecond, right}}
	case 9:
		if !d.p.rtu {
			return nil
		}
		cut := d.random.IntN(len(right))
		return []reply{{took, right[:cut]}, {took + time.Duration(d.random.IntN(20))*time.Millisecond + 1, right[cut:]}}
	}
	return []reply{{took, right}}
}

// TestABadDayInventsNothing lets slaves with questions of equal form go through
// hours of faults. Every reading must be what its register holds, every slave
// must be read most of the time, and nothing may stand still.
func TestABadDayInventsNothing(t *testing.T) {
	const hours = 1.0
	for seed := range uint64(3) {
		for _, pipeline := range []int{0, 1, 4} { // 0 stands for a serial line
			t.Run(fmt.Sprintf("seed%d-pipeline%d", seed, pipeline), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					p := &puppet{rtu: pipeline == 0, took: 5 * time.Millisecond}
					day := &badDay{p: p, random: rand.New(rand.NewPCG(seed, uint64(pipeline))), start: time.Now()}
					p.script = day.script
					var slaves []Slave
					for unit := byte(1); unit <= 4; unit++ {
						s := words(unit, 0, 1, 2, 10, 11, 12, 20, 21, 22, 100)
						s.Every, s.Probe, s.Status = 2*time.Second, 10*time.Second, "wup"
						slaves = append(slaves, s)
					}
					cfg := p.config(slaves...)
					cfg.Pipeline = max(1, pipeline)
					s := run(t, cfg)
					time.Sleep(time.Duration(hours * float64(time.Hour)))
					if err := s.stop(); err != nil {
						t.Error(err)
					}
					var values []reading.Reading
					for _, r := range s.custody.Stored() {
						if r.Metric != "wup" {
							values = append(values, r)
						}
					}
					must(t, values)
					for device, n := range count(values) {
						if float64(n) < hours*3600/2*10/3 {
							t.Errorf("%s: only %d readings", device, n)
						}
					}
					st := s.Stats()
					t.Logf("%d readings, %d questions, %+v", len(values), len(p.seen()), st.Slaves[0])
				})
			})
		}
	}
}

package modbusin

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidegate/tidegate/internal/serialport"
)

// sparse lets a puppet be slaves that have words at some addresses only, and
// nothing of units that are not there.
func sparse(p *puppet, words map[byte][]uint16, limit int) func(asked) []reply {
	return func(q asked) []reply {
		have, there := words[q.unit]
		switch {
		case !there:
			return []reply{}
		case q.fn != 3:
			return []reply{{0, p.frame(q, q.exception(1))}}
		case limit > 0 && int(q.count) > limit:
			return []reply{{0, p.frame(q, q.exception(3))}}
		}
		for i := range q.count {
			if !slices.Contains(have, q.address+i) {
				return []reply{{0, p.frame(q, q.exception(2))}}
			}
		}
		return nil
	}
}

func between(first, last uint16) (all []uint16) {
	for a := first; a <= last; a++ {
		all = append(all, a)
	}
	return all
}

// scanning is a Scanning of the puppet, which must end.
func (p *puppet) scanning(t *testing.T, s Scanning) (Scanned, error) {
	t.Helper()
	s.URL, s.dial = "tcp://puppet:502", p.dial
	if p.rtu {
		s.URL, s.Serial = "rtu:/dev/puppet", serialport.Config{Baud: 9600}
	}
	return Scan(t.Context(), s)
}

func runs(s ScannedSlave) string {
	var all []string
	for _, r := range s.Runs {
		all = append(all, fmt.Sprintf("%v %d-%d", r.Table, r.First, r.Last))
	}
	return strings.Join(all, ", ")
}

func TestAScanFindsSlavesAndWhatTheyAnswerFor(t *testing.T) {
	for _, rtu := range []bool{false, true} {
		for _, limit := range []int{0, 16} {
			t.Run(fmt.Sprintf("rtu %v, at most %d at once", rtu, limit), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					p := &puppet{rtu: rtu}
					p.script = sparse(p, map[byte][]uint16{
						3:   slices.Concat(between(1, 40), between(137, 142), between(200, 399), between(990, 1100)),
						9:   {0, 1, 500},
						246: {7}, // not where it is looked for: it is found all the same
					}, limit)
					got, err := p.scanning(t, Scanning{})
					if err != nil || len(got.Slaves) != 3 || got.Asked != 247 || got.Unfinished != "" || got.Alike {
						t.Fatalf("%+v, %v", got, err)
					}
					want := map[byte]string{3: "holding 1-40, holding 137-142, holding 200-399, holding 990-999", 9: "holding 0-1, holding 500-500", 246: ""}
					for _, s := range got.Slaves {
						if runs(s) != want[s.Unit] || s.Damaged || s.Partial != "" {
							t.Errorf("unit %d has %q, want %q: %+v", s.Unit, runs(s), want[s.Unit], s)
						}
						for _, r := range s.Runs {
							if r.Values[0] != word(s.Unit, r.First) || len(r.Values) != min(shownValues, int(r.Last-r.First)+1) {
								t.Errorf("unit %d, %d: %v", s.Unit, r.First, r.Values)
							}
						}
					}
					for _, q := range p.seen() {
						if q.fn < 1 || q.fn > 4 || int(q.address)+int(q.count) > LastLooked+1 {
							t.Fatalf("asked %+v", q)
						}
					}
				})
			})
		}
	}
}

// A bus on which nobody answers costs each table one round, and no more than that
// is promised.
func TestAScanOfASilentBusEndsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &puppet{rtu: true, script: func(asked) []reply { return []reply{} }}
		began := time.Now()
		got, err := p.scanning(t, Scanning{})
		took := time.Since(began)
		if err != nil || len(got.Slaves) != 0 || got.Asked != 247 || took > 2*247*250*time.Millisecond {
			t.Errorf("%+v, %v after %v", got, err, took)
		}
		if n := len(p.seen()); n != 2*247 {
			t.Errorf("%d questions", n)
		}
	})
}

func TestAScanEndsAtItsLimitWithWhatItHasFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &puppet{rtu: true}
		p.script = sparse(p, map[byte][]uint16{1: {0}}, 0)
		began := time.Now()
		got, err := p.scanning(t, Scanning{Limit: 5 * time.Second})
		if err != nil || len(got.Slaves) != 1 || !strings.Contains(got.Unfinished, " — hint: ") || time.Since(began) > 6*time.Second {
			t.Errorf("%+v, %v after %v", got, err, time.Since(began))
		}
	})
}

func TestAScanEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &puppet{rtu: true}
		p.script = sparse(p, map[byte][]uint16{1: {0}}, 0)
		ctx, cancel := context.WithCancel(t.Context())
		s := Scanning{URL: "rtu:/dev/puppet", dial: p.dial, Tell: func(step ScanStep) {
			if step.Unit == 5 {
				cancel()
			}
		}}
		got, err := Scan(ctx, s)
		if !errors.Is(err, context.Canceled) || len(got.Slaves) != 1 || len(p.seen()) != 5 {
			t.Errorf("%+v, %v after %d questions", got, err, len(p.seen()))
		}
	})
}

// A slave that takes longer than the timeout is found: its answer comes while the
// next one is asked, which is found as well.
func TestAScanFindsASlaveThatAnswersLate(t *testing.T) {
	for _, took := range []time.Duration{210 * time.Millisecond, 300 * time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			p := &puppet{rtu: true}
			p.script = func(q asked) []reply {
				switch q.unit {
				case 4:
					return []reply{{took, p.frame(q, q.right())}}
				case 5:
					return nil
				}
				return []reply{}
			}
			got, err := p.scanning(t, Scanning{Last: 20, First: 1, To: 9})
			if err != nil || len(got.Slaves) != 2 || got.Slaves[0].Unit != 4 || got.Slaves[1].Unit != 5 {
				t.Fatalf("%v: %+v, %v", took, got, err)
			}
			if runs(got.Slaves[0]) != "holding 0-9, input 0-9" {
				t.Errorf("%v: %s", took, runs(got.Slaves[0]))
			}
		})
	}
}

// Two slaves with one address, and a speed that is nearly right, look like this.
func TestAScanTellsOfDamagedAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &puppet{rtu: true}
		p.script = func(q asked) []reply {
			f := p.frame(q, q.right())
			switch q.unit {
			case 2:
				f[len(f)-1]++
				return []reply{{0, f}}
			case 3:
				return []reply{{0, []byte{1, 2, 3}}}
			}
			return []reply{}
		}
		got, err := p.scanning(t, Scanning{First: 1, Last: 9})
		if err != nil || len(got.Slaves) != 1 || !got.Slaves[0].Damaged || len(got.Slaves[0].Runs) > 0 || !slices.Equal(got.Noise, []byte{3}) {
			t.Errorf("%+v, %v", got, err)
		}
	})
}

func TestAScanRefusesALineOnWhichAnotherMasterTalks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		done := make(chan struct{})
		go func() {
			defer close(done)
			go func() {
				for b := make([]byte, 99); ; {
					if _, err := theirs.Read(b); err != nil {
						return
					}
				}
			}()
			for {
				time.Sleep(30 * time.Millisecond)
				if _, err := theirs.Write([]byte{17, 3, 0, 107, 0, 3, 0x76, 0x87}); err != nil {
					return
				}
			}
		}()
		s := Scanning{URL: "rtu:/dev/x", dial: func(context.Context) (line, error) { return tcpLine{ours}, nil }}
		if got, err := Scan(t.Context(), s); !errors.Is(err, errTalking) {
			t.Errorf("%+v, %v", got, err)
		}
		theirs.Close()
		<-done
	})
}

// Many devices that speak Modbus TCP themselves do not look at the unit.
func TestAScanSeesThatOneDeviceAnswersForAllUnits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &puppet{}
		got, err := p.scanning(t, Scanning{To: 49})
		if err != nil || !got.Alike || len(got.Slaves) != 247 || runs(got.Slaves[0]) != "holding 0-49, input 0-49" || got.Slaves[1].Runs != nil {
			t.Errorf("%v, %d, %v", got.Alike, len(got.Slaves), err)
		}
	})
}

// Some gateways end the connection for a unit that they do not find; others say so.
func TestAScanOutlivesAConnectionThatEndsForEachUnit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &puppet{}
		p.script = func(q asked) []reply {
			switch {
			case q.unit == 100:
				return nil
			case q.unit%2 == 0:
				return []reply{{0, p.frame(q, q.exception(11))}}
			}
			p.mu.Lock()
			defer p.mu.Unlock()
			p.conns[len(p.conns)-1].Close()
			return []reply{}
		}
		got, err := p.scanning(t, Scanning{To: 1})
		if err != nil || len(got.Slaves) != 1 || got.Slaves[0].Unit != 100 {
			t.Errorf("%+v, %v", got, err)
		}
	})
}

// A slave that says nothing where others refuse costs a few timeouts.
func TestAScanDoesNotWaitForAMuteSlaveForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &puppet{rtu: true}
		p.script = func(q asked) []reply {
			if q.unit == 1 && q.fn == 3 && q.address+q.count <= 3 {
				return nil
			}
			return []reply{}
		}
		got, err := p.scanning(t, Scanning{First: 1, Last: 1})
		if err != nil || len(got.Slaves) != 1 || got.Slaves[0].Partial == "" || len(p.seen()) > 30 {
			t.Errorf("%+v, %v, %d questions", got, err, len(p.seen()))
		}
	})
}

func TestAScanRefusesWhatMakesNoSense(t *testing.T) {
	for _, s := range []Scanning{
		{URL: "nowhere"},
		{URL: "rtu:/dev/x", First: 5, Last: 4},
		{URL: "rtu:/dev/x", First: 1, Last: 248},
		{URL: "rtu:/dev/x", Last: 3},
		{URL: "rtu:/dev/x", From: 3, To: 2},
		{URL: "rtu:/dev/x", Step: -1},
		{URL: "rtu:/dev/x", Timeout: time.Hour},
		{URL: "rtu:/dev/x", Limit: time.Hour},
		{URL: "rtu:/dev/x", Tables: make([]Table, 5)},
	} {
		if _, err := Scan(t.Context(), s); err == nil || !strings.Contains(err.Error(), " — hint: ") {
			t.Errorf("%+v: %v", s, err)
		}
	}
}

// TestAScanUnderstandsPymodbus looks through slaves that others have written.
func TestAScanUnderstandsPymodbus(t *testing.T) {
	for _, scheme := range []string{"tcp", "rtu"} {
		t.Run(scheme, func(t *testing.T) {
			url := pymodbus(t, scheme)
			if scanPymodbus(t, url, 500*time.Millisecond) != "" { // on a machine that is busy, an answer may be late
				if wrong := scanPymodbus(t, url, MaxScanTimeout); wrong != "" {
					t.Error(wrong)
				}
			}
		})
	}
}

// scanPymodbus looks through its slaves, and says what is wrong with what was found.
func scanPymodbus(t *testing.T, url string, timeout time.Duration) (wrong string) {
	t.Helper()
	s := Scanning{URL: url, First: 1, Last: 4, Tables: []Table{Holding, Input, Coil, Discrete}, To: 249, Timeout: timeout}
	s.Serial.Baud = 115200
	got, err := Scan(t.Context(), s)
	if err != nil || len(got.Slaves) < 2 {
		return fmt.Sprintf("%+v, %v", got, err)
	}
	for i, slave := range got.Slaves[:2] {
		const want = "holding 0-12, holding 14-199, input 0-3, coil 0-99, discrete 0-99"
		if int(slave.Unit) != i+1 || runs(slave) != want {
			return fmt.Sprintf("unit %d: %s, want %s", slave.Unit, runs(slave), want)
		}
	}
	return ""
}

// An adapter that is pulled ends the scan at once, with what was found.
func TestAScanEndsWhenTheAdapterIsPulled(t *testing.T) {
	ours, theirs, socat := cable(t)
	p := &puppet{rtu: true}
	p.script = func(q asked) []reply {
		if q.unit == 3 {
			socat.Kill()
		}
		return nil
	}
	l, err := (&Source{kind: RTU, address: theirs}).dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go p.serve(lineConn{l})
	got, err := Scan(t.Context(), Scanning{URL: "rtu:" + ours, Timeout: MaxScanTimeout})
	if !errors.Is(err, serialport.ErrGone) || len(got.Slaves) < 2 {
		t.Errorf("%+v, %v", got, err)
	}
}

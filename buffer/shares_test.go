package buffer

import (
	"math"
	"testing"

	"github.com/tidegate/tidegate/reading"
)

func TestSharesAreByWeightAndNothingStarves(t *testing.T) {
	var s shares
	var all [flows]bool
	for f := range all {
		all[f] = true
	}
	var sent [flows]float64
	for i := range 100_000 {
		f := s.next(all)
		n := 100 + i%37 // whatever the sizes
		s.sent(f, n)
		sent[f] += float64(n)
	}
	for f := range sent {
		want := weights[f] / weights[0]
		if got := sent[f] / sent[0]; math.Abs(got/want-1) > 0.02 {
			t.Errorf("flow %d got %.3f of what flow 0 got, want %.3f", f, got, want)
		}
	}
}

func TestAlarmIsNextWhateverTheOthersWaitedFor(t *testing.T) {
	var s shares
	var normal [flows]bool
	normal[flowOf(reading.Normal, true)], normal[flowOf(reading.Bulk, true)] = true, true
	for range 1000 {
		s.sent(s.next(normal), 1000)
	}
	normal[flowOf(reading.Alarm, false)] = true
	if f := s.next(normal); f != flowOf(reading.Alarm, false) {
		t.Errorf("flow %d is before the alarm", f)
	}
}

func TestIdleFlowClaimsNothingForThePast(t *testing.T) {
	var s shares
	live, both := [flows]bool{0: true}, [flows]bool{0: true, 1: true}
	s.next(both)
	for range 1000 {
		s.sent(s.next(live), 1000)
	}
	backlog := 0
	for range 100 {
		f := s.next(both)
		backlog += f
		s.sent(f, 1000)
	}
	if backlog < 20 || backlog > 40 {
		t.Errorf("the backlog was next %d times of 100, want about 30", backlog)
	}
}

// A backlog that is passed over while only live readings are asked for keeps its
// claim to a share; an idle one has none, see above.
func TestABacklogThatIsPassedOverKeepsItsClaim(t *testing.T) {
	var s shares
	live, both := [flows]bool{0: true}, [flows]bool{0: true, 1: true}
	for range 10 {
		s.sent(s.next(both), 1000)
	}
	s.over[1] = true
	for range 20 {
		s.sent(s.next(live), 1000)
	}
	s.over[1] = false
	for i := range 6 {
		f := s.next(both)
		if s.sent(f, 1000); f != 1 {
			t.Errorf("flow %d is next as number %d, want the backlog until it has caught up", f, i)
		}
	}
}

package seldom

import (
	"fmt"
	"testing"
	"time"
)

func TestOneLineAMinuteAndPeer(t *testing.T) {
	var s Told
	now := time.Unix(1e9, 0)
	if !s.First("a", "x", now) || s.First("a", "x", now.Add(Again-1)) || !s.First("b", "x", now) || !s.First("a", "y", now) || !s.First("a", "x", now.Add(Again)) {
		t.Error("not one line a minute and peer")
	}
	for i := range Most {
		s.First(fmt.Sprint(i), "", now.Add(Again))
	}
	if s.First("one more", "", now.Add(Again)) || s.size > Most {
		t.Errorf("%d are remembered", s.size)
	}
	if !s.First("one more", "", now.Add(3*Again)) || s.size != 1 {
		t.Errorf("silent for ever, and %d are remembered", s.size)
	}
}

// TestWhoHasManyNamesIsToldOfAFewTimes: who guesses names as well as passwords would fill
// the log with them.
func TestWhoHasManyNamesIsToldOfAFewTimes(t *testing.T) {
	var s Told
	now, told := time.Unix(1e9, 0), 0
	for i := range 100 {
		if s.First("a", fmt.Sprint(i), now) {
			told++
		}
	}
	if told != Each || !s.First("b", "0", now) || !s.First("a", "50", now.Add(Again)) {
		t.Errorf("told of %d of 100 names", told)
	}
}

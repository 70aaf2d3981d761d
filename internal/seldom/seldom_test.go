package seldom

import (
	"fmt"
	"testing"
	"time"
)

func TestOneLineAMinuteAndPeer(t *testing.T) {
	var s Told
	now := time.Unix(1e9, 0)
	if !s.First("a", now) || s.First("a", now.Add(Again-1)) || !s.First("b", now) || !s.First("a", now.Add(Again)) {
		t.Error("not one line a minute and peer")
	}
	for i := range Most {
		s.First(fmt.Sprint(i), now.Add(Again))
	}
	if s.First("one more", now.Add(Again)) || len(s.last) > Most {
		t.Errorf("%d peers are remembered", len(s.last))
	}
	if !s.First("one more", now.Add(3*Again)) {
		t.Error("silent for ever")
	}
}

package buffer

import (
	"slices"
	"testing"

	"github.com/tidegate/tidegate/reading"
)

// wantOneGapEach fails when the gaps of a lane overlap, or one has another reason.
func wantOneGapEach(t *testing.T, b *Buffer, reason string) {
	t.Helper()
	gaps, err := b.Gaps() // by lane and number
	if err != nil || len(gaps) == 0 && reason != "" {
		t.Fatal(len(gaps), err)
	}
	for i, g := range gaps {
		if g.Reason != reason {
			t.Errorf("declared: %+v", g)
		}
		if i > 0 && gaps[i-1].Lane == g.Lane && g.First <= gaps[i-1].Last {
			t.Errorf("declared twice: %+v, %+v", gaps[i-1], g)
		}
	}
}

// A segment keeps its bulk, because it is little; those behind it lose theirs. A
// start finds that numbers are missing in between, and knows why.
func TestWhatMadeRoomIsNotFoundMissing(t *testing.T) {
	for name, sinks := range map[string][]string{"a sink": {"cloud"}, "no sink": nil, "two sinks, one of them gone": {"cloud", "old"}} {
		t.Run(name, func(t *testing.T) {
			b := open(t, t.TempDir(), nil)
			for _, sink := range sinks {
				b.Cursor(sink).Ack(reading.Alarm, 1, 1)
			}
			commitGroup(t, b, value(1, reading.Bulk), value(1, reading.Alarm))
			b = kill(t, b)
			if len(sinks) > 0 {
				b.Cursor(sinks[0])
			}
			for n := range 6 {
				commitGroup(t, b, noise("a", n, 1<<20))
			}
			for n := 0; b.Stats().Lost < 16; n++ {
				commitGroup(t, b, mixed(n)...)
			}
			for range 2 {
				wantOneGapEach(t, b, ReasonEvicted)
				b = kill(t, b)
			}
			b.Close()
		})
	}
}

// What is delivered goes before older readings that wait: live readings pass a
// backlog. The acknowledgement may be known to nobody but this process.
func TestWhatWasDeliveredIsNotFoundMissing(t *testing.T) {
	b := open(t, t.TempDir(), nil)
	c := b.Cursor("cloud")
	mixedSegments(t, b, 4)
	s, _ := b.index.segment(2)
	for lane, sp := range s.Lanes {
		c.Ack(reading.Lane(lane), sp.First, sp.Last)
	}
	if err := b.releaseDelivered(); err != nil {
		t.Fatal(err)
	}
	b = kill(t, b)
	if gaps, _ := b.Gaps(); len(gaps) != 0 {
		t.Errorf("declared: %+v", gaps)
	}
	if held := slices.ContainsFunc(b.index.all(), func(i segmentInfo) bool { return i.Number == 2 }); held {
		t.Error("it is still there")
	}
	b.Close()
}

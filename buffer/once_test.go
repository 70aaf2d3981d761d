package buffer

import (
	"os"
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

// The rest of a segment cannot be written anew: then nothing of it is lost, nor of
// any other for its sake.
func TestNothingIsLostForRoomThatCannotBeMade(t *testing.T) {
	b := open(t, t.TempDir(), nil)
	b.Cursor("cloud")
	n := mixedSegments(t, b, 4)
	for i := range uint64(4) {
		if err := os.Mkdir(segmentPath(b.cfg.Dir, i+1)+shrunkSuffix, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	for ; err == nil; n++ {
		err = tryGroup(t, b, mixed(n)...)
	}
	if lost := b.Stats().Lost; lost != 0 {
		t.Errorf("%d readings were lost, and no room was made", lost)
	}
	if err := removeCopies(b.cfg.Dir, shrunkSuffix); err != nil {
		t.Fatal(err)
	}
	b.failing = b.failing.Add(-evictPatience)
	commitGroup(t, b, value(1, reading.Normal))
	if lost := b.Stats().Lost; lost == 0 {
		t.Error("how was room made?")
	}
	b.Close()
}

// Normal readings are delivered, and alarms, which never go, are not: the room of
// the former is enough to take readings again.
func TestRefusingEndsWhenALaneIsDelivered(t *testing.T) {
	b := open(t, t.TempDir(), func(c *Config) {
		for lane := range c.Lanes {
			c.Lanes[lane].RefuseNew = true
		}
	})
	c := b.Cursor("cloud")
	for n := 0; ; n++ {
		if err := tryGroup(t, b, mixed(n)...); err != nil {
			break
		}
	}
	b.tryRoom()
	if !b.refusals.active() {
		t.Error("there is no room, and readings are taken")
	}
	c.Ack(reading.Normal, 1, b.index.newest(reading.Normal))
	b.tryRoom()
	commitGroup(t, b, value(1, reading.Normal))
	b.Close()
}

// Files that have become small are many; each counts for its share of the bound.
func TestSmallSegmentsAreBounded(t *testing.T) {
	b := open(t, t.TempDir(), func(c *Config) { c.MaxBytes = 1 << 40 })
	for n := range uint64(3 * maxSegments) {
		info := segmentInfo{Number: n + 1, End: 4000, Size: 4000}
		info.Lanes[reading.Normal] = span{First: n + 1, Last: n + 1, Bytes: 4000}
		info.Lanes[reading.Bulk] = span{First: n + 1, Last: n + 1, Bytes: 4000}
		b.index.begin(info)
	}
	if b.fits() {
		t.Error("they take no room")
	}
	for s, lanes := range b.victims(true) {
		if s.holding(lanes) != s.holding(laneSet{}.not()) {
			t.Errorf("%v go from a segment that gets no smaller by that", lanes)
		}
		break
	}
	b.Close()
}

func TestReserveThatWasNotFilledIsMadeAnew(t *testing.T) {
	b := open(t, t.TempDir(), nil)
	if free, err := freeBytes(b.cfg.Dir); err != nil || free < plenty {
		t.Skip("the disk has no room for a reserve: ", free, err)
	}
	if err := os.WriteFile(b.reserve.path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	commitGroup(t, b, value(1, reading.Normal))
	if info, err := os.Stat(b.reserve.path); err != nil || info.Size() != segmentSize {
		t.Errorf("%v, %v", info, err)
	}
	b.Close()
}

func TestGapsThatAreReportedAgainAreNotRefusedAnew(t *testing.T) {
	b := open(t, t.TempDir(), func(c *Config) {
		for lane := range c.Lanes {
			c.Lanes[lane].RefuseNew = true
		}
	})
	for n := 0; tryGroup(t, b, noise("a", n, 1<<20)) == nil; n++ {
	}
	b.declareLost(reading.Bulk, Gap{First: 1, Last: 9, Reason: ReasonDamaged})
	g, _ := b.takeDue(true)
	for n := 100; g.gaps != nil; n++ { // the last of the room is taken
		err := b.commit(g)
		if b.closed = false; err != nil {
			b.fail(g, err)
			break
		}
		b.done(g)
		b.refusals.tryAgain()
		tryGroup(t, b, noise("a", n, 1<<20))
		b.declareLost(reading.Bulk, Gap{First: 1, Last: 9 + uint64(n), Reason: ReasonDamaged})
		g, _ = b.takeDue(true)
	}
	if n := b.refusals.count[reading.Alarm]; n != 0 {
		t.Errorf("%d alarms count as refused, and there was none", n)
	}
	b.Close()
}

package buffer

import (
	"slices"
	"testing"

	"github.com/tidegate/tidegate/reading"
)

// backlog fills a lane with more than live readings wait behind: n commits of a
// thousand readings each.
func (r *running) backlog(lane reading.Lane, n int) {
	r.t.Helper()
	for i := range n {
		rs := make([]reading.Reading, 1000)
		for k := range rs {
			rs[k] = reading.Reading{Device: "d", Metric: "m", Time: int64(i + 1), Value: reading.Float(float64(k)), Lane: lane}
		}
		r.acceptAll(rs...)
	}
}

func TestLiveReadingsDoNotWaitBehindTheBacklog(t *testing.T) {
	r := start(t, t.TempDir(), nil)
	r.backlog(reading.Normal, 100)
	c := r.Cursor("cloud")
	r.next(c, 4<<10)
	for range 5 {
		r.accept("now", 1)
		calls := 1
		for ; r.next(c, 4<<10)[0].First <= 100_000; calls++ {
		}
		if calls > 3 {
			t.Errorf("the newest reading came with call %d", calls)
		}
	}
}

// TestLiveReadingsDoNotWaitBehindTheLaterPartOfAnOutage: a sink that is down is
// tried now and then, and each time the cursor looks at what there is.
func TestLiveReadingsDoNotWaitBehindTheLaterPartOfAnOutage(t *testing.T) {
	r := start(t, t.TempDir(), nil)
	c := r.Cursor("cloud")
	got := map[uint64]bool{}
	for range 3 {
		r.backlog(reading.Normal, 30)
		for _, b := range slices.Concat(r.next(c, 1), r.next(c, 1)) { // one from each end
			got[b.First] = true
		}
	}
	r.accept("now", 1)
	for calls := 1; ; calls++ {
		b := r.next(c, 1)[0]
		got[b.First] = true
		if b.First > 90_000 {
			break
		}
		if calls > 4 {
			t.Fatalf("call %d brings reading %d, the newest is 90001", calls, b.First)
		}
	}
	for len(got) < 91 {
		b := r.next(c, 1)[0]
		if got[b.First] {
			t.Fatalf("the block from %d on came twice", b.First)
		}
		got[b.First] = true
	}
	if blocks, err := c.look(flowsOf(reading.AllLanes, true), 1); len(blocks) > 0 || err != nil {
		t.Errorf("then came %d more, %v", len(blocks), err)
	}
}

// TestALinkThatIsTooSlowKeepsASmallPlace: what is new is sent and the rest stays
// behind, again and again, and each time leaves a range of its own.
func TestALinkThatIsTooSlowKeepsASmallPlace(t *testing.T) {
	r := start(t, t.TempDir(), nil)
	c := r.Cursor("cloud")
	for i := range 2 * maxRanges {
		r.backlog(reading.Normal, 9)
		for range 3 {
			b := r.next(c, 1)[0]
			c.Ack(b.Lane, b.First, b.Last())
			r.accept("now", 1)
		}
		if n := len(c.acked[reading.Normal]); n > maxRanges+1 {
			t.Fatalf("after %d rounds the place has %d ranges, of which %d are saved", i+1, n, maxRanges)
		}
	}
}

func TestBacklogDoesNotStarveBehindLiveReadings(t *testing.T) {
	r := start(t, t.TempDir(), nil)
	r.backlog(reading.Normal, 100)
	c := r.Cursor("cloud")
	r.next(c, 1)
	old := 0
	for range 200 {
		r.accept("now", 1, 2, 3) // there is always something new
		if r.next(c, 1)[0].First <= 100_000 {
			old++
		}
	}
	if old == 0 {
		t.Error("with something new all the time, nothing old was sent")
	}
}

func TestBothEndsMeetAndNothingComesTwice(t *testing.T) {
	dir := t.TempDir()
	r := start(t, dir, nil)
	r.backlog(reading.Normal, 30)
	var got []numberRange
	for round := range 3 { // each after a crash in the middle
		c := r.Cursor("cloud")
		for range 12 {
			r.accept("now", 1)
			b := r.next(c, 1)[0]
			c.Ack(b.Lane, b.First, b.Last())
			got = append(got, numberRange{b.First, b.Last()})
		}
		if round < 2 {
			r.crash()
			r = start(t, dir, nil)
		}
	}
	c := r.Cursor("cloud")
	for c.Lag().Readings > 0 {
		b := r.next(c, 1)[0]
		c.Ack(b.Lane, b.First, b.Last())
		got = append(got, numberRange{b.First, b.Last()})
	}
	slices.SortFunc(got, func(a, b numberRange) int { return int(a.First) - int(b.First) })
	for i, g := range got {
		if i > 0 && g.First != got[i-1].Last+1 {
			t.Fatalf("%v follows %v", g, got[i-1])
		}
	}
	if last := got[len(got)-1].Last; got[0].First != 1 || last != 30_036 {
		t.Errorf("got %d..%d, want all 1..30036", got[0].First, last)
	}
}

func TestLanesShareTheLinkByWeight(t *testing.T) {
	r := start(t, t.TempDir(), nil)
	for _, lane := range []reading.Lane{reading.Bulk, reading.Normal, reading.Alarm} {
		r.backlog(lane, 60)
	}
	c := r.Cursor("cloud")
	var sent [reading.Lanes]int
	for range 60 {
		for _, b := range r.next(c, 1) {
			sent[b.Lane] += b.Count
		}
	}
	if sent[reading.Alarm] < 2*sent[reading.Normal] || sent[reading.Normal] < 2*sent[reading.Bulk] || sent[reading.Bulk] == 0 {
		t.Errorf("alarm %d, normal %d, bulk %d: want about 16 to 4 to 1", sent[reading.Alarm], sent[reading.Normal], sent[reading.Bulk])
	}
}

package buffer

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/tidegate/tidegate/reading"
)

// a gap of one sink hides a longer loss of another.
func TestQuarantineOfOneSinkDoesNotHideTheEvictionOfAnother(t *testing.T) {
	r := start(t, t.TempDir(), nil)
	fast, slow := r.Cursor("fast"), r.Cursor("slow")
	_ = slow
	r.acceptAll(noise("a", 0, 1<<20))
	blk := r.next(fast, 1)[0]
	if err := r.Quarantine("fast", blk, "422"); err != nil {
		t.Fatal(err)
	}
	for n := 1; r.Stats().Lost < 20; n++ {
		r.acceptAll(noise("a", n, 1<<20))
	}
	first := uint64(0)
	for _, s := range r.index.all() {
		if first = s.Lanes[reading.Normal].First; first != 0 {
			break
		}
	}
	r.wantGap(reading.Normal, 1, first-1)
}

// wantGap checks that some gap covers first..last of the lane.
func (r *running) wantGap(lane reading.Lane, first, last uint64) {
	r.t.Helper()
	gaps, err := r.Gaps()
	if err != nil {
		r.t.Fatal(err)
	}
	for seq := first; seq <= last; seq++ {
		ok := false
		for _, g := range gaps {
			ok = ok || g.Lane == lane.String() && g.First <= seq && seq <= g.Last
		}
		if !ok {
			r.t.Errorf("%s %d is lost and no gap says so: %+v", lane, seq, gaps)
			return
		}
	}
}

// two sinks refuse the same block.
func TestTwoSinksQuarantineTheSameBlock(t *testing.T) {
	r := start(t, t.TempDir(), nil)
	r.accept("a", 1)
	blk := r.next(r.Cursor("x"), 1)[0]
	for _, s := range []string{"x", "y"} {
		if err := r.Quarantine(s, blk, "no, says "+s); err != nil {
			t.Fatal(err)
		}
	}
	q, _ := r.Quarantined()
	gaps, _ := r.Gaps()
	if len(q) != 2 {
		t.Errorf("quarantine: %d entries, the last of %s; gaps %+v", len(q), q[0].Sink, gaps)
	}
}

// A sink that will not take an alarm must still hear of the losses whose news
// stood beside it.
func TestNewsThatIsSetAsideIsReportedAgain(t *testing.T) {
	r := start(t, t.TempDir(), nil)
	c := r.Cursor("cloud")
	setAside := func() Gap {
		b := r.next(c, 1)[0]
		if err := r.Quarantine("cloud", b, "no"); err != nil {
			t.Fatal(err)
		}
		c.Ack(b.Lane, b.First, b.Last())
		return Gap{Lane: b.Lane.String(), First: b.First, Last: b.Last()}
	}
	r.accept("a", 1)
	lost := []Gap{setAside(), setAside()} // the reading, and the news of that
	for len(lost) > 0 {
		for _, rd := range decode(t, r.next(c, 1)[0]) {
			lost = slices.DeleteFunc(lost, func(g Gap) bool {
				return strings.Contains(rd.Value.Text(), fmt.Sprintf(`"lane":%q,"first":%d,"last":%d`, g.Lane, g.First, g.Last))
			})
		}
	}
}

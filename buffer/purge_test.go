package buffer

import (
	"encoding/json"
	"errors"
	"reflect"
	"testing"

	"github.com/tidegate/tidegate/reading"
)

// news returns the gaps that reach the sink.
func (r *running) news(cursor string) (gaps []Gap) {
	r.t.Helper()
	_, err := r.History(r.t.Context(), Query{Device: GapDevice, Undelivered: cursor}, func(e Entry) error {
		var g Gap
		err := json.Unmarshal([]byte(e.Value.Text()), &g)
		gaps = append(gaps, g)
		return err
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return gaps
}

func (r *running) purge(p Purge) Purged {
	r.t.Helper()
	done, err := r.Purge(r.t.Context(), p)
	if err != nil {
		r.t.Fatal(err)
	}
	return done
}

func TestWhatIsPurgedIsDeclaredAndNotSent(t *testing.T) {
	dir := t.TempDir()
	r := start(t, dir, nil)
	r.Cursor("cloud")
	r.Cursor("archive")
	r.accept("a", 1)
	r.accept("a", 2, 3)
	outside, err := r.Inventory().RehearsePurge(t.Context(), Purge{Sink: "cloud"})
	if err != nil {
		t.Fatal(err)
	}
	rehearsed := r.purge(Purge{Sink: "cloud", Rehearse: true}).Gaps
	if !reflect.DeepEqual(outside.Gaps, rehearsed) {
		t.Errorf("from outside %+v, from inside %+v", outside.Gaps, rehearsed)
	}
	gaps := r.purge(Purge{Sink: "cloud"}).Gaps
	if len(rehearsed) != 1 || len(gaps) != 1 {
		t.Fatalf("rehearsed %+v, done %+v", rehearsed, gaps)
	}
	if g := gaps[0]; g.Reason != ReasonPurged || g.First != 1 || g.Last != 3 || g.Count != 3 || g.Lane != "normal" ||
		g.From != 1 || g.To != 2 || len(g.Sinks) != 1 || g.Sinks[0] != "cloud" || g.First != rehearsed[0].First {
		t.Errorf("gap %+v, rehearsed %+v", g, rehearsed[0])
	}
	if again := r.purge(Purge{Sink: "cloud", Lanes: []reading.Lane{reading.Normal}}); len(again.Gaps) != 0 {
		t.Errorf("purged twice: %+v", again)
	}
	r.eventually(func() bool { return len(r.news("cloud")) == 1 })
	r.crash()
	r = start(t, dir, nil)
	r.accept("a", 4)
	r.expect("cloud", 4)
	r.expect("archive", 1, 2, 3, 4)
	if got := r.pages(Query{Device: "a"}); len(got) != 4 {
		t.Errorf("history lost what was only not to be sent: %v", got)
	}
}

func TestPurgeKeepsToItsLanesAndTimes(t *testing.T) {
	r := start(t, t.TempDir(), nil)
	r.Cursor("cloud")
	r.mixed(0, 30) // reading n at second n+1, lane n%3
	gaps := r.purge(Purge{Lanes: []reading.Lane{reading.Bulk}, Before: 15e9}).Gaps
	if len(gaps) != 1 || gaps[0].Count != 4 || gaps[0].Lane != "bulk" || gaps[0].To >= 15e9 {
		t.Errorf("%+v", gaps)
	}
}

func TestWhatIsOnItsWayIsNotPurged(t *testing.T) {
	r := start(t, t.TempDir(), nil)
	c := r.Cursor("cloud")
	r.accept("a", 1)
	r.accept("a", 2)
	r.accept("a", 3)
	c.Ack(reading.Normal, 1, 1)
	blk := r.next(c, 1)[0]
	done := r.purge(Purge{})
	if len(done.Gaps) != 1 || done.Gaps[0].First != blk.Last()+1 || done.Gaps[0].Last != 3 || done.OnTheWay != 1 {
		t.Errorf("%+v", done)
	}
}

// The news of a loss is not lost with the alarms that it is among.
func TestPurgingAlarmsKeepsTheNewsOfGaps(t *testing.T) {
	r := start(t, t.TempDir(), nil)
	r.Cursor("cloud")
	r.accept("a", 1)
	r.purge(Purge{})
	r.eventually(func() bool { return len(r.news("cloud")) == 1 })
	r.purge(Purge{Lanes: []reading.Lane{reading.Alarm}})
	r.eventually(func() bool {
		lanes := map[string]bool{}
		for _, g := range r.news("cloud") {
			lanes[g.Lane] = true
		}
		return lanes["normal"] && lanes["alarm"]
	})
}

func TestForgetIsForSinksThatAreNotThere(t *testing.T) {
	dir := t.TempDir()
	r := start(t, dir, nil)
	r.accept("a", 1)
	c := r.Cursor("old")
	c.Ack(reading.Normal, 1, 1)
	if err := r.Forget("old"); !errors.Is(err, ErrActive) {
		t.Errorf("in use: %v", err)
	}
	r.stop()
	r = start(t, dir, nil)
	if err := r.Forget("old"); err != nil {
		t.Error(err)
	}
	if err := r.Forget("old"); !errors.Is(err, ErrNoSink) {
		t.Errorf("twice: %v", err)
	}
	if inv := r.Inventory(); len(inv.Sinks) != 0 {
		t.Errorf("%+v", inv.Sinks)
	}
	if _, err := r.Purge(t.Context(), Purge{Sink: "old"}); !errors.Is(err, ErrNoSink) {
		t.Errorf("purge of a forgotten sink: %v", err)
	}
	if _, err := r.Inventory().RehearsePurge(t.Context(), Purge{Sink: "old"}); !errors.Is(err, ErrNoSink) {
		t.Errorf("rehearsal of it: %v", err)
	}
	r.expect("old", 1)
}

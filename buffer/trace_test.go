package buffer

import (
	"context"
	"errors"
	"math"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidegate/tidegate/reading"
)

// takeGroup notes a commit of n readings of the lane behind number last.
func (c *commits) takeGroup(lane reading.Lane, last uint64, n int, born, done time.Time) {
	g := newGroup()
	g.add(make([]reading.Reading, n), 0, born)
	g.lanes[reading.Normal], g.lanes[lane] = nil, g.lanes[reading.Normal]
	g.arrived[lane] = arrivals{born, born.Add(3 * time.Millisecond)}
	var next [reading.Lanes]uint64
	next[lane] = last + 1
	c.note(g, next, done)
}

// A ring that has gone round knows the latest commits, exactly, and says from when
// on it knows all of them.
func TestCommitsRememberTheLatest(t *testing.T) {
	b := &Buffer{}
	begun := time.Unix(1_800_000_000, 0)
	born := func(i int) time.Time { return begun.Add(time.Duration(i) * time.Second) }
	const total, each = maxCommits*2 + 100, 5
	for i := range total {
		b.commits.takeGroup(reading.Bulk, uint64(i+1)*each, each, born(i), born(i).Add(8*time.Millisecond))
	}
	if n := len(b.commits.latest); n != maxCommits {
		t.Errorf("%d commits are remembered, want %d", n, maxCommits)
	}
	for i := range total {
		for seq := uint64(i*each + 1); seq <= uint64(i+1)*each; seq += each - 1 {
			c, ok, since := b.Committed(reading.Bulk, seq)
			if want := born(total - maxCommits - 1).Add(8 * time.Millisecond); !since.Equal(want) {
				t.Fatalf("since %v, want %v, when the last forgotten one was done", since, want)
			}
			if remembered := i >= total-maxCommits; ok != remembered {
				t.Fatalf("commit %d of %d: remembered %v", i, total, ok)
			}
			if !ok {
				continue
			}
			if c.First != uint64(i*each+1) || c.Last != uint64(i+1)*each || !c.Came.Equal(born(i)) || c.Late.Sub(c.Came) != 3*time.Millisecond || c.Done.Sub(c.Came) != 8*time.Millisecond {
				t.Fatalf("commit %d: %+v", i, c)
			}
		}
	}
	if _, ok, _ := b.Committed(reading.Normal, total*each); ok {
		t.Error("a reading of another lane is taken for one of these")
	}
}

func TestCommitsOfLanesAndTimesOfArrival(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &Buffer{}
		g := newGroup()
		begun := time.Now()
		g.add([]reading.Reading{{Lane: reading.Normal}, {Lane: reading.Alarm}}, 0, begun)
		time.Sleep(2 * time.Millisecond)
		g.add([]reading.Reading{{Lane: reading.Normal}, {Lane: reading.Normal}}, 0, time.Now())
		time.Sleep(3 * time.Millisecond)
		b.commits.note(g, [reading.Lanes]uint64{10, 5, 1}, time.Now())
		normal, ok, since := b.Committed(reading.Normal, 7)
		if !ok || !since.IsZero() || normal.First != 7 || normal.Last != 9 || !normal.Came.Equal(begun) || normal.Late.Sub(begun) != 2*time.Millisecond || normal.Done.Sub(begun) != 5*time.Millisecond {
			t.Errorf("normal: %+v, %v, since %v", normal, ok, since)
		}
		if alarm, ok, _ := b.Committed(reading.Alarm, 4); !ok || !alarm.Late.Equal(begun) || alarm.Last != 4 {
			t.Errorf("alarm: %+v, %v", alarm, ok)
		}
		if _, ok, _ := b.Committed(reading.Bulk, 0); ok {
			t.Error("an empty lane has a commit")
		}
	})
}

// What a commit says of times holds: the readings came and were stored between
// what the clock said before and after. A run before this one is not remembered.
func TestAReadingAndItsCommitAreFound(t *testing.T) {
	dir := t.TempDir()
	r := start(t, dir, nil)
	before := time.Now().Truncate(time.Microsecond)
	r.accept("a", 1, 2, 3)
	r.accept("b", 9)
	e, err := r.Newest(t.Context(), "a", metricOf(r, "a"))
	if err != nil || e.Value.Float() != 3 || e.Seq != 3 {
		t.Fatalf("%+v, %v", e, err)
	}
	c, ok, since := r.Committed(e.Lane, e.Seq)
	if !ok || since.After(before) || c.Came.Before(before) || c.Late.Before(c.Came) || c.Done.Before(c.Late) || c.Done.After(time.Now()) {
		t.Errorf("%+v, %v, since %v", c, ok, since)
	}
	r.crash()
	r = start(t, dir, nil)
	if e, err = r.Reading(t.Context(), reading.Normal, 2); err != nil || e.Device != "a" || e.Value.Float() != 2 {
		t.Errorf("after a restart %+v, %v", e, err)
	}
	if _, ok, since := r.Committed(reading.Normal, 2); ok || !since.After(c.Done) {
		t.Errorf("a commit of the run before, done %v: %v, since %v", c.Done, ok, since)
	}
	for _, seq := range []uint64{0, 100, math.MaxInt64, math.MaxUint64} {
		if e, err := r.Reading(t.Context(), reading.Normal, seq); !errors.Is(err, ErrNotHere) {
			t.Errorf("reading %d: %+v, %v", seq, e, err)
		}
	}
	if _, err := r.Reading(t.Context(), reading.Lanes, 1); !errors.Is(err, ErrNotHere) {
		t.Error(err)
	}
}

// metricOf is the name of the device's metric.
func metricOf(r *running, device string) (metric string) {
	r.t.Helper()
	_, err := r.History(r.t.Context(), Query{Device: device}, func(e Entry) error { metric = e.Metric; return nil })
	if err != nil {
		r.t.Fatal(err)
	}
	return metric
}

// Stars in names are what they are, not what a query makes of them.
func TestNamesWithStarsAreFoundAsTheyAre(t *testing.T) {
	r := start(t, t.TempDir(), nil)
	r.acceptAll(reading.Reading{Device: "pump*", Metric: "m", Time: 1, Value: reading.Float(1)})
	r.acceptAll(reading.Reading{Device: "pump-7", Metric: "m", Time: 2, Value: reading.String("text")})
	if e, err := r.Newest(t.Context(), "pump*", "m"); err != nil || e.Device != "pump*" {
		t.Errorf("%+v, %v", e, err)
	}
	if e, err := r.Newest(t.Context(), "pump-7", "m"); err != nil || e.Value.Text() != "text" {
		t.Errorf("%+v, %v", e, err)
	}
	if _, err := r.Newest(t.Context(), "pump", "m"); !errors.Is(err, ErrNotHere) {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Newest(ctx, "pump", "m"); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// A reading keeps its number and its place when blocks are merged, and when only a
// part of a block, or ranges here and there, were acknowledged.
func TestPlaceOfAReadingWithASink(t *testing.T) {
	r := start(t, t.TempDir(), nil)
	for i := range 3 {
		r.accept("a", float64(10*i), float64(10*i+1), float64(10*i+2), float64(10*i+3))
	}
	c := r.Cursor("cloud")
	place := func(seq uint64, wantAcked bool, wantAhead uint64) {
		t.Helper()
		if acked, ahead := c.Place(reading.Normal, seq); acked != wantAcked || ahead != wantAhead {
			t.Errorf("reading %d: acked %v, %d ahead; want %v, %d", seq, acked, ahead, wantAcked, wantAhead)
		}
	}
	place(1, false, 0)
	place(12, false, 11)
	c.Ack(reading.Normal, 2, 3)
	c.Ack(reading.Normal, 6, 9)
	place(1, false, 0)
	place(3, true, 0)
	place(4, false, 1)
	place(9, true, 0)
	place(12, false, 5) // behind 1, 4, 5, 10 and 11
	if acked, ahead := c.Place(reading.Alarm, 1); acked || ahead != 0 {
		t.Errorf("another lane: %v, %d", acked, ahead)
	}
}

func TestReadingsOfMergedBlocksAreFound(t *testing.T) {
	b := open(t, t.TempDir(), func(c *Config) { c.MaxBytes = 1 << 30 })
	readings := uint64(smallRecords(t, b, 2, 100))
	numbers := []uint64{1, 2, 31, 1000, readings / 2, readings}
	look := func() (all []Entry) {
		for _, seq := range numbers {
			e, err := b.Reading(t.Context(), reading.Normal, seq)
			if err != nil || e.Seq != seq {
				t.Fatalf("reading %d: %+v, %v", seq, e, err)
			}
			all = append(all, e)
		}
		return all
	}
	before := look()
	s, _ := b.index.segment(1)
	after, err := b.mergeSegment(t.Context(), s)
	if err == nil {
		err = b.replaceFile(after, mergedSuffix, nil)
	}
	if err != nil || after.Blocks*10 > s.Blocks {
		t.Fatalf("%d blocks became %d, %v", s.Blocks, after.Blocks, err)
	}
	if got := look(); !slices.Equal(got, before) {
		t.Errorf("%+v, want %+v", got, before)
	}
	for _, seq := range numbers { // who brought them to flash is known as before
		if c, ok, since := b.Committed(reading.Normal, seq); !ok && since.IsZero() || ok && !c.Done.After(since) {
			t.Errorf("reading %d: %+v, %v, since %v", seq, c, ok, since)
		}
	}
}

func TestABlockInQuarantineIsFoundByItsReadings(t *testing.T) {
	r := start(t, t.TempDir(), nil)
	r.accept("a", 1, 2)
	r.accept("b", 3)
	r.accept("c", 4, 5)
	r.Cursor("spare")
	first, second := r.refuse("cloud"), r.refuse("cloud")
	spare := r.refuse("spare")
	for _, tt := range []struct {
		sink string
		seq  uint64
		id   string
	}{
		{"cloud", 1, "cloud/normal/1"}, {"cloud", 2, "cloud/normal/1"}, {"cloud", 3, "cloud/normal/3"},
		{"cloud", 4, ""}, {"spare", 2, "spare/normal/1"}, {"spare", 3, ""}, {"nobody", 1, ""},
	} {
		found, ok, err := r.RefusedWith(tt.sink, reading.Normal, tt.seq)
		if err != nil || ok != (tt.id != "") || ok && found.ID != tt.id {
			t.Errorf("%s %d: %q, %v, %v; want %q", tt.sink, tt.seq, found.ID, ok, err, tt.id)
		}
		if loss, lost := r.LossOf(tt.sink, reading.Normal, tt.seq); lost != ok || lost && loss.Reason != ReasonQuarantined {
			t.Errorf("%s %d: loss %+v, %v", tt.sink, tt.seq, loss, lost)
		}
	}
	if _, ok, err := r.RefusedWith("cloud", reading.Bulk, 1); ok || err != nil {
		t.Errorf("another lane: %v, %v", ok, err)
	}
	var ids []string
	err := r.RefusedBlocks(func(q Refused) error { ids = append(ids, q.ID); return nil })
	if err != nil || len(ids) != 3 {
		t.Errorf("%v, %v", ids, err)
	}
	one, err := r.RefusedBlock("cloud/normal/3")
	if err != nil || string(one.Raw) != string(second.Raw) || one.Bytes != len(second.Raw) || one.First != second.First {
		t.Errorf("%+v, %v", one, err)
	}
	if string(first.Raw) != string(spare.Raw) {
		t.Error("both sinks refused the first block")
	}
	for _, id := range []string{"cloud/normal/2", "cloud/normal", "", "cloud/urgent/1", "a/b/c/d"} {
		if _, err := r.RefusedBlock(id); !errors.Is(err, ErrNotSetAside) {
			t.Errorf("%q: %v", id, err)
		}
	}
	if err := r.DropRefused([]string{"cloud/normal/1"}); err != nil {
		t.Fatal(err)
	}
	if _, ok, err := r.RefusedWith("cloud", reading.Normal, 1); ok || err != nil {
		t.Errorf("after it was dropped: %v, %v", ok, err)
	}
	if _, lost := r.LossOf("cloud", reading.Normal, 1); !lost {
		t.Error("the loss of what was dropped is forgotten")
	}
}

// People may ask while readings come, are committed and acknowledged.
func TestTracesAreAskedForBesideCommits(t *testing.T) {
	r := start(t, t.TempDir(), nil)
	c := r.Cursor("cloud")
	var asking sync.WaitGroup
	done := make(chan struct{})
	for range 4 {
		asking.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if e, err := r.Newest(t.Context(), "a", "m"); err == nil {
					if _, ok, _ := r.Committed(e.Lane, e.Seq); !ok {
						t.Errorf("reading %d is on flash and its commit is not known", e.Seq)
						return
					}
					c.Place(e.Lane, e.Seq)
				} else if !errors.Is(err, ErrNotHere) {
					t.Error(err)
					return
				}
			}
		})
	}
	for i := range 300 {
		r.acceptAll(reading.Reading{Device: "a", Metric: "m", Time: int64(i + 1), Value: reading.Float(float64(i))})
		c.Ack(reading.Normal, uint64(i+1), uint64(i+1))
	}
	close(done)
	asking.Wait()
}

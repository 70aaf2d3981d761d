package buffer

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/tidegate/tidegate/internal/base/leaktest"
	"github.com/tidegate/tidegate/reading"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("TIDEGATE_CRASH_DIR"); dir != "" {
		crashChild(dir)
		return
	}
	// A check of the model takes real syncs and real segments; -rapid.checks
	// asks for more of them.
	if err := flag.Set("rapid.checks", "20"); err != nil {
		panic(err)
	}
	leaktest.Main(m)
}

func TestAcknowledgedReadingsComeBackAfterReopening(t *testing.T) {
	dir := t.TempDir()
	r := start(t, dir, nil)
	r.accept("a", 1, 2, 3)
	r.accept("b", 4)
	r.stop()

	r = start(t, dir, nil)
	r.accept("a", 5)
	r.expect("cloud", 1, 2, 3, 4, 5)
}

func TestNextNeverDeletesAndAckMovesOn(t *testing.T) {
	dir := t.TempDir()
	r := start(t, dir, nil)
	r.accept("a", 1)
	r.accept("a", 2)
	c := r.Cursor("cloud")
	first := r.next(c, 1)
	r.next(c, 1)
	c.Ack(reading.Normal, first[0].First, first[0].Last())
	r.stop()

	r = start(t, dir, nil)
	r.expect("cloud", 2)
	r.expect("archive", 1, 2) // a sink of its own, from the beginning
}

func TestCursorIsSavedWithoutACommit(t *testing.T) {
	dir := t.TempDir()
	r := start(t, dir, nil)
	r.accept("a", 1)
	c := r.Cursor("cloud")
	c.Ack(reading.Normal, 1, r.next(c, 1)[0].Last())
	r.eventually(func() bool {
		saved := false
		err := each(r.state, bucketCursors, func([]byte, [reading.Lanes]ranges) error { saved = true; return nil })
		return err == nil && saved
	})
}

func TestLanesHaveTheirOwnNumbersAndAlarmsGoFirst(t *testing.T) {
	r := start(t, t.TempDir(), nil)
	r.acceptAll(
		reading.Reading{Device: "a", Metric: "m", Time: 1, Value: reading.Float(1)},
		reading.Reading{Device: "a", Metric: "m", Time: 1, Value: reading.Float(2), Lane: reading.Bulk},
		reading.Reading{Device: "a", Metric: "m", Time: 1, Value: reading.Float(3), Lane: reading.Alarm})
	c := r.Cursor("cloud")
	for _, want := range []reading.Lane{reading.Alarm, reading.Normal, reading.Bulk} {
		b := r.next(c, 1)[0]
		if b.Lane != want || b.First != 1 || b.Count != 1 {
			t.Errorf("got %d readings of %s from %d on, want 1 of %s from 1", b.Count, b.Lane, b.First, want)
		}
	}
}

func TestUncleanEndBeginsANewEpochAndACleanOneDoesNot(t *testing.T) {
	dir := t.TempDir()
	r := start(t, dir, nil)
	r.accept("a", 1)
	epoch := r.Stats().Epoch
	r.stop()

	r = start(t, dir, nil)
	if got := r.Stats().Epoch; got != epoch {
		t.Errorf("epoch %x after a clean end, was %x", got, epoch)
	}
	r.accept("a", 2)
	r.crash()

	r = start(t, dir, nil)
	if got := r.Stats().Epoch; got == epoch {
		t.Error("the epoch goes on after a crash: a number could be given out twice")
	}
	r.accept("a", 3)
	r.expect("cloud", 1, 2, 3)
}

func TestFullBufferEvictsTheOldestAndSaysSo(t *testing.T) {
	dir := t.TempDir()
	r := start(t, dir, nil)
	c := r.Cursor("cloud")
	sent := 0
	for r.Stats().Lost == 0 {
		r.acceptAll(noise("a", sent, 64<<10))
		sent++
	}
	if s := r.Stats(); s.ReservedBytes > MinBytes {
		t.Errorf("%d bytes reserved, bound is %d", s.ReservedBytes, MinBytes)
	}
	lost, got := uint64(0), 0
	for uint64(got)+lost < uint64(sent) {
		for _, b := range r.next(c, 1<<20) {
			for _, rd := range decode(t, b) {
				if rd.Device != GapDevice {
					got++
					continue
				}
				var g Gap
				if err := json.Unmarshal([]byte(rd.Value.Text()), &g); err != nil {
					t.Fatal(err)
				}
				if g.Reason != ReasonEvicted || g.Lane != "normal" || g.Count != g.Last-g.First+1 || g.From == 0 || len(g.Sinks) != 1 {
					t.Errorf("gap %+v", g)
				}
				lost += g.Count
			}
		}
	}
	if uint64(got)+lost != uint64(sent) {
		t.Errorf("%d delivered and %d declared lost of %d", got, lost, sent)
	}
}

func TestDeliveredSegmentsAreRecycledWithoutAGap(t *testing.T) {
	r := start(t, t.TempDir(), nil)
	c := r.Cursor("cloud")
	for i := range 5 * segmentSize / (64 << 10) {
		r.acceptAll(noise("a", i, 64<<10))
		bs := r.next(c, 1)
		c.Ack(reading.Normal, bs[0].First, bs[len(bs)-1].Last())
	}
	if lost := r.Stats().Lost; lost != 0 {
		t.Errorf("%d readings lost that were delivered", lost)
	}
}

func TestSecondProcessIsRefusedWithAReason(t *testing.T) {
	dir := t.TempDir()
	start(t, dir, nil)
	_, err := Open(Config{Dir: dir, MaxBytes: MinBytes, Clock: testClock()}, slog.New(slog.DiscardHandler))
	if err == nil {
		t.Fatal("two buffers on one folder")
	}
	t.Log(err)
}

func TestAcceptBlocksWhileAFullGroupWaits(t *testing.T) {
	b := open(t, t.TempDir(), nil) // nobody commits
	rs := make([]reading.Reading, groupReadings)
	first, err := b.Accept(t.Context(), rs)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := b.Accept(ctx, rs[:1]); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("a full group took more: %v", err)
	}
	run := runBuffer(t, b)
	if err := first.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Accept(t.Context(), rs[:1]); err != nil {
		t.Fatal(err)
	}
	run.stop()
	if _, err := b.Accept(t.Context(), rs[:1]); !errors.Is(err, ErrClosed) {
		t.Errorf("a closed buffer says %v", err)
	}
}

func TestOversizeBatchIsRefusedWhole(t *testing.T) {
	r := start(t, t.TempDir(), nil)
	for _, rs := range [][]reading.Reading{
		make([]reading.Reading, maxAccept+1),
		{noise("a", 1, maxAcceptText+1)},
		{{Lane: reading.Lanes}},
	} {
		if _, err := r.Accept(t.Context(), rs); err == nil {
			t.Errorf("batch of %d was taken", len(rs))
		}
	}
	if n := r.Stats().Accepted; n != 0 {
		t.Errorf("%d readings of refused batches were taken", n)
	}
}

func TestQuarantineKeepsTheBlockAndDeclaresIt(t *testing.T) {
	dir := t.TempDir()
	r := start(t, dir, nil)
	r.accept("a", 1)
	blk := r.next(r.Cursor("cloud"), 1)[0]
	if err := r.Quarantine("cloud", blk, "422: no such device"); err != nil {
		t.Fatal(err)
	}
	r.stop()
	r = start(t, dir, nil)
	q, err := r.Quarantined()
	if err != nil || len(q) != 1 || q[0].Reason != "422: no such device" || string(q[0].Raw) != string(blk.Raw) {
		t.Errorf("quarantine holds %+v, %v", q, err)
	}
	gaps, err := r.Gaps()
	if err != nil || len(gaps) != 1 || gaps[0].Reason != ReasonQuarantined || gaps[0].First != blk.First {
		t.Errorf("gaps %+v, %v", gaps, err)
	}
}

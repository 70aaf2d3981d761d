package buffer

import (
	"errors"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tidegate/tidegate/reading"
)

// knocked knocks and returns the answer.
func (r *running) knocked() error {
	r.t.Helper()
	receipt, err := r.Accept(r.t.Context(), nil, reading.Note{})
	if err != nil {
		return err
	}
	return receipt.Wait(r.t.Context())
}

func TestAKnockIsAnsweredAndWritesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, t.TempDir(), nil)
		if err := r.knocked(); err != nil {
			t.Fatalf("before anything was written: %v", err)
		}
		r.accept("a", 1)
		synctest.Wait() // Run waits: nobody else looks
		syncs, sync := 0, r.active.sync
		r.active.sync = func(f file) error { syncs++; return sync(f) }
		before, was := r.Stats(), modified(t, r)
		for range 100 {
			if err := r.knocked(); err != nil {
				t.Fatal(err)
			}
		}
		after := r.Stats()
		if syncs != 100 || after.Commits != before.Commits || after.FlashBytes != before.FlashBytes || after.Held != before.Held {
			t.Errorf("100 knocks: %d syncs; %+v, before %+v", syncs, after, before)
		}
		if now := modified(t, r); !now.Equal(was) {
			t.Errorf("the segment was written at %v, last by a commit at %v", now, was)
		}
		if notes := r.notes.fresh; len(notes) > 0 {
			t.Errorf("knocks are kept: %v", notes)
		}
	})
}

func modified(t *testing.T, r *running) time.Time {
	t.Helper()
	info, err := os.Stat(r.active.file.(*os.File).Name())
	if err != nil {
		t.Fatal(err)
	}
	return info.ModTime()
}

// A commit that hangs must be seen from outside, and one that is only slow not be taken
// for it.
func TestAKnockWaitsForTheCommitOfOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, t.TempDir(), nil)
		r.accept("a", 1)
		synctest.Wait()
		hangs, sync := make(chan struct{}), r.active.sync
		r.active.sync = func(f file) error { <-hangs; return sync(f) }
		theirs, err := r.Accept(t.Context(), []reading.Reading{value(2, reading.Normal)})
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // their commit is on its way
		receipt, err := r.Accept(t.Context(), nil, reading.Note{})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		select {
		case <-receipt.done:
			t.Fatal("answered while no commit comes back")
		default:
		}
		close(hangs)
		if err := errors.Join(theirs.Wait(t.Context()), receipt.Wait(t.Context())); err != nil {
			t.Error(err)
		}
	})
}

func TestAKnockIsTheCommitOfWhatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, t.TempDir(), func(c *Config) { c.Pace = 5 * time.Second })
		theirs, err := r.Accept(t.Context(), []reading.Reading{value(1, reading.Normal)})
		if err != nil {
			t.Fatal(err)
		}
		mine, err := r.Accept(t.Context(), nil, reading.Note{}, reading.Note{})
		if err != nil || mine != theirs {
			t.Errorf("got another receipt than theirs, or %v", err)
		}
		if err := mine.Wait(t.Context()); err != nil || r.Stats().Commits != 1 {
			t.Errorf("%v, %d commits", err, r.Stats().Commits)
		}
	})
}

// the sync that fails when nothing is to be written: what comes next is not lost.
func TestAKnockThatFailsCostsASegmentAndNoReading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, t.TempDir(), nil)
		r.accept("a", 1)
		synctest.Wait()
		bad := r.active
		bad.sync = func(file) error { return unix.EIO }
		if err := r.knocked(); !errors.Is(err, unix.EIO) {
			t.Fatalf("got %v", err)
		}
		r.accept("a", 2)
		synctest.Wait()
		if r.active == nil || r.active.number == bad.number {
			t.Error("a segment is written whose sync has failed")
		}
		if held := r.Stats().Held; held != 2 {
			t.Errorf("%d readings held, want 2", held)
		}
	})
}

func TestABufferThatRefusesSaysSoToWhoKnocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, t.TempDir(), nil)
		why := "no room: make some"
		r.problem.Store(&why)
		if err := r.knocked(); err == nil || err.Error() != "nothing is stored: "+why {
			t.Errorf("got %v", err)
		}
		r.problem.Store(nil)
		r.stop()
		if err := r.knocked(); !errors.Is(err, ErrClosed) {
			t.Errorf("after the end: %v", err)
		}
	})
}

func TestWhoKnocksWhenTheBufferEndsIsAnswered(t *testing.T) {
	b := open(t, t.TempDir(), nil)
	receipt, err := b.Accept(t.Context(), nil, reading.Note{})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if err := receipt.Wait(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("got %v", err)
	}
}

// With readings, it is nothing.
func TestANoteWithoutAKeyIsNotKept(t *testing.T) {
	r := start(t, t.TempDir(), nil)
	receipt, err := r.Accept(t.Context(), []reading.Reading{value(1, reading.Normal)}, reading.Note{}, reading.Note{Key: "a/b", Value: []byte("c")})
	if err == nil {
		err = receipt.Wait(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	if notes := r.notes.fresh; len(notes) != 1 || string(notes["a/b"]) != "c" {
		t.Errorf("kept %v", notes)
	}
}

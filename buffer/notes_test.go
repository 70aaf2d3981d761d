package buffer

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tidegate/tidegate/reading"
)

func note(key, value string) reading.Note { return reading.Note{Key: key, Value: []byte(value)} }

func forget(key string) reading.Note { return reading.Note{Key: key} }

// wantNotes fails unless the notes under door/ are these, in any order.
func (r *running) wantNotes(want map[string]string) {
	r.t.Helper()
	got := map[string]string{}
	err := r.Notes(r.t.Context(), "door/", func(n reading.Note) error {
		got[n.Key] = string(n.Value)
		return nil
	})
	if err != nil {
		r.t.Fatal(err)
	}
	if !maps.Equal(got, want) {
		r.t.Errorf("notes %v, want %v", got, want)
	}
}

func (r *running) note(notes ...reading.Note) {
	r.t.Helper()
	receipt, err := r.Accept(r.t.Context(), nil, notes...)
	if err == nil {
		err = receipt.Wait(r.t.Context())
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

func TestNotesSurviveACrashAndACleanEnd(t *testing.T) {
	dir := t.TempDir()
	r := start(t, dir, nil)
	r.note(note("door/a", "1"), note("door/b", "2"), note("other/c", "3"))
	r.note(note("door/a", "4"), forget("door/b"), note("door/d", ""))
	want := map[string]string{"door/a": "4", "door/d": ""}
	r.wantNotes(want)
	start(t, r.killed(), nil).wantNotes(want)
	for range 2 {
		r.stop()
		r = start(t, dir, nil)
		r.wantNotes(want)
	}
}

func TestTheLastNoteOfAKeyCounts(t *testing.T) {
	b := open(t, t.TempDir(), nil) // nothing runs: all of it is one group
	for i := range 3 {
		if _, err := b.Accept(t.Context(), nil, note("door/a", fmt.Sprint(i)), note("door/b", "x"), forget("door/b")); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(b.open.notes); n != 2 {
		t.Errorf("%d notes in the group, want 2", n)
	}
	runBuffer(t, b).wantNotes(map[string]string{"door/a": "2"})
}

// A packet identifier that is remembered without its message would lose the
// message when it is sent again.
func TestNotesOfAFailedCommitAreNotThere(t *testing.T) {
	dir := t.TempDir()
	r := start(t, dir, nil)
	r.note(note("door/a", "1"))
	r.eventually(func() bool { return r.Stats().Commits == 1 })
	next := segmentPath(dir, r.active.number+1)
	r.active.sync = func(file) error { return unix.EIO }
	if err := os.Mkdir(next, 0o700); err != nil { // nor a new segment
		t.Fatal(err)
	}
	receipt, err := r.Accept(t.Context(), []reading.Reading{value(7, reading.Normal)}, note("door/a", "2"))
	if err != nil {
		t.Fatal(err)
	}
	if err := receipt.Wait(t.Context()); err == nil {
		t.Fatal("stored all the same")
	}
	r.wantNotes(map[string]string{"door/a": "1"})
}

func TestSealedSegmentsAreNotNeededForNotes(t *testing.T) {
	r := start(t, t.TempDir(), nil)
	c := r.Cursor("cloud")
	r.note(note("door/a", "1"))
	for i := 0; r.Stats().ReservedBytes < MinBytes || i < 5*segmentSize/(1<<20); i++ {
		r.acceptAll(noise("a", i, 1<<20))
		b := r.next(c, 1)[0]
		c.Ack(b.Lane, b.First, b.Last())
	}
	r.note(note("door/b", "2"))
	start(t, r.killed(), nil).wantNotes(map[string]string{"door/a": "1", "door/b": "2"})
}

// A kill between a roll and the first record of the new segment leaves only
// segments that the next start does not read: record numbers must go on behind
// theirs, or the watermark of the notes would fall back.
func TestNotesAfterAKillInARollSurvive(t *testing.T) {
	r := start(t, t.TempDir(), nil)
	for i := range 6 {
		r.acceptAll(noise("a", i, 3<<20))
		r.note(note("door/a", fmt.Sprint(i)))
	}
	dir := r.killed()
	files := segments(t, dir)
	if err := os.Remove(files[len(files)-1]); err != nil {
		t.Fatal(err)
	}
	r = start(t, dir, nil)
	want := map[string]string{"door/a": "3"}
	r.wantNotes(want)
	dir = r.killed()
	s, _, err := openState(dir)
	if err == nil {
		err = errors.Join(s.update(put(bucketSegments, numberKey(2), nil)), s.close()) // it is about to be recycled
	}
	if err != nil {
		t.Fatal(err)
	}
	r = start(t, dir, nil)
	r.wantNotes(want)
	r.note(note("door/a", "4"))
	start(t, r.killed(), nil).wantNotes(map[string]string{"door/a": "4"})
}

func TestManyNotesDoNotWaitInMemory(t *testing.T) {
	r := start(t, t.TempDir(), nil)
	for i := range 40 {
		r.note(reading.Note{Key: fmt.Sprint("door/", i), Value: make([]byte, 100<<10)})
		r.notes.mu.Lock()
		if r.notes.bytes > maxFreshNotes+200<<10 {
			t.Fatalf("%d bytes of notes wait", r.notes.bytes)
		}
		r.notes.mu.Unlock()
	}
	n := 0
	if err := r.Notes(t.Context(), "door/", func(reading.Note) error { n++; return nil }); err != nil || n != 40 {
		t.Errorf("%d notes, %v; want 40", n, err)
	}
}

// Old records do not tell what was taken back in others that are gone: an
// identifier that rises again would swallow a message.
func TestNotesAreForgottenWithStateDB(t *testing.T) {
	dir := t.TempDir()
	r := start(t, dir, nil)
	r.note(note("door/a", "1"))
	dir = r.killed()
	if err := os.Remove(filepath.Join(dir, stateFile)); err != nil {
		t.Fatal(err)
	}
	r = start(t, dir, nil)
	r.wantNotes(map[string]string{})
	r.note(note("door/b", "2"))
	start(t, r.killed(), nil).wantNotes(map[string]string{"door/b": "2"})
}

func TestNotesThatAreTooLargeAreRefused(t *testing.T) {
	b := open(t, t.TempDir(), nil)
	for _, n := range []reading.Note{
		{Key: string(make([]byte, reading.MaxNoteKey+1))},
		{Key: "door/a", Value: make([]byte, reading.MaxNoteValue+1)},
	} {
		if _, err := b.Accept(t.Context(), nil, n); err == nil {
			t.Errorf("a note with %d and %d bytes is taken", len(n.Key), len(n.Value))
		}
	}
}

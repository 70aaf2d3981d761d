package buffer

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/tidegate/tidegate/reading"
)

// spoil returns what changes the short story's state.db.
func spoil(change func(b []byte) []byte) func(*testing.T, string) {
	return func(t *testing.T, dir string) { damage(t, filepath.Join(dir, stateFile), change) }
}

func stateAccidents() []accident {
	const forgets = "what doors remembered is forgotten"
	return append([]accident{
		{name: "state.db is gone", kept: "2-5", forgotten: true, says: forgets, happen: func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir, stateFile)); err != nil {
				t.Fatal(err)
			}
		}},
		lost("state.db is empty", spoil(func([]byte) []byte { return nil })),
		lost("state.db is a folder", func(t *testing.T, dir string) {
			path := filepath.Join(dir, stateFile)
			if err := errors.Join(os.Remove(path), os.Mkdir(path, 0o700)); err != nil {
				t.Fatal(err)
			}
		}),
		lost("state.db is overwritten with zeros", spoil(func(b []byte) []byte { clear(b); return b })),
		lost("state.db is truncated", spoil(func(b []byte) []byte { return b[:9000] })),
		lost("both meta pages of state.db are bad", spoil(func(b []byte) []byte { b[pageHeader+20]++; b[pageSize+pageHeader+20]++; return b })),
		{name: "newest meta page of state.db is torn", kept: "2-5", happen: spoil(func(b []byte) []byte {
			newest := b[pageHeader:]
			if other := b[pageSize+pageHeader:]; binary.NativeEndian.Uint64(other[48:]) > binary.NativeEndian.Uint64(newest[48:]) {
				newest = other
			}
			clear(newest[32:64])
			return b
		})},
		lost("rot in the pages of state.db", spoil(func(b []byte) []byte {
			for i := 2 * pageSize; i < len(b); i++ {
				b[i] ^= 0x5a
			}
			return b
		})),
		{name: "rot in any one page of state.db", by: TestEveryDamagedPageOfStateStillStarts},
		{name: "rot in a branch page of state.db", by: TestTreeThatBitesItsTailIsFound},
		{name: "state.db without a list of free pages", by: TestFileWithoutAListOfFreePagesIsNotOpened},
		{name: "bit rot in a cursor of state.db", by: TestBitRotInASavedCursorSkipsNothing},
	}, wholeStateAccidents()...)
}

// lost is an accident after which nothing of state.db is believed.
func lost(name string, happen func(*testing.T, string)) accident {
	return accident{name: name, happen: happen, kept: "2-5", forgotten: true,
		aside: "state.db.broken-1", says: "state.db was damaged and is set aside"}
}

// wholeStateAccidents are those of files that are whole when they are opened.
func wholeStateAccidents() []accident {
	return []accident{
		{name: "state.db with pages of 16 KiB", kept: "3-5", happen: repage(16 << 10)},
		{name: "state.db with pages of 64 KiB", kept: "3-5", happen: repage(64 << 10)},
		{name: "state.db of a newer version", kept: "2-5", forgotten: true, aside: "state.db.later-1", says: "state.db is of a later version of the program",
			happen: func(t *testing.T, dir string) {
				changeState(t, dir, put(bucketMeta, []byte(schemaKey), schema+1))
			}},
		{name: "state.db of an earlier version", by: TestJournalsOfEarlierProgramsComeOut},
		lost("entry of state.db that makes no sense", func(t *testing.T, dir string) {
			changeState(t, dir, put(bucketCursors, []byte("cloud"), "all of them"))
		}),
		lost("state.db of another gateway", func(t *testing.T, dir string) {
			r := start(t, t.TempDir(), nil)
			for v := range 9 {
				r.accept("a", float64(v))
			}
			r.Cursor("cloud").Ack(reading.Normal, 1, 9)
			r.stop()
			b, err := os.ReadFile(filepath.Join(r.cfg.Dir, stateFile))
			if err := errors.Join(err, os.WriteFile(filepath.Join(dir, stateFile), b, 0o600)); err != nil {
				t.Fatal(err)
			}
		}),
		{name: "old copy of state.db", by: TestOldCopyOfStateSkipsAndResurrectsNothing},
		{name: "old copy of the whole folder", by: TestCopyOfTheFolderBeginsANewEpoch},
		{name: "old copy of the whole card, or one of several", by: TestCopyOfTheCardBeginsANewEpoch},
		{name: "state.db rots while it is open", by: TestStateThatRotsWhileOpenIsReplaced},
		{name: "state.db is found rotten by who only reads", by: TestWhoMeetsRotGetsAnErrorAndNoPanic},
		{name: "writing state.db fails", by: TestStateThatCannotBeWrittenKeepsNotesAndQuarantine},
		{name: "state.db is set aside again and again", by: TestDamagedFilesDoNotPileUp},
	}
}

// repage returns what makes the same state.db as a machine with larger pages.
func repage(size int) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		path := filepath.Join(dir, stateFile)
		o := stateOptions()
		o.PageSize = size
		from, err := bbolt.Open(path, 0o600, nil)
		if err != nil {
			t.Fatal(err)
		}
		to, err := bbolt.Open(path+".new", 0o600, o)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(bbolt.Compact(to, from, 0), from.Close(), to.Close(), os.Rename(path+".new", path)); err != nil {
			t.Fatal(err)
		}
	}
}

func changeState(t *testing.T, dir string, changes ...func(*bbolt.Tx) error) {
	t.Helper()
	s, _, err := openState(dir)
	if err == nil {
		err = errors.Join(s.update(changes...), s.close())
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Cursors and notes of last week beside today's journal: cursors lag, and notes
// that are over do not rise; numbers are not used again; and what was delivered
// and recycled meanwhile is not declared lost.
func TestOldCopyOfStateSkipsAndResurrectsNothing(t *testing.T) {
	dir := t.TempDir()
	r := start(t, dir, nil)
	c := r.Cursor("cloud")
	n := 0
	deliver := func(readings int) {
		for range readings {
			r.acceptAll(noise("a", n, 1<<20))
			n++
			b := r.next(c, 1)[0]
			c.Ack(b.Lane, b.First, b.Last())
		}
	}
	r.note(note("door/a", "1"), note("door/b", "1"))
	deliver(20) // some segments are noted
	old, err := os.ReadFile(filepath.Join(r.killed(), stateFile))
	if err != nil {
		t.Fatal(err)
	}
	r.note(forget("door/a"))
	deliver(60) // every one of them was recycled
	r.accept("a", 1)
	r.accept("a", 2)
	dir = r.killed()
	if err := os.WriteFile(filepath.Join(dir, stateFile), old, 0o600); err != nil {
		t.Fatal(err)
	}
	after, log := startLogged(t, dir)
	if after.epoch == r.epoch {
		t.Error("the epoch goes on")
	}
	if first := after.Buffer.next[reading.Normal]; first != 83 {
		t.Errorf("the next number is %d, want 83", first)
	}
	if got := after.numbers("cloud"); got != "81-82" {
		t.Errorf("the sink gets %s, want 81-82", got)
	}
	if got := after.gapList(); got != "" {
		t.Errorf("declared lost: %s", got)
	}
	after.wantNotes(map[string]string{})
	if said := log.String(); said == "" {
		t.Error("nothing is said")
	}
}

// Numbers that were given out since must not name other readings.
func TestCopyOfTheFolderBeginsANewEpoch(t *testing.T) {
	r := start(t, t.TempDir(), nil)
	r.accept("a", 1)
	r.stop()
	copied := t.TempDir()
	if err := os.CopyFS(copied, os.DirFS(r.cfg.Dir)); err != nil {
		t.Fatal(err)
	}
	again := start(t, copied, nil)
	if again.epoch == r.epoch {
		t.Error("the epoch of the copy goes on")
	}
	again.expect("cloud", 1)
}

// TestCopyOfTheCardBeginsANewEpoch: such a copy has the inodes of what it was made of, and
// numbers that others have used meanwhile. What it shares is not to be seen on it; that it
// is started in another boot is.
func TestCopyOfTheCardBeginsANewEpoch(t *testing.T) {
	dir := t.TempDir()
	r := start(t, dir, nil)
	r.accept("a", 1)
	r.stop()
	again := start(t, dir, func(c *Config) { c.Clock.Boot++ })
	if again.epoch == r.epoch || journalOf(again.epoch) != journalOf(r.epoch) {
		t.Errorf("the epoch of the copy is %x, that of the card was %x", again.epoch, r.epoch)
	}
	again.accept("a", 2)
	again.expect("cloud", 1, 2)
}

func TestDamagedFilesDoNotPileUp(t *testing.T) {
	dir := t.TempDir()
	for range 3 * mostAside {
		overwrite(t, makeState(t, dir), 0, 10*pageSize)
		r := start(t, dir, nil)
		r.accept("a", 1)
		r.stop()
	}
	if names := asideFiles(t, dir); len(names) != mostAside {
		t.Errorf("set aside: %v", names)
	}
}

func makeState(t *testing.T, dir string) string {
	t.Helper()
	s, _, err := openState(dir)
	if err == nil {
		err = s.close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return s.path()
}

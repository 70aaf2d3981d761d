package buffer

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tidegate/tidegate/reading"
)

// The file rots while it is open: bbolt panics, or the kernel does not find the
// page behind the map. Memory knows what was in it.
func TestStateThatRotsWhileOpenIsReplaced(t *testing.T) {
	for name, rot := range map[string]func(t *testing.T, path string, size int64){
		"pages overwritten": func(t *testing.T, path string, size int64) { overwrite(t, path, 2*pageSize, int(size)-2*pageSize) },
		"all overwritten":   func(t *testing.T, path string, size int64) { overwrite(t, path, 0, int(size)) },
		"truncated":         func(t *testing.T, path string, size int64) { truncate(t, path, pageSize) },
		"emptied":           func(t *testing.T, path string, size int64) { truncate(t, path, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			r := start(t, dir, nil)
			r.accept("a", 1)
			r.accept("a", 2)
			c := r.Cursor("cloud")
			c.Ack(reading.Normal, 1, r.next(c, 1)[0].Last())
			r.accept("a", 3) // carries the cursor
			path := filepath.Join(dir, stateFile)
			info, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			rot(t, path, info.Size())
			c.Ack(reading.Normal, 2, 2) // saved within a second
			r.eventually(func() bool { _, err := os.Stat(path + ".broken-1"); return err == nil && r.state.well() })
			if p := r.Stats().Problem; p != "" {
				t.Errorf("mended, and still says %q", p)
			}
			r.accept("a", 4)
			dir = r.killed()
			r = start(t, dir, nil)
			r.expect("cloud", 3, 4)
			r.expect("other", 1, 2, 3, 4)
		})
	}
}

// A gap, and who asks for it, may be the first to meet the damage.
func TestWhoMeetsRotGetsAnErrorAndNoPanic(t *testing.T) {
	dir := t.TempDir()
	r := start(t, dir, nil)
	r.accept("a", 1)
	r.declareLost(reading.Normal, Gap{First: 7, Last: 8, Reason: ReasonDamaged})
	r.eventually(func() bool {
		sent := false
		err := each(r.state, bucketGaps, func(_ []byte, e gapEntry) error { sent = e.Sent; return nil })
		return err == nil && sent
	})
	overwrite(t, filepath.Join(dir, stateFile), 2*pageSize, 30*pageSize)
	if _, err := r.Gaps(); !errors.Is(err, errRotten) {
		t.Errorf("it says %v", err)
	}
	r.eventually(func() bool { gaps, err := r.Gaps(); return err == nil && len(gaps) > 0 })
	r.wantGap(reading.Normal, 7, 8)
}

// Only writing failed: what else nobody remembers is taken over.
func TestStateThatCannotBeWrittenKeepsNotesAndQuarantine(t *testing.T) {
	dir := t.TempDir()
	r := start(t, dir, nil)
	r.accept("a", 1)
	r.accept("a", 2)
	r.note(note("door/a", "1"))
	c := r.Cursor("cloud")
	if err := r.Quarantine("cloud", r.next(c, 1)[0], "poison"); err != nil {
		t.Fatal(err)
	}
	r.foldNotesNow()
	r.closeState() // every write fails from now on
	c.Ack(reading.Normal, 2, 2)
	r.eventually(func() bool {
		_, err := os.Stat(filepath.Join(dir, stateFile+".broken-1"))
		return err == nil && r.state.well()
	})
	r.wantNotes(map[string]string{"door/a": "1"})
	if q, err := r.Quarantined(); err != nil || len(q) != 1 {
		t.Errorf("%d blocks in quarantine, %v", len(q), err)
	}
	r.accept("a", 3)
}

// foldNotesNow brings notes to state.db as the end of a segment would.
func (r *running) foldNotesNow() {
	c := r.Cursor("cloud")
	r.eventually(func() bool {
		c.Ack(reading.Normal, 1, 1)
		r.notes.mu.Lock()
		defer r.notes.mu.Unlock()
		return len(r.notes.fresh) == 0
	})
}

// On a read-only file system it starts, delivers what is there, acknowledges
// nothing and says why; when the file system is writable again it goes on.
func TestReadOnlyFileSystemDeliversAndGoesOnWhenWritable(t *testing.T) {
	dir := mountSmall(t, "64m")
	r := start(t, dir, nil)
	r.accept("a", 1)
	r.accept("a", 2)
	c := r.Cursor("cloud")
	c.Ack(reading.Normal, 1, r.next(c, 1)[0].Last())
	r.stop()
	remount(t, dir, "ro")
	r, log := startLogged(t, dir)
	r.expect("cloud", 2)
	if err := r.try(3); !errors.Is(err, unix.EROFS) {
		t.Errorf("Accept says %v", err)
	}
	if p := r.Stats().Problem; !strings.Contains(p, "read-only") || !strings.Contains(p, "hint: ") {
		t.Errorf("problem %q", p)
	}
	r.Cursor("cloud").Ack(reading.Normal, 2, 2)
	remount(t, dir, "rw")
	r.eventually(func() bool { return r.try(4) == nil })
	if n := strings.Count(log.String(), "takes no changes"); n != 1 {
		t.Errorf("it is said %d times that state.db takes no changes: %s", n, log)
	}
	if p := r.Stats().Problem; p != "" {
		t.Errorf("it works again and says %q", p)
	}
	r.expect("cloud", 4)
	r.stop()
	r = start(t, dir, nil)
	r.expect("cloud", 4)
	r.expect("other", 1, 2, 4)
	if gaps, err := r.Gaps(); err != nil || len(gaps) != 0 {
		t.Errorf("gaps %+v, %v", gaps, err)
	}
}

// try accepts a reading and returns what its receipt says.
func (r *running) try(v float64) error {
	receipt, err := r.Accept(r.t.Context(), []reading.Reading{value(v, reading.Normal)})
	if err == nil {
		err = receipt.Wait(r.t.Context())
	}
	return err
}

func remount(t *testing.T, dir, how string) {
	t.Helper()
	flags := uintptr(unix.MS_REMOUNT)
	if how == "ro" {
		flags |= unix.MS_RDONLY
	}
	if err := unix.Mount("", dir, "", flags, ""); err != nil {
		t.Fatal(err)
	}
}

func overwrite(t *testing.T, path string, off int64, n int) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	bad := make([]byte, n)
	for i := range bad {
		bad[i] = 0x5a
	}
	if _, err := f.WriteAt(bad, off); err != nil {
		t.Fatal(err)
	}
}

// closeState closes the file of state.db, in the middle of nothing.
func (r *running) closeState() {
	r.t.Helper()
	r.state.mu.RLock()
	defer r.state.mu.RUnlock()
	tx, err := r.state.db.Begin(true)
	if err != nil {
		r.t.Fatal(err)
	}
	defer tx.Rollback()
	r.state.file.Close()
}

func truncate(t *testing.T, path string, size int64) {
	t.Helper()
	if err := os.Truncate(path, size); err != nil {
		t.Fatal(err)
	}
}

// While there is no room for a new file, the old one stays where it is.
func TestStateIsNotSetAsideWhileThereIsNoRoomForANewOne(t *testing.T) {
	mount := mountSmall(t, "48m")
	dir, filler := filepath.Join(mount, "buffer"), filepath.Join(mount, "filler")
	r := start(t, dir, nil)
	r.accept("a", 1)
	r.note(note("door/a", "1"))
	r.Cursor("cloud")
	r.foldNotesNow()
	fill(t, filler)
	r.closeState() // every write fails from now on
	r.eventually(func() bool { r.Cursor("cloud").Ack(reading.Normal, 1, 1); return !r.state.well() })
	if err := r.try(2); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("Accept says %v", err)
	}
	if names := asideFiles(t, dir); slices.Contains(names, "state.db.broken-1") {
		t.Errorf("set aside: %v", names)
	}
	r.makeRoom(filler)
	r.eventually(func() bool { return r.try(3) == nil })
	r.wantNotes(map[string]string{"door/a": "1"})
}

package buffer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"testing"

	"go.etcd.io/bbolt"
)

// manyNotes makes a state.db whose tree has branches, in pages of the size.
func manyNotes(t testing.TB, path string, size int) {
	t.Helper()
	o := stateOptions()
	o.PageSize = size
	db, err := bbolt.Open(path, 0o600, o)
	if err == nil {
		err = db.Update(func(tx *bbolt.Tx) error {
			for _, name := range buckets() {
				if _, err := tx.CreateBucket([]byte(name)); err != nil {
					return err
				}
			}
			for i := range 40 * size / 1000 {
				if err := putNote(fmt.Sprint("door/", i), make([]byte, 100))(tx); err != nil {
					return err
				}
			}
			return putNote("long", make([]byte, 3*size))(tx)
		})
	}
	if err == nil {
		err = db.Update(putNote("last", []byte{1})) // the other meta page knows the rest, too
	}
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestWholeFilesPassThePageCheck(t *testing.T) {
	for _, size := range []int{1 << 10, 4 << 10, 16 << 10, 64 << 10} {
		path := filepath.Join(t.TempDir(), stateFile)
		manyNotes(t, path, size)
		for _, meta := range []string{"both", "second only"} {
			if meta != "both" {
				overwrite(t, path, pageHeader, 80)
			}
			if err := checkPages(path); err != nil {
				t.Errorf("pages of %d bytes, %s: %v", size, meta, err)
			}
			s := &state{dir: filepath.Dir(path), unwell: func(error) {}}
			if err := s.open(path, false); err != nil {
				t.Errorf("pages of %d bytes, %s: %v", size, meta, err)
			}
			s.close()
		}
	}
}

// A branch that leads back to where it came from: bbolt would go round for ever,
// or until the stack is full.
func TestTreeThatBitesItsTailIsFound(t *testing.T) {
	path := filepath.Join(t.TempDir(), stateFile)
	manyNotes(t, path, pageSize)
	damage(t, path, func(b []byte) []byte {
		for at := 0; at < len(b); at += pageSize {
			if p := b[at:]; at > 0 && binary.NativeEndian.Uint16(p[8:]) == branchPage {
				copy(p[pageHeader+8:], p[:8]) // its first child is itself
			}
		}
		return b
	})
	if err := checkPages(path); !errors.Is(err, errRotten) {
		t.Errorf("it says %v", err)
	}
}

// Without that list bbolt looks for free pages in a goroutine of its own, and
// what it meets there ends the process.
func TestFileWithoutAListOfFreePagesIsNotOpened(t *testing.T) {
	path := filepath.Join(t.TempDir(), stateFile)
	manyNotes(t, path, pageSize)
	damage(t, path, func(b []byte) []byte {
		for _, page := range [][]byte{b, b[pageSize:]} {
			m, sum := page[pageHeader:], fnv.New64a()
			binary.NativeEndian.PutUint64(m[32:], noFreePage)
			sum.Write(m[:metaSum])
			binary.NativeEndian.PutUint64(m[metaSum:], sum.Sum64())
		}
		return b
	})
	if err := checkPages(path); !errors.Is(err, errRotten) {
		t.Errorf("it says %v", err)
	}
}

// FuzzStateFile opens files that anything may be in: an error, or a state that
// takes changes. Nothing ends the process.
func FuzzStateFile(f *testing.F) {
	path := filepath.Join(f.TempDir(), stateFile)
	manyNotes(f, path, 1<<10)
	whole, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(uint32(1050), byte(1), uint32(len(whole)))
	f.Fuzz(func(t *testing.T, at uint32, change byte, length uint32) {
		bad := append([]byte(nil), whole...)
		bad[int(at)%len(bad)] ^= change
		bad = bad[:min(int(length), len(bad))]
		path := filepath.Join(t.TempDir(), stateFile)
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		s := &state{dir: filepath.Dir(path), unwell: func(error) {}}
		if s.open(path, false) != nil {
			return
		}
		defer s.close()
		if err := s.update(put(bucketMeta, []byte("k"), 1), clearNotes); err != nil && s.well() {
			t.Errorf("a change fails with %v, and the state is well", err)
		}
	})
}

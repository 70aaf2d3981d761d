package cloud

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.etcd.io/bbolt"
)

// A store of a later version is refused, whoever opens it, and not a byte of it
// changes.
func TestAStoreOfALaterVersionIsLeftAlone(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(StoreConfig{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	err = s.update(func(tx *bbolt.Tx) error { return tx.Bucket(metaBucket).Put(schemaKey, []byte("2")) })
	if err := errors.Join(err, s.Close()); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, fileName)
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, readOnly := range []bool{false, true} {
		s, err := Open(StoreConfig{Dir: dir, ReadOnly: readOnly})
		if err == nil {
			s.Close()
		}
		if !errors.Is(err, errLater) || !strings.Contains(err.Error(), " — hint: install that version again") {
			t.Errorf("read only %v: %v", readOnly, err)
		}
	}
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the file has changed: %v", err)
	}
}

// A store of before there was a schema is of schema 1.
func TestAStoreWithoutASchemaIsTakenOver(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(StoreConfig{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	err = s.update(func(tx *bbolt.Tx) error { return tx.DeleteBucket(metaBucket) })
	if err := errors.Join(err, s.Close()); err != nil {
		t.Fatal(err)
	}
	for _, readOnly := range []bool{true, false, true} {
		s, err := Open(StoreConfig{Dir: dir, ReadOnly: readOnly})
		if err != nil {
			t.Fatalf("read only %v: %v", readOnly, err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

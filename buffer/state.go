package buffer

import (
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
	"golang.org/x/sys/unix"

	"github.com/tidegate/tidegate/reading"
)

// state is what changes beside the readings, in bbolt: cursors, sealed
// segments, gaps, quarantine. It is small, and losing it repeats deliveries,
// never skips them: everything that matters can be read from the journal.
type state struct {
	db *bbolt.DB
}

const stateFile = "state.db"

// The buckets. Keys are names or big-endian numbers, values JSON and a checksum
// of key and value: bbolt has none, and one bit can turn a cursor into one that
// skips.
const (
	bucketMeta       = "meta"
	bucketCursors    = "cursors"    // name → sequence numbers by lane
	bucketSegments   = "segments"   // number → segmentInfo of a sealed segment
	bucketGaps       = "gaps"       // lane and first number → gapEntry
	bucketQuarantine = "quarantine" // lane and first number → quarantined
	bucketNotes      = "notes"      // key → value, as doors gave them
)

func buckets() []string {
	return []string{bucketMeta, bucketCursors, bucketSegments, bucketGaps, bucketQuarantine, bucketNotes}
}

// The keys of bucketMeta.
const (
	sessionKey = "session" // → session
	foldedKey  = "folded"  // → number of the record up to which bucketNotes knows the notes
)

// session is what the buffer knew when it was last opened or closed.
type session struct {
	Epoch uint64 `json:"epoch"`
	// Clean says that the buffer was closed in order; Record is the last
	// record and Next the next sequence numbers then.
	Clean  bool                  `json:"clean"`
	Record uint64                `json:"record"`
	Next   [reading.Lanes]uint64 `json:"next"`
	// Last is the segment that was being written when it was closed.
	Last segmentInfo `json:"last"`
}

// openState opens state.db, or sets a file that will not open aside and starts
// anew. aside names the file that was set aside.
func openState(dir string) (s *state, aside string, err error) {
	path := filepath.Join(dir, stateFile)
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		if err := createState(dir); err != nil {
			return nil, "", err
		}
	}
	s, err = tryState(path)
	if err == nil {
		return s, "", nil
	}
	if errors.Is(err, bolterrors.ErrTimeout) {
		return nil, "", fmt.Errorf("open %s: another process holds it — hint: is a tidegate running on this folder?", path)
	}
	if isPassing(err) {
		return nil, "", fmt.Errorf("open %s: %w — hint: nothing is wrong with the file; see to the limits and permissions of this user", path, err)
	}
	aside = fmt.Sprintf("%s.broken-%d", path, time.Now().UnixNano())
	if err := os.Rename(path, aside); err != nil {
		return nil, "", err
	}
	if err := createState(dir); err != nil {
		return nil, aside, err
	}
	s, err = tryState(path)
	return s, aside, err
}

// isPassing says that the error is of the process or its surroundings, not of
// the file.
func isPassing(err error) bool {
	for _, e := range []error{unix.EMFILE, unix.ENFILE, unix.ENOMEM, unix.EACCES, unix.EPERM, unix.EROFS} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// createState makes the file under another name first: bbolt cannot tell a
// file whose making was interrupted from a damaged one.
func createState(dir string) error {
	tmp := filepath.Join(dir, stateFile+".new")
	if err := os.Remove(tmp); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	db, err := bbolt.Open(tmp, 0o600, stateOptions())
	if err != nil {
		return err
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		for _, name := range buckets() {
			if _, err := tx.CreateBucketIfNotExists([]byte(name)); err != nil {
				return err
			}
		}
		return nil
	})
	if err := errors.Join(err, db.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp, filepath.Join(dir, stateFile)); err != nil {
		return err
	}
	return syncDir(dir)
}

func stateOptions() *bbolt.Options {
	return &bbolt.Options{
		Timeout:      time.Second,
		PageSize:     pageSize, // also where the kernel's pages are larger: a commit writes whole pages
		FreelistType: bbolt.FreelistMapType,
	}
}

// tryState opens the file and reads all of it once. bbolt checks pages only
// when it comes to them, and then it panics; a truncated file under its map is
// a fault.
func tryState(path string) (s *state, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	var db *bbolt.DB
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("open %s: damaged: %v", path, p)
		}
		if err != nil && db != nil {
			db.Close()
		}
	}()
	if db, err = bbolt.Open(path, 0o600, stateOptions()); err != nil {
		return nil, err
	}
	err = db.View(func(tx *bbolt.Tx) error {
		for _, name := range buckets() {
			b := tx.Bucket([]byte(name))
			if b == nil {
				return fmt.Errorf("bucket %q is missing", name)
			}
			if err := b.ForEach(func(k, v []byte) error {
				_, err := unseal(k, v)
				return err
			}); err != nil {
				return err
			}
		}
		return checkPages(tx)
	})
	return &state{db}, err
}

// checkPages checks what binds the pages together, which reading alone does
// not: a page that is free and in use would cost the next change a panic, at
// every start anew.
func checkPages(tx *bbolt.Tx) (err error) {
	for e := range tx.Check() {
		err = cmp.Or(err, e) // all have to be taken
	}
	return err
}

func (s *state) close() error { return s.db.Close() }

// update changes several entries in one transaction.
func (s *state) update(changes ...func(*bbolt.Tx) error) error {
	return s.db.Update(func(tx *bbolt.Tx) error {
		for _, change := range changes {
			if err := change(tx); err != nil {
				return err
			}
		}
		return nil
	})
}

// put stores value as JSON; nil deletes.
func put(bucket string, key []byte, value any) func(*bbolt.Tx) error {
	return func(tx *bbolt.Tx) error {
		if value == nil {
			return tx.Bucket([]byte(bucket)).Delete(key)
		}
		text, err := json.Marshal(value)
		if err != nil {
			return err
		}
		return tx.Bucket([]byte(bucket)).Put(key, seal(key, text))
	}
}

// get calls found with the entry, if there is one.
func get[T any](s *state, bucket, key string, found func(T)) error {
	return s.db.View(func(tx *bbolt.Tx) error {
		sealed := tx.Bucket([]byte(bucket)).Get([]byte(key))
		if sealed == nil {
			return nil
		}
		text, err := unseal([]byte(key), sealed)
		if err != nil {
			return err
		}
		var value T
		if err := json.Unmarshal(text, &value); err != nil {
			return fmt.Errorf("%s %q: %w", bucket, key, err)
		}
		found(value)
		return nil
	})
}

// each calls visit with every entry of the bucket, in order of keys.
func each[T any](s *state, bucket string, visit func(key []byte, value T) error) error {
	return s.db.View(func(tx *bbolt.Tx) error {
		return tx.Bucket([]byte(bucket)).ForEach(func(k, v []byte) error {
			text, err := unseal(k, v)
			if err != nil {
				return err
			}
			var value T
			if err := json.Unmarshal(text, &value); err != nil {
				return fmt.Errorf("%s %q: %w", bucket, k, err)
			}
			return visit(k, value)
		})
	})
}

// seal appends the checksum, and unseal checks it.
func seal(key, text []byte) []byte {
	return binary.LittleEndian.AppendUint32(text, crc32c(slices.Concat(key, text)))
}

func unseal(key, sealed []byte) ([]byte, error) {
	if n := len(sealed) - 4; n >= 0 && binary.LittleEndian.Uint32(sealed[n:]) == crc32c(slices.Concat(key, sealed[:n])) {
		return sealed[:n], nil
	}
	return nil, fmt.Errorf("entry %q is damaged", key)
}

func numberKey(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

func laneKey(lane reading.Lane, seq uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{byte(lane)}, seq)
}

package buffer

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"

	"go.etcd.io/bbolt"
	"golang.org/x/sys/unix"

	"github.com/tidegate/tidegate/reading"
)

// state is what changes beside the readings, in bbolt: cursors, sealed
// segments, gaps, quarantine, notes. It is small, and losing it repeats
// deliveries, never skips them: everything that matters can be read from the
// journal.
//
// It may be unwell: its file cannot be written, or is damaged. Changes then
// fail, and Run brings it back (see mend); nothing is committed before.
type state struct {
	dir    string
	unwell func(error) // called when it becomes so

	mu    sync.RWMutex // held for reading while db is used, else while it is exchanged
	db    *bbolt.DB    // nil while there is none; then nothing is found
	file  *os.File     // of db
	isNew bool         // made by this process, and knows nothing
	why   error        // why the file before this one was set aside
	early bool         // of before there were notes

	fault atomic.Pointer[fault] // nil while it is well
}

// fault is why state.db takes no changes.
type fault struct {
	err     error
	damaged bool // it is read no more, and to be set aside
	intact  bool // only writing failed: what is in it may be taken over
	locked  bool // bbolt did not give its locks back, so it cannot be closed
}

// errRotten means that state.db does not hold what was written.
var errRotten = errors.New("state.db is damaged")

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
	schemaKey  = "schema"  // → schema
)

// schema is the version of what the entries mean. A file of a later one is left
// to the program that wrote it.
const schema = 1

// session is what the buffer knew when it was last opened or closed.
type session struct {
	Epoch uint64 `json:"epoch"`
	// File is the inode of the state.db that this was written to: a copy of
	// it may be an old one.
	File uint64 `json:"file"`
	// Boot is the one in which this was written. A copy of a whole card has the
	// same inodes, and is started in another boot.
	Boot uint32 `json:"boot"`
	// Clean says that the buffer was closed in order; Record is the last
	// record and Next the next sequence numbers then.
	Clean  bool                  `json:"clean"`
	Record uint64                `json:"record"`
	Next   [reading.Lanes]uint64 `json:"next"`
	// Last is the segment that was being written when it was closed.
	Last segmentInfo `json:"last"`
}

// well says that changes are taken.
func (s *state) well() bool { return s.fault.Load() == nil }

// fail makes the state unwell.
func (s *state) fail(f fault) {
	if s.fault.CompareAndSwap(nil, &f) {
		s.unwell(f.err)
	}
}

// view reads in one transaction.
func (s *state) view(read func(*bbolt.Tx) error) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if f := s.fault.Load(); f != nil && f.damaged {
		return f.err
	}
	if s.db == nil {
		return nil
	}
	err := contain(func() error { return s.db.View(read) })
	if errors.Is(err, errRotten) {
		s.fail(fault{err: err, damaged: true})
	}
	return err
}

// update changes several entries in one transaction. When the medium failed in
// the middle of it, the file is not written again: the kernel may have dropped
// pages that bbolt takes for written.
func (s *state) update(changes ...func(*bbolt.Tx) error) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if f := s.fault.Load(); f != nil {
		return f.err
	}
	changed := false
	err := contain(func() error {
		return s.db.Update(func(tx *bbolt.Tx) error {
			for _, change := range changes {
				if err := change(tx); err != nil {
					return err
				}
			}
			changed = true
			return nil
		})
	})
	rotten := errors.Is(err, errRotten)
	if rotten || err != nil && changed && !isNoSpace(err) && !errors.Is(err, unix.EROFS) {
		s.fail(fault{err: fmt.Errorf("state.db: %w", err), damaged: true, intact: !rotten, locked: rotten})
	}
	return err
}

// contain turns a panic into an error. bbolt checks pages only when it comes to
// them, and then it panics; a file that became shorter under its map is a fault.
func contain(do func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", errRotten, p)
		}
	}()
	return do()
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
	return s.view(func(tx *bbolt.Tx) error {
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
			return fmt.Errorf("%w: %s %q: %w", errRotten, bucket, key, err)
		}
		found(value)
		return nil
	})
}

// each calls visit with every entry of the bucket, in order of keys.
func each[T any](s *state, bucket string, visit func(key []byte, value T) error) error {
	return s.view(func(tx *bbolt.Tx) error {
		return tx.Bucket([]byte(bucket)).ForEach(func(k, v []byte) error {
			text, err := unseal(k, v)
			if err != nil {
				return err
			}
			var value T
			if err := json.Unmarshal(text, &value); err != nil {
				return fmt.Errorf("%w: %s %q: %w", errRotten, bucket, k, err)
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
	return nil, fmt.Errorf("%w: entry %q", errRotten, key)
}

func numberKey(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

// laneKeyLen is how many bytes a laneKey has.
const laneKeyLen = 1 + 8

func laneKey(lane reading.Lane, seq uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{byte(lane)}, seq)
}

package buffer

import (
	"context"
	"encoding/binary"
	"maps"
	"slices"
	"strings"
	"sync"

	"go.etcd.io/bbolt"

	"github.com/tidegate/tidegate/reading"
)

// notes are what doors remember and state.db does not know yet. A note rides in
// the record of its group, which makes it durable with the group's readings, for
// nothing. state.db takes it over with whatever else is saved there, at the
// latest when its segment is sealed; until then recovery finds it in the journal.
type notes struct {
	mu    sync.Mutex
	fresh map[string][]byte
	bytes int
	blank bool // what state.db has is over
}

// maxFreshNotes is how many bytes of notes may wait to be taken over.
const maxFreshNotes = 1 << 20

// noteOverhead is about what a note costs in memory beside its bytes.
const noteOverhead = 64

// add takes notes that are on flash.
func (n *notes) add(notes []reading.Note) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.fresh == nil {
		n.fresh = map[string][]byte{}
	}
	for _, note := range notes {
		n.fresh[note.Key] = note.Value
		n.bytes += len(note.Key) + len(note.Value) + noteOverhead
	}
}

// changes returns what brings the fresh notes, which come from records up to the
// one numbered record, to state.db.
func (n *notes) changes(record uint64) []func(*bbolt.Tx) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	changes := []func(*bbolt.Tx) error{put(bucketMeta, []byte(foldedKey), record)}
	if n.blank {
		changes = append(changes, clearNotes)
	}
	for key, value := range n.fresh {
		changes = append(changes, putNote(key, value))
	}
	return changes
}

// folded forgets the notes that state.db knows now.
func (n *notes) folded() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.fresh)
	n.bytes, n.blank = 0, false
}

// forget forgets all notes, also those of state.db.
func (n *notes) forget() {
	n.folded()
	n.blank = true
}

func (n *notes) full() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.bytes > maxFreshNotes
}

// foldNotes brings notes to state.db when too many of them wait.
func (b *Buffer) foldNotes() {
	if !b.notes.full() {
		return
	}
	if err := b.updateWithCursors(); err != nil {
		b.log.Warn("notes are not saved; they stay in memory and in the journal", "err", err)
	}
	b.spend(stateCommitFlash)
}

// clearNotes forgets the notes that state.db knows.
func clearNotes(tx *bbolt.Tx) error {
	if err := tx.DeleteBucket([]byte(bucketNotes)); err != nil {
		return err
	}
	_, err := tx.CreateBucket([]byte(bucketNotes))
	return err
}

// putNote stores the bytes as they are; nil deletes.
func putNote(key string, value []byte) func(*bbolt.Tx) error {
	return func(tx *bbolt.Tx) error {
		if value == nil {
			return tx.Bucket([]byte(bucketNotes)).Delete([]byte(key))
		}
		return tx.Bucket([]byte(bucketNotes)).Put([]byte(key), seal([]byte(key), slices.Clone(value)))
	}
}

// Notes calls visit with every note whose key begins with prefix, in the order
// of keys, until that returns an error. It waits for what is being committed.
// The note's value is valid during the call.
func (b *Buffer) Notes(ctx context.Context, prefix string, visit func(reading.Note) error) error {
	if err := b.settle(ctx); err != nil {
		return err
	}
	b.notes.mu.Lock()
	fresh, blank := maps.Clone(b.notes.fresh), b.notes.blank
	b.notes.mu.Unlock()
	all := map[string][]byte{}
	err := b.state.view(func(tx *bbolt.Tx) error {
		if blank {
			return nil
		}
		c := tx.Bucket([]byte(bucketNotes)).Cursor()
		for k, v := c.Seek([]byte(prefix)); k != nil && strings.HasPrefix(string(k), prefix); k, v = c.Next() {
			value, err := unseal(k, v)
			if err != nil {
				return err
			}
			all[string(k)] = slices.Clone(value)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for key, value := range fresh {
		if strings.HasPrefix(key, prefix) {
			all[key] = value
		}
	}
	for _, key := range slices.Sorted(maps.Keys(all)) {
		if all[key] == nil {
			continue
		}
		if err := visit(reading.Note{Key: key, Value: all[key]}); err != nil {
			return err
		}
	}
	return nil
}

// settle waits until the notes that were accepted so far are on flash, or lost.
func (b *Buffer) settle(ctx context.Context) error {
	b.mu.Lock()
	pending := b.committing
	if len(b.open.notes) > 0 {
		pending = b.open.receipt
	}
	b.mu.Unlock()
	if pending == nil {
		return nil
	}
	_ = pending.Wait(ctx) // notes of a failed commit are not there, as nobody was told
	return ctx.Err()
}

// appendNote writes the lengths, then the bytes; a value's length is one more
// than it is, and 0 stands for none.
func appendNote(dst []byte, n reading.Note) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(n.Key)))
	dst = append(dst, n.Key...)
	if n.Value == nil {
		return append(dst, 0)
	}
	dst = binary.AppendUvarint(dst, uint64(len(n.Value))+1)
	return append(dst, n.Value...)
}

func parseNotes(b []byte) (notes []reading.Note, rest []byte, ok bool) {
	bytes := func(n uint64) []byte {
		if n > uint64(len(b)) {
			ok = false
			return nil
		}
		taken := b[:n:n]
		b = b[n:]
		return taken
	}
	number := func() uint64 {
		n, used := binary.Uvarint(b)
		if used <= 0 {
			ok = false
			return 0
		}
		b = b[used:]
		return n
	}
	ok = true
	for n := number(); ok && n > 0; n-- {
		note := reading.Note{Key: string(bytes(number()))}
		if size := number(); size > 0 {
			note.Value = bytes(size - 1)
		}
		notes = append(notes, note)
	}
	return notes, b, ok
}

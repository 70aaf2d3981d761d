package buffer

import (
	"encoding/binary"
	"encoding/json"

	"go.etcd.io/bbolt"

	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/wire"
)

// What earlier versions wrote is read for ever. Records are read as they lie, and
// state.db is brought up to date once, in one transaction.

const (
	recordVersion1 = '1' // was without notes
	recordVersion2 = '2'
)

// parse1 parses a body of version 1, in which a cursor's mark was once a single
// number a lane: all up to that is elsewhere. Blocks have checksums, so only one of
// the two ways comes to the end.
func (r *record) parse1(body []byte) bool {
	return r.parseWithMarks(body, parseMark) || r.parseWithMarks(body, parseMark1)
}

func (r *record) parseWithMarks(body []byte, parse func([]byte) (cursorMark, []byte, bool)) bool {
	r.cursors, r.blocks = nil, nil
	body, ok := r.parseMarks(body, parse)
	return ok && r.parseBlocks(body)
}

func (r *record) parseBlocks(body []byte) bool {
	for len(body) > 0 {
		b, rest, err := wire.ParseBlock(body)
		if err != nil {
			return false
		}
		r.blocks, body = append(r.blocks, b), rest
	}
	return true
}

// parseMark1 parses a mark of single numbers.
func parseMark1(b []byte) (m cursorMark, rest []byte, ok bool) {
	n, used := binary.Uvarint(b)
	if used <= 0 || n > uint64(len(b)-used) {
		return m, b, false
	}
	m.name, b = string(b[used:used+int(n)]), b[used+int(n):]
	for lane := range m.acked {
		last, used := binary.Uvarint(b)
		if used <= 0 {
			return m, b, false
		}
		m.acked[lane], b = ranges(nil).add(1, last), b[used:]
	}
	return m, b, true
}

// bringUp makes of a file without a schema one of schema 1: those had entries without
// checksums, cursors of single numbers, and no notes. early says that there were no
// notes that the journal could know better.
func bringUp(tx *bbolt.Tx) (early bool, err error) {
	for _, name := range buckets() {
		b := tx.Bucket([]byte(name))
		if b == nil && name == bucketNotes {
			early = true
			b, err = tx.CreateBucket([]byte(name))
		}
		if b == nil || err != nil {
			return early, err // checkState says what is missing
		}
		if err := bringUpBucket(b, name); err != nil {
			return early, err
		}
	}
	return early, put(bucketMeta, []byte(schemaKey), schema)(tx)
}

func bringUpBucket(b *bbolt.Bucket, name string) error {
	changed := map[string][]byte{} // a bucket must not change while it is walked
	err := b.ForEach(func(k, v []byte) error {
		text, err := unseal(k, v)
		if err != nil && json.Valid(v) {
			text, err = v, nil
		}
		var numbers [reading.Lanes]uint64
		if name == bucketCursors && err == nil && json.Unmarshal(text, &numbers) == nil {
			var acked [reading.Lanes]ranges
			for lane, last := range numbers {
				acked[lane] = acked[lane].add(1, last)
			}
			text, err = json.Marshal(acked)
		}
		if err == nil {
			changed[string(k)] = append([]byte(nil), text...)
		}
		return nil // what is damaged, checkState finds
	})
	for k, text := range changed {
		if err == nil {
			err = b.Put([]byte(k), seal([]byte(k), text))
		}
	}
	return err
}

// bringUp brings an earlier file up to date. Who only reads it leaves it as it is.
func (s *state) bringUp(readOnly bool) error {
	if readOnly {
		return nil
	}
	due := false
	err := s.db.View(func(tx *bbolt.Tx) error {
		meta := tx.Bucket([]byte(bucketMeta))
		due = meta != nil && meta.Get([]byte(schemaKey)) == nil
		return nil
	})
	if err != nil || !due {
		return err
	}
	return s.db.Update(func(tx *bbolt.Tx) (err error) {
		s.early, err = bringUp(tx)
		return err
	})
}

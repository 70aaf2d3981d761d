package cloud

import (
	"encoding/binary"

	"go.etcd.io/bbolt"
)

// Range is the sequence numbers First to Last, both included.
type Range struct {
	First uint64 `json:"first"`
	Last  uint64 `json:"last"`
}

// Count is how many numbers the range holds.
func (r Range) Count() uint64 { return r.Last - r.First + 1 }

// rangeSet is the set of sequence numbers that a lane has received, kept in a
// bucket as ranges that neither overlap nor touch: prefix and first → last. It
// is read and changed where it lies, so neither its size nor its holes cost
// memory or make a commit longer.
type rangeSet struct {
	bucket *bbolt.Bucket
	prefix []byte
}

// insert adds the range and returns the parts of it that are new, in order.
func (s rangeSet) insert(add Range) (fresh []Range, err error) {
	merged, next := add, add.First
	touching := s.touching(add)
	for _, old := range touching {
		if old.First > next {
			fresh = append(fresh, Range{next, old.First - 1})
		}
		next = max(next, old.Last+1)
		merged = Range{min(merged.First, old.First), max(merged.Last, old.Last)}
	}
	if next <= add.Last {
		fresh = append(fresh, Range{next, add.Last})
	}
	if len(fresh) == 0 {
		return nil, nil
	}
	for _, old := range touching {
		if old.First == merged.First {
			continue // put overwrites it
		}
		if err := s.bucket.Delete(seqKey(s.prefix, old.First)); err != nil {
			return nil, err
		}
	}
	last := binary.BigEndian.AppendUint64(nil, merged.Last)
	return fresh, s.bucket.Put(seqKey(s.prefix, merged.First), last)
}

// touching returns the ranges of the set that overlap r or lie directly beside
// it, in order.
func (s rangeSet) touching(r Range) []Range {
	var found []Range
	c := s.bucket.Cursor()
	for k, v := floor(c, s.prefix, r.First); k != nil; k, v = c.Next() {
		old, ok := s.decode(k, v)
		if !ok || old.First-1 > r.Last { // numbers begin at 1: no underflow
			break
		}
		if old.Last >= r.First-1 {
			found = append(found, old)
		}
	}
	return found
}

// all returns the whole set, in order.
func (s rangeSet) all() []Range {
	var found []Range
	c := s.bucket.Cursor()
	for k, v := c.Seek(s.prefix); k != nil; k, v = c.Next() {
		r, ok := s.decode(k, v)
		if !ok {
			break
		}
		found = append(found, r)
	}
	return found
}

func (s rangeSet) decode(k, v []byte) (Range, bool) {
	first, ok := seqOf(s.prefix, k)
	if !ok || len(v) != 8 {
		return Range{}, false
	}
	return Range{first, binary.BigEndian.Uint64(v)}, true
}

// subtract returns the numbers of from that are in none of the sorted ranges.
func subtract(from Range, ranges []Range) []Range {
	var left []Range
	next := from.First
	for _, r := range ranges {
		if r.First > from.Last {
			break
		}
		if r.First > next {
			left = append(left, Range{next, r.First - 1})
		}
		next = max(next, r.Last+1)
	}
	if next <= from.Last {
		left = append(left, Range{next, from.Last})
	}
	return left
}

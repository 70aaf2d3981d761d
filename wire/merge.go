package wire

import (
	"fmt"

	"github.com/tidegate/tidegate/reading"
)

// Merger makes one block of many small ones. It is not safe for concurrent
// use.
type Merger struct {
	enc *Encoder
	dec *Decoder
	rs  []reading.Reading
}

// NewMerger returns a Merger.
func NewMerger() *Merger { return &Merger{enc: NewEncoder(), dec: NewDecoder()} }

// Mergeable reports whether next may join a block that ends with prev: it
// follows without a hole, in the same lane, epoch, boot and state of the clock.
func Mergeable(prev, next Block) bool {
	return next.First == prev.Last()+1 && next.Lane == prev.Lane && next.Epoch == prev.Epoch &&
		next.Boot == prev.Boot && next.Clock == prev.Clock && !prev.merged && !next.merged
}

// Merge appends one block with the readings of the given blocks to dst. Each of
// them must be Mergeable with the one before. Every reading keeps its sequence
// number, so a receiver that has some of the blocks already can tell which
// readings are new.
func (m *Merger) Merge(dst []byte, blocks []Block) ([]byte, error) {
	total := 0
	for i, b := range blocks {
		if i > 0 && !Mergeable(blocks[i-1], b) {
			return dst, fmt.Errorf("merge: block %d..%d does not follow %d..%d", b.First, b.Last(), blocks[i-1].First, blocks[i-1].Last())
		}
		total += b.Count
	}
	if total < 1 || total > MaxReadings {
		return dst, fmt.Errorf("merge %d readings, want 1 to %d: %w", total, MaxReadings, ErrTooLarge)
	}
	m.enc.reset(nil)
	m.rs = m.rs[:0]
	parts := make([]int, len(blocks))
	for i, b := range blocks {
		parts[i] = b.Count
		if err := m.add(b, int32(i)); err != nil {
			return dst, fmt.Errorf("merge: %w", err)
		}
	}
	h := blocks[0].Header
	h.Uptime = blocks[len(blocks)-1].Uptime
	return m.enc.finish(dst, h, parts)
}

// add files the rows of a block as they are: to find rows anew in the readings
// could join two that were apart, and sequence numbers with them.
func (m *Merger) add(b Block, part int32) error {
	at := len(m.rs)
	rs, err := m.dec.Decode(m.rs, b)
	if err != nil {
		return err
	}
	m.rs, m.enc.rs = rs, rs
	m.dec.in.eachRow(func(r *row) {
		n := len(m.dec.in.shapes[m.dec.in.groups[r.group].shape].fields)
		m.enc.addRow(at, n, part)
		at += n
	})
	return nil
}

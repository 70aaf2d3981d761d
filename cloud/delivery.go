package cloud

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"time"

	"go.etcd.io/bbolt"

	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/wire"
)

// delivery is a chunk on its way into the store.
type delivery struct {
	chunk  wire.Chunk
	gaps   []gapReport
	alive  bool   // a gateway has just dated something in it
	twin   uint64 // the epoch of another gateway under its name; 0 for none
	result Result
}

// maxSeq is the largest sequence number that is believed. No gateway counts
// that far, and below it sums do not overflow.
const maxSeq = math.MaxInt64

// verifier decodes blocks only to see that it can, and to find gap reports. It
// keeps its memory from delivery to delivery.
type verifier struct {
	dec      *wire.Decoder // made when it is first needed
	readings []reading.Reading
}

// verify decodes everything, so that what is stored can be read again.
func (v *verifier) verify(d *delivery, now time.Time) error {
	if v.dec == nil {
		v.dec = wire.NewDecoder()
	}
	for _, b := range d.chunk.Blocks {
		rs, err := v.dec.Decode(v.readings[:0], b)
		if err != nil {
			return err
		}
		if len(rs) != b.Count || b.Last() > maxSeq {
			return fmt.Errorf("block %d..%d holds %d readings: %w", b.First, b.Last(), len(rs), wire.ErrCorrupt)
		}
		for i := range rs {
			if g, ok := parseGap(&rs[i]); ok {
				g.seq = b.First + uint64(i)
				d.gaps = append(d.gaps, g)
			}
		}
		d.alive = d.alive || isAlive(b, rs, now)
		clear(rs) // lets go of the names
		v.readings = rs
	}
	return nil
}

// summary is what the store knows of a lane besides its numbers.
type summary struct {
	Readings   uint64 `json:"readings"`
	Duplicates uint64 `json:"duplicates"`
	FirstTime  int64  `json:"first_time"`
	LastTime   int64  `json:"last_time"`
	ReceivedAt int64  `json:"received_at"`
	Twin       uint64 `json:"twin,omitempty"`
	TwinAt     int64  `json:"twin_at,omitempty"`
}

// store writes the deliveries in one transaction.
func store(tx *bbolt.Tx, deliveries []*delivery, now time.Time) error {
	for _, d := range deliveries {
		if err := d.store(tx, now); err != nil {
			return err
		}
	}
	return nil
}

func (d *delivery) store(tx *bbolt.Tx, now time.Time) error {
	id := laneID{d.chunk.Gateway, d.chunk.Epoch(), d.chunk.Lane()}
	key := id.key()
	var s summary
	known := tx.Bucket(lanesBucket).Get(key)
	if known != nil {
		if err := json.Unmarshal(known, &s); err != nil {
			return fmt.Errorf("summary of a lane: %w", err)
		}
	}
	d.result.Fresh, d.result.Duplicates = 0, 0
	for _, b := range d.chunk.Blocks {
		fresh, err := storeBlock(tx, key, b)
		if err != nil {
			return err
		}
		if fresh > 0 && s.Readings == 0 {
			s.FirstTime, s.LastTime = b.Base, b.Base+b.Span
		} else if fresh > 0 {
			s.FirstTime, s.LastTime = min(s.FirstTime, b.Base), max(s.LastTime, b.Base+b.Span)
		}
		s.Readings += fresh
		d.result.Fresh += fresh
		d.result.Duplicates += uint64(b.Count) - fresh
	}
	for _, g := range d.gaps {
		if err := g.store(tx, id); err != nil {
			return err
		}
	}
	s.Duplicates += d.result.Duplicates
	s.ReceivedAt = now.UnixNano()
	if d.twin != 0 {
		s.Twin, s.TwinAt = d.twin, now.UnixNano()
	}
	value, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return tx.Bucket(lanesBucket).Put(key, value)
}

// storeBlock stores of the block what is new, and returns how many readings
// that are. The block is stored whole, as it came: its bytes are the only form
// in which its readings have the sequence numbers that they have. Extents say
// which of them count.
func storeBlock(tx *bbolt.Tx, lane []byte, b wire.Block) (count uint64, err error) {
	fresh, err := rangeSet{tx.Bucket(rangesBucket), lane}.insert(Range{b.First, b.Last()})
	if err != nil {
		return 0, err
	}
	blocks := tx.Bucket(blocksBucket)
	blocks.FillPercent = 0.9 // most keys come in ascending order
	for i, r := range fresh {
		e := extent{last: r.Last, raw: b.Raw}
		if i > 0 {
			e = extent{last: r.Last, holder: fresh[0].First}
		}
		if err := blocks.Put(seqKey(lane, r.First), e.append(nil)); err != nil {
			return 0, err
		}
		count += r.Count()
	}
	return count, nil
}

// extent is a run of readings that was new when it came. It holds the block
// that has them; where a block brought several such runs, the first one's
// extent holds it for all.
type extent struct {
	last   uint64
	holder uint64 // first number of the extent that holds the block; 0 means this one
	raw    []byte
}

func (e extent) append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint64(dst, e.last)
	dst = binary.BigEndian.AppendUint64(dst, e.holder)
	return append(dst, e.raw...)
}

// parseExtent is the inverse of extent.append. raw refers to v.
func parseExtent(v []byte) (extent, error) {
	if len(v) < 16 {
		return extent{}, fmt.Errorf("extent of %d bytes: %w", len(v), wire.ErrCorrupt)
	}
	return extent{binary.BigEndian.Uint64(v), binary.BigEndian.Uint64(v[8:]), v[16:]}, nil
}

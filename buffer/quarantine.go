package buffer

import (
	"fmt"
	"time"

	"go.etcd.io/bbolt"

	"github.com/tidegate/tidegate/wire"
)

// Quarantined is a block that a sink refused for good, set aside with the
// sink's words.
type Quarantined struct {
	Sink   string `json:"sink"`
	Reason string `json:"reason"`
	At     int64  `json:"at"` // nanoseconds since 1970
	Raw    []byte `json:"raw"`
}

// maxQuarantined bounds the blocks that are set aside; the oldest make room.
const maxQuarantined = 256

// Quarantine sets a block aside and declares a gap for it, both durable when it
// returns nil. The sink may then go on behind it.
func (b *Buffer) Quarantine(sink string, blk wire.Block, reason string) error {
	q := Quarantined{Sink: sink, Reason: reason, At: time.Now().UnixNano(), Raw: blk.Raw}
	key := laneKey(blk.Lane, blk.First)
	gap := Gap{First: blk.First, Last: blk.Last(), From: blk.Base, To: blk.Base + blk.Span, Reason: ReasonQuarantined, Sinks: []string{sink}}
	if err := b.declare(blk.Lane, gap, put(bucketQuarantine, key, q), trimQuarantine); err != nil {
		return fmt.Errorf("quarantine %d..%d: %w", blk.First, blk.Last(), err)
	}
	return nil
}

// Quarantined returns what is set aside, ordered by lane and number.
func (b *Buffer) Quarantined() ([]Quarantined, error) {
	var all []Quarantined
	err := each(b.state, bucketQuarantine, func(_ []byte, q Quarantined) error {
		all = append(all, q)
		return nil
	})
	return all, err
}

func trimQuarantine(tx *bbolt.Tx) error { return trim(tx, bucketQuarantine, maxQuarantined) }

func trimGaps(tx *bbolt.Tx) error { return trim(tx, bucketGaps, maxGaps) }

// trim deletes the first entries of the bucket until at most limit are left.
func trim(tx *bbolt.Tx, bucket string, limit int) error {
	b := tx.Bucket([]byte(bucket))
	for n := b.Stats().KeyN; n > limit; n-- {
		k, _ := b.Cursor().First()
		if err := b.Delete(k); err != nil {
			return err
		}
	}
	return nil
}

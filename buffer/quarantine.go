package buffer

import (
	"errors"
	"fmt"
	"time"

	"go.etcd.io/bbolt"

	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/wire"
)

// Quarantined is a block that a sink refused for good, set aside with the
// sink's words.
type Quarantined struct {
	Sink   string `json:"sink"`
	Reason string `json:"reason"`
	At     int64  `json:"at"` // nanoseconds since 1970
	Raw    []byte `json:"raw"`
	// Retry says that it is to be sent again.
	Retry bool `json:"retry,omitempty"`
}

// maxQuarantined and maxQuarantineBytes bound what is set aside. A sink that
// refuses more than that is out of order itself, more likely than all of them
// are.
const (
	maxQuarantined     = 256
	maxQuarantineBytes = 32 << 20
)

// ErrQuarantineFull means that no more blocks are set aside: the other side
// refuses everything, and the backlog is safer in the journal.
var ErrQuarantineFull = errors.New("quarantine is full")

// Quarantine sets a block aside and declares a gap for it, both durable when it
// returns nil. The sink may then go on behind it.
func (b *Buffer) Quarantine(sink string, blk wire.Block, reason string) error {
	q := Quarantined{Sink: sink, Reason: reason, At: time.Now().UnixNano(), Raw: blk.Raw}
	key := refusedKey(sink, blk.Lane, blk.First)
	gap := Gap{First: blk.First, Last: blk.Last(), From: blk.Base, To: blk.Base + blk.Span, Epoch: blk.Epoch, Reason: ReasonQuarantined, Sinks: []string{sink}}
	if err := b.declare(blk.Lane, gap, roomInQuarantine(key), put(bucketQuarantine, key, q)); err != nil {
		return fmt.Errorf("quarantine %d..%d: %w", blk.First, blk.Last(), err)
	}
	if c := b.cursorOf(sink); c != nil {
		c.withdraw(key) // if this was once more
	}
	if blk.Lane != reading.Alarm {
		return nil
	}
	if err := b.reportAgain(gap); err != nil { // news of other losses may be among the alarms
		return fmt.Errorf("quarantine %d..%d: %w", blk.First, blk.Last(), err)
	}
	return nil
}

// roomInQuarantine asks whether there is room for a block. One that is there
// already, because it was refused before, needs none.
func roomInQuarantine(key []byte) func(*bbolt.Tx) error {
	return func(tx *bbolt.Tx) error {
		bucket, n, bytes := tx.Bucket([]byte(bucketQuarantine)), 0, 0
		if bucket.Get(key) != nil {
			return nil
		}
		err := bucket.ForEach(func(_, v []byte) error {
			n, bytes = n+1, bytes+len(v)
			return nil
		})
		if err != nil || n < maxQuarantined && bytes < maxQuarantineBytes {
			return err
		}
		return fmt.Errorf("%w: %d blocks of %d MiB were refused — hint: mend the other side; see the reasons in \"tidegate status\"",
			ErrQuarantineFull, n, bytes>>20)
	}
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

// refusedBlocks is the number of blocks that are set aside, as far as it can be
// read.
func (b *Buffer) refusedBlocks() (n int) {
	_ = b.state.view(func(tx *bbolt.Tx) error { // what is wrong with state.db, Stats says elsewhere
		n = tx.Bucket([]byte(bucketQuarantine)).Stats().KeyN
		return nil
	})
	return n
}

//go:build !nokafka

package kafkaout

import (
	"errors"
	"math"
)

// What makes a producer idempotent is that a broker knows its last five batches in
// each partition by the producer's number and the batch's sequence number, and
// does not add them again. The same makes a mistake fatal: another batch under a
// number that was used is acknowledged and not stored. Hence the one rule here:
//
//	A sequence number that was given to a batch is never given to another one.
//
// It is given when the batch is about to be written, so what is taken back before
// then leaves no gap. Whatever is refused afterwards, or not answered for because
// its connection broke, leaves a gap, which brokers refuse the next batch for. So
// the numbers are spent then, for all partitions: what comes next has a new
// producer's. What was already on its way in the old one's name stays there; those
// whose sequence has the gap before them are refused for it (OUT_OF_ORDER_SEQUENCE
// _NUMBER), and are sent once more under the new numbers, by their own Sends. They
// cost a round trip, not a failure.
//
// A Send that gives up takes nothing of this back: its batch keeps its number, and
// its place among the answers. Its answer decides whether the numbers are spent,
// and is nobody's receipt.

// maxPlaces bounds the partitions that are counted; then the numbers are spent.
const maxPlaces = 1 << 14

// numbers are one producer's. The Sink's lock is held for everything but id and
// epoch.
type numbers struct {
	id    int64
	epoch int16
	next  map[place]int32
	spent bool
}

// place is a partition.
type place struct {
	topic     string
	partition int32
}

func newNumbers(id int64, epoch int16) *numbers {
	return &numbers{id: id, epoch: epoch, next: make(map[place]int32)}
}

// errSpent says that a batch was not written because there are no numbers for it.
var errSpent = errors.New("the producer's numbers are spent")

// take gives the batch its numbers, unless they are spent. Kafka counts from 0
// again after the highest one; we spend them instead, once in two thousand million
// records, and need not think about it.
func (n *numbers) take(b *batch) error {
	if n == nil || n.spent {
		return errSpent
	}
	next, counted := n.next[b.place]
	if int64(next)+int64(len(b.records)) > math.MaxInt32 || !counted && len(n.next) >= maxPlaces {
		n.spent = true
		return errSpent
	}
	n.next[b.place] = next + int32(len(b.records))
	b.numbers, b.sequence = n, next
	return nil
}

package mqttin

import (
	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/ingest/route"
	"github.com/tidegate/tidegate/reading"
)

const (
	// maxBatchMessages and maxBatchReadings close a batch: enough to make the
	// cost of a batch vanish, little enough to stay in the processor's cache.
	maxBatchMessages = 512
	maxBatchReadings = 4096
)

// batch collects the publishes of one socket read that need nothing from the
// broker but their acknowledgement. There are few batches, so that their memory
// does not depend on the number of clients, and nobody waits for a socket while
// holding one.
type batch struct {
	intake   *ingest.Intake // a passage
	readings []reading.Reading
	ids      []uint16 // of the QoS 1 publishes, in their order
	answers  []byte
	notes    []reading.Note // of a probe
	counts   counts
	now      int64 // when the first came, in nanoseconds since the Unix epoch
}

// counts are added up for a batch, because atomic counters that all connections
// share are slow.
type counts struct {
	messages [3]uint64 // by QoS
	payload  uint64    // bytes
	opaque   uint64
	dropped  uint64
}

func (b *batch) isFull() bool {
	return b.counts.messages[0]+b.counts.messages[1] >= maxBatchMessages || len(b.readings) >= maxBatchReadings
}

// reset empties the batch and lets go of what its readings hold. What is not with
// custody by then will never be.
func (b *batch) reset() {
	b.intake.Leave()
	clear(b.readings)
	b.readings, b.ids, b.answers, b.notes, b.counts, b.now = b.readings[:0], b.ids[:0], b.answers[:0], nil, counts{}, 0
}

// add decodes a publish into the batch.
func (b *batch) add(t *topic, payload []byte, flags reading.Flags) {
	if b.now == 0 {
		b.now = b.intake.Now()
	}
	b.readings = b.counts.decode(b.readings, t, payload, route.Arrival{Intake: b.intake, Now: b.now, Flags: flags})
	b.counts.messages[flags.QoS()]++
}

// decode appends the readings of a payload.
func (n *counts) decode(dst []reading.Reading, t *topic, payload []byte, a route.Arrival) []reading.Reading {
	n.payload += uint64(len(payload))
	dst, fate, _ := t.target.Read(dst, payload, a) // why it failed is for those who test a route
	n.note(fate)
	return dst
}

func (n *counts) note(fate route.Fate) {
	switch fate {
	case route.Opaque:
		n.opaque++
	case route.Dropped:
		n.dropped++
	}
}

// express takes a publish into the batch if it needs nothing from the broker:
// no retained message, no second half of an exchange, no properties to pass on,
// nobody here who wants to read it.
func (c *conn) express(f frame, p publish, t *topic) bool {
	if f.qos() > 1 || f.retain() || len(p.properties) > 0 || c.broker.hasSubscribers(t) {
		return false
	}
	if c.batch == nil {
		c.batch = <-c.broker.batches
	}
	c.batch.add(t, p.payload, reading.Flags(0).WithQoS(f.qos()))
	if f.qos() == 1 {
		c.batch.ids = append(c.batch.ids, p.id)
	}
	return true
}

// flush gives the batch to custody and queues its acknowledgements behind the
// receipt.
func (c *conn) flush() error {
	if c.batch == nil {
		return nil
	}
	err := c.deliver(c.batch)
	c.batch.reset()
	c.broker.batches <- c.batch
	c.batch = nil
	if err != nil {
		return err
	}
	c.gate.waitBelow(c.broker.cfg.MaxUnacked)
	return nil
}

func (c *conn) deliver(b *batch) error {
	c.stats.add(&b.counts)
	var receipt ingest.Receipt
	if len(b.readings)+len(b.notes) > 0 || b.intake.Owes() {
		var err error
		if receipt, err = b.intake.Accept(c.broker.ctx, b.readings, b.notes...); err != nil {
			return c.refuseBatch(b)
		}
	}
	for _, id := range b.ids {
		b.answers = appendAck(b.answers, typePuback, id)
	}
	if len(b.ids) > 0 {
		c.gate.acknowledge(receipt, b.answers, len(b.ids))
	}
	return nil
}

// refuseBatch answers the messages of a batch that custody did not take.
func (c *conn) refuseBatch(b *batch) error {
	c.stats.notStored.Add(b.counts.messages[0] + b.counts.messages[1])
	if len(b.ids) == 0 {
		return nil
	}
	if c.broker.notStored(c.version, 1) == hangUp {
		return errNotStored
	}
	for _, id := range b.ids {
		b.answers = appendRefusal(b.answers, id)
	}
	c.gate.acknowledge(nil, b.answers, len(b.ids))
	return nil
}

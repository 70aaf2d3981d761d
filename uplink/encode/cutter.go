package encode

import (
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/uplink"
	"github.com/tidegate/tidegate/wire"
)

// keptReadings is how many readings a Cutter keeps room for from one message to
// the next (3 MiB). More are for one message.
const keptReadings = 1 << 15

// format writes bodies.
type format interface {
	// append appends the body of a piece to dst, and returns how many of its
	// readings are not in it because the format has no words for them. Without
	// any that it has words for, it appends nothing.
	append(dst []byte, p piece) (body []byte, left int)
	// contentType is the media type of a body.
	contentType() string
}

// Cutter is an encoder that decodes the blocks of a message once and writes
// their readings in a format: as one body, or cut into a part for each device,
// series or reading. Parts stand in the order of their first readings, and
// readings keep their order within a part.
//
// Beside the body it needs 112 bytes of memory a reading, for as long as Encode
// runs, and 208 a part, of which 96 stay with the message.
type Cutter struct {
	format   format
	gateway  string
	per      Per
	cuts     bool // the sink sends parts
	byDevice bool // the format wants the readings of a device together

	decoder  *wire.Decoder
	head     head
	readings []reading.Reading
	seqs     []uint64
	order    []int32 // of the readings, group by group
	ends     []int32 // of the groups in order
	groups   map[series]int32
	group    []int32 // of each reading

	leftOut atomic.Uint64
}

// series is what groups are found by.
type series struct{ device, metric, unit string }

func newCutter(cfg Config) *Cutter {
	return &Cutter{
		gateway: cfg.Gateway,
		per:     cfg.Per,
		cuts:    cfg.Pieces || cfg.Per != Batch,
		decoder: wire.NewDecoder(),
		groups:  make(map[series]int32),
	}
}

// ContentType returns the media type of a body, or of each of its parts.
func (c *Cutter) ContentType() string { return c.format.contentType() }

// LeftOut returns how many readings could not be said in the format, those of
// messages that were encoded again included. They count as sent. It may be
// called at any time.
func (c *Cutter) LeftOut() uint64 { return c.leftOut.Load() }

// Encode appends the body to dst. An error that wraps wire.ErrCorrupt means that
// a block cannot be decoded. Where no reading can be said in the format the body
// is empty and parts are, too, but not nil: there is nothing to send.
func (c *Cutter) Encode(dst []byte, blocks []wire.Block, limit int) ([]byte, []uplink.Part, error) {
	defer c.release()
	if err := c.decode(blocks); err != nil {
		return dst, nil, fmt.Errorf("encode: %w", err)
	}
	c.sort()
	t := parts{format: c.format, body: dst, limit: limit}
	if c.per != Batch {
		c.cut(&t)
		c.leftOut.Add(uint64(t.left))
		return t.body, t.list(), nil
	}
	whole := c.piece(0, len(c.order))
	body, left := c.format.append(dst, whole)
	size := len(body) - len(dst)
	if c.cuts && size > limit && whole.len() > 1 {
		t.body = body[:len(dst)]
		t.split(whole, size)
		c.leftOut.Add(uint64(t.left))
		return t.body, t.list(), nil
	}
	c.leftOut.Add(uint64(left))
	if left == whole.len() {
		return body, []uplink.Part{}, nil
	}
	return body, nil, nil
}

// decode reads the blocks into memory.
func (c *Cutter) decode(blocks []wire.Block) error {
	if len(blocks) == 0 {
		return errors.New("no blocks")
	}
	c.readings, c.seqs = c.readings[:0], c.seqs[:0]
	for _, b := range blocks {
		var err error
		if c.readings, err = c.decoder.Decode(c.readings, b); err != nil {
			return err
		}
		for seq := b.First; seq <= b.Last(); seq++ {
			c.seqs = append(c.seqs, seq)
		}
	}
	c.head.set(c.gateway, blocks[0].Epoch, blocks[0].Lane)
	return nil
}

// sort brings the readings of each group together.
func (c *Cutter) sort() {
	n := len(c.readings)
	c.order, c.ends = grow(c.order, n), c.ends[:0]
	if c.per == Reading || c.per == Batch && !c.byDevice {
		for i := range c.order {
			c.order[i] = int32(i)
		}
		return
	}
	c.group = grow(c.group, n)
	clear(c.groups)
	for i := range c.readings {
		id := c.groupOf(i)
		c.group[i] = id
		c.ends[id]++
	}
	start := int32(0)
	for id, count := range c.ends {
		c.ends[id], start = start, start+count
	}
	for i, id := range c.group {
		c.order[c.ends[id]] = int32(i)
		c.ends[id]++
	}
}

// groupOf returns the number of the reading's group. Readings of a block stand
// together by device, so it is often that of the one before.
func (c *Cutter) groupOf(i int) int32 {
	key := c.keyOf(i)
	if i > 0 && c.keyOf(i-1) == key {
		return c.group[i-1]
	}
	id, ok := c.groups[key]
	if !ok {
		id = int32(len(c.ends))
		c.groups[key] = id
		c.ends = append(c.ends, 0)
	}
	return id
}

func (c *Cutter) keyOf(i int) series {
	r := &c.readings[i]
	if c.per == Series {
		return series{r.Device, r.Metric, r.Unit}
	}
	return series{device: r.Device}
}

// cut makes a part of every group, or several where it is larger than the limit.
func (c *Cutter) cut(t *parts) {
	if c.per == Reading {
		t.made = make([]part, 0, len(c.order))
		for i := range c.order {
			t.add(c.piece(i, i+1))
		}
		return
	}
	t.made = make([]part, 0, len(c.ends))
	start := 0
	for _, end := range c.ends {
		t.add(c.piece(start, int(end)))
		start = int(end)
	}
}

func (c *Cutter) piece(from, to int) piece {
	return piece{head: &c.head, readings: c.readings, seqs: c.seqs, order: c.order[from:to]}
}

// release lets go of the names and texts of the message, and of the memory of
// an unusually large one.
func (c *Cutter) release() {
	clear(c.readings)
	if cap(c.readings) > keptReadings {
		c.readings, c.seqs, c.order, c.group = nil, nil, nil, nil
		c.groups = make(map[series]int32)
	}
	clear(c.groups)
}

func grow(s []int32, n int) []int32 {
	if cap(s) < n {
		return make([]int32, n)
	}
	return s[:n]
}

package buffer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"go.etcd.io/bbolt"

	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/wire"
)

// ErrNotSetAside means that the quarantine has no such block.
var ErrNotSetAside = errors.New("there is no such block in quarantine")

// refusedID names a block in quarantine: SINK/LANE/FIRST.
func refusedID(sink string, lane reading.Lane, first uint64) string {
	return sink + "/" + lane.String() + "/" + strconv.FormatUint(first, 10)
}

// refusedKey is where the block is in state.db.
func refusedKey(sink string, lane reading.Lane, first uint64) []byte {
	return append(laneKey(lane, first), sink...) // each sink refuses for itself
}

// parseRefusedID is the inverse of refusedID.
func parseRefusedID(id string) (key []byte, err error) {
	part := strings.Split(id, "/")
	if len(part) == 3 {
		lane, ok := reading.ParseLane(part[1])
		if first, err := strconv.ParseUint(part[2], 10, 64); ok && err == nil {
			return refusedKey(part[0], lane, first), nil
		}
	}
	return nil, fmt.Errorf("%w: %q", ErrNotSetAside, id)
}

// refusedOf reads what is set aside. An error means that it is not what was.
func refusedOf(q Quarantined) (Refused, error) {
	blk, _, err := wire.ParseBlock(q.Raw)
	last := blk.First + max(uint64(blk.Count), 1) - 1
	return Refused{Quarantined: q, ID: refusedID(q.Sink, blk.Lane, blk.First), Lane: blk.Lane.String(), First: blk.First, Last: last, Bytes: len(q.Raw)}, err
}

// RefusedBlocks visits what is in quarantine, ordered by lane and number, until
// visit returns an error. visit must not call the buffer.
func (b *Buffer) RefusedBlocks(visit func(Refused) error) error {
	return each(b.state, bucketQuarantine, func(_ []byte, q Quarantined) error {
		r, err := refusedOf(q)
		if err != nil {
			return err
		}
		return visit(r)
	})
}

// RefusedBlock returns a block in quarantine. An error that wraps ErrNotSetAside
// means that there is none of that name.
func (b *Buffer) RefusedBlock(id string) (found Refused, err error) {
	key, err := parseRefusedID(id)
	if err != nil {
		return found, err
	}
	err = fmt.Errorf("%w: %q", ErrNotSetAside, id)
	if unread := get(b.state, bucketQuarantine, string(key), func(q Quarantined) { found, err = refusedOf(q) }); unread != nil {
		err = unread
	}
	return found, err
}

// RefusedWith returns the block in quarantine that the sink refused and that has
// the reading; ok is false when there is none.
func (b *Buffer) RefusedWith(sink string, lane reading.Lane, seq uint64) (found Refused, ok bool, err error) {
	var id string
	err = b.state.view(func(tx *bbolt.Tx) error {
		c := tx.Bucket([]byte(bucketQuarantine)).Cursor()
		k, _ := c.Seek(laneKey(lane, seq+1)) // the first one behind it
		if k == nil {
			k, _ = c.Last()
		} else {
			k, _ = c.Prev()
		}
		for ; len(k) > laneKeyLen && k[0] == byte(lane); k, _ = c.Prev() {
			if string(k[laneKeyLen:]) == sink {
				id = refusedID(sink, lane, binary.BigEndian.Uint64(k[1:]))
				return nil
			}
		}
		return nil
	})
	if err != nil || id == "" {
		return Refused{}, false, err
	}
	found, err = b.RefusedBlock(id)
	if errors.Is(err, ErrNotSetAside) { // it has left in between
		return Refused{}, false, nil
	}
	return found, err == nil && found.First <= seq && seq <= found.Last, err
}

// RetryRefused sends blocks in quarantine again, to the sinks that refused them.
// What is taken then leaves the quarantine; what is refused again stays. When it
// returns nil, the wish is on flash. An error that wraps ErrNotSetAside or
// ErrNoSink, for a sink that is not configured, means that nothing was changed.
func (b *Buffer) RetryRefused(ids []string) error {
	wanted := make(map[*Cursor][]wire.Block)
	err := b.changeRefused(ids, func(key []byte, q Quarantined) (func(*bbolt.Tx) error, error) {
		c := b.cursorOf(q.Sink)
		if c == nil {
			return nil, fmt.Errorf("%w: %s", ErrNoSink, q.Sink)
		}
		blk, _, err := wire.ParseBlock(q.Raw)
		if err != nil {
			return nil, err
		}
		wanted[c] = append(wanted[c], own(blk))
		q.Retry = true
		return put(bucketQuarantine, key, q), nil
	})
	if err != nil {
		return err
	}
	for c, blocks := range wanted {
		c.sendAgain(blocks)
	}
	b.index.tell()
	return nil
}

// DropRefused forgets blocks in quarantine for good. The gaps that were declared
// for them remain. An error that wraps ErrNotSetAside means that nothing was
// changed.
func (b *Buffer) DropRefused(ids []string) error {
	var withdraw []func()
	err := b.changeRefused(ids, func(key []byte, q Quarantined) (func(*bbolt.Tx) error, error) {
		if c := b.cursorOf(q.Sink); c != nil {
			withdraw = append(withdraw, func() { c.withdraw(key) })
		}
		return put(bucketQuarantine, key, nil), nil
	})
	if err != nil {
		return err
	}
	for _, w := range withdraw {
		w()
	}
	return nil
}

// changeRefused asks for a change of every block, and makes them in one
// transaction.
func (b *Buffer) changeRefused(ids []string, change func(key []byte, q Quarantined) (func(*bbolt.Tx) error, error)) error {
	var changes []func(*bbolt.Tx) error
	for _, id := range ids {
		key, err := parseRefusedID(id)
		if err != nil {
			return err
		}
		var entry *Quarantined
		if err := get(b.state, bucketQuarantine, string(key), func(q Quarantined) { entry = &q }); err != nil {
			return err
		}
		if entry == nil {
			return fmt.Errorf("%w: %q", ErrNotSetAside, id)
		}
		c, err := change(key, *entry)
		if err != nil {
			return err
		}
		changes = append(changes, c)
	}
	if err := b.state.update(changes...); err != nil {
		return fmt.Errorf("quarantine: %w", err)
	}
	return nil
}

func (b *Buffer) cursorOf(sink string) *Cursor {
	b.curMu.Lock()
	defer b.curMu.Unlock()
	return b.cursors[sink]
}

// again are the blocks of the quarantine that a sink is to be sent once more.
type again struct {
	waiting, out []wire.Block
}

// sendAgain lets Next return the blocks that it does not return or has not returned
// anyway.
func (c *Cursor) sendAgain(blocks []wire.Block) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, b := range blocks {
		is := func(o wire.Block) bool { return o.Lane == b.Lane && o.First == b.First }
		if !slices.ContainsFunc(c.again.waiting, is) && !slices.ContainsFunc(c.again.out, is) {
			c.again.waiting = append(c.again.waiting, b)
		}
	}
}

// takeAgain returns a block that is to be sent once more.
func (c *Cursor) takeAgain(wanted [flows]bool) []wire.Block {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := slices.IndexFunc(c.again.waiting, func(b wire.Block) bool { return wanted[flowOf(b.Lane, true)] })
	if i < 0 {
		return nil
	}
	b := c.again.waiting[i]
	c.again.waiting = slices.Delete(c.again.waiting, i, i+1)
	c.again.out = append(c.again.out, b)
	return []wire.Block{b}
}

// takenAgain returns the blocks that were sent once more and are elsewhere now.
// c.mu is held.
func (c *Cursor) takenAgain(lane reading.Lane, first, last uint64) (taken []wire.Block) {
	c.again.out = slices.DeleteFunc(c.again.out, func(b wire.Block) bool {
		is := b.Lane == lane && first <= b.First && b.Last() <= last
		if is {
			taken = append(taken, b)
		}
		return is
	})
	return taken
}

// withdraw forgets that the block is to be sent once more.
func (c *Cursor) withdraw(key []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	is := func(b wire.Block) bool { return string(refusedKey(c.name, b.Lane, b.First)) == string(key) }
	c.again.waiting = slices.DeleteFunc(c.again.waiting, is)
	c.again.out = slices.DeleteFunc(c.again.out, is)
}

// acquit takes blocks out of quarantine that the sink has taken after all. One
// that this does not work for is sent again after the next start.
func (b *Buffer) acquit(sink string, blocks []wire.Block) {
	var changes []func(*bbolt.Tx) error
	for _, blk := range blocks {
		changes = append(changes, put(bucketQuarantine, refusedKey(sink, blk.Lane, blk.First), nil))
	}
	if err := b.state.update(changes...); err != nil {
		b.log.Warn("blocks were taken and stay in quarantine", "sink", sink, "n", len(blocks), "err", err)
		return
	}
	for _, blk := range blocks {
		b.log.Info("block was taken after all", "sink", sink, "lane", blk.Lane, "first", blk.First, "last", blk.Last())
	}
}

// toSendAgain returns what state.db says of the sink.
func (b *Buffer) toSendAgain(sink string) (blocks []wire.Block) {
	err := each(b.state, bucketQuarantine, func(_ []byte, q Quarantined) error {
		if q.Sink != sink || !q.Retry {
			return nil
		}
		blk, _, err := wire.ParseBlock(q.Raw)
		if err != nil {
			return err
		}
		blocks = append(blocks, own(blk))
		return nil
	})
	if err != nil {
		b.log.Warn("the quarantine cannot be read: nothing of it is sent again", "sink", sink, "err", err)
	}
	return blocks
}

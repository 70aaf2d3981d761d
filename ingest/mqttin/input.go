package mqttin

import (
	"net"
	"sync"
	"time"
)

const (
	// smallInput is what the first read from a socket may bring, and inputSize
	// what those of a busy connection may. Thousands of connections may say
	// something at the same moment, when a gateway starts, and most say little.
	smallInput = 2 << 10
	inputSize  = 16 << 10
	// maxCarry is the largest rest of a read that a connection keeps for
	// itself while it waits for more.
	maxCarry = 1 << 10
	// rearm is how late the deadlines of a socket are moved on, and so how much
	// longer they are than they need to be: moving one costs as much as a small
	// read or write.
	rearm = time.Second
)

// input holds what was read from a socket. Inputs are shared, so that idle
// connections cost little.
type input struct {
	bytes      []byte
	start, end int // what is left to look at is bytes[start:end]
}

func (in *input) rest() []byte { return in.bytes[in.start:in.end] }

// inputs are those that nobody reads into, by their size.
type inputs struct{ small, large sync.Pool }

func (p *inputs) take(large bool) *input {
	pool, size := &p.small, smallInput
	if large {
		pool, size = &p.large, inputSize
	}
	if in, ok := pool.Get().(*input); ok {
		in.start, in.end = 0, 0
		return in
	}
	return &input{bytes: make([]byte, size)}
}

// give takes an input back. One that has grown is left to the collector.
func (p *inputs) give(in *input) {
	switch len(in.bytes) {
	case smallInput:
		p.small.Put(in)
	case inputSize:
		p.large.Put(in)
	}
}

// fill reads more from the socket. need is the size of the packet at hand if
// that is known.
func (c *conn) fill(need int) error {
	c.settle()
	c.slowDown()
	c.countPackets()
	c.arm()
	if c.gate.isClosed() { // asked after arm, which may undo what closing did
		return net.ErrClosed
	}
	if c.in == nil {
		if _, err := c.Conn.Read(c.first[:]); err != nil {
			return err
		}
		c.borrow()
		// The byte may have been the last of a packet: to wait for another
		// would leave a publisher without its acknowledgement.
		if _, whole, err := nextFrame(c.in.rest(), c.limit()); whole || err != nil {
			return nil
		}
	}
	if c.in.end == len(c.in.bytes) {
		c.grow(need)
	}
	n, err := c.Conn.Read(c.in.bytes[c.in.end:])
	c.in.end += n
	c.busy = c.in.end >= smallInput
	c.read += n
	c.stats.bytes.Add(uint64(n))
	return err
}

// countPackets counts what came in since the last time: counters that all
// connections share are slow.
func (c *conn) countPackets() {
	if c.packets > 0 {
		c.stats.traffic.packets.Add(uint64(c.packets))
		c.packets = 0
	}
}

// slowDown waits if the peer has sent more than it may.
func (c *conn) slowDown() {
	if c.pace.rate == 0 && c.pace.byteRate == 0 || !c.established {
		return
	}
	if wait := c.pace.add(c.packets, c.read, time.Now()); wait > 0 {
		c.stats.slowed.Add(1)
		c.gate.pause(wait)
	}
	c.read = 0
}

// settle gives the input back if what is left in it is small.
func (c *conn) settle() {
	if c.in == nil {
		return
	}
	if rest := c.in.rest(); len(rest) <= maxCarry {
		c.carry = append(c.carry[:0], rest...)
		c.release()
		return
	}
	c.in.end = copy(c.in.bytes, c.in.rest())
	c.in.start = 0
}

// borrow takes an input and puts into it what was carried and the first byte.
func (c *conn) borrow() {
	c.in = c.broker.inputs.take(c.busy)
	c.in.end = copy(c.in.bytes, c.carry)
	c.in.bytes[c.in.end] = c.first[0]
	c.in.end++
	c.stats.bytes.Add(1)
}

// release gives the input back.
func (c *conn) release() {
	if c.in != nil {
		c.broker.inputs.give(c.in)
		c.in = nil
	}
}

// giveBack returns what the connection has borrowed, and lets go of what a
// session that outlives it does not need.
func (c *conn) giveBack() {
	c.release()
	c.countPackets()
	if c.batch != nil { // after a panic
		c.batch.reset()
		c.broker.batches <- c.batch
		c.batch = nil
	}
	c.topics, c.carry = topics{}, nil
}

// grow makes room for a packet of need bytes, step by step as it comes in: a
// few bytes that announce a large packet do not reserve the memory for it.
func (c *conn) grow(need int) {
	full := c.in
	if len(full.bytes) < inputSize {
		c.in = c.broker.inputs.take(true)
	} else {
		c.in = &input{bytes: make([]byte, min(max(need, inputSize+1), 2*len(full.bytes)))}
	}
	c.in.end = copy(c.in.bytes, full.rest())
	c.broker.inputs.give(full)
}

// arm gives the peer time for its next packet. Bytes that do not make up whole
// packets do not count as signs of life.
func (c *conn) arm() {
	now := time.Now()
	if !c.armed.IsZero() && (!c.established || !c.whole || now.Sub(c.armed) < rearm) {
		return
	}
	deadline := now.Add(c.broker.cfg.ConnectTimeout)
	switch {
	case c.established && c.silence == 0:
		deadline = time.Time{} // the peer did not ask to be watched
	case c.established:
		deadline = now.Add(c.silence + rearm)
	}
	c.armed, c.whole = now, false
	c.Conn.SetReadDeadline(deadline)
}

package firmwaresim

import (
	"bytes"
	"context"
	"io"
	"net"
	"sync"
	"time"
)

// circuit is one connection through a Link.
type circuit struct {
	link *Link
	near *net.TCPConn
	gone chan struct{} // closed with the circuit

	mu     sync.Mutex
	far    *net.TCPConn // nil until it is connected
	closed bool
	// up and down are how many segments had passed when it was closed.
	up, down int64
}

// run connects the far side and moves bytes both ways until both sides have
// ended or one has broken.
func (c *circuit) run(ctx context.Context) {
	state, _ := c.link.now()
	if !c.sleep(2*state.delay) || !c.passable() { // the handshake is a round trip
		return
	}
	dialer := net.Dialer{Timeout: dialTimeout}
	far, err := dialer.DialContext(ctx, "tcp", c.link.to)
	if err != nil || !c.attach(far.(*net.TCPConn)) {
		return
	}
	var pumps sync.WaitGroup
	pumps.Go(newPump(c, &c.link.up, c.near, c.far).run)
	pumps.Go(newPump(c, &c.link.down, c.far, c.near).run)
	pumps.Wait()
	c.close(false)
}

// attach gives the circuit its far side, unless it was closed in the meantime.
func (c *circuit) attach(far *net.TCPConn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.far = far
	if c.closed {
		far.Close()
	}
	return !c.closed
}

// close ends both sides, with RST or with FIN. Only the first call counts.
func (c *circuit) close(reset bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	if c.far != nil {
		c.up, c.down = nearSegments(c.near)
	}
	c.closed = true
	close(c.gone)
	for _, conn := range []*net.TCPConn{c.near, c.far} {
		if conn == nil {
			continue
		}
		if reset {
			conn.SetLinger(0)
		}
		conn.Close()
	}
}

// passable waits while the link is a black hole; false means that the circuit
// is gone.
func (c *circuit) passable() bool {
	for {
		state, changed := c.link.now()
		if !state.blackhole {
			return true
		}
		select {
		case <-changed:
		case <-c.gone:
			return false
		}
	}
}

// sleep returns false when the circuit is gone before the time.
func (c *circuit) sleep(d time.Duration) bool {
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-c.gone:
		return false
	}
}

const (
	maxQuantum = 64 << 10 // bytes moved at a time
	minQuantum = 256
	// maxParcels bounds what one direction of a circuit holds while it is
	// delayed; at a limited bandwidth it is more than ten seconds' worth.
	maxParcels = 1024
)

// pump moves the bytes of one direction: bandwidth first, as at the sender's
// modem, then the delay of the line, so that a long line is a full one. The end
// of the stream travels behind the bytes.
type pump struct {
	circuit  *circuit
	way      *direction
	from, to *net.TCPConn
	line     chan parcel
	onLine   sync.WaitGroup // parcels that are not delivered yet
}

// parcel is bytes on the way.
type parcel struct {
	bytes []byte
	due   time.Time
}

func newPump(c *circuit, way *direction, from, to *net.TCPConn) *pump {
	return &pump{circuit: c, way: way, from: from, to: to, line: make(chan parcel, maxParcels)}
}

func (p *pump) run() {
	var delivery sync.WaitGroup
	delivery.Go(func() {
		for parcel := range p.line {
			if p.circuit.sleep(time.Until(parcel.due)) {
				p.deliver(parcel.bytes)
			}
			p.onLine.Done()
		}
	})
	p.collect()
	close(p.line)
	delivery.Wait()
	p.to.CloseWrite()
}

// collect reads at the speed of the link until the stream ends or the circuit
// is gone.
func (p *pump) collect() {
	c, buf, delayed := p.circuit, make([]byte, maxQuantum), false
	for c.passable() {
		state, _ := c.link.now()
		asked := time.Now()
		n, err := p.from.Read(buf[:quantum(state.bandwidth)])
		if err == io.EOF {
			return
		}
		if err != nil {
			c.close(true)
			return
		}
		state, _ = c.link.now() // reading may have taken long
		if !c.sleep(p.way.pacer.take(n, state.bandwidth, time.Since(asked) < wasThere)) {
			return
		}
		if state.delay > 0 {
			delayed = true
			p.onLine.Add(1)
			p.line <- parcel{bytes.Clone(buf[:n]), time.Now().Add(state.delay)}
			continue
		}
		if delayed {
			p.onLine.Wait()
			delayed = false
		}
		p.deliver(buf[:n])
	}
}

// deliver writes to the other side, if the link lets it.
func (p *pump) deliver(b []byte) {
	c, cut := p.circuit, false
	if !c.passable() {
		return
	}
	if p.way == &c.link.up {
		b, cut = c.link.admit(b)
	}
	n, err := p.to.Write(b)
	p.way.bytes.Add(int64(n))
	switch {
	case cut:
		c.link.Cut()
	case err != nil:
		c.close(true)
	}
}

// quantum is how many bytes to move at a time: a hundredth of a second's worth,
// so that connections take turns and a small answer is not late.
func quantum(bandwidth int64) int {
	if bandwidth == 0 {
		return maxQuantum
	}
	return int(min(max(bandwidth/100, minQuantum), maxQuantum))
}

// pacer is a token bucket, kept as the time when the last byte taken will have
// passed.
type pacer struct {
	mu     sync.Mutex
	passed time.Time
}

const (
	// pacerReserve is what an idle line saves up: too little to be seen as a burst.
	pacerReserve = 20 * time.Millisecond
	// busyReserve is what a busy line makes up for, when its timer has fired late
	// because the machine had other things to do. A line that does not would be
	// thinner than it says.
	busyReserve = time.Second
	// wasThere is how long bytes take to be read that were there already.
	wasThere = time.Millisecond
)

// take returns how long to wait until n more bytes have passed. busy says that they
// were there when they were asked for.
func (p *pacer) take(n int, bandwidth int64, busy bool) time.Duration {
	if bandwidth == 0 {
		return 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	late := now.Sub(p.passed)
	if late > pacerReserve && !(busy && late < busyReserve) {
		p.passed = now.Add(-pacerReserve)
	}
	p.passed = p.passed.Add(time.Duration(int64(n) * int64(time.Second) / bandwidth))
	return p.passed.Sub(now)
}

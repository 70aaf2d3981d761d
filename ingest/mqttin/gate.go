package mqttin

import (
	"context"
	"io"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/tidegate/tidegate/ingest"
)

const (
	// maxQueue is how many bytes may wait before writers have to. As many more
	// may be on their way.
	maxQueue = 512 << 10
	// maxWrite is how much the peer has to read within the write timeout.
	maxWrite = 32 << 10
	// keepQueue is the largest queue that an idle gate keeps.
	keepQueue = 4 << 10
)

// gate is the way out of one connection. Bytes queue behind the receipts of
// everything that the peer published before them, and one goroutine, which lives
// while there are any, writes them as the receipts resolve. So no acknowledgement can leave before the readings
// that it acknowledges are on flash, whoever wrote it, and the acknowledgements
// of one commit leave in one system call.
//
// When a receipt fails, nothing behind it ever leaves: the gate tells a peer of
// MQTT 5 why and hangs up.
type gate struct {
	conn         net.Conn
	writeTimeout time.Duration // for one write, and for a wait for room in the queue
	linger       time.Duration // for what is still due when the gate is closed

	deadline time.Time // for writes; run's own
	traffic  *traffic  // counts what leaves

	// ctx ends the waits for receipts; abort ends it and closes the socket.
	ctx  context.Context
	quit context.CancelFunc

	mu      sync.Mutex
	changed sync.Cond // bytes have left, run has ended, or the gate was closed
	queue   []byte
	spare   []byte      // what was taken last, for the next queue
	marks   []mark      // in the order of the queue; the last one's end is len(queue)
	unacked int         // answers that have not left
	running bool        // there is a run
	closed  bool        // no more bytes are taken
	version byte        // of MQTT once the connection is established, zero before
	timer   *time.Timer // cuts a closed gate off after linger
}

// mark says that the queue up to end is due when receipt resolves. A nil
// receipt is resolved.
type mark struct {
	receipt  ingest.Receipt
	end      int
	messages int
}

func newGate(ctx context.Context, conn net.Conn, cfg Config) *gate {
	g := &gate{conn: conn, writeTimeout: cfg.WriteTimeout, linger: cfg.Linger, traffic: new(traffic)}
	g.ctx, g.quit = context.WithCancel(context.WithoutCancel(ctx))
	g.changed.L = &g.mu
	return g
}

// note puts everything that is queued from now on behind a receipt.
func (g *gate) note(r ingest.Receipt) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.mark(r, 0)
}

// offer queues p behind a receipt, which may be nil, unless that would make
// somebody wait.
func (g *gate) offer(r ingest.Receipt, p []byte) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed || len(g.queue) > maxQueue {
		return false
	}
	g.mark(r, 0)
	g.push(p)
	return true
}

// acknowledge queues the acknowledgements of several messages behind their
// receipt. receipt may be nil when there is nothing to wait for.
func (g *gate) acknowledge(r ingest.Receipt, acks []byte, messages int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return
	}
	g.mark(r, messages)
	g.push(acks)
}

// mark starts a new mark, unless the last one has the same receipt.
func (g *gate) mark(r ingest.Receipt, messages int) {
	g.unacked += messages
	last := len(g.marks) - 1
	if last >= 0 && (r == nil || g.marks[last].receipt == r) {
		g.marks[last].messages += messages
		return
	}
	g.marks = append(g.marks, mark{receipt: r, end: len(g.queue), messages: messages})
}

func (g *gate) push(p []byte) {
	if len(g.marks) == 0 {
		g.marks = append(g.marks, mark{})
	}
	g.queue = append(g.queue, p...)
	g.marks[len(g.marks)-1].end = len(g.queue)
	if !g.running {
		g.running = true
		go g.run()
	}
}

// Write queues p and never blocks; see waitRoom.
func (g *gate) Write(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return 0, net.ErrClosed
	}
	g.push(p)
	return len(p), nil
}

// waitRoom waits while the queue is full, but no longer than writeTimeout: after
// that, the peer counts as stuck and is cut off.
func (g *gate) waitRoom() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.queue) <= maxQueue {
		return
	}
	stuck := time.AfterFunc(g.writeTimeout, g.abort)
	defer stuck.Stop()
	for len(g.queue) > maxQueue && !g.closed {
		g.changed.Wait()
	}
}

// waitBelow waits until fewer than limit answers wait to leave, or the gate is
// closed. Who asks and does not read must not fill the memory.
func (g *gate) waitBelow(limit int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.unacked >= limit && !g.closed {
		g.changed.Wait()
	}
}

// pause waits for d, or until the gate is closed.
func (g *gate) pause(d time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	over := false
	timer := time.AfterFunc(d, func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		over = true
		g.changed.Broadcast()
	})
	defer timer.Stop()
	for !over && !g.closed {
		g.changed.Wait()
	}
}

// established tells the gate the version of MQTT that the peer speaks.
func (g *gate) established(version byte) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.version = version
}

// isClosed says whether the gate takes no more bytes.
func (g *gate) isClosed() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.closed
}

// Close takes no more bytes and returns at once. It wakes the reader; run goes on
// to write what is due within the linger time.
func (g *gate) Close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.close()
}

// disconnect tells a peer of MQTT 5 why and closes the gate.
func (g *gate) disconnect(code byte) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.closed {
		g.push(g.farewell(code))
	}
	g.close()
}

// farewell is the DISCONNECT for the peer's version; only MQTT 5 has one.
func (g *gate) farewell(code byte) []byte {
	if g.version == 5 {
		return []byte{typeDisconnect << 4, 1, code}
	}
	return nil
}

func (g *gate) close() {
	if g.closed {
		return
	}
	g.closed = true
	g.timer = time.AfterFunc(g.linger, g.abort)
	g.conn.SetReadDeadline(time.Unix(1, 0)) // wakes the reader
	g.changed.Broadcast()
}

// abort closes the socket without delivering anything.
func (g *gate) abort() {
	g.quit()
	g.conn.Close()
	g.Close()
}

// finish waits until everything has left a closed gate, or never will.
func (g *gate) finish() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.running {
		g.changed.Wait()
	}
}

// run writes what is due until everything has left, a receipt fails, or the peer
// is stuck. Idle connections, which most are, do without its stack.
func (g *gate) run() {
	for {
		receipt, ok := g.head()
		if !ok {
			return
		}
		if receipt != nil && receipt.Wait(g.ctx) != nil {
			g.fail()
			continue
		}
		due, version := g.take()
		g.traffic.left(due, version)
		if err := g.send(due); err != nil {
			g.abort()
			g.drop()
		}
	}
}

// head returns the receipt of the first mark. It returns false when everything
// has left: whoever queues more starts run again.
func (g *gate) head() (ingest.Receipt, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.marks) > 0 {
		return g.marks[0].receipt, true
	}
	if cap(g.queue)+cap(g.spare) > keepQueue {
		g.queue, g.spare = nil, nil
	}
	g.running = false
	g.changed.Broadcast()
	return nil, false
}

// take removes the first mark and its bytes, which are due, from the queue, and
// says which version of MQTT they are. They are valid until the next call.
func (g *gate) take() (due []byte, version byte) {
	g.mu.Lock()
	defer g.mu.Unlock()
	m := g.marks[0]
	g.marks = slices.Delete(g.marks, 0, 1)
	g.unacked -= m.messages
	due = g.queue[:m.end]
	g.queue, g.spare = append(g.spare[:0], g.queue[m.end:]...), due
	for i := range g.marks {
		g.marks[i].end -= m.end
	}
	g.changed.Broadcast()
	return due, g.version
}

// send writes p piece by piece, so that a slow peer is not taken for a stuck one.
func (g *gate) send(p []byte) error {
	for len(p) > 0 {
		if now := time.Now(); g.deadline.Sub(now) < g.writeTimeout {
			g.deadline = now.Add(g.writeTimeout + rearm)
			g.conn.SetWriteDeadline(g.deadline)
		}
		n, err := g.conn.Write(p[:min(len(p), maxWrite)])
		if err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}

// fail is what happens when a receipt does not resolve: nothing that waits
// behind it may leave.
func (g *gate) fail() {
	farewell := g.drop()
	if g.ctx.Err() == nil { // else it is the connection that ended, not the commit that failed
		_ = g.send(farewell) // out of courtesy
	}
}

// drop forgets what is queued, takes no more, and returns what can be said about
// it.
func (g *gate) drop() (farewell []byte) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.close()
	g.queue, g.marks = nil, nil
	return g.farewell(codeQuotaExceeded)
}

// hangUp closes the socket, once run and the reader have ended, so that the peer
// can read what was written last: a socket that is closed while it holds unread
// bytes is reset, and the peer may lose what was on its way.
func (g *gate) hangUp() {
	if half, ok := g.conn.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		g.conn.SetReadDeadline(time.Now().Add(g.linger))
		io.Copy(io.Discard, g.conn)
	}
	g.abort()
	g.timer.Stop()
}

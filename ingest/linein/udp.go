package linein

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/tidegate/tidegate/ingest/frame"
	"github.com/tidegate/tidegate/ingest/route"
	"github.com/tidegate/tidegate/internal/closing"
)

// takeDatagrams receives until ctx ends or the socket breaks. One goroutine reads
// the socket and nothing else, so that the kernel's buffer stays empty while
// custody takes its time; another takes what has come.
func (d *door) takeDatagrams(ctx context.Context) error {
	packets, err := new(net.ListenConfig).ListenPacket(ctx, "udp", d.cfg.Address)
	if err != nil {
		return fmt.Errorf("%w — hint: does another program listen there, or is the address not of this machine?", err)
	}
	conn := packets.(*net.UDPConn) // as the network is udp
	defer conn.Close()
	d.stats.receiveBuffer.Store(int64(deepen(conn, d.cfg.ReceiveBuffer)))
	ctx, cancel := context.WithCancel(ctx)
	defer closing.Until(ctx, func() { conn.Close() })()
	d.open("line listens", conn.LocalAddr())
	defer d.places.Shut()
	q := &queue{limit: d.cfg.Queue / 2, filling: new(slab), ready: make(chan struct{}, 1)}
	var custody sync.WaitGroup
	custody.Go(func() { newReceiver(d, conn).run(ctx, q) })
	err = d.fill(conn, q)
	cancel()
	custody.Wait()
	return err
}

// maxDatagram is the largest that UDP has, and more.
const maxDatagram = 64 << 10

// fill reads datagrams into the queue until the socket is closed. Those for which
// there is no room are counted and gone.
func (d *door) fill(conn *net.UDPConn, q *queue) error {
	b, oob := make([]byte, maxDatagram), make([]byte, oobSize)
	var drops overflow
	for {
		n, m, _, peer, err := conn.ReadMsgUDPAddrPort(b, oob)
		if err != nil {
			return err
		}
		if m > 0 {
			d.stats.missed.Add(drops.since(oob[:m]))
		}
		if n > 0 && !q.put(peer, b[:n]) {
			d.stats.overrun.Add(1)
		}
	}
}

// queue holds datagrams that custody was not given yet, in the order in which they
// came. There are two slabs: one is filled while the other is taken.
type queue struct {
	limit   int // of each slab, in bytes
	mu      sync.Mutex
	filling *slab
	ready   chan struct{}
}

type slab struct {
	bytes []byte
	list  []datagram
}

type datagram struct {
	peer netip.AddrPort
	end  int // in bytes
}

// datagramCost is about what a datagram takes beside its bytes.
const datagramCost = 48

// keptSlab is how large a slab may stay that was not needed.
const keptSlab = 256 << 10

// put returns false if there is no room.
func (q *queue) put(peer netip.AddrPort, b []byte) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	s := q.filling
	if len(s.bytes)+len(b)+datagramCost*(len(s.list)+1) > q.limit {
		return false
	}
	s.bytes = append(s.bytes, b...)
	s.list = append(s.list, datagram{peer, len(s.bytes)})
	if len(s.list) == 1 {
		q.ready <- struct{}{} // take empties it before the next first one
	}
	return true
}

// take returns what has come, and fills the other slab from now on.
func (q *queue) take(empty *slab) *slab {
	if used := len(empty.bytes); cap(empty.bytes) > max(keptSlab, 8*used) {
		*empty = slab{}
	}
	empty.bytes, empty.list = empty.bytes[:0], empty.list[:0]
	q.mu.Lock()
	defer q.mu.Unlock()
	full := q.filling
	q.filling = empty
	select {
	case <-q.ready:
	default:
	}
	return full
}

// receiver takes datagrams into custody.
type receiver struct {
	*door
	conn    *net.UDPConn
	scanner *frame.Scanner
	told    frame.Stats
	end     []byte // that a line needs, and a datagram may do without
	perPeer bool
	targets map[netip.Addr]*route.Target // by peer; one for all unless perPeer
	settler *settler
	owed    []owed
	texts   []byte // as many replies as are in one datagram
}

// maxTargets is how many peers are remembered by name.
const maxTargets = 4096

func newReceiver(d *door, conn *net.UDPConn) *receiver {
	scanner, _ := frame.New(d.cfg.Framing) // checked by New
	r := &receiver{
		door: d, conn: conn, scanner: scanner, targets: map[netip.Addr]*route.Target{},
		perPeer: strings.Contains(d.cfg.Target.Device, peerVariable),
	}
	r.settler = newSettler(d, r.answer, nil)
	r.texts = []byte(strings.Repeat(d.cfg.Reply, r.most()))
	if d.cfg.Framing.Kind == frame.Line {
		if r.end = []byte(d.cfg.Framing.Delimiter); len(r.end) == 0 {
			r.end = []byte("\n")
		}
	}
	return r
}

// run takes what is in the queue until ctx ends, and then once more.
func (r *receiver) run(ctx context.Context, q *queue) {
	defer r.settler.wait()
	taken := new(slab)
	for {
		select {
		case <-q.ready:
		case <-ctx.Done():
			r.takeAll(ctx, q.take(taken))
			return
		}
		taken = q.take(taken)
		r.takeAll(ctx, taken)
	}
}

// takeAll takes datagrams into custody. What custody does not take is counted.
func (r *receiver) takeAll(ctx context.Context, s *slab) {
	all, begin := r.newBatch(), 0
	for _, one := range s.list {
		r.decodeAll(all, one.peer, s.bytes[begin:one.end])
		begin = one.end
		if all.isFull() {
			r.deliver(ctx, all)
			all = r.newBatch()
		}
	}
	r.deliver(ctx, all)
	r.stats.tally(&r.told, r.scanner.Stats())
}

func (r *receiver) deliver(ctx context.Context, all *batch) {
	_ = r.settler.deliver(ctx, all, r.owed) // counted, and nobody is told
	r.owed = nil
}

// decodeAll finds the frames of a datagram, the last of which ends with it.
func (r *receiver) decodeAll(all *batch, peer netip.AddrPort, b []byte) {
	r.scanner.Write(b)
	r.scanner.Write(r.end)
	r.scanner.Idle()
	target, frames := r.targetOf(peer.Addr()), 0
	for {
		payload, ok := r.scanner.Next()
		if !ok {
			break
		}
		r.door.decode(all, target, payload)
		frames++
	}
	for most := r.most(); most > 0 && frames > 0; frames -= most {
		r.owed = append(r.owed, owed{peer, min(frames, most)})
	}
}

// maxReplyDatagram is how many bytes of replies are in one datagram.
const maxReplyDatagram = 16 << 10

// most is how many replies are in one datagram at the most; zero if there are none.
func (r *receiver) most() int {
	if r.cfg.Reply == "" {
		return 0
	}
	return maxReplyDatagram / len(r.cfg.Reply)
}

func (r *receiver) targetOf(peer netip.Addr) *route.Target {
	if !r.perPeer {
		peer = netip.Addr{}
	}
	t := r.targets[peer]
	if t != nil {
		return t
	}
	if len(r.targets) == maxTargets { // somebody makes up addresses
		clear(r.targets)
	}
	named := r.door.target(peer.Unmap().WithZone(""))
	r.targets[peer] = &named
	return &named
}

// answer replies to frames. A reply that cannot be sent is one that was lost on
// the way.
func (r *receiver) answer(p *pending) error {
	err := r.conn.SetWriteDeadline(time.Now().Add(r.cfg.WriteTimeout))
	for _, one := range p.owed {
		if err != nil {
			break
		}
		_, _ = r.conn.WriteToUDPAddrPort(r.texts[:one.frames*len(r.cfg.Reply)], one.peer)
	}
	return err
}

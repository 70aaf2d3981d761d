package amqp1out

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/Azure/go-amqp"

	"github.com/tidegate/tidegate/uplink"
	"github.com/tidegate/tidegate/uplink/onelink"
)

const (
	// farewell is how long a polite close may take.
	farewell = time.Second
	// maxSenders is how many targets are attached before a new connection begins
	// with none: so many come only when epochs are in their names.
	maxSenders = 64
	// envelope is what a message may have beside its body, in bytes: the limit of
	// a link counts it, ours does not.
	envelope = 1 << 10
)

// link is a connection with its session and the links, as AMQP calls them, to the
// targets in use.
type link struct {
	sink    *Sink
	wire    *onelink.Conn
	conn    *amqp.Conn
	session *amqp.Session
	peer    peer
	// turn has one place: whoever holds it sends. The library has a lock there,
	// which cannot be waited for with a context, and which is held while there is
	// no credit.
	turn   chan struct{}
	broken atomic.Bool // something has ended that only a new connection repairs

	senders map[string]*amqp.Sender // by target; for the holder of turn only
	lookout lookout

	mu     sync.Mutex
	flying map[*delivery]struct{}
	// innocent is how large a piece may be that was not too large, when that is why
	// something has ended that many share; 0: nothing has.
	innocent int
}

func newLink(s *Sink, wire *onelink.Conn, conn *amqp.Conn) *link {
	product, _ := conn.Properties()["product"].(string)
	version, _ := conn.Properties()["version"].(string)
	return &link{
		sink: s, wire: wire, conn: conn, peer: peer{product, version},
		turn: make(chan struct{}, 1), senders: make(map[string]*amqp.Sender), flying: make(map[*delivery]struct{}),
		lookout: lookout{turn: make(chan struct{}, 1), seen: make(map[string]uint64)},
	}
}

// Alive reports whether the connection can be used, as far as is known.
func (l *link) Alive() bool {
	select {
	case <-l.conn.Done():
		return false
	default:
		return !l.broken.Load() && l.wire.Fault() == nil
	}
}

// Close says goodbye, and returns when everything of the link has ended.
func (l *link) Close() error {
	enough := time.AfterFunc(farewell, l.wire.Drop)
	defer enough.Stop()
	l.conn.Close() // its error is why the connection was closed before, which is known
	return nil
}

// delivery is a message on its way.
type delivery struct {
	largest  int  // of its pieces, in bytes
	begun    bool // something was written for it
	receipts []amqp.SendReceipt
}

// depart registers a delivery.
func (l *link) depart(m uplink.Message) *delivery {
	d := &delivery{}
	for _, p := range m.Pieces() {
		d.largest = max(d.largest, len(p.Body))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.flying[d] = struct{}{}
	return d
}

func (l *link) arrive(d *delivery) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.flying, d)
}

// verdict is the error of a delivery when something has ended that others share. That
// one is too large is not held against them: it is what is larger than the limit that
// was named, or else the largest of all that were under way.
func (l *link) verdict(err error, d *delivery) error {
	if !uplink.IsTooLarge(err) {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.innocent == 0 {
		l.broken.Store(true) // what is learnt here is for once
		for f := range l.flying {
			l.innocent = max(l.innocent, f.largest-1)
		}
		if n := int(limitIn(err)); n > 0 {
			l.innocent = min(l.innocent, n) // servers may count otherwise: it is somebody
		}
	}
	if d.largest > l.innocent {
		return err
	}
	return fmt.Errorf("something has ended because of another message: %v", err)
}

// send sends the message's pieces in one go, and waits for all outcomes.
func (l *link) send(ctx context.Context, m uplink.Message, target string) error {
	heard := l.wire.Heard()
	d := l.depart(m)
	defer l.arrive(d)
	err := l.transfer(ctx, d, m, target)
	if err == nil {
		err = l.await(ctx, d)
	}
	if err == nil && !l.sink.cfg.TrustRouting {
		err = l.lookFor(ctx, target)
	}
	if ctx.Err() != nil && d.begun && l.wire.Heard() == heard {
		l.wire.Drop() // half-open: nobody is there
	}
	return err
}

// impatient frees who is stuck in a write when ctx ends before what it returns is
// called: the library lets nobody go while it writes, whatever his ctx says, and may
// have looked at that just before it writes. It is for the holder of a turn, or it would
// be another's write that is taken for stuck; and what it returns waits for it, for
// whoever writes next is not. Who shares the wire with others, or is still to say
// farewell, has patience with a write that ends.
func (l *link) impatient(ctx context.Context, patience time.Duration) (release func()) {
	released, freed := make(chan struct{}), make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(freed)
		l.wire.Unstick(patience)
		again := time.NewTicker(lastWords)
		defer again.Stop()
		for {
			select {
			case <-released:
				return
			case <-again.C:
				l.wire.Unstick(lastWords)
			}
		}
	})
	return func() {
		close(released)
		if !stop() {
			<-freed
		}
	}
}

// transfer hands all pieces to the network.
func (l *link) transfer(ctx context.Context, d *delivery, m uplink.Message, target string) error {
	if err := l.sink.checkSubjects(m, l.peer); err != nil {
		return err
	}
	select {
	case l.turn <- struct{}{}:
	case <-l.conn.Done():
		return l.verdict(l.failed(ctx, l.conn.Err()), d)
	case <-ctx.Done():
		return l.failed(ctx, ctx.Err())
	}
	defer func() { <-l.turn }()
	if ctx.Err() != nil { // the library would call it a want of credit
		return l.failed(ctx, ctx.Err())
	}
	defer l.impatient(ctx, 0)()
	written := l.wire.Written()
	l.wire.Cork()
	err := l.transferAll(ctx, d, m, target)
	if flushed := l.wire.Uncork(); err == nil && flushed != nil {
		err = l.failed(ctx, flushed)
	}
	d.begun = l.wire.Written() > written
	return err
}

func (l *link) transferAll(ctx context.Context, d *delivery, m uplink.Message, target string) error {
	sender, err := l.sender(ctx, target)
	if err != nil {
		return err
	}
	for _, p := range m.Pieces() {
		written := l.wire.Written()
		out := l.sink.message(m, p, l.peer)
		receipt, err := sender.SendWithReceipt(ctx, out, nil)
		// A link that was closed while it was idle (Azure does that) is made
		// again; nothing of this message has gone to it.
		var detached *amqp.LinkError
		if errors.As(err, &detached) && len(d.receipts) == 0 {
			delete(l.senders, target)
			if sender, err = l.sender(ctx, target); err != nil {
				return err
			}
			receipt, err = sender.SendWithReceipt(ctx, out, nil)
		}
		if err != nil {
			return l.stopped(ctx, d, err, l.wire.Written() == written)
		}
		d.receipts = append(d.receipts, receipt)
	}
	return nil
}

// stopped judges why a piece could not be sent. Half a message makes the
// connection useless; one that has not begun does not.
func (l *link) stopped(ctx context.Context, d *delivery, err error, untouched bool) error {
	var said *amqp.Error
	local := errors.As(err, &said)
	switch {
	case ctx.Err() != nil && untouched && local && said.Condition == amqp.ErrCondTransferLimitExceeded:
		return judge(noCredit, "", false)
	case ctx.Err() != nil:
		l.wire.Drop()
		return failure(ctx, l.wire, ctx.Err())
	case local && said.Condition == amqp.ErrCondMessageSizeExceeded:
		return judge(said.Condition, said.Description, false) // found before anything was sent
	}
	return l.verdict(l.failed(ctx, err), d)
}

// failed judges an error after which a new connection is needed, unless it is of
// one link only.
func (l *link) failed(ctx context.Context, err error) error {
	var detached *amqp.LinkError
	if ctx.Err() == nil && !errors.As(err, &detached) {
		l.broken.Store(true)
	}
	return failure(ctx, l.wire, err)
}

// await waits for the outcomes of all pieces. Of those that are no custody, one
// that says more than that is the error.
func (l *link) await(ctx context.Context, d *delivery) error {
	var worst error
	for _, r := range d.receipts {
		state, err := r.Wait(ctx)
		if err != nil {
			return l.verdict(l.failed(ctx, err), d)
		}
		worst = uplink.Worse(worst, outcome(state))
	}
	return worst
}

// sender returns the link to a target, and attaches it if there is none.
func (l *link) sender(ctx context.Context, target string) (*amqp.Sender, error) {
	if s := l.senders[target]; s != nil {
		return s, nil
	}
	if err := l.trusts(target); err != nil {
		return nil, err
	}
	if len(l.senders) >= maxSenders {
		l.broken.Store(true) // the next one starts afresh: not every server answers a detach as the library expects
	}
	// The settlement mode is left to the server: nothing is ever sent settled, and
	// servers that say "mixed" to whoever asks for "unsettled" are many.
	options := &amqp.SenderOptions{}
	if l.peer.isRabbit() {
		options.TargetDurability = amqp.DurabilityUnsettledState // else it makes a queue that forgets
	}
	s, err := l.session.NewSender(ctx, target, options)
	if err != nil {
		return nil, l.failed(ctx, err)
	}
	if n := int64(min(s.MaxMessageSize(), 1<<31)); n > 0 {
		l.sink.limit.Store(max(n-envelope, n/2))
	}
	l.senders[target] = s
	return s, nil
}

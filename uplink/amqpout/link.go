package amqpout

import (
	"context"
	"fmt"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/tidegate/tidegate/uplink"
	"github.com/tidegate/tidegate/uplink/onelink"
)

const (
	// farewell is how long a polite close may take.
	farewell = time.Second
	// pending is how many returns may wait for listen, which never waits itself.
	pending = 1 << 10
	// unconfirmed is how long a link lives on when a Send has given up on a confirm
	// that does not come after all: the library keeps it, and everything that is
	// confirmed after it.
	unconfirmed = 2 * time.Minute
)

// link is a connection with its one channel. A goroutine of its own, listen,
// hears what the server says unasked: the library waits for whoever is to be
// told, and in the end tells nobody, which would make custody of a return.
type link struct {
	wire *onelink.Conn
	conn *amqp.Connection
	ch   *amqp.Channel
	// turn has one place: whoever holds it publishes. It stands in front of the
	// library's own lock, which cannot be waited for with a context.
	turn chan struct{}
	// heed asks listen to close what is sent to it, when it has dealt with all
	// returns that have come.
	heed chan chan struct{}
	// gone is closed when the channel is; err says why, and is set before.
	gone  chan struct{}
	err   error
	tasks sync.WaitGroup

	mu     sync.Mutex
	alarm  string                // why the server takes nothing; empty if it does
	raised chan struct{}         // closed when there is an alarm
	flying map[string]*departure // by message id
	// innocent is how large a piece may be that was not too large, when that is why
	// the channel is closed.
	innocent int
	// late is a confirm that a Send has given up on, lateSince then; nil for none.
	late      *amqp.DeferredConfirmation
	lateSince time.Time
}

// departure is a Send that waits for its confirms.
type departure struct {
	ids      []string
	largest  int // of its pieces, in bytes
	confirms []*amqp.DeferredConfirmation
	returned error // the first return, judged
	heard    int64 // bytes that had come in when it began
}

// newLink makes a link of a connection and its channel, which is in confirm mode.
func newLink(wire *onelink.Conn, conn *amqp.Connection, ch *amqp.Channel) *link {
	l := &link{
		wire: wire, conn: conn, ch: ch,
		turn: make(chan struct{}, 1), heed: make(chan chan struct{}), gone: make(chan struct{}),
		raised: make(chan struct{}), flying: make(map[string]*departure),
	}
	// The library throws away what nobody takes for five seconds.
	returns, alarms := ch.NotifyReturn(make(chan amqp.Return, pending)), conn.NotifyBlocked(make(chan amqp.Blocking))
	closes := ch.NotifyClose(make(chan *amqp.Error, 1))
	l.tasks.Go(func() { l.listen(returns, alarms, closes) })
	return l
}

// Alive reports whether neither side has closed the channel, the network has not
// broken, and all confirms come.
func (l *link) Alive() bool {
	return !l.ch.IsClosed() && !l.conn.IsClosed() && l.wire.Fault() == nil && !l.overdue()
}

// Close logs out, and returns when everything of the link has ended. What a server
// says to that is of no use.
func (l *link) Close() error {
	l.leave()
	l.tasks.Wait()
	return nil
}

// leave says goodbye. The library's own deadline for that moves on with everything
// that is heard of a server which does not listen.
func (l *link) leave() {
	enough := time.AfterFunc(farewell, l.wire.Drop)
	defer enough.Stop()
	if err := l.conn.CloseDeadline(time.Now().Add(farewell)); err != nil {
		l.wire.Drop()
	}
}

// room returns an error while the server takes nothing, and a channel that is
// closed when it begins not to.
func (l *link) room() (<-chan struct{}, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.alarm != "" {
		return l.raised, judge(outOfRoom, l.alarm)
	}
	return l.raised, nil
}

// send publishes the message's pieces in one go, and waits until all of them are
// in custody.
func (l *link) send(ctx context.Context, m uplink.Message, compose func(uplink.Message, uplink.Part) publishing) error {
	raised, err := l.room()
	if err != nil {
		return err
	}
	d := &departure{heard: l.wire.Heard()}
	for _, p := range m.Pieces() {
		d.largest = max(d.largest, len(p.Body))
	}
	defer l.forget(d)
	err = l.publish(ctx, d, m, compose)
	if err == nil {
		err = l.await(ctx, d, raised)
	}
	if err != nil {
		return l.verdict(err, d)
	}
	noted := make(chan struct{})
	select {
	case l.heed <- noted:
		<-noted
	case <-l.gone: // then they are noted, too
	case <-ctx.Done():
		return l.noAnswer(ctx)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return d.returned
}

// publish hands all pieces to the network. A network that does not take them
// until ctx ends is cut off: half a message makes it useless.
func (l *link) publish(ctx context.Context, d *departure, m uplink.Message, compose func(uplink.Message, uplink.Part) publishing) error {
	select {
	case l.turn <- struct{}{}:
	case <-l.gone:
		return l.err
	case <-ctx.Done():
		return l.noAnswer(ctx)
	}
	defer func() { <-l.turn }()
	if ctx.Err() != nil { // before a byte is written: the connection is as good as before
		return l.noAnswer(ctx)
	}
	release := context.AfterFunc(ctx, l.wire.Drop)
	l.wire.Cork()
	err := l.publishAll(d, m, compose)
	if flushed := l.wire.Uncork(); err == nil {
		err = flushed
	}
	if !release() {
		l.wire.Drop() // now, or the next Send would find it alive
		return l.noAnswer(ctx)
	}
	if err != nil {
		return l.broken(ctx, err)
	}
	return nil
}

func (l *link) publishAll(d *departure, m uplink.Message, compose func(uplink.Message, uplink.Part) publishing) error {
	for _, p := range m.Pieces() {
		out := compose(m, p)
		d.ids = append(d.ids, out.id)
		l.mu.Lock()
		l.flying[out.id] = d
		l.mu.Unlock()
		confirm, err := l.ch.PublishWithDeferredConfirm(out.exchange, out.key, true, false, out.Publishing)
		if err != nil {
			return err
		}
		d.confirms = append(d.confirms, confirm)
	}
	return nil
}

// forget ends the waiting for returns.
func (l *link) forget(d *departure) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, id := range d.ids {
		if l.flying[id] == d {
			delete(l.flying, id)
		}
	}
}

// await waits for all confirms.
func (l *link) await(ctx context.Context, d *departure, raised <-chan struct{}) error {
	refused := false
	for _, c := range d.confirms {
		select {
		case <-c.Done():
			refused = refused || !c.Acked()
		case <-raised:
			_, err := l.room()
			if err == nil { // and over already
				err = judge(outOfRoom, "it has just ended")
			}
			return err
		case <-ctx.Done():
			if l.wire.Heard() == d.heard {
				l.wire.Drop() // half-open: nobody is there
			}
			l.noteLate(c)
			return l.noAnswer(ctx)
		}
	}
	if !refused {
		return nil
	}
	if l.ch.IsClosed() { // the library refuses for a server that is gone
		return l.broken(ctx, nil)
	}
	return judge(nacked, "")
}

// noteLate remembers a confirm that a Send has given up on, unless there is an earlier
// one.
func (l *link) noteLate(c *amqp.DeferredConfirmation) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.late == nil {
		l.late, l.lateSince = c, time.Now()
	}
}

// overdue reports whether the late confirm does not come any more.
func (l *link) overdue() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.late == nil {
		return false
	}
	select {
	case <-l.late.Done():
		l.late = nil
		return false
	default:
		return time.Since(l.lateSince) >= unconfirmed
	}
}

// broken returns why the channel is closed, which follows at once.
func (l *link) broken(ctx context.Context, err error) error {
	if err != nil && l.Alive() {
		return err
	}
	select {
	case <-l.gone:
		return l.err
	case <-ctx.Done():
		return l.noAnswer(ctx)
	}
}

// noAnswer is the error of a Send whose ctx has ended, unless the server has said
// why it does not answer.
func (l *link) noAnswer(ctx context.Context) error {
	if _, err := l.room(); err != nil {
		return err
	}
	return fmt.Errorf("no confirm: %w — hint: the link is slow or dead, or the server hangs", ctx.Err())
}

package amqpout

import (
	"context"
	"errors"
	"fmt"
	"net"
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
}

// departure is a Send that waits for its confirms.
type departure struct {
	ids      []string
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

// Alive reports whether neither side has closed the channel, and the network
// has not broken.
func (l *link) Alive() bool {
	return !l.ch.IsClosed() && !l.conn.IsClosed() && l.wire.Fault() == nil
}

// Close logs out, and returns when everything of the link has ended. What a server
// says to that is of no use.
func (l *link) Close() error {
	if err := l.conn.CloseDeadline(time.Now().Add(farewell)); err != nil {
		l.wire.Drop()
	}
	l.tasks.Wait()
	return nil
}

// listen hears the server until the channel and the connection are closed.
func (l *link) listen(returns <-chan amqp.Return, alarms <-chan amqp.Blocking, closes <-chan *amqp.Error) {
	var why *amqp.Error
	for returns != nil || alarms != nil || closes != nil {
		select {
		case r, ok := <-returns:
			if !ok {
				returns = nil
				continue
			}
			l.giveBack(r)
		case b, ok := <-alarms:
			if !ok {
				alarms = nil
				continue
			}
			l.setAlarm(b)
		case e, ok := <-closes:
			if ok {
				why = e
				continue
			}
			closes = nil
			l.giveAllBack(returns)
			l.end(why)
		case done := <-l.heed:
			l.giveAllBack(returns)
			close(done)
		}
	}
}

// end notes why the channel is closed, and closes the connection with it: one
// that the server has found fault with is not worth keeping half.
func (l *link) end(why *amqp.Error) {
	l.err = l.explain(why)
	close(l.gone)
	// Beside listen, which must go on listening for it to end.
	l.tasks.Go(func() { l.conn.CloseDeadline(time.Now().Add(farewell)) })
}

// explain judges an error of the library, in which breaks of the network have
// lost what they were.
func (l *link) explain(e *amqp.Error) error {
	fault := l.wire.Fault()
	switch {
	case e != nil && e.Server:
		return judge(e.Code, e.Reason)
	case errors.Is(fault, net.ErrClosed):
		return errors.New("the connection was given up — hint: nothing was heard of the other side in time")
	case fault != nil:
		return fmt.Errorf("connection lost: %w", fault)
	case e != nil:
		return judge(e.Code, e.Reason)
	}
	return onelink.ErrClosed
}

// giveAllBack notes the returns that have come. The library has passed on those of
// a message before it takes notice of its confirm.
func (l *link) giveAllBack(returns <-chan amqp.Return) {
	for {
		select {
		case r, ok := <-returns:
			if !ok {
				return
			}
			l.giveBack(r)
		default:
			return
		}
	}
}

// giveBack notes that a message has come back. What was published under the same
// id before, by a Send that has given up, is taken for the one that waits now:
// it is sent again, which does no harm.
func (l *link) giveBack(r amqp.Return) {
	id := r.MessageId
	if id == "" {
		id, _ = r.Headers[KeyHeader].(string)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if d := l.flying[id]; d != nil && d.returned == nil {
		text := fmt.Sprintf("%s for routing key %q of exchange %q", r.ReplyText, r.RoutingKey, r.Exchange)
		d.returned = judge(int(r.ReplyCode), text)
	}
}

func (l *link) setAlarm(b amqp.Blocking) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case b.Active && l.alarm == "":
		l.alarm = b.Reason
		if l.alarm == "" {
			l.alarm = "no reason given"
		}
		close(l.raised)
	case !b.Active && l.alarm != "":
		l.alarm, l.raised = "", make(chan struct{})
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
	defer l.forget(d)
	if err := l.publish(ctx, d, m, compose); err != nil {
		return err
	}
	if err := l.await(ctx, d, raised); err != nil {
		return err
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
	release := context.AfterFunc(ctx, l.wire.Drop)
	l.wire.Cork()
	err := l.publishAll(d, m, compose)
	if flushed := l.wire.Uncork(); err == nil {
		err = flushed
	}
	if !release() {
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

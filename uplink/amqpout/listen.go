package amqpout

import (
	"errors"
	"fmt"
	"net"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/tidegate/tidegate/uplink"
	"github.com/tidegate/tidegate/uplink/onelink"
)

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
	l.acquit()
	close(l.gone)
	l.tasks.Go(l.leave) // beside listen, which must go on listening for it to end
}

// acquit notes who was not too large, if that is why the channel is closed: whatever
// is within the limit that was named, or else all but the largest of those under way.
func (l *link) acquit() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, d := range l.flying {
		l.innocent = max(l.innocent, d.largest-1)
	}
	if n := int(limitIn(l.err)); n > 0 {
		l.innocent = min(l.innocent, n) // servers may count otherwise: it is somebody
	}
}

// verdict is the error of a Send. The channel is closed for all when one message is too
// large, which is not held against the others.
func (l *link) verdict(err error, d *departure) error {
	if !uplink.IsTooLarge(err) {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if d.largest > l.innocent {
		return err
	}
	return fmt.Errorf("the channel was closed because of another message: %v", err)
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

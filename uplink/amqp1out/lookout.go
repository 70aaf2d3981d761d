package amqp1out

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"time"

	"github.com/Azure/go-amqp"
)

// RabbitMQ's plugin for AMQP 1.0, which is all that it has before 4.0, publishes
// without "mandatory": what no queue gets is accepted and gone. So after a message
// was accepted it is asked whether the queue is there, by attaching a receiver
// without credit, which the plugin refuses if it is not. A queue that is missing
// when a message comes, and there again when that is asked, goes unnoticed.

// lookout asks. What began to ask after several messages were accepted answers for
// all of them.
type lookout struct {
	turn  chan struct{} // has one place: whoever holds it asks
	asked atomic.Uint64 // how many times it was begun to ask

	seen map[string]uint64 // by queue: which time it was there; for the holder of turn only
}

// queueOf returns the queue that a target names, in the form that only asks. The
// other forms make a queue that is missing.
func queueOf(target string) (queue string, ok bool) {
	for _, prefix := range []string{"/amq/queue/", "/queue/"} {
		if name, found := strings.CutPrefix(target, prefix); found {
			return "/amq/queue/" + name, true
		}
	}
	return "/amq/queue/" + target, !strings.HasPrefix(target, "/")
}

// trusts refuses targets whose "accepted" is worth nothing, and about which the
// server cannot be asked.
func (l *link) trusts(target string) error {
	if !l.peer.losesQuietly() || l.sink.cfg.TrustRouting {
		return nil
	}
	if _, ok := queueOf(target); ok {
		return nil
	}
	return judge(notThisOne, target, false)
}

// lastWords is how long a session that has asked in vain may take to end. The library
// begins that when ctx ends: it must not pass for a write that is stuck.
const lastWords = 100 * time.Millisecond

// lookFor returns an error if the target's queue is not there.
func (l *link) lookFor(ctx context.Context, target string) error {
	queue, ok := queueOf(target)
	if !ok || !l.peer.losesQuietly() {
		return nil
	}
	o, before := &l.lookout, l.lookout.asked.Load()
	select {
	case o.turn <- struct{}{}:
	case <-l.conn.Done():
		return l.failed(ctx, l.conn.Err())
	case <-ctx.Done():
		return l.failed(ctx, ctx.Err())
	}
	defer func() { <-o.turn }()
	defer l.impatient(ctx, lastWords)()
	if o.seen[queue] > before {
		return nil
	}
	this := o.asked.Add(1)
	err := ask(ctx, l.conn, queue)
	var said *amqp.Error
	switch {
	case errors.As(err, &said) && said.Condition == amqp.ErrCondNotFound:
		return judge(thrownAway, said.Description, false)
	case err != nil && said == nil:
		return l.failed(ctx, err)
	}
	if len(o.seen) >= maxSenders {
		clear(o.seen)
	}
	o.seen[queue] = this // also if we are not allowed to read it, or somebody reads it alone
	return nil
}

// ask attaches a receiver in a session of its own, and ends that: the plugin ends
// the whole session with its no, and the library does not understand how it
// detaches.
func ask(ctx context.Context, conn *amqp.Conn, queue string) error {
	session, err := conn.NewSession(ctx, nil)
	if err != nil {
		return err
	}
	_, err = session.NewReceiver(ctx, queue, &amqp.ReceiverOptions{Credit: -1})
	if ended := session.Close(ctx); err == nil { // goes on by itself if ctx has ended
		err = ended
	}
	return err
}

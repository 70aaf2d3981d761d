package mqttout

import (
	"cmp"
	"context"
	"maps"

	"github.com/tidegate/tidegate/internal/inorder"
)

// kept are exchanges of QoS 2 that a connection has left open, by the key of
// their publications. With the session that the server keeps beside them they go
// on over the next connection (MQTT 5.0, 4.4), whether or not anybody waits for
// them, so that a publication which is sent again is not delivered twice. They
// are guarded by the lock of the link that has them.
type kept map[string]*leftover

// maxKept is how many of them are remembered: more are of messages that have
// been cut anew, whose keys will not come again.
const maxKept = 4096

// leftover is one of them.
type leftover struct {
	pub   publication
	id    uint16
	order int // in which they began
	// released says that the server has it and PUBREL is due.
	released bool
	// under is the exchange for which nobody waits; nil when there is none, or
	// when it is over, with a verdict.
	under   *exchange
	over    bool
	verdict error
}

// keep remembers an exchange whose connection has ended.
func (k *kept) keep(id uint16, e *exchange) {
	if e.pub.qos != 2 {
		return
	}
	if *k == nil {
		*k = make(kept)
	}
	(*k)[e.pub.key] = &leftover{pub: *e.pub, id: id, order: e.order, released: e.released}
}

// wait remembers an exchange whose batch has given up, on the link that it is
// under way on.
func (k *kept) wait(id uint16, e *exchange) {
	if k.keep(id, e); e.pub.qos == 2 {
		(*k)[e.pub.key].under, e.batch = e, nil
	}
}

// ended notes what became of an exchange for which nobody waits.
func (k *kept) ended(e *exchange, verdict error) {
	left, ok := (*k)[e.pub.key]
	switch {
	case !ok || left.under != e:
	case len(*k) > maxKept: // nobody seems to ask for them
		delete(*k, e.pub.key)
	default:
		left.over, left.verdict, left.under = true, verdict, nil
		left.pub = publication{} // which nobody sends again
	}
}

// dropOpen forgets what a server without the session does not know any more. What is
// over stays: it has arrived, or was refused, whatever became of the session since.
func (k kept) dropOpen() {
	maps.DeleteFunc(k, func(_ string, left *leftover) bool { return !left.over })
}

// inherit goes on with what the link before this one has left, as far as the server
// still has the session. It is called before start.
func (l *link) inherit(from kept) {
	l.kept = from
	byOrder := func(a, b *leftover) int { return cmp.Compare(a.order, b.order) }
	for _, left := range inorder.Sorted(maps.Values(from), byOrder) {
		if left.over {
			continue
		}
		left.pub.retain = left.pub.retain && l.terms.retain
		if left.pub.size(l.terms.level) > l.terms.maxPacket || left.pub.qos > l.terms.maxQoS || !l.hasRoom() {
			// The server's terms are not what they were. The identifier is not
			// used again: what it stands for there is nothing else.
			l.under.reserve(left.id)
			delete(l.kept, left.pub.key)
			continue
		}
		l.room(context.Background(), 2) // there is
		if left.released {
			left.under = &exchange{pub: &left.pub, released: true}
			l.under.again(left.id, left.under)
			l.push(outgoing{head: appendPubrel(nil, left.id)})
			continue
		}
		left.under = l.enqueue(nil, &left.pub, left.id)
	}
}

// hasRoom reports whether room would not wait.
func (l *link) hasRoom() bool {
	return len(l.slots) < cap(l.slots) && (l.doubles == nil || len(l.doubles) < cap(l.doubles))
}

// resume goes on with a publication that is under way already, or over, because
// it was begun before; false if it was not. It has a place then, and gives back
// the one that was found for it.
func (l *link) resume(b *batch, p *publication) bool {
	left, ok := l.kept[p.key]
	if !ok {
		return false
	}
	delete(l.kept, p.key)
	l.leavePlace(2)
	if left.over {
		p.arrived = left.verdict == nil
		b.end(left.verdict)
		return true
	}
	if left.under.abandoned {
		l.abandoned--
	}
	left.under.batch, left.under.pub, left.under.abandoned = b, p, false
	return true
}

// leftovers is what a dead link has kept.
func (l *link) leftovers() kept {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.kept
}

package mqttout

import "context"

// kept are exchanges of QoS 2 that a connection has left open, by the key of
// their publications. With the session that the server keeps beside them they
// end over a later connection, so that a publication which is sent again is not
// delivered twice. They are guarded by the lock of the link that has them.
type kept map[string]*leftover

// maxKept is how many of them are remembered: more are of messages that have
// been cut anew, whose keys will not come again.
const maxKept = 4096

// leftover is one of them.
type leftover struct {
	id uint16
	// released says that the server has it and PUBREL is due; over that PUBCOMP
	// has come since, or a refusal.
	released, over bool
	verdict        error
	// under is the exchange that waits for PUBCOMP; nil if none does.
	under *exchange
}

// keep remembers an exchange whose connection has ended.
func (k *kept) keep(id uint16, e *exchange) {
	if e.pub.qos != 2 {
		return
	}
	if *k == nil {
		*k = make(kept)
	}
	(*k)[e.pub.key] = &leftover{id: id, released: e.released}
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
	}
}

// inherit takes over what a link before this one has left, in the session that
// the server still has: what was released is completed, and the identifiers of
// the rest are not used for anything else. It is called before start.
func (l *link) inherit(from kept) {
	l.kept = from
	for key, left := range from {
		if left.over {
			continue
		}
		e := &exchange{pub: &publication{key: key, qos: 2}, released: left.released}
		if left.released && len(l.slots) < cap(l.slots) && (l.doubles == nil || len(l.doubles) < cap(l.doubles)) {
			left.under = e
			l.room(context.Background(), 2) // there is one
			l.under.again(left.id, e)
			l.push(outgoing{head: appendPubrel(nil, left.id)})
			continue
		}
		l.under.reserve(left.id)
	}
}

// resume goes on with a publication that an earlier connection began; false if
// there was none.
func (l *link) resume(b *batch, p *publication) bool {
	left, ok := l.kept[p.key]
	if !ok {
		return false
	}
	delete(l.kept, p.key)
	switch {
	case left.over:
		l.leavePlace(2)
		p.arrived = left.verdict == nil
		b.end(left.verdict)
	case left.under != nil: // it has a place already
		l.leavePlace(2)
		if left.under.abandoned {
			l.abandoned--
		}
		left.under.batch, left.under.pub, left.under.abandoned = b, p, false
	case left.released:
		l.under.again(left.id, &exchange{batch: b, pub: p, released: true})
		l.push(outgoing{head: appendPubrel(nil, left.id)})
	default:
		l.enqueue(b, p, left.id)
	}
	return true
}

// leftovers is what a dead link has kept.
func (l *link) leftovers() kept {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.kept
}

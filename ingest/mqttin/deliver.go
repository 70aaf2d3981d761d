package mqttin

import (
	"context"
	"slices"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/ingest/route"
	"github.com/tidegate/tidegate/reading"
)

// delivery is a copy of a message for one subscriber.
type delivery struct {
	session *session
	envelope
	queued *outgoing // nil for QoS 0
}

// publish takes a message into custody: its readings, the copies for those
// subscribers whose sessions last, what is retained, and the notes, in one
// commit. Then it sends the copies out. An error means that nothing was taken
// and nobody was sent anything. The receipt is nil when there was nothing to
// keep.
func (b *broker) publish(m *message, t *topic, notes ...reading.Note) (ingest.Receipt, error) {
	intake := b.intake.Passage()
	defer intake.Leave()
	receipt, _, err := b.take(b.ctx, intake, m, b.readings(intake, m, t), notes)
	return receipt, err
}

// take is publish of a message whose readings are known. It also returns the
// copies that were sent, or queued.
func (b *broker) take(ctx context.Context, intake *ingest.Intake, m *message, readings []reading.Reading, notes []reading.Note) (ingest.Receipt, []delivery, error) {
	if m.retain { // before anybody subscribes, or after: see sendRetained
		b.retained.change.Lock()
		defer b.retained.change.Unlock()
	}
	copies := b.subscribers(m)
	if m.retain || m.qos > 0 && len(copies) > 0 {
		m.keep() // others will know it
	}
	copies = b.reserve(m, copies)
	notes = appendCopyNotes(notes, m, copies, b.clock)
	retains := false
	if m.retain {
		room, news := b.retained.admits(m)
		if retains = room && news; retains {
			notes = append(notes, b.retainedNote(m))
		} else if !room {
			b.stats.notRetained.Add(1)
		}
	}
	receipt, err := b.memory.acceptBy(ctx, intake, readings, notes...)
	if err != nil {
		cancel(copies)
		return nil, nil, err
	}
	if retains {
		b.retain(m, receipt)
	}
	b.send(m, copies, receipt)
	if m.retain {
		hear(m, copies)
	}
	return receipt, copies, nil
}

// readings decodes a message.
func (b *broker) readings(intake *ingest.Intake, m *message, t *topic) []reading.Reading {
	var n counts
	n.messages[m.qos]++
	flags := reading.Flags(0).WithQoS(m.qos)
	if m.retain {
		flags |= reading.Retained
	}
	rs := n.decode(make([]reading.Reading, 0, 8), t, m.payload, route.Arrival{Intake: intake, Now: intake.Now(), Flags: flags})
	b.stats.add(&n)
	return rs
}

// subscribers returns who is to get a message, and how.
func (b *broker) subscribers(m *message) []delivery {
	found := b.subscribersTo(m.topic)
	if m.topic[0] == '$' {
		withoutReserved(found)
	}
	for _, group := range found.Shared {
		id := b.chooseOne(group)
		sub, again := found.SharedSelected[id]
		if !again {
			sub = group[id]
		}
		found.SharedSelected[id] = sub.Merge(group[id])
	}
	found.MergeSharedSelected()
	copies := make([]delivery, 0, len(found.Subscriptions))
	for id, sub := range found.Subscriptions {
		s := b.session(id)
		if s == nil || sub.NoLocal && id == m.origin || !b.mayRead(s, m.topic) {
			continue
		}
		copies = append(copies, delivery{session: s, envelope: envelope{
			qos: min(m.qos, sub.Qos), retain: m.retain && sub.RetainAsPublished, subscriptions: identifiers(sub),
		}})
	}
	return copies
}

// chooseOne chooses among the clients that share a subscription: any that is
// there, or else any.
func (b *broker) chooseOne(group map[string]packets.Subscription) (chosen string) {
	for id := range group { // in random order
		chosen = id
		if s := b.session(id); s != nil && s.isAttached() {
			break
		}
	}
	return chosen
}

// identifiers returns the identifiers of the subscriptions that were merged.
func identifiers(sub packets.Subscription) []int {
	var ids []int
	for _, id := range sub.Identifiers {
		if id > 0 {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// mayRead looks at the rules of the moment, whatever was subscribed before.
func (b *broker) mayRead(s *session, topic string) bool {
	if s.mayRead(topic) {
		return true
	}
	b.stats.denied.Add(1)
	return false
}

// reserve queues the copies of QoS 1 and 2 with their sessions, which do not
// send them yet. Copies for which there is no room are lost.
func (b *broker) reserve(m *message, copies []delivery) []delivery {
	kept := copies[:0]
	for _, d := range copies {
		if d.qos > 0 {
			if d.queued = d.session.reserve(m, d.envelope); d.queued == nil {
				b.stats.undelivered.Add(1)
				continue
			}
			if d.queued.noted {
				m.noted.Add(1)
			}
		}
		kept = append(kept, d)
	}
	return kept
}

// appendCopyNotes appends what is noted of a message and its copies: the message
// once, however many get it.
func appendCopyNotes(notes []reading.Note, m *message, copies []delivery, k clock) []reading.Note {
	if m.noted.Load() == 0 {
		return notes
	}
	for _, d := range copies {
		if d.queued != nil && d.queued.noted {
			notes = append(notes, reading.Note{Key: copyKey(d.session.number, m.number), Value: d.queued.append(nil)})
		}
	}
	return append(notes, reading.Note{Key: messageKey(m.number), Value: appendMessage([]byte{noteVersion}, m, k)})
}

// cancel takes back what reserve queued.
func cancel(copies []delivery) {
	for _, d := range copies {
		if d.queued != nil {
			d.session.cancel(d.queued)
		}
	}
}

// send sends copies out, as far as it can be done without waiting for anybody.
func (b *broker) send(m *message, copies []delivery, receipt ingest.Receipt) {
	for _, d := range copies {
		switch {
		case d.queued != nil:
			d.session.accept(d.queued, receipt)
		case !d.session.sendOnce(m, d.envelope, receipt):
			b.stats.undelivered.Add(1)
		}
	}
}

// sendRetained sends a new subscriber the retained messages that its
// subscription matches, but for topics of which it was sent something since it
// asked: that was newer, or the same. A change of what is retained is over before
// this begins, or follows it to the new subscriber.
func (b *broker) sendRetained(s *session, sub packets.Subscription) {
	b.retained.change.Lock()
	defer b.retained.change.Unlock()
	var notes []reading.Note
	var messages []*message
	var copies [][]delivery
	for _, pk := range b.retainedFor(sub.Filter) {
		m := b.retainedMessage(pk)
		if m == nil || s.hasHeard(m.topic) || sub.NoLocal && m.origin == s.id || !b.mayRead(s, m.topic) {
			continue
		}
		d := delivery{session: s, envelope: envelope{qos: min(m.qos, sub.Qos), retain: true}}
		if sub.Identifier > 0 {
			d.subscriptions = []int{sub.Identifier}
		}
		one := b.reserve(m, []delivery{d})
		notes = appendCopyNotes(notes, m, one, b.clock)
		messages, copies = append(messages, m), append(copies, one)
	}
	receipt, err := b.memory.accept(b.ctx, notes...)
	for i, m := range messages {
		if err != nil {
			cancel(copies[i])
			b.stats.undelivered.Add(1)
			continue
		}
		b.send(m, copies[i], receipt)
	}
}

// retainedMessage returns a retained message under a number of its own; nil when
// it is gone. The server has its own about itself.
func (b *broker) retainedMessage(pk packets.Packet) *message {
	kept := b.retained.get(pk.TopicName)
	switch {
	case kept != nil:
		return kept.again(b.memory.number())
	case pk.TopicName[0] == '$':
		return &message{topic: pk.TopicName, payload: pk.Payload} // of QoS 0, which needs no number
	}
	return nil
}

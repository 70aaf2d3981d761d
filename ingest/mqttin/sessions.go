package mqttin

import (
	"context"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/reading"
)

// session returns the session of a client identifier; nil when there is none.
func (b *broker) session(id string) *session {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.sessions[id]
}

// everySession returns them all, in no order.
func (b *broker) everySession() []*session {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := make([]*session, 0, len(b.sessions))
	for _, s := range b.sessions {
		all = append(all, s)
	}
	return all
}

// begin gives a connection its session, the one that it claimed or a new one,
// and puts CONNACK behind what is noted of that.
func (b *broker) begin(c *conn, cl *mqtt.Client, pk packets.Packet) error {
	s := c.session
	if s != nil && pk.Connect.Clean {
		receipt, err := b.expel(s) // before anybody takes its subscriptions for those of the new one
		if err != nil {
			return err
		}
		c.gate.note(receipt)
		s = nil
	}
	if s == nil {
		if !c.probe {
			b.limitSessions()
		}
		s = newSession(c, cl)
	} else {
		b.checkRights(s, c.rights)
	}
	c.session = s
	b.mu.Lock()
	b.sessions[cl.ID] = s
	b.mu.Unlock()
	note := s.resume(c, cl, pk)
	if !s.noted {
		return nil
	}
	receipt, err := b.memory.accept(b.ctx, note)
	if err == nil {
		c.gate.note(receipt)
	}
	return err
}

// newSession returns a session that is whole: as soon as the broker knows it,
// others look at it.
func newSession(c *conn, cl *mqtt.Client) *session {
	b := c.broker
	return &session{broker: b, id: cl.ID, user: c.user, number: b.memory.number(), client: cl, rights: c.rights}
}

// resume makes the connection the session's, and returns what is noted of it.
func (s *session) resume(c *conn, cl *mqtt.Client, pk packets.Packet) reading.Note {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.owner, s.connected, s.rights, s.version = c, true, c.rights, c.version
	s.expiry = s.broker.sessionExpiry(pk)
	s.window = maxWindow
	if n := pk.Properties.ReceiveMaximum; c.version == 5 && n > 0 {
		s.window = int(n)
	}
	if s.will = willOf(pk, s.expiry); s.will != nil {
		s.will.message.origin = s.id
	}
	s.noted = s.noted || s.durable() || s.will != nil
	for filter, sub := range s.client.State.Subscriptions.GetAll() { // which the server does too late
		cl.State.Subscriptions.Add(filter, sub)
	}
	s.client = cl
	return s.noteOf()
}

// lasting says for how long the session outlives its connection.
func (s *session) lasting() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.expiry
}

// maxWindow is how many messages may be under way to a client that names no
// Receive Maximum.
const maxWindow = 65535

// sessionExpiry is for how long a session outlives its connection.
func (b *broker) sessionExpiry(pk packets.Packet) time.Duration {
	if pk.ProtocolVersion < 5 {
		if pk.Connect.Clean {
			return 0
		}
		return b.cfg.SessionExpiry
	}
	return min(b.cfg.SessionExpiry, time.Duration(pk.Properties.SessionExpiryInterval)*time.Second)
}

// noteOf returns what is noted of the session now.
func (s *session) noteOf() reading.Note {
	k := s.broker.clock
	n := sessionNote{
		id: s.id, user: s.user, version: s.version, connected: s.connected, expiry: s.expiry,
		will: s.will, subscriptions: sorted(s.client.State.Subscriptions.GetAll()),
	}
	if !s.connected {
		n.left = k.moment(k.uptime() - s.left)
	}
	return reading.Note{Key: sessionKey(s.number), Value: n.append(nil, k)}
}

// note is what is noted of the session: nothing when it does not last.
func (s *session) note() reading.Note {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended || !s.durable() && s.will == nil {
		return reading.Note{Key: sessionKey(s.number)}
	}
	return s.noteOf()
}

// checkRights takes away from a session that is resumed what the rules do not
// allow its client any more.
func (b *broker) checkRights(s *session, r *rights) {
	for filter := range s.client.State.Subscriptions.GetAll() {
		if !r.maySubscribe(filter) {
			b.stats.denied.Add(1)
			b.server.Topics.Unsubscribe(filter, s.id)
			s.client.State.Subscriptions.Delete(filter)
			b.generation.Add(1)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range append([]*outgoing(nil), s.queue...) {
		if !o.released && !r.maySubscribe(o.message.topic) {
			b.stats.denied.Add(1)
			s.drop(o)
		}
	}
}

// depart is what happens to a session when its connection has ended. Nobody
// waits for what is noted: if it is lost in a crash, the client was connected as
// far as the next start knows.
func (b *broker) depart(c *conn, clean bool) {
	s := c.session
	if s == nil || c.client == nil || s.hasEnded() {
		return
	}
	s.detach()
	now := b.clock.uptime()
	s.mu.Lock()
	if c.version == 5 {
		s.expiry = min(b.cfg.SessionExpiry, time.Duration(c.client.Properties.Props.SessionExpiryInterval)*time.Second)
	}
	lasts, w := s.durable(), s.will
	if clean || b.ctx.Err() != nil { // when the gateway stops, it is not the device that went away
		s.will, w = nil, nil
	} else if w != nil && lasts && w.delay > 0 {
		w.waits, w.due, w = true, now+w.delay, nil
	} else {
		s.will = nil
	}
	s.mu.Unlock()
	if w != nil {
		b.publishWill(s, w)
	}
	if !lasts {
		b.expel(s) // the server does so only if CONNACK was written
		return
	}
	if w == nil {
		b.noteLeaving(s)
	}
	b.rouse()
}

// noteLeaving notes that a client went away. It is also done while the gateway
// stops.
func (b *broker) noteLeaving(s *session) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(b.ctx), settle)
	defer cancel()
	if _, err := b.memory.accept(ctx, s.note()); err != nil {
		b.log.Debug("mqtt session is noted as connected still", "client", s.id, "err", err)
	}
}

// end forgets a session and everything that is noted of it. A will that waits is
// published: it must not outlive its session.
func (b *broker) end(s *session) (receipt ingest.Receipt, err error) {
	s.mu.Lock()
	w := s.will
	s.will, s.ended = nil, true
	var notes []reading.Note
	if s.noted {
		notes = s.forgettingAll()
	}
	for len(s.queue) > 0 {
		s.remove(s.queue[len(s.queue)-1])
	}
	s.mu.Unlock()
	b.mu.Lock()
	if b.sessions[s.id] == s {
		delete(b.sessions, s.id)
	}
	b.mu.Unlock()
	if w != nil && w.waits {
		b.publishWill(s, w)
	}
	if receipt, err = b.memory.accept(b.ctx, notes...); err != nil {
		b.memory.later(notes...)
	}
	return receipt, err
}

// expel ends the session of a client that is away, with all that the server
// keeps for it. Nobody else may claim that session meanwhile.
func (b *broker) expel(s *session) (receipt ingest.Receipt, err error) {
	b.server.UnsubscribeClient(s.client)
	b.server.Clients.Delete(s.id)
	return b.end(s)
}

// forgetting is what takes a message's copy out of the notes, and the message
// when no other needs it.
func (s *session) forgetting(o *outgoing) []reading.Note {
	if !o.noted {
		return nil
	}
	notes := []reading.Note{{Key: copyKey(s.number, o.message.number)}}
	if !o.released && o.message.noted.Add(-1) == 0 {
		notes = append(notes, reading.Note{Key: messageKey(o.message.number)})
	}
	return notes
}

// forgettingAll takes everything out of the notes.
func (s *session) forgettingAll() []reading.Note {
	notes := []reading.Note{{Key: sessionKey(s.number)}}
	for _, o := range s.queue {
		notes = append(notes, s.forgetting(o)...)
	}
	for id := range s.arrivals {
		notes = append(notes, reading.Note{Key: arrivalKey(s.number, id)})
	}
	return notes
}

// limitSessions makes room for one more session: the client that has been away
// for longest is forgotten.
func (b *broker) limitSessions() {
	b.mu.Lock()
	n := len(b.sessions)
	b.mu.Unlock()
	if n < maxAbsent*b.cfg.MaxClients {
		return
	}
	var longest *session
	var since time.Duration
	for _, s := range b.everySession() {
		if left, away := s.away(); away && (longest == nil || left < since) {
			longest, since = s, left
		}
	}
	if longest != nil {
		b.stats.forgotten.Add(1)
		b.expel(longest)
	}
}

// maxAbsent is how many sessions are kept for clients that are away, for each
// that may be connected.
const maxAbsent = 2

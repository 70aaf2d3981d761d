package mqttin

import (
	"encoding/binary"

	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/reading"
)

// exchange is what a client says about messages: it publishes one, or
// acknowledges, or releases. The server never learns of it.
func (c *conn) exchange(f frame) error {
	if c.session == nil {
		return protocolError("packet came before its time")
	}
	if f.packetType() == typePublish {
		p, err := parsePublish(f, c.version)
		if err != nil {
			return err
		}
		return c.publish(f, p)
	}
	id, reason := binary.BigEndian.Uint16(f.body), byte(codeSuccess)
	if len(f.body) > 2 {
		reason = f.body[2]
	}
	switch f.packetType() {
	case typePubrel:
		return c.pubrel(id)
	case typePubrec:
		return c.pubrec(id, reason)
	}
	c.session.complete(id, reason)
	return nil
}

// publish takes a publish that the express lane did not, and queues its
// acknowledgement behind the receipt.
func (c *conn) publish(f frame, p publish) error {
	b, t := c.broker, c.topics.last
	var notes []reading.Note
	sum := uint64(0)
	if f.qos() == 2 {
		sum = sumOf(t.name, p.payload)
		if receipt, again := c.session.hasReceived(p.id, sum); again {
			c.gate.acknowledge(receipt, appendAck(nil, typePubrec, p.id), 1)
			return nil
		}
		if c.session.exchanges() >= maxExchanges {
			return &violation{codeReceiveMaximum, "too many QoS 2 publishes are not released"}
		}
		if c.session.durable() {
			notes = append(notes, arrivalNote(c.session.number, p.id, sum))
		}
	}
	m := newMessage(b.memory.number(), c.session.id, f, p, b.clock.uptime())
	receipt, err := b.publish(m, t, notes...)
	if err != nil {
		return c.notStored(f.qos(), p.id)
	}
	switch f.qos() {
	case 1:
		c.gate.acknowledge(receipt, appendAck(nil, typePuback, p.id), 1)
	case 2:
		c.session.remember(p.id, arrival{sum, receipt})
		c.gate.acknowledge(receipt, appendAck(nil, typePubrec, p.id), 1)
	}
	return nil
}

// notStored answers a publish that custody did not take.
func (c *conn) notStored(qos byte, id uint16) error {
	c.stats.notStored.Add(1)
	switch c.broker.notStored(c.version, qos) {
	case refuse:
		c.gate.acknowledge(nil, appendRefusal(nil, id), 1)
	case hangUp:
		return errNotStored
	}
	return nil
}

// pubrel ends a QoS 2 exchange that the client began. PUBCOMP leaves when the
// exchange is forgotten for good: the client may use the identifier for another
// message then, and that must not be taken for the last one.
//
// An identifier that is not in use is forgotten, too: the commit in which that
// was noted may have failed.
func (c *conn) pubrel(id uint16) error {
	s := c.session
	var receipt ingest.Receipt
	if s.durable() {
		var err error
		if receipt, err = c.broker.memory.accept(c.broker.ctx, reading.Note{Key: arrivalKey(s.number, id)}); err != nil {
			return errNotStored
		}
	}
	answer := appendAck(nil, typePubcomp, id)
	if !s.forget(id) {
		answer = c.appendNotFound(nil, typePubcomp, id)
	}
	c.gate.acknowledge(receipt, answer, 1)
	return nil
}

// pubrec answers PUBREC: the message is the client's. PUBREL leaves when that is on
// flash, because after it the client takes the message, if it were sent again,
// for a new one.
func (c *conn) pubrec(id uint16, reason byte) error {
	s := c.session
	o := s.outgoing(id)
	switch {
	case o == nil:
		c.gate.acknowledge(nil, c.appendNotFound(nil, typePubrel, id), 1)
		return nil
	case reason >= 0x80: // refused
		s.complete(id, reason)
		return nil
	}
	notes := s.release(o)
	receipt, err := c.broker.memory.accept(c.broker.ctx, notes...)
	if err != nil {
		return errNotStored
	}
	s.released(o, receipt)
	return nil
}

// appendNotFound appends an answer about an identifier that is not in use.
func (c *conn) appendNotFound(b []byte, packetType byte, id uint16) []byte {
	if c.version < 5 {
		return appendAck(b, packetType, id)
	}
	b = appendNegative(b, packetType, id, codePacketIDNotFound)
	if packetType == typePubrel {
		b[0] |= 2
	}
	return b
}

// hasReceived says whether the session has a QoS 2 publish already, and what its
// acknowledgement waits for. What was said under the identifier counts, too: a
// memory that is out of date must not swallow a new message. A publish whose
// commit failed was not received.
func (s *session) hasReceived(id uint16, sum uint64) (ingest.Receipt, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, open := s.arrivals[id]
	return a.receipt, open && a.sum == sum && state(a.receipt) != notOnFlash
}

// exchanges counts the QoS 2 publishes that are not released.
func (s *session) exchanges() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.arrivals)
}

func (s *session) remember(id uint16, a arrival) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.arrivals == nil {
		s.arrivals = make(map[uint16]arrival)
	}
	s.arrivals[id] = a
}

// forget ends a QoS 2 exchange. It returns false when there is none.
func (s *session) forget(id uint16) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, open := s.arrivals[id]
	delete(s.arrivals, id)
	return open
}

// outgoing returns the message that is under way under an identifier; nil when
// there is none.
func (s *session) outgoing(id uint16) *outgoing {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o := s.ids[id]; o != nil && o.sent {
		return o
	}
	return nil
}

// complete ends an exchange: the client has the message, or does not want it.
func (s *session) complete(id uint16, reason byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o := s.ids[id]; o != nil && o.sent {
		s.drop(o)
		s.pump()
		if reason < 0x80 {
			s.broker.orderDelivered(o.message, s.id)
		}
	}
}

// release says that the client has a QoS 2 message, and returns what is noted of
// that.
func (s *session) release(o *outgoing) []reading.Note {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o.released || !o.noted {
		o.released = true
		return nil
	}
	notes := s.forgetting(o) // the message, and the copy, which is noted anew
	o.released = true
	notes[0].Value = o.append(nil)
	return notes
}

// released sends PUBREL.
func (s *session) released(o *outgoing, receipt ingest.Receipt) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if receipt != nil {
		o.receipt = receipt
	}
	if packet, waits := s.next(o); s.attached != nil {
		s.attached.gate.acknowledge(waits, packet, 1)
	}
}

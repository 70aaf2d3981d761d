package mqttin

import "sync/atomic"

// Stats counts since the Source was made.
type Stats struct {
	// Clients are connected now.
	Clients int
	// Received publishes by their QoS, also those that could not be stored.
	Received [3]uint64
	// Opaque payloads could not be decoded and were kept as they are; Dropped
	// ones were not kept, as their route says, and acknowledged.
	Opaque, Dropped uint64
	// NotStored publishes were not taken by custody and not acknowledged.
	NotStored uint64
	// Denied publishes and subscriptions were against the rules; BadLogins were
	// refused a connection.
	Denied, BadLogins uint64
	// Undelivered messages were lost between here and a local subscriber that
	// did not keep up. They are in custody all the same.
	Undelivered uint64
	// NotRetained messages were delivered and stored, but not retained, because
	// there was no room.
	NotRetained uint64
	// Forgotten sessions had to make room for others; Expired ones waited for
	// their clients for too long. DamagedNotes belonged to nothing at a start.
	Forgotten, Expired, DamagedNotes uint64
	// Malformed connections were closed because the peer broke the protocol;
	// TurnedAway ones because there were too many.
	Malformed, TurnedAway uint64
	// Oversubscribed is how many filters were refused because their client had
	// too many.
	Oversubscribed uint64
	// Slowed is how often a connection was made to wait because it sent faster
	// than it may.
	Slowed uint64
	// Bytes were read from all connections.
	Bytes uint64
}

// Stats returns the counts so far.
func (s *Source) Stats() Stats {
	return s.stats.read()
}

// counters are the live values of Stats.
type counters struct {
	clients                      atomic.Int64
	received                     [3]atomic.Uint64
	opaque, dropped              atomic.Uint64
	notStored, undelivered       atomic.Uint64
	denied, badLogins            atomic.Uint64
	malformed, turnedAway, bytes atomic.Uint64
	slowed, oversubscribed       atomic.Uint64
	traffic                      traffic
	notRetained, forgotten       atomic.Uint64
	expired, damagedNotes        atomic.Uint64
}

func (c *counters) add(n *counts) {
	for qos, messages := range n.messages {
		if messages > 0 {
			c.received[qos].Add(messages)
		}
	}
	if n.payload > 0 {
		c.traffic.payload.Add(n.payload)
	}
	if n.opaque > 0 {
		c.opaque.Add(n.opaque)
	}
	if n.dropped > 0 {
		c.dropped.Add(n.dropped)
	}
}

func (c *counters) read() Stats {
	s := Stats{
		Clients:        int(c.clients.Load()),
		Opaque:         c.opaque.Load(),
		Dropped:        c.dropped.Load(),
		NotStored:      c.notStored.Load(),
		Undelivered:    c.undelivered.Load(),
		Denied:         c.denied.Load(),
		BadLogins:      c.badLogins.Load(),
		NotRetained:    c.notRetained.Load(),
		Forgotten:      c.forgotten.Load(),
		Expired:        c.expired.Load(),
		DamagedNotes:   c.damagedNotes.Load(),
		Malformed:      c.malformed.Load(),
		TurnedAway:     c.turnedAway.Load(),
		Slowed:         c.slowed.Load(),
		Bytes:          c.bytes.Load(),
		Oversubscribed: c.oversubscribed.Load(),
	}
	for qos := range s.Received {
		s.Received[qos] = c.received[qos].Load()
	}
	return s
}

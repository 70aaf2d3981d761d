package coapin

import "sync/atomic"

// Stats counts since the start.
type Stats struct {
	// Requests were begun; Repeated datagrams were requests that came again.
	Requests, Repeated uint64
	// Opaque payloads could not be decoded and were kept whole; Dropped ones
	// were not kept, because their route says so.
	Opaque, Dropped uint64
	// Refused requests were wrong: no such path, method or option, a body that
	// is too large or not complete.
	Refused uint64
	// NotStored requests were answered 5.03: there was no room, or a commit
	// failed.
	NotStored uint64
	// Malformed datagrams were no CoAP messages. Slowed ones came faster than
	// their endpoint may send, TurnedAway ones from an endpoint too many. Nobody
	// was told.
	Malformed, Slowed, TurnedAway uint64
	// Overflowed datagrams were lost between the network and this program,
	// which did not read fast enough.
	Overflowed uint64
	// BadLogins are DTLS handshakes with an identity that nobody has, or with
	// the wrong key. Abandoned ones did not come to an end.
	BadLogins, Abandoned uint64
	// Endpoints have spoken lately, over plain UDP; Sessions are those of DTLS
	// that are open.
	Endpoints, Sessions int
}

type counters struct {
	requests, repeated, opaque, dropped, refused, notStored atomic.Uint64
	malformed, slowed, turnedAway, overflowed               atomic.Uint64
	badLogins, abandoned                                    atomic.Uint64
	endpoints, sessions                                     atomic.Int64
}

// Stats returns the counts so far.
func (s *Source) Stats() Stats {
	c := &s.stats
	return Stats{
		Requests: c.requests.Load(), Repeated: c.repeated.Load(),
		Opaque: c.opaque.Load(), Dropped: c.dropped.Load(),
		Refused: c.refused.Load(), NotStored: c.notStored.Load(),
		Malformed: c.malformed.Load(), Slowed: c.slowed.Load(), TurnedAway: c.turnedAway.Load(),
		Overflowed: c.overflowed.Load(), BadLogins: c.badLogins.Load(), Abandoned: c.abandoned.Load(),
		Endpoints: int(c.endpoints.Load()), Sessions: int(c.sessions.Load()),
	}
}

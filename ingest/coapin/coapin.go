// Package coapin is a CoAP server as a door in: RFC 7252 over UDP and over DTLS
// with pre-shared keys, with block-wise bodies (RFC 7959).
//
// POST and PUT bring payloads; the path says what they mean, as a topic does for
// the broker. 2.04 is the acknowledgement: it leaves when the receipt of
// everything in the payload has resolved. There is no empty acknowledgement
// before it. That would tell a client to stop sending its message again, and
// after a crash of the gateway nobody would: the message would be lost between
// two nodes that both believe it to be with the other. A client waits two
// seconds before it sends again, a commit takes less than one; what comes again
// in the meantime is recognised and answered once, together with the first.
//
//	datagram → message → request → exchange → (body) → Target.Read → Intake.Accept
//	                                   ↑                                  ↓
//	                          answer, kept for repeats  ←  receipt resolves
//
// A message that comes again is answered as before: exchanges are remembered by
// endpoint and message ID, with a sum of the datagram, because devices that
// restart may use the same ID for something new.
//
// Blocks of a body are put together by endpoint, method, path, query and
// Request-Tag. The token says nothing of them: a client may use a new one for
// every block, and libcoap does.
//
// Everything is bounded: endpoints, exchanges, bodies, what waits for custody,
// handshakes. An answer over plain UDP is never larger than three times its
// request, so that nobody can aim the door at others.
package coapin

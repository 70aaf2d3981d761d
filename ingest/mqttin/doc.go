// Package mqttin is the MQTT broker as a door in: devices publish to it as to
// any broker of MQTT 3.1, 3.1.1 or 5, and what they publish becomes readings.
//
// # The promise
//
// PUBACK and PUBREC mean that the readings are on flash. No other byte leaves a
// connection either before everything that it published is there, so order is
// never a question. If the readings cannot be stored, the publisher is told so
// (MQTT 5, QoS 1) or loses its connection, and sends them again; see notStored.
// QoS 0 has no acknowledgement and no promise.
//
// # The parts
//
// Connections and subscriptions are the business of the mochi server. It never
// sees a socket: it is given a conn, which stands before it in both directions,
// and it never sees a message.
//
//	          ┌──────────── conn ────────────┐
//	socket ──▶│ guard ─┬─▶ express lane ─────┼─────────────────▶ custody
//	          │        ├─▶ exchange ─────────┼─▶ publish ──────▶ custody
//	          │        └─────────────────────┼─▶ server   │
//	       ◀──│ gate, behind the receipts ◀──┼── sessions ┘
//	          └──────────────────────────────┘
//
// The guard (guard.go, frame.go, property.go) lets whole and valid control
// packets through and nothing else. The express lane (express.go) takes the
// publishes that need nothing but their acknowledgement, which is most
// telemetry: QoS 0 or 1, not retained, no properties, nobody here subscribed. It
// hands all those of one socket read to custody at once. The other publishes,
// and everything about QoS 1 and 2 (exchange.go), are taken one by one: publish
// (deliver.go) hands the readings to custody together with what has to be
// remembered of the message, and then its copies to the sessions (session.go) of
// those who subscribed. The gate (gate.go) queues everything that is to be sent
// behind the receipts of what it depends on.
//
// # What is remembered
//
// Sessions that outlive their connection, with their subscriptions and the
// messages that their clients have not acknowledged, QoS 2 publishes that are not
// released, retained messages and wills survive a crash (memory.go says under
// which keys, note.go how). They are noted with custody, in the same commit as
// the readings of the same publish, so an acknowledgement stands for both; and
// CONNACK, SUBACK, UNSUBACK, PUBREL and PUBCOMP wait until what they say is on
// flash. A session without an afterlife is not noted, unless it has a will.
//
//   - A QoS 1 message is sent to its subscriber at once, before the commit; it
//     may come twice after a crash. A QoS 2 message is sent after the commit.
//   - That a client has acknowledged is noted with whatever is noted next, within
//     a second; a crash repeats that much, and never a QoS 2 message.
//   - A QoS 2 publish is known by its identifier and by what it says, so a
//     memory that is out of date cannot swallow a new message.
//   - After a crash the wills of those who were connected are published, at once
//     or after their delay. A gateway that is stopped publishes none.
//   - Sessions end by the gateway's uptime, and across a restart by the wall
//     clock only if that could be believed before and after it.
//   - The rules for topics are looked at again when a session is resumed, and
//     for every message.
//   - After a commit that failed, the notes are compared with what is so
//     (reconcile.go).
//
// # Orders
//
// The gateway itself publishes with (*Source).Publish (order.go): in one commit
// with notes of the caller, and sent to nobody before. A session that acknowledges
// an order is named to Config.Delivered, also after a restart: the order's id is
// noted as the message's origin.
//
// # Ways in
//
// A Source listens at one address, with TLS or without, and at a second one
// always without (source.go). Connections may also come in as WebSockets of an
// HTTP server that is somebody else's (websocket.go), or in any other way, by
// ServeConn. All of them are one broker with one set of limits.
//
// What the server does to those who do not stand before it like this, and which
// test holds what is done about it, is listed in TRAPS.md.
//
// # Who may do what
//
// A password or a verified certificate says who the user is (auth.go), and the
// rules what he may publish and subscribe to (acl.go). Publishes are looked at by
// the guard, once for each topic of a connection, so that neither lane sees what
// is not allowed; wills at CONNECT; subscriptions and deliveries by the hooks. A
// session belongs to the user who began it, and no other can claim it.
//
// # Readings
//
// The route table says what a topic means. A payload that cannot be decoded is
// kept as an opaque reading, or dropped and acknowledged where its route says
// so; both are counted. An empty payload is a payload like any other. Wills are
// readings when they are published, except when it is the gateway that stops.
// Topics that begin with $ are the broker's own: who publishes to them is
// disconnected.
//
// # Limits and differences from the standard
//
//   - Topic aliases and enhanced authentication are not offered.
//   - A local subscriber that does not keep up loses messages (Stats.Undelivered):
//     those of QoS 0 while half a megabyte waits for it, others while 8 MiB do.
//     Of a client that is away, 1024 messages are kept. All queues together hold
//     32 MiB. The newest messages are lost then. What tidegate forwards does not
//     pass through subscriptions and is not concerned.
//   - A client has at most 64 subscriptions, of 64 KiB together; there are at most
//     5000 retained messages of 8 MiB together (Stats.NotRetained), each of 1 MiB
//     and on a topic of 1 KiB at the most, and two sessions for each connection
//     that is allowed (Stats.Forgotten). A session lasts no longer than
//     Config.SessionExpiry (Stats.Expired), which an MQTT 5 client is told.
//   - A topic has at most 32 levels.
//   - $SYS is as mosquitto has it (sys.go). Its messages have QoS 0.
package mqttin

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
// Sessions, subscriptions, retained messages and QoS 2 are the business of the
// mochi server. It never sees a socket: it is given a conn, which stands before
// it in both directions.
//
//	          ┌──────────── conn ────────────┐
//	socket ──▶│ guard ─┬─▶ express lane ─────┼──────────────────▶ custody
//	          │        └─────────────────────┼─▶ broker ─▶ hooks ─▶ custody
//	       ◀──│ gate, behind the receipts ◀──┼──────┘
//	          └──────────────────────────────┘
//
// The guard (guard.go, frame.go, property.go) lets whole and valid control
// packets through and nothing else. The express lane (express.go) takes the
// publishes that need nothing from the broker but their acknowledgement, which
// is most telemetry: QoS 0 or 1, not retained, no properties, nobody here
// subscribed. It hands all those of one socket read to custody at once. The
// rest goes to the broker, whose hooks (hooks.go) hand it to custody one by
// one. The gate (gate.go) queues everything that is to be sent behind the
// receipts of what was published before.
//
// # Ways in
//
// A Source listens at one address, with TLS or without, and at a second one
// always without (source.go). Connections may also come in as WebSockets of an
// HTTP server that is somebody else's (websocket.go), or in any other way, by
// ServeConn. All of them are one broker with one set of limits.
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
//   - The Receive Maximum of MQTT 5 subscribers is not honoured: up to 1024
//     messages may be under way to one. The server's own count of them leaks.
//   - After a failed commit a QoS 2 message may be stored twice.
//   - A local subscriber that does not keep up loses messages (Stats.Undelivered),
//     as does one that is away with 1024 messages waiting. What tidegate forwards
//     does not pass through subscriptions and is not concerned.
//   - Sessions and retained messages live in memory. A client has at most 64
//     subscriptions; there are at most 5000 retained messages of 8 MiB together,
//     and two sessions for each connection that is allowed. A retained message
//     beyond that is delivered and stored, but not retained.
//   - A topic has at most 32 levels.
//   - $SYS is as mosquitto has it (sys.go). Its messages have QoS 0.
package mqttin

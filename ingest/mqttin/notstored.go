package mqttin

// verdict is what becomes of a publish whose readings custody did not take.
type verdict uint8

const (
	// drop says nothing: QoS 0 promises nothing.
	drop verdict = iota
	// refuse answers PUBACK with the reason 0x97, quota exceeded.
	refuse
	// hangUp ends the connection without an acknowledgement, with DISCONNECT
	// 0x97 in MQTT 5: the client keeps the message and sends it again.
	hangUp
)

// notStored is the one place that decides what a publisher is told when its
// readings could not be stored. MQTT before 5 has no negative acknowledgement,
// and after a PUBREC with an error the client forgets the message of a QoS 2
// exchange that it started: both leave the end of the connection as the only
// answer after which the message is sent again. That is also the answer while
// the gateway stops, because it will be back.
//
// A commit that fails later is answered by hanging up on every version: what
// was said by then cannot be told apart from what was not.
func notStored(version, qos byte, stopping bool) verdict {
	switch {
	case qos == 0:
		return drop
	case version == 5 && qos == 1 && !stopping:
		return refuse
	}
	return hangUp
}

func (b *broker) notStored(version, qos byte) verdict {
	return notStored(version, qos, b.ctx.Err() != nil)
}

// errNotStored ends a connection whose publisher could not be told otherwise.
var errNotStored = &violation{codeQuotaExceeded, "readings could not be stored"}

// appendAck appends a PUBACK, PUBREC, PUBREL or PUBCOMP that means success, which
// is the same in all versions.
func appendAck(b []byte, packetType byte, id uint16) []byte {
	header := packetType << 4
	if packetType == typePubrel {
		header |= 2
	}
	return append(b, header, 2, byte(id>>8), byte(id))
}

// appendRefusal appends the negative acknowledgement of a QoS 1 publish.
func appendRefusal(b []byte, id uint16) []byte {
	return appendNegative(b, typePuback, id, codeQuotaExceeded)
}

// appendNegative appends a PUBACK or PUBREC of MQTT 5 that says why not.
func appendNegative(b []byte, packetType byte, id uint16, reason byte) []byte {
	return append(b, packetType<<4, 3, byte(id>>8), byte(id), reason)
}

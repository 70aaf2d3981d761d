package mqttin

import (
	"bytes"
	"encoding/binary"
	"unicode"
	"unicode/utf8"
)

// The control packets that matter here, as in the upper half of the first byte.
const (
	typeConnect     = 1
	typeConnack     = 2
	typePublish     = 3
	typePuback      = 4
	typePubrec      = 5
	typePubrel      = 6
	typePubcomp     = 7
	typeSubscribe   = 8
	typeUnsubscribe = 10
	typePingreq     = 12
	typeDisconnect  = 14
)

// violation is a peer's breach of the protocol. It ends the connection.
type violation struct {
	code byte // reason code of the MQTT 5 DISCONNECT that says so
	what string
}

func (v *violation) Error() string { return v.what }

// Reason codes of MQTT 5 (§2.4).
const (
	codeSuccess          = 0x00
	codeMalformed        = 0x81
	codeProtocolError    = 0x82
	codeBadVersion       = 0x84
	codeClientIDInvalid  = 0x85
	codeBadLogin         = 0x86
	codeNotAuthorized    = 0x87
	codeServerBusy       = 0x89
	codeShuttingDown     = 0x8B
	codeBadAuthMethod    = 0x8C
	codeSessionTakenOver = 0x8E
	codeFilterInvalid    = 0x8F
	codeTopicNameInvalid = 0x90
	codePacketIDNotFound = 0x92
	codeReceiveMaximum   = 0x93
	codeAliasInvalid     = 0x94
	codeTooLarge         = 0x95
	codeQuotaExceeded    = 0x97
	codeRateExceeded     = 0x9F
)

func malformed(what string) error     { return &violation{codeMalformed, what} }
func protocolError(what string) error { return &violation{codeProtocolError, what} }

// frame is one whole control packet. Its slices point into the buffer that it
// was found in.
type frame struct {
	header byte   // type and flags
	body   []byte // what follows the length
	size   int    // bytes of the packet on the wire
}

func (f frame) packetType() byte { return f.header >> 4 }
func (f frame) flags() byte      { return f.header & 0x0F }
func (f frame) qos() byte        { return f.header >> 1 & 3 }
func (f frame) retain() bool     { return f.header&1 != 0 }

// nextFrame finds the packet at the start of b. It returns false when more
// bytes are needed: size is then how many the packet has in all, or zero while
// not even that is known. A packet larger than limit is refused as soon as its
// length is seen.
func nextFrame(b []byte, limit int) (frame, bool, error) {
	length, n, err := varint(b, 1)
	if n == 0 || err != nil {
		return frame{}, false, err
	}
	size := 1 + n + length
	if size > limit {
		return frame{}, false, &violation{codeTooLarge, "packet is larger than allowed"}
	}
	if len(b) < size {
		return frame{size: size}, false, nil
	}
	return frame{header: b[0], body: b[1+n : size], size: size}, true, nil
}

// varint reads the variable byte integer at b[at:] and says how many bytes it
// takes; zero when it is not complete yet. Longer encodings than necessary are
// malformed: they let a few bytes of payload cost megabytes of header.
func varint(b []byte, at int) (value, n int, err error) {
	for n < 4 && at+n < len(b) {
		digit := b[at+n]
		value |= int(digit&0x7F) << (7 * n)
		n++
		if digit&0x80 == 0 {
			if digit == 0 && n > 1 {
				return 0, 0, malformed("length is not in its shortest form")
			}
			return value, n, nil
		}
	}
	if n == 4 {
		return 0, 0, malformed("length has more than four bytes")
	}
	return 0, 0, nil
}

// publish is a PUBLISH packet taken apart. Its slices point into the frame.
type publish struct {
	topic      []byte
	properties []byte // MQTT 5, without their length
	payload    []byte
	id         uint16 // zero for QoS 0
}

// parsePublish takes a PUBLISH apart and checks what does not need the topic's
// text or the properties to be looked at; see checkTopicName and
// checkProperties.
func parsePublish(f frame, version byte) (publish, error) {
	if f.qos() == 3 {
		return publish{}, malformed("publish has QoS 3")
	}
	if f.header&0x0E == 0x08 {
		return publish{}, malformed("publish of QoS 0 is marked as a duplicate")
	}
	if len(f.body) < 2 {
		return publish{}, malformed("publish has no topic")
	}
	at := 2 + int(binary.BigEndian.Uint16(f.body))
	if at > len(f.body) {
		return publish{}, malformed("publish ends within its topic")
	}
	p := publish{topic: f.body[2:at]}
	if f.qos() > 0 {
		if at+2 > len(f.body) {
			return publish{}, malformed("publish has no packet identifier")
		}
		p.id = binary.BigEndian.Uint16(f.body[at:])
		if p.id == 0 {
			return publish{}, malformed("packet identifier is zero")
		}
		at += 2
	}
	if version == 5 {
		length, n, err := varint(f.body, at)
		if err != nil {
			return publish{}, err
		}
		if at += n; n == 0 || at+length > len(f.body) {
			return publish{}, malformed("publish ends within its properties")
		}
		p.properties = f.body[at : at+length]
		at += length
	}
	p.payload = f.body[at:]
	return p, nil
}

// maxLevels bounds the levels of topics and filters: each level of a
// subscription or of a retained message costs the broker a map.
const maxLevels = 32

// checkTopicName says what is wrong with the name that somebody publishes to.
func checkTopicName(topic []byte) error {
	if len(topic) == 0 {
		return protocolError("topic name is empty, and topic aliases are not supported")
	}
	if !validText(topic) {
		return malformed("topic name is not UTF-8, or holds a NUL")
	}
	if hasControls(topic) {
		return &violation{codeTopicNameInvalid, "topic name holds a control character"}
	}
	if bytes.ContainsAny(topic, "+#") {
		return &violation{codeTopicNameInvalid, "topic name holds a wildcard"}
	}
	if bytes.Count(topic, []byte("/")) >= maxLevels {
		return &violation{codeTopicNameInvalid, "topic name has too many levels"}
	}
	return nil
}

// hasControls says whether a name holds control characters, which nobody should
// use [MQTT-1.5.4]: names stand in logs and on terminals.
func hasControls(name []byte) bool {
	return bytes.ContainsFunc(name, unicode.IsControl)
}

func validText(b []byte) bool {
	return utf8.Valid(b) && bytes.IndexByte(b, 0) < 0
}

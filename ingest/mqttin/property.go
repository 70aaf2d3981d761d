package mqttin

// packetSet is a set of the packets that a property may occur in.
type packetSet uint8

const (
	inConnect packetSet = 1 << iota
	inWill
	inPublish
	inAck
	inSubscribe
	inUnsubscribe
	inDisconnect

	inAny = inConnect | inWill | inPublish | inAck | inSubscribe | inUnsubscribe | inDisconnect
)

// property says where a property of MQTT 5 (§2.2.2.2) may occur, how its value
// is read and which values it may have.
type property struct {
	in     packetSet
	read   func(*cursor) int // returns numbers, so that legal can look at them
	legal  func(value int) bool
	repeat bool // may occur more than once
}

// propertyOf returns the rule for a property that clients may send. Enhanced
// authentication (0x15, 0x16) is not supported and so not among them.
func propertyOf(id int) property {
	switch id {
	case 0x01: // payload format indicator
		return property{in: inPublish | inWill, read: readByte, legal: isBit}
	case 0x02: // message expiry interval
		return property{in: inPublish | inWill, read: readUint32}
	case 0x03: // content type
		return property{in: inPublish | inWill, read: readText}
	case 0x08: // response topic
		return property{in: inPublish | inWill, read: readTopic, legal: isBit}
	case 0x09: // correlation data
		return property{in: inPublish | inWill, read: readBinary}
	case 0x0B: // subscription identifier
		return property{in: inSubscribe, read: (*cursor).varint, legal: notZero}
	case 0x11: // session expiry interval
		return property{in: inConnect | inDisconnect, read: readUint32}
	case 0x17, 0x19: // request problem information, request response information
		return property{in: inConnect, read: readByte, legal: isBit}
	case 0x18: // will delay interval
		return property{in: inWill, read: readUint32}
	case 0x1F: // reason string
		return property{in: inAck | inDisconnect, read: readText}
	case 0x21: // receive maximum
		return property{in: inConnect, read: readUint16, legal: notZero}
	case 0x22: // topic alias maximum
		return property{in: inConnect, read: readUint16}
	case 0x26: // user property
		return property{in: inAny, read: readPair, repeat: true}
	case 0x27: // maximum packet size
		return property{in: inConnect, read: readUint32, legal: notZero}
	}
	return property{}
}

// Properties that clients may send to who offers what they are about.
const (
	authMethod = 0x15
	topicAlias = 0x23
)

func isBit(v int) bool   { return v <= 1 }
func notZero(v int) bool { return v != 0 }

func readByte(c *cursor) int   { return int(c.byte()) }
func readUint16(c *cursor) int { return int(c.uint16()) }
func readText(c *cursor) int   { c.text(); return 0 }
func readBinary(c *cursor) int { c.binary(); return 0 }

// readTopic returns 2 for what is no topic name.
func readTopic(c *cursor) int {
	if topic := c.text(); c.bad == nil && checkTopicName(topic) != nil {
		return 2
	}
	return 0
}

func readPair(c *cursor) int {
	c.text()
	c.text()
	return 0
}

func readUint32(c *cursor) int {
	high := c.uint16()
	return int(high)<<16 | int(c.uint16())
}

// properties reads the properties of a packet and their length; versions before
// MQTT 5 have none.
func (c *cursor) properties(version byte, in packetSet) {
	if version < 5 {
		return
	}
	inner := cursor{rest: c.take(c.varint())}
	if c.bad == nil {
		c.bad = inner.checkProperties(in)
	}
}

// checkProperties checks a list of properties to its end.
func (c *cursor) checkProperties(in packetSet) error {
	var seen uint64
	for c.bad == nil && len(c.rest) > 0 {
		id := c.varint()
		p := propertyOf(id)
		if c.bad == nil && id == topicAlias && in == inPublish {
			return &violation{codeAliasInvalid, "topic aliases are not offered"}
		}
		if c.bad == nil && id == authMethod && in == inConnect {
			return &violation{codeBadAuthMethod, "enhanced authentication is not offered"}
		}
		if c.bad == nil && p.in&in == 0 {
			return protocolError("property does not belong into this packet")
		}
		if c.bad != nil {
			break
		}
		if seen&(1<<id) != 0 && !p.repeat {
			return protocolError("property occurs twice")
		}
		seen |= 1 << id
		value := p.read(c)
		if c.bad == nil && p.legal != nil && !p.legal(value) {
			return protocolError("property has a value that is not allowed")
		}
	}
	return c.bad
}

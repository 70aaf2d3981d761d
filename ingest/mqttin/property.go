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
	value  valueKind
	legal  func(value int) bool
	repeat bool // may occur more than once
}

// propertyOf returns the rule for a property that clients may send. Enhanced
// authentication (0x15, 0x16) is not supported and so not among them.
func propertyOf(id int) property {
	switch id {
	case 0x01: // payload format indicator
		return property{in: inPublish | inWill, value: oneByte, legal: isBit}
	case 0x02: // message expiry interval
		return property{in: inPublish | inWill, value: fourBytes}
	case 0x03: // content type
		return property{in: inPublish | inWill, value: text}
	case 0x08: // response topic
		return property{in: inPublish | inWill, value: topicName, legal: isBit}
	case 0x09: // correlation data
		return property{in: inPublish | inWill, value: binaryData}
	case 0x0B: // subscription identifier
		return property{in: inSubscribe, value: varInt, legal: notZero}
	case 0x11: // session expiry interval
		return property{in: inConnect | inDisconnect, value: fourBytes}
	case 0x17, 0x19: // request problem information, request response information
		return property{in: inConnect, value: oneByte, legal: isBit}
	case 0x18: // will delay interval
		return property{in: inWill, value: fourBytes}
	case 0x1F: // reason string
		return property{in: inAck | inDisconnect, value: text}
	case 0x21: // receive maximum
		return property{in: inConnect, value: twoBytes, legal: notZero}
	case 0x22: // topic alias maximum
		return property{in: inConnect, value: twoBytes}
	case 0x26: // user property
		return property{in: inAny, value: textPair, repeat: true}
	case 0x27: // maximum packet size
		return property{in: inConnect, value: fourBytes, legal: notZero}
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

// valueKind says how a property's value is read.
type valueKind uint8

const (
	oneByte valueKind = iota + 1
	twoBytes
	fourBytes
	varInt
	text
	textPair
	topicName
	binaryData
)

// read reads the value of a property, and returns numbers, so that legal can look
// at them; 2 for a topic that is none.
func (p property) read(c *cursor) int {
	switch p.value {
	case oneByte:
		return int(c.byte())
	case twoBytes:
		return int(c.uint16())
	case fourBytes:
		high := c.uint16()
		return int(high)<<16 | int(c.uint16())
	case varInt:
		return c.varint()
	case text:
		c.text()
	case textPair:
		c.text()
		c.text()
	case topicName:
		if topic := c.text(); c.bad == nil && checkTopicName(topic) != nil {
			return 2
		}
	case binaryData:
		c.binary()
	}
	return 0
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

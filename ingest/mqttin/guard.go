package mqttin

import (
	"bytes"
	"encoding/binary"
)

// hello is what the guard learns from a CONNECT.
type hello struct {
	version   byte   // 3, 4 or 5
	keepalive uint16 // seconds; zero means none
	willTopic string // empty when there is no will
}

// cursor reads fields from the front of a body. After the first field that is
// not there, everything it returns is zero and bad says why.
type cursor struct {
	rest []byte
	bad  error
}

func (c *cursor) take(n int) []byte {
	if c.bad == nil && n > len(c.rest) {
		c.bad = malformed("packet ends too early")
	}
	if c.bad != nil {
		return nil
	}
	field := c.rest[:n]
	c.rest = c.rest[n:]
	return field
}

func (c *cursor) byte() byte {
	if b := c.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (c *cursor) uint16() uint16 {
	if b := c.take(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (c *cursor) binary() []byte { return c.take(int(c.uint16())) }

func (c *cursor) text() []byte {
	b := c.binary()
	if c.bad == nil && !validText(b) {
		c.bad = malformed("text is not UTF-8, or holds a NUL")
	}
	return b
}

// name reads the text of an identifier.
func (c *cursor) name() []byte {
	b := c.text()
	if c.bad == nil && hasControls(b) {
		c.bad = malformed("name holds a control character")
	}
	return b
}

func (c *cursor) varint() int {
	if c.bad != nil {
		return 0
	}
	value, n, err := varint(c.rest, 0)
	if err == nil && n == 0 {
		err = malformed("packet ends too early")
	}
	c.bad = err
	c.rest = c.rest[n:]
	return value
}

func (c *cursor) packetID() {
	if c.uint16() == 0 && c.bad == nil {
		c.bad = malformed("packet identifier is zero")
	}
}

func (c *cursor) end() error {
	if c.bad == nil && len(c.rest) > 0 {
		return malformed("packet is longer than its fields")
	}
	return c.bad
}

// checkConnect checks a CONNECT, which must be the first packet. The version is
// known even if something later is wrong.
func checkConnect(f frame) (hello, error) {
	if f.packetType() != typeConnect {
		return hello{}, protocolError("first packet is not CONNECT")
	}
	if f.flags() != 0 {
		return hello{}, malformed("reserved flags are set")
	}
	c := cursor{rest: f.body}
	name, version, flags := string(c.text()), c.byte(), c.byte()
	h := hello{version: version, keepalive: c.uint16()}
	if c.bad != nil {
		return h, c.bad
	}
	switch {
	case name == "MQIsdp" && version == 3, name == "MQTT" && (version == 4 || version == 5):
	case name == "MQTT" || name == "MQIsdp":
		return h, &violation{codeBadVersion, "protocol version is not MQTT 3.1, 3.1.1 or 5"}
	default:
		return hello{}, protocolError("protocol is not MQTT")
	}
	if err := checkConnectFlags(flags, version); err != nil {
		return h, err
	}
	c.properties(version, inConnect)
	if id := c.name(); len(id) == 0 && version < 5 && flags&flagClean == 0 {
		return h, &violation{codeClientIDInvalid, "client identifier is empty"}
	}
	if flags&flagWill != 0 {
		c.properties(version, inWill)
		topic := c.text()
		c.binary()
		if c.bad == nil {
			c.bad = checkTopicName(topic)
		}
		h.willTopic = string(topic)
	}
	if flags&flagUser != 0 {
		c.name()
	}
	if flags&flagPassword != 0 {
		c.binary()
	}
	return h, c.end()
}

// The flags of a CONNECT.
const (
	flagReserved   = 1 << 0
	flagClean      = 1 << 1
	flagWill       = 1 << 2
	flagWillQoS    = 3 << 3
	flagWillRetain = 1 << 5
	flagPassword   = 1 << 6
	flagUser       = 1 << 7
)

func checkConnectFlags(flags, version byte) error {
	switch {
	case flags&flagReserved != 0:
		return malformed("reserved flag is set")
	case flags&flagWillQoS == flagWillQoS:
		return malformed("will has QoS 3")
	case flags&flagWill == 0 && flags&(flagWillQoS|flagWillRetain) != 0:
		return malformed("flags of a will without a will")
	case version < 5 && flags&flagPassword != 0 && flags&flagUser == 0:
		return malformed("password without a user name")
	}
	return nil
}

// checkPacket checks any later packet except PUBLISH; see parsePublish for
// that. What it lets through, the broker can decode.
func checkPacket(f frame, version byte) error {
	if err := checkFlags(f); err != nil {
		return err
	}
	c := cursor{rest: f.body}
	switch f.packetType() {
	case typeConnect:
		return protocolError("second CONNECT")
	case typePuback, typePubrec, typePubrel, typePubcomp:
		c.packetID()
		c.reason(version, inAck)
	case typeSubscribe:
		c.packetID()
		c.properties(version, inSubscribe)
		c.filters(version, true)
	case typeUnsubscribe:
		c.packetID()
		c.properties(version, inUnsubscribe)
		c.filters(version, false)
	case typeDisconnect:
		c.reason(version, inDisconnect)
	case typePingreq:
	default:
		return protocolError("packet type is not for clients to send")
	}
	return c.end()
}

func checkFlags(f frame) error {
	want := byte(0)
	switch f.packetType() {
	case typePubrel, typeSubscribe, typeUnsubscribe:
		want = 2
	}
	if f.flags() != want {
		return malformed("reserved flags are set")
	}
	return nil
}

// reason reads the optional reason code and properties of MQTT 5.
func (c *cursor) reason(version byte, in packetSet) {
	if version < 5 || len(c.rest) == 0 {
		return
	}
	c.byte()
	if len(c.rest) > 0 {
		c.properties(version, in)
	}
}

// optionNoLocal keeps a client's own publishes from it.
const optionNoLocal = 1 << 2

// filters reads the topic filters of a SUBSCRIBE or UNSUBSCRIBE, and of the
// former the options of each.
func (c *cursor) filters(version byte, options bool) {
	if c.bad == nil && len(c.rest) == 0 {
		c.bad = protocolError("no topic filter")
	}
	for c.bad == nil && len(c.rest) > 0 {
		filter := c.text()
		if c.bad == nil {
			c.bad = checkFilter(filter)
		}
		if options {
			c.subscriptionOptions(version, bytes.HasPrefix(filter, []byte("$share/")))
		}
	}
}

func (c *cursor) subscriptionOptions(version byte, shared bool) {
	o := c.byte()
	reserved := byte(0xFC)
	if version == 5 {
		reserved = 0xC0
	}
	if c.bad == nil && (o&reserved != 0 || o&3 == 3 || o>>4&3 == 3) {
		c.bad = malformed("subscription options are not valid")
	}
	if c.bad == nil && shared && o&optionNoLocal != 0 {
		c.bad = protocolError("shared subscription with No Local")
	}
}

// checkFilter says what is wrong with a topic filter.
func checkFilter(filter []byte) error {
	wrong := &violation{codeFilterInvalid, "topic filter is not valid"}
	if hasControls(filter) {
		return wrong
	}
	if group, ok := bytes.CutPrefix(filter, []byte("$share/")); ok {
		name, rest, more := bytes.Cut(group, []byte("/"))
		if !more || len(name) == 0 || bytes.ContainsAny(name, "+#") {
			return wrong
		}
		filter = rest
	}
	levels := bytes.Split(filter, []byte("/"))
	if bytes.EqualFold(levels[0], []byte("$share")) {
		return wrong // to the server, any letter case stands for a shared one
	}
	if len(filter) == 0 || len(levels) > maxLevels {
		return wrong
	}
	for i, level := range levels {
		if len(level) > 1 && bytes.ContainsAny(level, "+#") {
			return wrong
		}
		if len(level) == 1 && level[0] == '#' && i < len(levels)-1 {
			return wrong
		}
	}
	return nil
}

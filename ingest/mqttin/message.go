package mqttin

import (
	"bytes"
	"encoding/binary"
	"sync/atomic"
	"time"
)

// message is a publish on its way to subscribers. It does not change once
// somebody else knows it.
type message struct {
	number     uint64 // names it in notes; higher ones came later
	origin     string // identifier of the client that published it
	topic      string
	qos        byte
	retain     bool
	properties []byte // of MQTT 5, as published, without the expiry
	payload    []byte
	expires    bool          // after expiry seconds
	expiry     uint32        // as published
	born       time.Duration // uptime of its arrival
	noted      atomic.Int32  // copies in notes that still need the body
}

// newMessage makes a message of a publish whose properties were checked. Its
// slices are the publish's.
func newMessage(number uint64, origin string, f frame, p publish, born time.Duration) *message {
	m := &message{
		number: number, origin: origin, topic: string(p.topic), qos: f.qos(), retain: f.retain(),
		payload: p.payload, born: born,
	}
	m.setProperties(p.properties)
	return m
}

// setProperties takes the message expiry out of the properties: who is sent the
// message later is told what is left of it.
func (m *message) setProperties(properties []byte) {
	c := cursor{rest: properties}
	for len(c.rest) > 0 && c.bad == nil {
		at := len(properties) - len(c.rest)
		id := c.varint()
		value := propertyOf(id).read(&c) // checked: there is such a property
		if id != propertyMessageExpiry {
			continue
		}
		m.expires, m.expiry = true, uint32(value)
		m.properties = append(bytes.Clone(properties[:at]), c.rest...)
		return
	}
	m.properties = properties
}

// keep copies what belongs to the buffer that the publish was read into.
func (m *message) keep() {
	m.properties, m.payload = bytes.Clone(m.properties), bytes.Clone(m.payload)
}

// left says what is left of the message's time, in seconds, and whether there is
// any.
func (m *message) left(uptime time.Duration) (seconds uint32, alive bool) {
	if !m.expires {
		return 0, true
	}
	age := uint64(max(0, uptime-m.born) / time.Second)
	if age >= uint64(m.expiry) {
		return 0, false
	}
	return m.expiry - uint32(age), true
}

// size is about what a message takes in memory.
func (m *message) size() int {
	return len(m.topic) + len(m.properties) + len(m.payload) + messageOverhead
}

// messageOverhead is about what a message takes beside its bytes.
const messageOverhead = 256

// envelope is what a message is sent in: it differs from subscriber to
// subscriber.
type envelope struct {
	qos           byte
	retain, dup   bool
	id            uint16 // zero for QoS 0
	subscriptions []int  // identifiers of the subscriptions that it matches
}

const (
	propertyMessageExpiry  = 0x02
	propertySubscriptionID = 0x0B
)

// appendPublish appends the message as a PUBLISH. left is what the receiver is
// told of the expiry.
func (m *message) appendPublish(dst []byte, version byte, e envelope, left uint32) []byte {
	var properties []byte
	if version == 5 {
		properties = m.appendProperties(nil, e, left)
	}
	size := 2 + len(m.topic) + len(properties) + len(m.payload)
	if e.qos > 0 {
		size += 2
	}
	header := byte(typePublish<<4) | e.qos<<1
	if e.dup {
		header |= 1 << 3
	}
	if e.retain {
		header |= 1
	}
	dst = binary.AppendUvarint(append(dst, header), uint64(size))
	dst = appendText(dst, m.topic)
	if e.qos > 0 {
		dst = binary.BigEndian.AppendUint16(dst, e.id)
	}
	dst = append(dst, properties...)
	return append(dst, m.payload...)
}

// appendProperties appends the properties of MQTT 5 and their length.
func (m *message) appendProperties(dst []byte, e envelope, left uint32) []byte {
	var own []byte
	if m.expires {
		own = binary.BigEndian.AppendUint32(append(own, propertyMessageExpiry), left)
	}
	for _, id := range e.subscriptions {
		own = binary.AppendUvarint(append(own, propertySubscriptionID), uint64(id))
	}
	dst = binary.AppendUvarint(dst, uint64(len(own)+len(m.properties)))
	return append(append(dst, own...), m.properties...)
}

// appendText appends a text as MQTT writes it.
func appendText[T string | []byte](dst []byte, text T) []byte {
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(text)))
	return append(dst, text...)
}

// again returns the same message under another number.
func (m *message) again(number uint64) *message {
	return &message{
		number: number, origin: m.origin, topic: m.topic, qos: m.qos, retain: m.retain,
		properties: m.properties, payload: m.payload, expires: m.expires, expiry: m.expiry, born: m.born,
	}
}

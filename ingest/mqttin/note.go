package mqttin

import (
	"encoding/binary"
	"errors"
	"hash/fnv"
	"slices"
	"strings"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/tidegate/tidegate/internal/inorder"
	"github.com/tidegate/tidegate/reading"
)

// The values of notes are written in the data types of MQTT itself: a text has
// its length in two bytes before it, a number of variable length is a variable
// byte integer, the others are big-endian. Each begins with noteVersion. A value
// of another version, or one that is not whole, belongs to nobody and is left
// out.
const noteVersion = 1

// errNote says that a value cannot be understood.
var errNote = errors.New("note is damaged, or of another version")

// sessionNote is what is noted of a session, beside its messages.
type sessionNote struct {
	id, user      string
	version       byte
	connected     bool
	expiry        time.Duration // whole seconds
	left          moment        // when the client went away
	will          *will
	subscriptions []packets.Subscription
}

// The flags of a session.
const (
	flagConnected = 1 << 0
	flagHasWill   = 1 << 1
	flagWillWaits = 1 << 2
)

func (n sessionNote) append(dst []byte, k clock) []byte {
	var flags byte
	if n.connected {
		flags |= flagConnected
	}
	if n.will != nil {
		flags |= flagHasWill
		if n.will.waits {
			flags |= flagWillWaits
		}
	}
	dst = append(dst, noteVersion, flags, n.version)
	dst = binary.BigEndian.AppendUint32(dst, uint32(n.expiry/time.Second))
	dst = appendMoment(dst, n.left)
	dst = appendText(appendText(dst, n.id), n.user)
	dst = binary.AppendUvarint(dst, uint64(len(n.subscriptions)))
	for _, s := range n.subscriptions {
		dst = append(appendText(dst, s.Filter), optionsOf(s))
		dst = binary.AppendUvarint(dst, uint64(s.Identifier))
	}
	if n.will != nil {
		dst = binary.BigEndian.AppendUint32(dst, uint32(n.will.delay/time.Second))
		dst = appendMessage(dst, n.will.message, k)
	}
	return dst
}

func parseSessionNote(value []byte, k clock) (sessionNote, error) {
	c := cursor{rest: value}
	var n sessionNote
	version, flags := c.byte(), c.byte()
	n.connected = flags&flagConnected != 0
	n.version = c.byte()
	n.expiry = time.Duration(c.uint32()) * time.Second
	n.left = c.moment()
	n.id, n.user = string(c.text()), string(c.text())
	for count := c.varint(); count > 0 && c.bad == nil; count-- {
		n.subscriptions = append(n.subscriptions, c.subscription())
	}
	if flags&flagHasWill != 0 && c.bad == nil {
		n.will = &will{waits: flags&flagWillWaits != 0, delay: time.Duration(c.uint32()) * time.Second}
		n.will.message = c.message(k)
	}
	if version != noteVersion || c.end() != nil || n.version < 3 || n.version > 5 {
		return sessionNote{}, errNote
	}
	return n, nil
}

// subscription reads one, and checks it: the server would believe anything.
func (c *cursor) subscription() packets.Subscription {
	filter := c.text()
	if c.bad == nil {
		c.bad = checkFilter(filter)
	}
	options := c.byte()
	if c.bad == nil && (options&0xC0 != 0 || options&3 == 3 || options>>4&3 == 3) {
		c.bad = errNote
	}
	return packets.Subscription{
		Filter: string(filter), Identifier: c.varint(),
		Qos: options & 3, NoLocal: options&4 != 0, RetainAsPublished: options&8 != 0, RetainHandling: options >> 4 & 3,
	}
}

// optionsOf returns the options byte of a subscription (MQTT 5, §3.8.3.1).
func optionsOf(s packets.Subscription) byte {
	options := s.Qos | s.RetainHandling<<4
	if s.NoLocal {
		options |= 4
	}
	if s.RetainAsPublished {
		options |= 8
	}
	return options
}

// sorted returns subscriptions in the order of their filters, so that the same
// ones make the same note.
func sorted(all map[string]packets.Subscription) []packets.Subscription {
	list := make([]packets.Subscription, 0, len(all))
	for _, s := range all {
		list = append(list, s)
	}
	inorder.Sort(list, func(a, b packets.Subscription) int { return strings.Compare(a.Filter, b.Filter) })
	return list
}

// The flags of a message; the lowest two bits are its QoS.
const (
	flagRetain  = 1 << 2
	flagExpires = 1 << 3
)

// appendMessage appends a message; its number is not among what is noted.
func appendMessage(dst []byte, m *message, k clock) []byte {
	flags := m.qos
	if m.retain {
		flags |= flagRetain
	}
	if m.expires {
		flags |= flagExpires
	}
	dst = append(dst, flags)
	if m.expires {
		dst = binary.BigEndian.AppendUint32(dst, m.expiry)
		dst = appendMoment(dst, k.moment(k.uptime()-m.born))
	}
	dst = appendText(appendText(dst, m.origin), m.topic)
	dst = binary.AppendUvarint(dst, uint64(len(m.properties)))
	dst = append(dst, m.properties...)
	return append(dst, m.payload...)
}

// message reads a message, which is the last of a value.
func (c *cursor) message(k clock) *message {
	flags := c.byte()
	m := &message{qos: flags & 3, retain: flags&flagRetain != 0, expires: flags&flagExpires != 0}
	if m.expires {
		m.expiry = c.uint32()
		m.born = k.uptime() - k.since(c.moment())
	}
	m.origin = string(c.text())
	topic := c.text()
	m.topic = string(topic)
	m.properties = slices.Clone(c.take(c.varint()))
	properties := cursor{rest: m.properties}
	for _, err := range []error{checkTopicName(topic), properties.checkProperties(inPublish)} {
		if c.bad == nil {
			c.bad = err
		}
	}
	if m.qos == 3 && c.bad == nil {
		c.bad = errNote
	}
	m.payload = slices.Clone(c.take(len(c.rest)))
	return m
}

func parseMessageNote(value []byte, k clock) (*message, error) {
	c := cursor{rest: value}
	version := c.byte()
	m := c.message(k)
	if version != noteVersion || c.end() != nil {
		return nil, errNote
	}
	return m, nil
}

// flagReleased marks a copy for which PUBREC came.
const flagReleased = 1 << 3

// append appends what is noted of a message's copy for one session.
func (o *outgoing) append(dst []byte) []byte {
	flags := o.qos
	if o.retain {
		flags |= flagRetain
	}
	if o.released {
		flags |= flagReleased
	}
	dst = binary.BigEndian.AppendUint16(append(dst, noteVersion, flags), o.id)
	for _, id := range o.subscriptions {
		dst = binary.AppendUvarint(dst, uint64(id))
	}
	return dst
}

// parseCopyNote returns the copy without its message.
func parseCopyNote(value []byte) (*outgoing, error) {
	c := cursor{rest: value}
	version, flags := c.byte(), c.byte()
	o := &outgoing{noted: true, accepted: true, released: flags&flagReleased != 0}
	o.qos, o.retain = flags&3, flags&flagRetain != 0
	o.id = c.uint16()
	for len(c.rest) > 0 && c.bad == nil {
		o.subscriptions = append(o.subscriptions, c.varint())
	}
	if version != noteVersion || c.bad != nil || o.id == 0 || o.qos == 0 || o.qos == 3 {
		return nil, errNote
	}
	return o, nil
}

// sumOf tells one publish under an identifier from another.
func sumOf(topic string, payload []byte) uint64 {
	h := fnv.New64a()
	h.Write([]byte(topic))
	h.Write([]byte{0}) // which no topic holds
	h.Write(payload)
	return h.Sum64()
}

func arrivalNote(session uint64, id uint16, sum uint64) reading.Note {
	return reading.Note{Key: arrivalKey(session, id), Value: binary.BigEndian.AppendUint64([]byte{noteVersion}, sum)}
}

func parseArrivalNote(value []byte) (sum uint64, err error) {
	if len(value) != 9 || value[0] != noteVersion {
		return 0, errNote
	}
	return binary.BigEndian.Uint64(value[1:]), nil
}

func appendMoment(dst []byte, m moment) []byte {
	dst = binary.BigEndian.AppendUint32(dst, m.boot)
	dst = binary.BigEndian.AppendUint32(dst, m.uptime)
	return binary.BigEndian.AppendUint32(dst, m.wall)
}

func (c *cursor) moment() moment { return moment{c.uint32(), c.uint32(), c.uint32()} }

func (c *cursor) uint32() uint32 { return uint32(c.uint16())<<16 | uint32(c.uint16()) }

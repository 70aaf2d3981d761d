package mqttout

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"github.com/mochi-mqtt/server/v2/packets"
)

// The levels of the protocol, as they stand in CONNECT.
const (
	level311 = 4
	level5   = 5
)

// maxAnswer bounds a packet of the server, in bytes. It only answers, for
// nothing is subscribed to; to one of MQTT 5 it is said in CONNECT.
const maxAnswer = 64 << 10

// maxRemaining is the largest length that a packet can state.
const maxRemaining = 268_435_455

// publication is one PUBLISH.
type publication struct {
	topic   string
	payload []byte
	qos     byte
	retain  bool
	// index is its place among the pieces of its message. key names it where
	// anybody needs that; it travels as a user property if carryKey says so.
	index    int
	key      string
	carryKey bool
	// contentType is the media type, "" for none; text says that the payload is
	// UTF-8.
	contentType string
	text        bool
	// expiry is for how many seconds it is worth delivering; 0 for ever.
	expiry uint32
	// stamp is for what is retained; see newest.
	stamp stamp
	// arrived says that the server has it. It is guarded by the link's lock;
	// publish copies it to settled.
	arrived, settled bool
}

// wireForm is what a publication becomes on one connection.
type wireForm struct {
	level byte
	id    uint16 // with QoS 1 and 2
	dup   bool
	// alias stands for the topic if it is not 0; known says that the server has
	// been told, so that the topic need not travel.
	alias uint16
	known bool
}

// remaining is the length of the packet behind its fixed header, in bytes, and
// of its properties.
func (p *publication) remaining(f wireForm) (all, properties int) {
	all = 2 + len(p.payload)
	if !f.known {
		all += len(p.topic)
	}
	if p.qos > 0 {
		all += 2
	}
	if f.level < level5 {
		return all, 0
	}
	if p.text {
		properties += 2
	}
	if p.expiry > 0 {
		properties += 5
	}
	if p.contentType != "" {
		properties += 3 + len(p.contentType)
	}
	if f.alias > 0 {
		properties += 3
	}
	if p.carryKey {
		properties += 5 + len(keyProperty) + len(p.key)
	}
	return all + lengthSize(properties) + properties, properties
}

// size is the length of the whole packet in bytes when the topic is written out
// and an alias given to it: its largest form.
func (p *publication) size(level byte) int {
	n, _ := p.remaining(wireForm{level: level, alias: 1})
	return 1 + lengthSize(n) + n
}

// appendHead appends everything of the packet that stands before the payload.
// MQTT 5.0, 3.3; MQTT 3.1.1, 3.3 without properties.
func (p *publication) appendHead(dst []byte, f wireForm) []byte {
	first := byte(packets.Publish)<<4 | p.qos<<1
	if f.dup {
		first |= 1 << 3
	}
	if p.retain {
		first |= 1
	}
	remaining, properties := p.remaining(f)
	dst = appendLength(append(dst, first), remaining)
	if f.known {
		dst = append(dst, 0, 0)
	} else {
		dst = appendText(dst, p.topic)
	}
	if p.qos > 0 {
		dst = append(dst, byte(f.id>>8), byte(f.id))
	}
	if f.level < level5 {
		return dst
	}
	dst = appendLength(dst, properties)
	if p.text {
		dst = append(dst, packets.PropPayloadFormat, 1)
	}
	if p.expiry > 0 {
		dst = append(dst, packets.PropMessageExpiryInterval, byte(p.expiry>>24), byte(p.expiry>>16), byte(p.expiry>>8), byte(p.expiry))
	}
	if p.contentType != "" {
		dst = appendText(append(dst, packets.PropContentType), p.contentType)
	}
	if f.alias > 0 {
		dst = append(dst, packets.PropTopicAlias, byte(f.alias>>8), byte(f.alias))
	}
	if p.carryKey {
		dst = appendText(appendText(append(dst, packets.PropUser), keyProperty), p.key)
	}
	return dst
}

// appendText appends a string of at most 65535 bytes with its length.
func appendText(dst []byte, s string) []byte {
	return append(append(dst, byte(len(s)>>8), byte(len(s))), s...)
}

// appendLength appends a variable byte integer. MQTT 5.0, 1.5.5.
func appendLength(dst []byte, n int) []byte {
	for n >= 128 {
		dst = append(dst, byte(n)|128)
		n >>= 7
	}
	return append(dst, byte(n))
}

// lengthSize is how many bytes appendLength appends.
func lengthSize(n int) int {
	size := 1
	for ; n >= 128; n >>= 7 {
		size++
	}
	return size
}

// appendPubrel appends the second half of an exchange of QoS 2.
func appendPubrel(dst []byte, id uint16) []byte {
	return append(dst, packets.Pubrel<<4|2, 2, byte(id>>8), byte(id))
}

// appendPingreq appends a question for a sign of life.
func appendPingreq(dst []byte) []byte { return append(dst, packets.Pingreq<<4, 0) }

// appendDisconnect appends a polite end, after which there is no will. forget
// ends the session, too, which only a server of MQTT 5 can be asked for.
func appendDisconnect(dst []byte, level byte, forget bool) []byte {
	if level < level5 || !forget {
		return append(dst, packets.Disconnect<<4, 0)
	}
	return append(dst, packets.Disconnect<<4, 7, 0, 5, packets.PropSessionExpiryInterval, 0, 0, 0, 0)
}

var errMalformed = errors.New("what came is no packet of MQTT")

// readPacket reads one packet of the server: its first byte, and what stands
// behind the length, in buf if that is large enough. The error is io.EOF only
// between packets.
func readPacket(r *bufio.Reader, buf []byte) (first byte, body []byte, err error) {
	if first, err = r.ReadByte(); err != nil {
		return 0, nil, err
	}
	if !mayBegin(first) { // at once: what is no MQTT may never have the length that it seems to state
		return 0, nil, fmt.Errorf("%w: it begins with 0x%02X", errMalformed, first)
	}
	n := 0
	for shift := 0; ; shift += 7 {
		b, err := r.ReadByte()
		if err != nil {
			return 0, nil, cutOff(err)
		}
		n |= int(b&127) << shift
		if b < 128 {
			break
		}
		if shift == 21 {
			return 0, nil, fmt.Errorf("%w: its length has more than four bytes", errMalformed)
		}
	}
	if n > maxAnswer {
		return 0, nil, fmt.Errorf("%w: it says that it has %d bytes, and an answer has at most %d", errMalformed, n, maxAnswer)
	}
	if n > cap(buf) {
		buf = make([]byte, n)
	}
	if _, err := io.ReadFull(r, buf[:n]); err != nil {
		return 0, nil, cutOff(err)
	}
	return first, buf[:n], nil
}

// mayBegin reports whether an answer can begin with the byte. Those to requests
// that nobody makes cannot.
func mayBegin(first byte) bool {
	switch first {
	case packets.Connack << 4, packets.Puback << 4, packets.Pubrec << 4, packets.Pubcomp << 4, packets.Pingresp << 4, packets.Disconnect << 4:
		return true
	}
	return false
}

func cutOff(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// decode takes a packet of the server apart. Its texts may share body's memory.
func decode(first byte, body []byte, level byte) (packets.Packet, error) {
	pk := packets.Packet{ProtocolVersion: level}
	err := pk.FixedHeader.Decode(first)
	if err != nil {
		return pk, fmt.Errorf("%w: %w", errMalformed, err)
	}
	pk.FixedHeader.Remaining = len(body)
	switch pk.FixedHeader.Type {
	case packets.Connack:
		// A server that does not know MQTT 5 says so in an older packet.
		if len(body) == 2 {
			pk.ProtocolVersion = level311
		}
		err = pk.ConnackDecode(body)
	case packets.Puback:
		err = pk.PubackDecode(body)
	case packets.Pubrec:
		err = pk.PubrecDecode(body)
	case packets.Pubcomp:
		err = pk.PubcompDecode(body)
	case packets.Pingresp:
	case packets.Disconnect:
		if level < level5 {
			return pk, fmt.Errorf("%w: a server of MQTT 3.1.1 sends no DISCONNECT", errMalformed)
		}
		err = pk.DisconnectDecode(body)
	default:
		return pk, fmt.Errorf("%w: %s, which nobody has asked for", errMalformed, packets.PacketNames[pk.FixedHeader.Type])
	}
	if err != nil {
		return pk, fmt.Errorf("%w: %s: %w", errMalformed, packets.PacketNames[pk.FixedHeader.Type], err)
	}
	return pk, nil
}

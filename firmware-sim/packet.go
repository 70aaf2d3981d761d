package firmwaresim

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// Control packet types of MQTT with their fixed flags, as the first byte of a
// packet.
const (
	packetConnect    = 0x10
	packetConnack    = 0x20
	packetPublish    = 0x30
	packetPuback     = 0x40
	packetPubrec     = 0x50
	packetPubrel     = 0x62
	packetPubcomp    = 0x70
	packetPingreq    = 0xc0
	packetPingresp   = 0xd0
	packetDisconnect = 0xe0

	publishDup   = 0x08
	reasonFailed = 0x80 // v5: this reason code and those above it are failures
)

// Protocol levels as CONNECT carries them.
const (
	// MQTT3 is MQTT 3.1.1.
	MQTT3 = 4
	// MQTT5 is MQTT 5.0.
	MQTT5 = 5
)

var errPacket = errors.New("malformed packet")

// appendConnect appends the CONNECT packet that cfg asks for.
func appendConnect(dst []byte, cfg ClientConfig) []byte {
	var flags byte
	if cfg.CleanSession {
		flags |= 0x02
	}
	if cfg.Username != "" {
		flags |= 0x80
	}
	if cfg.Password != "" {
		flags |= 0x40
	}
	body := appendText(nil, "MQTT")
	body = append(body, cfg.Version, flags)
	body = binary.BigEndian.AppendUint16(body, uint16(cfg.KeepAlive/time.Second))
	if cfg.Version == MQTT5 {
		body = appendSessionExpiry(body, cfg.CleanSession)
	}
	body = appendText(body, cfg.ClientID)
	if cfg.Username != "" {
		body = appendText(body, cfg.Username)
	}
	if cfg.Password != "" {
		body = appendText(body, cfg.Password)
	}
	dst = appendLength(append(dst, packetConnect), len(body))
	return append(dst, body...)
}

// appendSessionExpiry appends the CONNECT properties: version 5 keeps a session
// only when it is told for how long.
func appendSessionExpiry(dst []byte, clean bool) []byte {
	if clean {
		return append(dst, 0)
	}
	const day = 24 * 60 * 60
	return binary.BigEndian.AppendUint32(append(dst, 5, 0x11), day)
}

// appendPublish appends a whole PUBLISH packet; id is ignored at QoS 0.
func appendPublish(dst []byte, version byte, m Message, id uint16) []byte {
	length := 2 + len(m.Topic) + len(m.Payload)
	if m.QoS > 0 {
		length += 2
	}
	if version == MQTT5 {
		length++
	}
	dst = appendLength(append(dst, packetPublish|m.QoS<<1), length)
	dst = appendText(dst, m.Topic)
	if m.QoS > 0 {
		dst = binary.BigEndian.AppendUint16(dst, id)
	}
	if version == MQTT5 {
		dst = append(dst, 0) // no properties
	}
	return append(dst, m.Payload...)
}

func appendText(dst []byte, s string) []byte {
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(s)))
	return append(dst, s...)
}

func appendLength(dst []byte, n int) []byte {
	for n > 0x7f {
		dst = append(dst, byte(n)|0x80)
		n >>= 7
	}
	return append(dst, byte(n))
}

// packetLength returns the length of the header and of the whole packet at the
// start of b, or zeros when b does not hold all of it yet.
func packetLength(b []byte) (header, whole int, err error) {
	body := 0
	for i := 1; i < len(b); i++ {
		if i > 4 {
			return 0, 0, fmt.Errorf("%w: its length has more than four bytes", errPacket)
		}
		body |= int(b[i]&0x7f) << (7 * (i - 1))
		if b[i]&0x80 != 0 {
			continue
		}
		if len(b) < i+1+body {
			return 0, 0, nil
		}
		return i + 1, i + 1 + body, nil
	}
	return 0, 0, nil
}

// connack is what a broker said to a CONNECT.
type connack struct {
	code           byte
	receiveMaximum int           // 65535 unless the broker says less
	keepAlive      time.Duration // 0 unless the broker overrides it
}

func parseConnack(body []byte, version byte) (connack, error) {
	ack := connack{receiveMaximum: maxWindow}
	if len(body) < 2 {
		return ack, fmt.Errorf("%w: short CONNACK", errPacket)
	}
	ack.code = body[1]
	if version != MQTT5 || len(body) < 3 {
		return ack, nil
	}
	properties, err := lengthPrefixed(body[2:])
	if err != nil {
		return ack, err
	}
	for len(properties) > 0 {
		size, err := propertySize(properties)
		if err != nil {
			return ack, err
		}
		switch properties[0] {
		case 0x13: // Server Keep Alive
			ack.keepAlive = time.Duration(binary.BigEndian.Uint16(properties[1:])) * time.Second
		case 0x21: // Receive Maximum
			ack.receiveMaximum = int(binary.BigEndian.Uint16(properties[1:]))
		}
		properties = properties[size:]
	}
	if ack.receiveMaximum == 0 {
		return ack, fmt.Errorf("%w: a Receive Maximum of 0", errPacket)
	}
	return ack, nil
}

// lengthPrefixed returns the bytes that a variable byte integer announces.
func lengthPrefixed(b []byte) ([]byte, error) {
	n, shift := 0, 0
	for i, c := range b {
		n |= int(c&0x7f) << shift
		shift += 7
		if c&0x80 != 0 && i < 3 {
			continue
		}
		if n > len(b)-i-1 {
			break
		}
		return b[i+1 : i+1+n], nil
	}
	return nil, fmt.Errorf("%w: short properties", errPacket)
}

// propertySize returns the size of the property at the start of b, identifier
// included, for the properties that a CONNACK may carry.
func propertySize(b []byte) (int, error) {
	size := 0
	switch b[0] {
	case 0x24, 0x25, 0x28, 0x29, 0x2a: // one byte
		size = 2
	case 0x13, 0x21, 0x22: // two bytes
		size = 3
	case 0x11, 0x27: // four bytes
		size = 5
	case 0x12, 0x15, 0x16, 0x1a, 0x1c, 0x1f: // text or binary
		if len(b) >= 3 {
			size = 3 + int(binary.BigEndian.Uint16(b[1:]))
		}
	case 0x26: // a pair of texts
		if len(b) >= 3 {
			size = 3 + int(binary.BigEndian.Uint16(b[1:]))
		}
		if size > 0 && len(b) >= size+2 {
			size += 2 + int(binary.BigEndian.Uint16(b[size:]))
		} else {
			size = 0
		}
	}
	if size == 0 || size > len(b) {
		return 0, fmt.Errorf("%w: CONNACK property %#x", errPacket, b[0])
	}
	return size, nil
}

package coapin

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// kind is the type of a message, RFC 7252 §3.
type kind uint8

const (
	confirmable kind = iota
	nonConfirmable
	acknowledgement
	reset
)

// code is a method or a response: three bits of class, five of detail.
type code uint8

// The methods, and the responses that this server gives. continued is 2.31 of
// RFC 7959.
const (
	empty      code = 0
	get        code = 1
	post       code = 2
	put        code = 3
	content    code = 2<<5 | 5
	changed    code = 2<<5 | 4
	continued  code = 2<<5 | 31
	badRequest code = 4 << 5
	badOption  code = 4<<5 | 2
	notFound   code = 4<<5 | 4
	notAllowed code = 4<<5 | 5
	notAccept  code = 4<<5 | 6
	incomplete code = 4<<5 | 8
	tooLarge   code = 4<<5 | 13
	notNow     code = 5<<5 | 3
	noProxy    code = 5<<5 | 5
)

func (c code) String() string { return fmt.Sprintf("%d.%02d", c>>5, c&31) }

func (c code) class() code { return c >> 5 }

const (
	version    = 1
	headerSize = 4
	maxToken   = 8
	marker     = 0xFF // before the payload
)

// option is one option of a message.
type option struct {
	number uint16
	value  []byte
}

// message is one CoAP message. Token, options and payload share the memory of
// the datagram that it was parsed from.
type message struct {
	kind    kind
	code    code
	id      uint16
	token   []byte
	options []option // in ascending order
	payload []byte
}

// errNoMessage means that a datagram is no message of this protocol at all:
// nobody is told. errFormat means that its header is one, and the rest is not;
// kind and id are set then.
var (
	errNoMessage = errors.New("no coap message")
	errFormat    = errors.New("message format error")
)

// parse sets m to what b holds. It takes no memory but that of the options,
// which are used again by the next call: 32 bytes for each byte of b at the most.
func (m *message) parse(b []byte) error {
	*m = message{options: m.options[:0]}
	if len(b) < headerSize || b[0]>>6 != version {
		return errNoMessage
	}
	m.kind = kind(b[0] >> 4 & 3)
	m.code = code(b[1])
	m.id = binary.BigEndian.Uint16(b[2:])
	length := int(b[0] & 15)
	rest := b[headerSize:]
	switch {
	case m.code == empty && (length != 0 || len(rest) != 0):
		return fmt.Errorf("%w: an empty message is not empty", errFormat)
	case length > maxToken || length > len(rest):
		return fmt.Errorf("%w: token of %d bytes", errFormat, length)
	}
	m.token, rest = rest[:length:length], rest[length:]
	return m.parseOptions(rest)
}

func (m *message) parseOptions(rest []byte) error {
	number := 0
	for len(rest) > 0 {
		if rest[0] == marker {
			if m.payload = rest[1:]; len(m.payload) == 0 {
				return fmt.Errorf("%w: no payload after its marker", errFormat)
			}
			return nil
		}
		first := rest[0]
		delta, after, ok := extended(first>>4, rest[1:])
		if !ok {
			return fmt.Errorf("%w: option delta", errFormat)
		}
		length, after, ok := extended(first&15, after)
		if !ok || length > len(after) {
			return fmt.Errorf("%w: option length", errFormat)
		}
		if number += delta; number > 0xFFFF {
			return fmt.Errorf("%w: option number %d", errFormat, number)
		}
		m.options = append(m.options, option{uint16(number), after[:length:length]})
		rest = after[length:]
	}
	return nil
}

// The nibbles that announce one or two more bytes, and what those begin at.
const (
	oneMore, oneBase = 13, 13
	twoMore, twoBase = 14, 269
)

// extended reads an option's delta or length: a nibble, and the bytes that it
// announces.
func extended(nibble byte, rest []byte) (int, []byte, bool) {
	switch {
	case nibble < oneMore:
		return int(nibble), rest, true
	case nibble == oneMore && len(rest) >= 1:
		return int(rest[0]) + oneBase, rest[1:], true
	case nibble == twoMore && len(rest) >= 2:
		return int(binary.BigEndian.Uint16(rest)) + twoBase, rest[2:], true
	}
	return 0, nil, false
}

// appendTo appends the message as it goes over the wire. Its token and its
// options must be such as parse returns.
func (m *message) appendTo(b []byte) []byte {
	b = append(b, version<<6|byte(m.kind)<<4|byte(len(m.token)), byte(m.code))
	b = binary.BigEndian.AppendUint16(b, m.id)
	b = append(b, m.token...)
	last := uint16(0)
	for _, o := range m.options {
		b = appendOption(b, o.number-last, o.value)
		last = o.number
	}
	return appendPayload(b, m.payload)
}

func appendPayload(b, payload []byte) []byte {
	if len(payload) == 0 {
		return b
	}
	return append(append(b, marker), payload...)
}

func appendOption(b []byte, delta uint16, value []byte) []byte {
	head := len(b)
	b = append(b, 0)
	high, b := appendExtended(b, int(delta))
	low, b := appendExtended(b, len(value))
	b[head] = high<<4 | low
	return append(b, value...)
}

func appendExtended(b []byte, n int) (nibble byte, _ []byte) {
	switch {
	case n < oneBase:
		return byte(n), b
	case n < twoBase:
		return oneMore, append(b, byte(n-oneBase))
	}
	return twoMore, binary.BigEndian.AppendUint16(b, uint16(n-twoBase))
}

// uintValue reads an option's value as an unsigned integer, RFC 7252 §3.2.
// Leading zeros are allowed.
func uintValue(value []byte) uint32 {
	n := uint32(0)
	for _, b := range value {
		n = n<<8 | uint32(b)
	}
	return n
}

// appendUint appends an unsigned integer in as few bytes as it needs.
func appendUint(b []byte, n uint32) []byte {
	for shift := 24; shift >= 0; shift -= 8 {
		if n>>shift != 0 {
			b = append(b, byte(n>>shift))
		}
	}
	return b
}

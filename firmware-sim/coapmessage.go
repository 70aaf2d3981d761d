package firmwaresim

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// CoAP, RFC 7252, as far as a client needs it that sends.
type coapKind byte

const (
	coapCON coapKind = iota
	coapNON
	coapACK
	coapRST
)

// coapCode is a method or an answer: class and detail, as in 2.04.
type coapCode byte

const (
	coapEmpty       coapCode = 0
	coapPOST        coapCode = 2
	coapPUT         coapCode = 3
	coapCreated     coapCode = 2<<5 | 1
	coapChanged     coapCode = 2<<5 | 4
	coapContinue    coapCode = 2<<5 | 31
	coapIncomplete  coapCode = 4<<5 | 8
	coapTooLarge    coapCode = 4<<5 | 13
	coapTooMany     coapCode = 4<<5 | 29 // RFC 8516
	coapUnavailable coapCode = 5<<5 | 3
)

func (c coapCode) String() string { return fmt.Sprintf("%d.%02d", c>>5, c&31) }

func (c coapCode) class() byte { return byte(c >> 5) }

// The options that are sent or understood.
const (
	coapUriHost       = 3
	coapUriPath       = 11
	coapContentFormat = 12
	coapMaxAge        = 14
	coapUriQuery      = 15
	coapBlock1        = 27
	coapRequestTag    = 292

	coapFormatJSON = 50
)

type coapOption struct {
	number uint16
	value  []byte
}

func coapNumber(number uint16, v uint32) coapOption {
	b := binary.BigEndian.AppendUint32(nil, v)
	for len(b) > 0 && b[0] == 0 {
		b = b[1:]
	}
	return coapOption{number, b}
}

// number reads an option that is a number.
func (o coapOption) uint() (v uint32) {
	for _, b := range o.value {
		v = v<<8 | uint32(b)
	}
	return v
}

// coapMessage is one datagram.
type coapMessage struct {
	kind    coapKind
	code    coapCode
	id      uint16
	token   []byte
	options []coapOption // by ascending number
	payload []byte
}

// option returns the first option of that number.
func (m coapMessage) option(number uint16) (coapOption, bool) {
	for _, o := range m.options {
		if o.number == number {
			return o, true
		}
	}
	return coapOption{}, false
}

func (m coapMessage) append(dst []byte) []byte {
	dst = append(dst, 1<<6|byte(m.kind)<<4|byte(len(m.token)), byte(m.code))
	dst = binary.BigEndian.AppendUint16(dst, m.id)
	dst = append(dst, m.token...)
	last := uint16(0)
	for _, o := range m.options {
		delta, deltaMore := coapNibble(int(o.number - last))
		length, lengthMore := coapNibble(len(o.value))
		dst = append(dst, delta<<4|length)
		dst = append(append(append(dst, deltaMore...), lengthMore...), o.value...)
		last = o.number
	}
	if len(m.payload) > 0 {
		dst = append(append(dst, 0xFF), m.payload...)
	}
	return dst
}

// coapNibble writes a number as four bits and up to two bytes, §3.1.
func coapNibble(n int) (nibble byte, more []byte) {
	switch {
	case n < 13:
		return byte(n), nil
	case n < 269:
		return 13, []byte{byte(n - 13)}
	}
	return 14, binary.BigEndian.AppendUint16(nil, uint16(n-269))
}

var errNotCoAP = errors.New("these bytes are no CoAP message")

// parseCoAP reads a datagram. The message shares its memory.
func parseCoAP(b []byte) (m coapMessage, err error) {
	if len(b) < 4 || b[0]>>6 != 1 || b[0]&15 > 8 || len(b) < 4+int(b[0]&15) {
		return m, errNotCoAP
	}
	m.kind, m.code, m.id = coapKind(b[0]>>4&3), coapCode(b[1]), binary.BigEndian.Uint16(b[2:])
	m.token, b = b[4:4+b[0]&15], b[4+b[0]&15:]
	if m.code == coapEmpty && len(m.token)+len(b) > 0 {
		return coapMessage{}, errNotCoAP
	}
	number := 0
	for len(b) > 0 && b[0] != 0xFF {
		delta, length := int(b[0]>>4), int(b[0]&15)
		b = b[1:]
		for _, n := range []*int{&delta, &length} {
			if *n, b, err = coapMore(*n, b); err != nil {
				return coapMessage{}, err
			}
		}
		if number += delta; number > 0xFFFF || length > len(b) {
			return coapMessage{}, errNotCoAP
		}
		m.options = append(m.options, coapOption{uint16(number), b[:length]})
		b = b[length:]
	}
	if len(b) == 1 {
		return coapMessage{}, errNotCoAP // a marker and nothing behind it
	}
	if len(b) > 1 {
		m.payload = b[1:]
	}
	return m, nil
}

func coapMore(n int, b []byte) (int, []byte, error) {
	switch {
	case n < 13:
		return n, b, nil
	case n == 13 && len(b) >= 1:
		return int(b[0]) + 13, b[1:], nil
	case n == 14 && len(b) >= 2:
		return int(binary.BigEndian.Uint16(b)) + 269, b[2:], nil
	}
	return 0, nil, errNotCoAP
}

// coapBlock is the value of Block1, RFC 7959: which block, whether more follow,
// and the size as a power of two, 4 to 10.
type coapBlock struct {
	number uint32
	more   bool
	power  uint
}

func (b coapBlock) option() coapOption {
	v := b.number<<4 | uint32(b.power-4)
	if b.more {
		v |= 8
	}
	return coapNumber(coapBlock1, v)
}

func blockOf(o coapOption) (b coapBlock, ok bool) {
	if len(o.value) > 3 || o.uint()&7 == 7 {
		return b, false
	}
	v := o.uint()
	return coapBlock{number: v >> 4, more: v&8 != 0, power: uint(v&7) + 4}, true
}

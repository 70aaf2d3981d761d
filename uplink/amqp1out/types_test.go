package amqp1out

import "encoding/binary"

// The types of AMQP 1.0 (part 1 of the specification), as far as the peer needs
// them.

// described is a value with its descriptor.
type described struct {
	code  byte
	value any
}

// value reads one value: nil, bool, uint32, uint64, string (binary and symbols,
// too), []any (lists; maps as keys and values in turn) or described.
func value(b []byte) (any, []byte) {
	code, b := b[0], b[1:]
	switch code {
	case 0x00:
		var d described
		d.code = b[1] // a small ulong
		d.value, b = value(b[2:])
		return d, b
	case 0x40:
		return nil, b
	case 0x41, 0x42:
		return code == 0x41, b
	case 0x56:
		return b[0] == 1, b[1:]
	case 0x43:
		return uint32(0), b
	case 0x44:
		return uint64(0), b
	case 0x45:
		return []any{}, b
	case 0x52:
		return uint32(b[0]), b[1:]
	case 0x70:
		return binary.BigEndian.Uint32(b), b[4:]
	}
	switch code >> 4 {
	case 0x5:
		return uint64(b[0]), b[1:]
	case 0x6:
		return uint64(binary.BigEndian.Uint16(b)), b[2:]
	case 0x7:
		return uint64(binary.BigEndian.Uint32(b)), b[4:]
	case 0x8:
		return binary.BigEndian.Uint64(b), b[8:]
	case 0xa:
		return string(b[1 : 1+b[0]]), b[1+b[0]:]
	case 0xb:
		n := binary.BigEndian.Uint32(b)
		return string(b[4 : 4+n]), b[4+n:]
	case 0xc:
		return values(b[2:1+b[0]], int(b[1])), b[1+b[0]:]
	case 0xd:
		n := binary.BigEndian.Uint32(b)
		return values(b[8:4+n], int(binary.BigEndian.Uint32(b[4:]))), b[4+n:]
	case 0xe:
		return nil, b[1+b[0]:] // arrays: nobody asks
	}
	return nil, b[4+binary.BigEndian.Uint32(b):]
}

func values(b []byte, n int) []any {
	all := make([]any, n)
	for i := range all {
		all[i], b = value(b)
	}
	return all
}

var null = []byte{0x40}

func aBool(v bool) []byte {
	if v {
		return []byte{0x41}
	}
	return []byte{0x42}
}

func aUint(n uint32) []byte  { return binary.BigEndian.AppendUint32([]byte{0x70}, n) }
func aUlong(n uint64) []byte { return binary.BigEndian.AppendUint64([]byte{0x80}, n) }
func text(s string) []byte   { return append([]byte{0xa1, byte(len(s))}, s...) }
func symbol(s string) []byte { return append([]byte{0xa3, byte(len(s))}, s...) }

func compound(code byte, parts ...[]byte) []byte {
	var all []byte
	for _, p := range parts {
		all = append(all, p...)
	}
	b := binary.BigEndian.AppendUint32([]byte{code}, uint32(4+len(all)))
	return append(binary.BigEndian.AppendUint32(b, uint32(len(parts))), all...)
}

func aMap(parts ...[]byte) []byte { return compound(0xd1, parts...) }

func performative(code byte, fields ...[]byte) []byte {
	return append([]byte{0x00, 0x53, code}, compound(0xd0, fields...)...)
}

// node is a source or a target.
func node(code byte, address string) []byte { return performative(code, text(address)) }

// failed is an error.
func failed(condition, description string) []byte {
	return performative(0x1d, symbol(condition), text(description))
}

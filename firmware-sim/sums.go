package firmwaresim

// The checksums are computed bit by bit as their definitions say, not by table:
// the gateway has tables, and the two are to check each other. Names are those of
// the catalogue of parametrised CRC algorithms by Greg Cook.

// crc16Modbus is CRC-16/MODBUS: polynomial 8005 reflected, from FFFF. On the
// wire its low byte comes first.
func crc16Modbus(b []byte) uint16 {
	crc := uint16(0xFFFF)
	for _, c := range b {
		crc ^= uint16(c)
		for range 8 {
			odd := crc & 1
			crc >>= 1
			if odd != 0 {
				crc ^= 0xA001
			}
		}
	}
	return crc
}

// crc16CCITT is CRC-16/IBM-3740: polynomial 1021 from FFFF. On the wire its high
// byte comes first.
func crc16CCITT(b []byte) uint16 {
	crc := uint16(0xFFFF)
	for _, c := range b {
		crc ^= uint16(c) << 8
		for range 8 {
			top := crc & 0x8000
			crc <<= 1
			if top != 0 {
				crc ^= 0x1021
			}
		}
	}
	return crc
}

// xor8 is the exclusive or of all bytes, that of NMEA 0183 among others.
func xor8(b []byte) (sum byte) {
	for _, c := range b {
		sum ^= c
	}
	return sum
}

// appendSLIP appends a frame as RFC 1055 has it, with an END before it, too.
func appendSLIP(dst, payload []byte) []byte {
	const end, esc, escEnd, escEsc = 0xC0, 0xDB, 0xDC, 0xDD
	dst = append(dst, end)
	for _, c := range payload {
		switch c {
		case end:
			dst = append(dst, esc, escEnd)
		case esc:
			dst = append(dst, esc, escEsc)
		default:
			dst = append(dst, c)
		}
	}
	return append(dst, end)
}

// appendCOBS appends a frame with Consistent Overhead Byte Stuffing (Cheshire and
// Baker, 1999) and the zero that ends it. Each group is a code, how far the next
// zero is away, and the bytes before that zero, 254 at the most.
func appendCOBS(dst, payload []byte) []byte {
	code := len(dst)
	dst = append(dst, 1)
	for i, c := range payload {
		if c != 0 {
			dst = append(dst, c)
			dst[code]++
		}
		if c == 0 || dst[code] == 0xFF && i+1 < len(payload) {
			code = len(dst)
			dst = append(dst, 1)
		}
	}
	return append(dst, 0)
}

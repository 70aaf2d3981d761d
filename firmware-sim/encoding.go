package firmwaresim

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
)

// Encoding is how a device that speaks over a line or a socket writes a sample:
// what the payload is and how frames are told apart.
type Encoding string

// The encodings. Every one carries the device's counter as seq.
const (
	// JSONLine is one flat object a line.
	JSONLine Encoding = "json"
	// CSV is seq,ts,temp,hum,bat,rssi and a line end.
	CSV Encoding = "csv"
	// KeyValue is seq=1 ts=… temp=21.37 hum=40.1 bat=3.70 rssi=-60 and a line
	// end.
	KeyValue Encoding = "kv"
	// NMEA is a sentence XDR of NMEA 0183 with its checksum. It has no time.
	NMEA Encoding = "nmea"
	// SLIP is a record (see Encoding.Payload) and its CRC-16/IBM-3740, high byte
	// first, framed as in RFC 1055.
	SLIP Encoding = "slip"
	// COBS is the same with Consistent Overhead Byte Stuffing.
	COBS Encoding = "cobs"
	// Length is AA 55, the number of bytes of the record in two bytes, high byte
	// first, the record, and the CRC-16/IBM-3740 of all that, high byte first.
	Length Encoding = "length"
	// STXETX is STX, the text of CSV, ETX, and the exclusive or of all that is
	// after STX.
	STXETX Encoding = "stx-etx"
	// Fixed looks like an answer of Modbus RTU: address 1, function 3, 16, eight
	// registers with the record's numbers, the high byte first (of the time only
	// the seconds), and CRC-16/MODBUS, low byte first: 21 bytes.
	Fixed Encoding = "fixed"
)

// Encodings lists all encodings.
func Encodings() []Encoding {
	return []Encoding{JSONLine, CSV, KeyValue, NMEA, SLIP, COBS, Length, STXETX, Fixed}
}

func (e Encoding) check() error {
	if !slices.Contains(Encodings(), e) {
		return fmt.Errorf("encoding %q is not one of %v", e, Encodings())
	}
	return nil
}

// line says that frames are lines of text without a checksum of their own.
func (e Encoding) line() bool { return e == JSONLine || e == CSV || e == KeyValue }

// Payload appends what is in the frame of a sample: what a gateway hands to its
// decoder. A named device says its name in the field dev, which only lines have.
//
// The binary encodings carry a record of 22 bytes, little endian, as a C struct
// without padding would be:
//
//	uint32 seq; uint64 ts /* ms since 1970 */; int16 temp /* 0.01 Cel */;
//	uint16 hum /* 0.1 %RH */; uint16 bat /* 0.01 V */; int16 rssi /* dBm */;
//	uint16 lux
func (e Encoding) Payload(dst []byte, name string, m Measurement) []byte {
	switch e {
	case JSONLine:
		return appendJSONLine(dst, name, m)
	case KeyValue:
		return appendKeyValue(dst, name, m)
	case CSV, STXETX:
		return appendCSV(dst, name, m)
	case NMEA:
		return appendXDR(dst, m)
	case Fixed:
		return appendRegisters(dst, m)
	}
	return appendRecord(dst, m)
}

// Frame appends the frame of a payload. A summed line has the CRC-16/IBM-3740 of
// the payload behind it, in four hexadecimal digits.
func (e Encoding) Frame(dst, payload []byte, summed bool) []byte {
	first := len(dst)
	switch e {
	case NMEA:
		return fmt.Appendf(append(dst, payload...), "*%02X\r\n", xor8(payload[1:]))
	case SLIP:
		return appendSLIP(dst, binary.BigEndian.AppendUint16(slices.Clone(payload), crc16CCITT(payload)))
	case COBS:
		return appendCOBS(dst, binary.BigEndian.AppendUint16(slices.Clone(payload), crc16CCITT(payload)))
	case Length:
		dst = binary.BigEndian.AppendUint16(append(dst, 0xAA, 0x55), uint16(len(payload)))
		dst = append(dst, payload...)
		return binary.BigEndian.AppendUint16(dst, crc16CCITT(dst[first:]))
	case STXETX:
		const stx, etx = 2, 3
		dst = append(append(append(dst, stx), payload...), etx)
		return append(dst, xor8(dst[first+1:]))
	case Fixed:
		dst = append(append(dst, 1, 3, byte(len(payload))), payload...)
		return binary.LittleEndian.AppendUint16(dst, crc16Modbus(dst[first:]))
	}
	dst = append(dst, payload...)
	if summed {
		dst = fmt.Appendf(dst, "%04X", crc16CCITT(payload))
	}
	return append(dst, '\n')
}

func appendJSONLine(dst []byte, name string, m Measurement) []byte {
	dst = append(dst, '{')
	if name != "" {
		dst = append(append(append(dst, `"dev":"`...), name...), `",`...)
	}
	dst = strconv.AppendInt(append(dst, `"ts":`...), m.At.UnixMilli(), 10)
	dst = strconv.AppendUint(append(dst, `,"seq":`...), m.Seq, 10)
	dst = appendFixed(append(dst, `,"temp":`...), m.Temp, 2)
	dst = appendFixed(append(dst, `,"hum":`...), m.Hum, 1)
	dst = appendFixed(append(dst, `,"bat":`...), m.Bat, 2)
	return append(strconv.AppendInt(append(dst, `,"rssi":`...), m.RSSI, 10), '}')
}

func appendKeyValue(dst []byte, name string, m Measurement) []byte {
	if name != "" {
		dst = append(append(append(dst, "dev="...), name...), ' ')
	}
	dst = strconv.AppendUint(append(dst, "seq="...), m.Seq, 10)
	dst = strconv.AppendInt(append(dst, " ts="...), m.At.UnixMilli(), 10)
	dst = appendFixed(append(dst, " temp="...), m.Temp, 2)
	dst = appendFixed(append(dst, " hum="...), m.Hum, 1)
	dst = appendFixed(append(dst, " bat="...), m.Bat, 2)
	return strconv.AppendInt(append(dst, " rssi="...), m.RSSI, 10)
}

func appendCSV(dst []byte, name string, m Measurement) []byte {
	if name != "" {
		dst = append(append(dst, name...), ',')
	}
	dst = append(strconv.AppendUint(dst, m.Seq, 10), ',')
	dst = append(strconv.AppendInt(dst, m.At.UnixMilli(), 10), ',')
	dst = append(appendFixed(dst, m.Temp, 2), ',')
	dst = append(appendFixed(dst, m.Hum, 1), ',')
	dst = append(appendFixed(dst, m.Bat, 2), ',')
	return strconv.AppendInt(dst, m.RSSI, 10)
}

// appendXDR appends transducers as type, value, unit and name: C is temperature,
// H humidity, U voltage, G anything.
func appendXDR(dst []byte, m Measurement) []byte {
	dst = append(appendFixed(append(dst, "$IIXDR,C,"...), m.Temp, 2), ",C,temp,H,"...)
	dst = append(appendFixed(dst, m.Hum, 1), ",P,hum,U,"...)
	dst = append(appendFixed(dst, m.Bat, 2), ",V,bat,G,"...)
	return append(strconv.AppendUint(dst, m.Seq, 10), ",,seq"...)
}

func appendRecord(dst []byte, m Measurement) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, uint32(m.Seq))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(m.At.UnixMilli()))
	for _, v := range []int64{m.Temp, m.Hum, m.Bat, m.RSSI, m.Lux} {
		dst = binary.LittleEndian.AppendUint16(dst, uint16(v))
	}
	return dst
}

func appendRegisters(dst []byte, m Measurement) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(m.Seq))
	dst = binary.BigEndian.AppendUint32(dst, uint32(m.At.Unix()))
	for _, v := range []int64{m.Temp, m.Hum, m.Bat, m.RSSI} {
		dst = binary.BigEndian.AppendUint16(dst, uint16(v))
	}
	return dst
}

package firmwaresim

import (
	"encoding/binary"
	"errors"
	"io"
)

const (
	mbapSize = 7   // transaction, protocol, length, unit
	maxADU   = 256 // of RTU
	rtuRead  = 8   // unit, function, address, number, CRC
)

// tcpRequest is a request of Modbus TCP.
type tcpRequest struct {
	transaction uint16
	unit        byte
	pdu         []byte
}

var errNotModbus = errors.New("these bytes are not Modbus TCP")

// readTCP reads a request.
func readTCP(r io.Reader) (q tcpRequest, err error) {
	var head [mbapSize]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return q, err
	}
	length := binary.BigEndian.Uint16(head[4:])
	if head[2] != 0 || head[3] != 0 || length < 2 || length > maxADU-2 {
		return q, errNotModbus
	}
	q.transaction, q.unit, q.pdu = binary.BigEndian.Uint16(head[:]), head[6], make([]byte, length-1)
	_, err = io.ReadFull(r, q.pdu)
	return q, err
}

func appendTCP(dst []byte, transaction uint16, unit byte, pdu []byte) []byte {
	dst = binary.BigEndian.AppendUint16(dst, transaction)
	dst = binary.BigEndian.AppendUint16(dst, 0)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(pdu)+1))
	return append(append(dst, unit), pdu...)
}

func appendRTU(dst []byte, unit byte, pdu []byte) []byte {
	first := len(dst)
	dst = append(append(dst, unit), pdu...)
	return binary.LittleEndian.AppendUint16(dst, crc16Modbus(dst[first:]))
}

// validRTU says whether b is a frame of RTU with the right CRC.
func validRTU(b []byte) bool {
	return len(b) >= 4 && len(b) <= maxADU && crc16Modbus(b[:len(b)-2]) == binary.LittleEndian.Uint16(b[len(b)-2:])
}

// cutRTU finds the first request to read, which has eight bytes, in what came,
// and returns what is behind it. Other requests end with a silence, which the
// caller knows about.
func cutRTU(b []byte) (request, rest []byte) {
	for at := 0; at+rtuRead <= len(b); at++ {
		f := b[at : at+rtuRead]
		if f[1] >= readCoils && f[1] <= readInput && validRTU(f) {
			return f, b[at+rtuRead:]
		}
	}
	return nil, b
}

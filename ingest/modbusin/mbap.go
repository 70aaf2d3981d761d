package modbusin

import (
	"encoding/binary"
	"errors"
	"time"
)

// mbapHeader is the length of the header of Modbus TCP: transaction identifier,
// protocol identifier (0), length of what follows, unit ("MODBUS Messaging on
// TCP/IP", §3.1.3).
const mbapHeader = 7

// errBrokenStream means that what arrives is no Modbus TCP. Nothing tells where
// the next frame would begin, so the connection is of no use any more.
var errBrokenStream = errors.New("the peer speaks no Modbus TCP — hint: a serial device server needs an url that begins with rtu+tcp://")

// frame is one frame of Modbus TCP. The PDU shares the memory that it came in.
type frame struct {
	id   uint16
	unit byte
	pdu  []byte
}

// appendMBAP appends a frame of Modbus TCP.
func appendMBAP(dst []byte, id uint16, unit byte, pdu []byte) []byte {
	dst = binary.BigEndian.AppendUint16(dst, id)
	dst = append(dst, 0, 0)
	dst = binary.BigEndian.AppendUint16(dst, uint16(1+len(pdu)))
	dst = append(dst, unit)
	return append(dst, pdu...)
}

// cutMBAP takes a frame off the front of b. size is 0 if it is not complete
// yet. The error is errBrokenStream.
func cutMBAP(b []byte) (f frame, size int, err error) {
	if len(b) >= 4 && (b[2] != 0 || b[3] != 0) {
		return f, 0, errBrokenStream
	}
	if len(b) < 6 {
		return f, 0, nil
	}
	length := int(binary.BigEndian.Uint16(b[4:]))
	if length < 2 || length > 1+maxPDU {
		return f, 0, errBrokenStream
	}
	if len(b) < 6+length {
		return f, 0, nil
	}
	size = 6 + length
	return frame{binary.BigEndian.Uint16(b), b[6], b[mbapHeader:size:size]}, size, nil
}

// tcpWire is Modbus TCP over a line.
type tcpWire struct {
	line  line
	out   []byte
	in    [2 * (mbapHeader + maxPDU)]byte
	begin int // of what is not looked at yet
	end   int
}

func newTCPWire(l line) *tcpWire { return &tcpWire{line: l} }

func (w *tcpWire) send(q question) error {
	var pdu [5]byte
	w.out = appendMBAP(w.out[:0], q.id, q.unit, appendRequest(pdu[:0], q.request))
	_, err := w.line.Write(w.out)
	return err
}

// receive implements wire. The answer shares memory that the next call uses.
func (w *tcpWire) receive(until time.Time) (frame, error) {
	for {
		f, size, err := cutMBAP(w.in[w.begin:w.end])
		if err != nil {
			return frame{}, err
		}
		if size > 0 {
			w.begin += size
			return f, nil
		}
		if w.begin > 0 {
			w.end = copy(w.in[:], w.in[w.begin:w.end])
			w.begin = 0
		}
		wait := time.Until(until)
		if wait <= 0 {
			return frame{}, NoAnswer
		}
		n, err := w.line.ReadTimeout(w.in[w.end:], wait)
		if err != nil {
			return frame{}, err
		}
		w.end += n
	}
}

func (w *tcpWire) airtime(request) time.Duration { return 0 }

func (w *tcpWire) close() error { return w.line.Close() }

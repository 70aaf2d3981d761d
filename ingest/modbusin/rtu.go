package modbusin

import (
	"bytes"
	"encoding/binary"
	"sync/atomic"
	"time"
)

// maxADU is the largest frame on a serial line: unit, PDU, CRC.
const maxADU = 1 + maxPDU + 2

// appendRTU appends a frame of a serial line.
func appendRTU(dst []byte, unit byte, pdu []byte) []byte {
	begin := len(dst)
	dst = append(append(dst, unit), pdu...)
	return binary.LittleEndian.AppendUint16(dst, crc16(dst[begin:]))
}

// crcTable holds the CRC of each byte: polynomial 0xA001 (0x8005 reflected),
// "MODBUS over serial line" V1.02, appendix B.
var crcTable = func() (table [256]uint16) {
	for i := range table {
		crc := uint16(i)
		for range 8 {
			odd := crc & 1
			crc >>= 1
			crc ^= odd * 0xa001
		}
		table[i] = crc
	}
	return table
}()

// crc16 is the checksum of frames on a serial line. It is sent low byte first.
func crc16(b []byte) uint16 {
	crc := uint16(0xffff)
	for _, c := range b {
		crc = crc>>8 ^ crcTable[byte(crc)^c]
	}
	return crc
}

// rightRTU reports whether b is a frame whose checksum is right.
func rightRTU(b []byte) bool {
	return len(b) >= 4 && binary.LittleEndian.Uint16(b[len(b)-2:]) == crc16(b[:len(b)-2])
}

// answerSize tells the size of the frame at the start of b if that looks like an
// answer of a read function; 0 if it does not, or if that cannot be told yet.
func answerSize(b []byte) int {
	switch {
	case len(b) < 3:
		return 0
	case b[1] >= 1 && b[1] <= 4 && b[2] > 0:
		return 3 + int(b[2]) + 2
	case b[1] >= 1|exceptionBit && b[1] <= 4|exceptionBit:
		return 5
	}
	return 0
}

// isAnswer reports whether b begins as the answer to q would.
func isAnswer(b []byte, q question) bool {
	if len(b) < 3 || b[0] != q.unit {
		return false
	}
	fn := q.table.function()
	return b[1] == fn && int(b[2]) == q.bytes() || b[1] == fn|exceptionBit
}

// findRTU looks for the answer to q in what came in, which may begin with noise
// or with the answer to something else. Nothing but a frame with the right unit,
// function, length and checksum is one. It looks at every byte at most once for
// each place where such a frame could begin.
func findRTU(b []byte, q question) (pdu []byte, ok bool) {
	for ; len(b) >= 5; b = b[1:] {
		if !isAnswer(b, q) {
			continue
		}
		if size := answerSize(b); size <= len(b) && size <= maxADU && rightRTU(b[:size]) {
			return b[1 : size-2], true
		}
	}
	return nil, false
}

// judgeRTU says what is wrong with what came in instead of the answer to q.
func judgeRTU(b []byte, q question) Fault {
	if len(b) == 0 {
		return NoAnswer
	}
	found := Malformed
	for ; len(b) >= 5; b = b[1:] {
		size := answerSize(b)
		if size == 0 || size > len(b) {
			continue
		}
		if rightRTU(b[:size]) && b[0] != q.unit {
			return WrongUnit
		}
		if isAnswer(b, q) && !rightRTU(b[:size]) {
			found = WrongChecksum
		}
	}
	return found
}

// quiet is how long a silence within an answer ends it. The specification says
// 1.5 characters, but USB adapters hand bytes over in portions, every 16 ms.
// At 300 baud that is hardly more than one character.
const (
	quiet      = 50 * time.Millisecond
	quietChars = 4
)

// calmTries bounds how often the line may be found talking before a question is
// given up: as many portions of bytes.
const calmTries = 64

// rtuWire is Modbus RTU over a line.
type rtuWire struct {
	line line
	// gap is the silence before a frame: 3.5 characters.
	gap time.Duration
	// char is how long a character takes; 0 when nobody knows.
	char time.Duration
	// quiet is how long a silence within an answer ends it.
	quiet time.Duration
	stray *atomic.Uint64 // bytes that nobody asked for

	asked question
	out   []byte // the frame that was sent
	in    [2 * maxADU]byte
	end   int
}

// send waits until the line has been silent for a gap, as every frame needs it,
// and drops what comes meanwhile: it is too late for what it answers.
func (w *rtuWire) send(q question) error {
	w.asked, w.end = q, 0
	if err := w.calm(); err != nil {
		return err
	}
	var pdu [5]byte
	w.out = appendRTU(w.out[:0], q.unit, appendRequest(pdu[:0], q.request))
	_, err := w.line.Write(w.out)
	return err
}

func (w *rtuWire) calm() error {
	for range calmTries {
		n, err := w.line.ReadTimeout(w.in[:], w.gap)
		if err != nil {
			return err
		}
		if n == 0 {
			return nil
		}
		w.stray.Add(uint64(n))
	}
	return Malformed
}

// receive implements wire. A frame that has begun and goes no further is given
// up early, so that a bad one costs little more time than a good one.
func (w *rtuWire) receive(until time.Time) (frame, error) {
	for {
		w.dropEcho()
		if pdu, ok := findRTU(w.in[:w.end], w.asked); ok {
			return frame{w.asked.id, w.asked.unit, pdu}, nil
		}
		wait := time.Until(until)
		if wait <= 0 {
			return frame{}, judgeRTU(w.in[:w.end], w.asked)
		}
		begun := isAnswer(w.in[:w.end], w.asked)
		if begun {
			wait = min(wait, w.quiet)
		}
		n, err := w.line.ReadTimeout(w.in[w.end:], wait)
		if err != nil {
			return frame{}, err
		}
		if n == 0 && begun {
			return frame{}, judgeRTU(w.in[:w.end], w.asked)
		}
		w.end += n
		w.makeRoom()
	}
}

// dropEcho removes our own frame, which many two-wire adapters hear, with the
// noise before it. A request for 17 to 24 bits at an address from 768 on is what
// its own answer would look like if the bits were those of the request; that
// answer is dropped as well, because nothing tells whether it is one.
func (w *rtuWire) dropEcho() {
	if i := bytes.Index(w.in[:w.end], w.out); i >= 0 {
		w.end = copy(w.in[:], w.in[i+len(w.out):w.end])
	}
}

// makeRoom keeps the last bytes of what is too much to be an answer: the answer
// may have begun.
func (w *rtuWire) makeRoom() {
	if w.end < len(w.in) {
		return
	}
	w.stray.Add(uint64(w.end - maxADU))
	w.end = copy(w.in[:], w.in[w.end-maxADU:w.end])
}

// airtime implements wire.
func (w *rtuWire) airtime(r request) time.Duration {
	return time.Duration(requestADU+answerADU(r)) * w.char
}

func (w *rtuWire) close() error { return w.line.Close() }

// requestADU is the size of a request on a serial line, answerADU that of the
// answer.
const requestADU = 8

func answerADU(r request) int { return 3 + r.bytes() + 2 }

// charTime is how long a character takes.
func charTime(baud, bits int) time.Duration {
	return time.Duration(bits) * time.Second / time.Duration(baud)
}

// gapTime is the silence of 3.5 characters before a frame. Beyond 19200 baud it
// is fixed ("MODBUS over serial line" V1.02, §2.5.1.1): interrupts would not
// keep up with less.
func gapTime(baud, bits int) time.Duration {
	if baud > 19200 {
		return 1750 * time.Microsecond
	}
	return charTime(baud, bits) * 7 / 2
}

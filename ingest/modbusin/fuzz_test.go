package modbusin

import (
	"bytes"
	"encoding/binary"
	"testing"
	"time"
)

// fuzzed makes a question of any three numbers.
func fuzzed(kind byte, address, count uint16) question {
	q := question{unit: 17, request: request{table: Table(kind % tables), address: address, count: 1 + count%MaxRegisters}}
	if q.end() > 1<<16 {
		q.address = 0
	}
	return q
}

func FuzzAnswer(f *testing.F) {
	f.Add([]byte{3, 6, 2, 43, 0, 0, 0, 100}, byte(Holding), uint16(107), uint16(2))
	f.Add([]byte{0x81, 2}, byte(Coil), uint16(1), uint16(1))
	f.Fuzz(func(t *testing.T, pdu []byte, kind byte, address, count uint16) {
		q := fuzzed(kind, address, count)
		data, err := parseAnswer(pdu, q.request)
		if err == nil && (len(data) != q.bytes() || pdu[0] != q.table.function() || len(pdu) != 2+len(data)) {
			t.Fatalf("%v: % x of % x", q.request, data, pdu)
		}
	})
}

func FuzzMBAP(f *testing.F) {
	f.Add(appendMBAP(nil, 1, 2, []byte{3, 2, 0, 1}))
	f.Add([]byte{0, 1, 0, 0, 0, 255})
	f.Fuzz(func(t *testing.T, b []byte) {
		for len(b) > 0 {
			frame, size, err := cutMBAP(b)
			if err != nil || size == 0 {
				return
			}
			if again := appendMBAP(nil, frame.id, frame.unit, frame.pdu); !bytes.Equal(again, b[:size]) {
				t.Fatalf("% x is not % x", again, b[:size])
			}
			b = b[size:]
		}
	})
}

// FuzzRTU checks that nothing is an answer whose checksum is wrong, and that an
// answer is found whatever stands before it, unless that ends in one.
func FuzzRTU(f *testing.F) {
	f.Add([]byte{0xff, 17, 3, 2}, byte(Holding), uint16(0), uint16(0))
	f.Add(appendRTU(nil, 17, []byte{0x83, 2}), byte(Holding), uint16(0), uint16(3))
	f.Add([]byte{17, 3, 4, 17, 3, 4, 17, 3}, byte(Holding), uint16(5), uint16(1))
	f.Fuzz(func(t *testing.T, b []byte, kind byte, address, count uint16) {
		if len(b) > 2*maxADU {
			b = b[:2*maxADU]
		}
		q := fuzzed(kind, address, count)
		judgeRTU(b, q)
		w := rtuWire{asked: q, end: len(b)}
		copy(w.in[:], b)
		if unit, ok := w.foreign(); ok && (unit == q.unit || !holdsFrame(b, unit)) {
			t.Fatalf("unit %d answers in % x", unit, b)
		}
		if pdu, ok := findRTU(b, q); ok {
			at := cap(b) - cap(pdu) - 1 // it is a part of b
			if b[at] != q.unit || binary.LittleEndian.Uint16(b[at+1+len(pdu):]) != slowCRC(b[at:at+1+len(pdu)]) {
				t.Fatalf("% x is no frame of % x", pdu, b)
			}
			return
		}
		pdu := append([]byte{q.table.function(), byte(q.bytes())}, make([]byte, q.bytes())...)
		if got, ok := findRTU(appendRTU(b[:len(b):len(b)], q.unit, pdu), q); !ok || !bytes.Equal(got, pdu) {
			if ok && len(got) == 2 { // what stands before it and its first bytes were an exception
				return
			}
			t.Fatalf("% x was not found after % x: % x", pdu, b, got)
		}
	})
}

// portions is a line that hands bytes over in portions.
type portions struct {
	bytes []byte
	size  int
}

func (p *portions) ReadTimeout(b []byte, _ time.Duration) (int, error) {
	n := copy(b, p.bytes[:min(len(p.bytes), p.size)])
	p.bytes = p.bytes[n:]
	return n, nil
}
func (p *portions) Write(b []byte) (int, error) { return len(b), nil }
func (p *portions) Close() error                { return nil }

// FuzzWires feeds both wires with a stream in portions: they end, and never
// write beyond their buffers.
func FuzzWires(f *testing.F) {
	f.Add(appendMBAP(nil, 1, 17, []byte{3, 2, 0, 1}), uint8(3))
	f.Add(appendRTU(nil, 17, []byte{3, 2, 0, 1}), uint8(1))
	f.Fuzz(func(t *testing.T, b []byte, size uint8) {
		q := fuzzed(byte(Holding), 0, 0)
		tcp := newTCPWire(&portions{b, int(size)})
		until := time.Now().Add(time.Millisecond)
		for range 1000 {
			if _, err := tcp.receive(until); err != nil {
				break
			}
		}
		rtu := &rtuWire{line: &portions{b, int(size)}, quiet: time.Nanosecond, asked: q, stray: &(&busCounts{}).stray}
		if f, err := rtu.receive(time.Now().Add(time.Millisecond)); err == nil && f.unit != q.unit {
			t.Fatalf("%+v", f)
		}
	})
}

// holdsFrame says whether bytes hold a frame of a unit with the right checksum.
func holdsFrame(b []byte, unit byte) bool {
	for i := range b {
		for j := i + 4; j <= len(b); j++ {
			if b[i] == unit && slowCRC(b[i:j-2]) == uint16(b[j-2])|uint16(b[j-1])<<8 {
				return true
			}
		}
	}
	return false
}

package frame

import (
	"bytes"
	"encoding/binary"
)

// counted finds frames whose length is known at their beginning. After one that
// was none, the next is looked for from the byte after its first; or not at all,
// where nothing would tell it from what is none.
type counted struct {
	field      LengthField
	fixed      int // the size of every frame, zero where the field tells
	head       int // bytes before the payload
	max        int
	keepHeader bool
	resyncs    bool
	sync       []byte
	trailer    []byte
	seal       seal
	sumFrom    int

	// lost says that what came last was no frame.
	lost    bool
	running running
}

func newCounted(c Config) *counted {
	f := &counted{
		field: c.Length, head: c.Length.Offset + c.Length.Bytes, max: c.MaxFrame,
		keepHeader: c.KeepHeader, resyncs: c.Resyncs(),
		sync: []byte(c.Sync), trailer: []byte(c.Trailer), seal: c.sealOf(), sumFrom: c.SumFrom,
	}
	if c.Kind == Fixed {
		f.fixed, f.head = c.Size, len(c.Sync)
	}
	f.running.a = f.seal.algorithm
	return f
}

func (f *counted) reset() {
	f.lost = false
	f.running.forget()
}

func (f *counted) cut(window []byte, silent bool) cut {
	if f.lost && !f.resyncs {
		return cut{fate: filling, size: len(window), garbage: len(window)}
	}
	if n := f.beforeSync(window); n > 0 {
		f.running.pass(n)
		return cut{fate: filling, size: n, garbage: n}
	}
	size, fate := f.size(window)
	switch {
	case fate != whole:
		return f.slide(fate)
	case len(window) < size:
		if silent && f.resyncs { // there may be a frame in what follows
			return f.slide(partial)
		}
		return cut{}
	}
	end := size - len(f.trailer) - f.seal.size
	if f.sumFrom > end || !bytes.HasSuffix(window[:size], f.trailer) {
		return f.slide(broken)
	}
	if !f.checks(window, end) {
		return f.slide(badSum)
	}
	f.reset()
	begin := f.head
	if f.keepHeader {
		begin = 0
	}
	if begin == end {
		return cut{fate: filling, size: size}
	}
	return cut{fate: whole, size: size, frame: window[begin:end]}
}

// beforeSync returns how many bytes of the window are before the next place at
// which a frame may begin.
func (f *counted) beforeSync(window []byte) int {
	at := bytes.Index(window, f.sync)
	if at >= 0 {
		return at
	}
	at = max(0, len(window)-len(f.sync)+1)
	for !bytes.HasPrefix(f.sync, window[at:]) {
		at++
	}
	return at
}

// size returns how long the frame is that the window begins with. The fate is
// whole if that is possible. While it is not known, the size is more than the
// window has.
func (f *counted) size(window []byte) (int, fate) {
	if f.fixed > 0 {
		return f.fixed, whole
	}
	if len(window) < f.head {
		return f.head, whole
	}
	payload := int64(f.field.read(window[f.field.Offset:])) + int64(f.field.Adjust)
	switch {
	case payload < 0:
		return 0, broken
	case payload > int64(f.max):
		return 0, tooLong
	}
	return f.head + int(payload) + f.seal.size + len(f.trailer), whole
}

func (l LengthField) read(b []byte) uint32 {
	switch {
	case l.Bytes == 1:
		return uint32(b[0])
	case l.Bytes == 2 && l.Little:
		return uint32(binary.LittleEndian.Uint16(b))
	case l.Bytes == 2:
		return uint32(binary.BigEndian.Uint16(b))
	case l.Little:
		return binary.LittleEndian.Uint32(b)
	}
	return binary.BigEndian.Uint32(b)
}

// checks reports whether the checksum that stands at end is right.
func (f *counted) checks(window []byte, end int) bool {
	if f.seal.algorithm == nil {
		return true
	}
	told, ok := f.seal.read(window[end : end+f.seal.size])
	if !ok {
		return false
	}
	if f.lost {
		return told == f.running.sum(window, f.sumFrom, end)
	}
	return told == f.seal.sum(window[f.sumFrom:end])
}

// slide moves on by one byte. What is found to be wrong is counted once until a
// frame is found again, because all but the first of it may never have been
// frames.
func (f *counted) slide(why fate) cut {
	if f.lost {
		why = filling
	}
	f.lost = true
	f.running.pass(1)
	return cut{fate: why, size: 1, garbage: 1}
}

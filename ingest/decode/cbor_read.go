package decode

import (
	"encoding/binary"
	"fmt"
	"unicode/utf8"
)

// The major types of CBOR (RFC 8949 §3.1), and the tags that mean something
// here (§3.4).
const (
	cborUint byte = iota
	cborNegative
	cborBytes
	cborText
	cborArray
	cborMap
	cborTag
	cborSimple

	tagTextTime    = 0
	tagEpochTime   = 1
	tagBignum      = 2
	tagNegBignum   = 3
	tagDecimal     = 4
	tagBinaryFloat = 5

	cborBreak = 0xff
)

// cborHead is the head of a data item. An argument of an item of indefinite
// length is zero.
type cborHead struct {
	arg        uint64
	major      byte
	info       byte
	indefinite bool
}

// cborReader takes data items from left to right. It is a scanner, so that
// whoever walks a payload can tell the same position in both. The library that
// the tests compare it with reads into maps, which have no order, though times
// depend on it, and takes more than three times as long to do so
// (BenchmarkCBORFourMetrics).
type cborReader scanner

func (r *cborReader) fail(what, hint string) error { return (*scanner)(r).fail(what, hint) }

// left returns how many bytes have not been taken. No array has more elements
// than that and no string more bytes.
func (r *cborReader) left() int { return len(r.text) - r.pos }

// peek returns the byte that follows without taking it; the break code at the
// end, where head tells of the end.
func (r *cborReader) peek() byte {
	if r.pos >= len(r.text) {
		return cborBreak
	}
	return r.text[r.pos]
}

// head takes the head of the next item.
func (r *cborReader) head() (h cborHead, err error) {
	if r.pos >= len(r.text) {
		return h, r.fail("unexpected end", "the payload may have been cut short")
	}
	first := r.text[r.pos]
	h = cborHead{major: first >> 5, info: first & 31}
	rest := r.text[r.pos+1:]
	size := 0
	switch {
	case h.info < 24:
		h.arg = uint64(h.info)
	case h.info < 28:
		size = 1 << (h.info - 24)
		if len(rest) < size {
			return h, r.fail("unexpected end", "the payload may have been cut short")
		}
		h.arg = argument(rest[:size])
	case h.info == 31 && (h.major >= cborBytes && h.major <= cborMap):
		h.indefinite = true
	default:
		return h, r.fail(fmt.Sprintf("byte 0x%02x begins nothing", first), "this is not CBOR, or it was cut out of something else")
	}
	r.pos += 1 + size
	return h, nil
}

func argument(b []byte) uint64 {
	switch len(b) {
	case 1:
		return uint64(b[0])
	case 2:
		return uint64(binary.BigEndian.Uint16(b))
	case 4:
		return uint64(binary.BigEndian.Uint32(b))
	}
	return binary.BigEndian.Uint64(b)
}

// elements checks the length of an array or the number of pairs of a map, each
// of which needs at least so many bytes.
func (r *cborReader) elements(h cborHead, bytes int) (n int, err error) {
	if h.indefinite {
		return -1, nil
	}
	if h.arg > uint64(r.left()/bytes) {
		return 0, r.fail(fmt.Sprintf("%d elements announced", h.arg), "the payload ends before them; it may have been cut short")
	}
	return int(h.arg), nil
}

// more says whether another element follows, of those that elements returned
// less those that were taken. It takes the break code.
func (r *cborReader) more(left *int) (bool, error) {
	if *left >= 0 {
		*left--
		return *left >= 0, nil
	}
	if r.pos >= len(r.text) {
		return false, r.fail("unexpected end", "the payload may have been cut short")
	}
	if r.text[r.pos] == cborBreak {
		r.pos++
		return false, nil
	}
	return true, nil
}

// textOf takes the rest of a text string. The bytes are only valid during the
// call of Decode.
func (r *cborReader) textOf(h cborHead) ([]byte, error) {
	start := r.pos
	b, err := r.bytesOf(h)
	if err != nil {
		return nil, err
	}
	if !utf8.Valid(b) {
		r.pos = start
		return nil, r.fail("text is not UTF-8", "raw bytes belong into a byte string")
	}
	return b, nil
}

// bytesOf takes the rest of a byte string or a text string: the bytes that its
// head announces, or chunks of the same kind up to a break code.
func (r *cborReader) bytesOf(h cborHead) ([]byte, error) {
	if !h.indefinite {
		return r.chunk(h)
	}
	var all []byte
	for {
		if r.peek() == cborBreak && r.pos < len(r.text) {
			r.pos++
			return all, nil
		}
		part, err := r.head()
		if err != nil {
			return nil, err
		}
		if part.major != h.major || part.indefinite {
			return nil, r.fail("a string of chunks holds something else", "the chunks are strings of the same kind and of a stated length")
		}
		b, err := r.chunk(part)
		if err != nil {
			return nil, err
		}
		if h.major == cborText && !utf8.Valid(b) {
			return nil, r.fail("text is not UTF-8", "a character may not be divided between chunks")
		}
		all = append(all, b...)
	}
}

func (r *cborReader) chunk(h cborHead) ([]byte, error) {
	if h.arg > uint64(r.left()) {
		return nil, r.fail(fmt.Sprintf("%d bytes announced", h.arg), "the payload ends before them; it may have been cut short")
	}
	b := r.text[r.pos : r.pos+int(h.arg)]
	r.pos += int(h.arg)
	return b, nil
}

// skip takes the rest of an item of any kind, of so many levels at the most.
func (r *cborReader) skip(h cborHead, levels int) error {
	if levels == 0 {
		return r.fail("nested too deeply", "at most 32 levels are taken")
	}
	items := 0
	var err error
	switch h.major {
	case cborBytes, cborText:
		_, err = r.bytesOf(h)
		return err
	case cborTag:
		items = 1
	case cborArray:
		items, err = r.elements(h, 1)
	case cborMap:
		items, err = r.elements(h, 2)
		if items > 0 {
			items *= 2
		}
	case cborSimple:
		return r.simple(h)
	}
	if err != nil {
		return err
	}
	for taken := 0; ; taken++ {
		more, err := r.more(&items)
		if err != nil {
			return err
		}
		if !more && h.major == cborMap && h.indefinite && taken%2 != 0 {
			return r.fail("a name without a value", "maps hold pairs")
		}
		if !more {
			return nil
		}
		inner, err := r.head()
		if err != nil {
			return err
		}
		if err := r.skip(inner, levels-1); err != nil {
			return err
		}
	}
}

// simple refuses the simple values that nobody has defined.
func (r *cborReader) simple(h cborHead) error {
	if h.info == 24 && h.arg < 32 {
		return r.fail("a simple value of two bytes that has one", "this is not CBOR, or it was cut out of something else")
	}
	return nil
}

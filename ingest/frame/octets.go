package frame

import "bytes"

// octets reads what RFC 6587 calls octet counting.
type octets struct {
	seal seal
	max  int
	// skip is how many bytes of a message that is too long are to come.
	skip int
	// adrift says that what came last was no count: the next one stands at the
	// beginning of a line, if anywhere.
	adrift bool
}

// maxDigits of a count: with more, it is noise rather than a length.
const maxDigits = 9

func newOctets(c Config) *octets { return &octets{seal: c.sealOf(), max: c.MaxFrame} }

func (o *octets) reset() { o.skip, o.adrift = 0, false }

func (o *octets) cut(window []byte, _ bool) cut {
	switch {
	case o.skip > 0:
		n := min(o.skip, len(window))
		o.skip -= n
		return cut{fate: filling, size: n, garbage: n}
	case o.adrift:
		n := len(window)
		if at := bytes.IndexByte(window, '\n'); at >= 0 {
			n, o.adrift = at+1, false
		}
		return cut{fate: filling, size: n, garbage: n}
	case window[0] == '\n' || window[0] == '\r': // some senders do not count theirs
		return cut{fate: filling, size: 1}
	}
	length, digits, ok := readCount(window)
	switch {
	case !ok:
		o.adrift = true
		return cut{fate: broken, size: digits, garbage: digits}
	case length == 0:
		return cut{}
	}
	return o.message(window, digits+1, length)
}

// readCount reads a length and the space after it. It returns zero while they
// are not complete.
func readCount(b []byte) (length, digits int, ok bool) {
	for _, c := range b {
		switch {
		case c == ' ' && digits > 0:
			return length, digits, true
		case c < '0' || c > '9' || c == '0' && digits == 0 || digits == maxDigits:
			return 0, digits, false
		}
		length = 10*length + int(c-'0')
		digits++
	}
	return 0, digits, true
}

func (o *octets) message(window []byte, begin, length int) cut {
	if length > o.max+o.seal.size {
		o.skip = length
		return cut{fate: tooLong, size: begin, garbage: begin}
	}
	size := begin + length
	if size > len(window) {
		return cut{}
	}
	payload, ok := o.seal.open(window[begin:size])
	switch {
	case !ok: // its length may be right all the same
		return cut{fate: badSum, size: size, garbage: size}
	case len(payload) == 0:
		return cut{fate: filling, size: size}
	}
	return cut{fate: whole, size: size, frame: payload}
}

package frame

import "bytes"

// delimited finds frames that end with bytes that stand nowhere in a frame.
type delimited struct {
	// find returns where the first delimiter begins and ends; begin is negative
	// if there is none.
	find func(b []byte) (begin, end int)
	// tail is how many bytes at the end of a window may be the first part of a
	// delimiter.
	tail int
	// decode undoes the coding, in place. It is nil if there is none.
	decode func(b []byte) (decoded []byte, ok bool)
	// longest is how long a frame may be before it is decoded, max after that.
	longest, max int
	seal         seal
	sentences    bool // of NMEA 0183

	// seen bytes of the window hold no delimiter.
	seen int
	// skipping says that the rest of a frame that is too long comes first.
	skipping bool
}

func newDelimited(c Config) *delimited {
	d := &delimited{max: c.MaxFrame, seal: c.sealOf(), sentences: c.Checksum == NMEA}
	raw := c.MaxFrame + d.seal.size
	switch c.Kind {
	case SLIP:
		d.find, d.decode, d.longest = until(slipEnd), unescape(slipEsc, slipByte), 2*raw
	case HDLC:
		d.find, d.decode, d.longest = until(hdlcFlag), unescape(hdlcEsc, hdlcByte), 2*raw
	case COBS:
		d.find, d.decode, d.longest = until(0), decodeCOBS, raw+raw/254+1
	default:
		d.find, d.longest = untilNewline, raw
		if d.sentences {
			d.longest += raw // what it began with may have lost its end
		}
		if c.Delimiter != "" {
			d.find, d.tail = untilText([]byte(c.Delimiter)), len(c.Delimiter)-1
		}
	}
	return d
}

func (d *delimited) reset() { d.seen, d.skipping = 0, false }

func (d *delimited) cut(window []byte, _ bool) cut {
	begin, end := d.find(window[d.seen:])
	if begin < 0 {
		return d.wait(window)
	}
	begin, end = begin+d.seen, end+d.seen
	d.seen = 0
	switch {
	case d.skipping:
		d.skipping = false
		return cut{fate: filling, size: end, garbage: begin}
	case begin == 0:
		return cut{fate: filling, size: end}
	case begin > d.longest:
		return cut{fate: tooLong, size: end, garbage: begin}
	}
	frame, noise, f := d.open(window[:begin])
	if f != whole && f != filling {
		noise = begin
	}
	return cut{fate: f, size: end, garbage: noise, frame: frame}
}

// wait looks whether a frame that has no end yet is too long already.
func (d *delimited) wait(window []byte) cut {
	certain := max(0, len(window)-d.tail)
	if !d.skipping && certain <= d.longest {
		d.seen = certain
		return cut{}
	}
	if certain == 0 {
		return cut{}
	}
	f := tooLong
	if d.skipping {
		f = filling
	}
	d.seen, d.skipping = 0, true
	return cut{fate: f, size: certain, garbage: certain}
}

// open returns the payload of a frame without its delimiter. noise is how many
// bytes before it were none of it.
func (d *delimited) open(body []byte) (payload []byte, noise int, f fate) {
	if d.decode != nil {
		var ok bool
		if body, ok = d.decode(body); !ok {
			return nil, 0, broken
		}
	}
	ok := false
	if d.sentences {
		payload, noise, ok = d.seal.openSentence(body)
	} else {
		payload, ok = d.seal.open(body)
	}
	switch {
	case !ok:
		return nil, 0, badSum
	case len(payload) > d.max:
		return nil, 0, tooLong
	case len(payload) == 0:
		return nil, 0, filling
	}
	return payload, noise, whole
}

// stretch is how far lines are looked for at a time: both ends of lines are
// looked for, and one that is far away must not be found again for every line.
const stretch = 256

// untilNewline finds CR or LF. CR LF is a line's end and an empty line, which
// makes no difference.
func untilNewline(b []byte) (begin, end int) {
	for from := 0; from < len(b); from += stretch {
		part := b[from:min(from+stretch, len(b))]
		at := bytes.IndexByte(part, '\n')
		if at >= 0 {
			part = part[:at]
		}
		if cr := bytes.IndexByte(part, '\r'); cr >= 0 {
			at = cr
		}
		if at >= 0 {
			return from + at, from + at + 1
		}
	}
	return -1, 0
}

func until(delimiter byte) func(b []byte) (begin, end int) {
	return func(b []byte) (begin, end int) {
		at := bytes.IndexByte(b, delimiter)
		return at, at + 1
	}
}

func untilText(delimiter []byte) func(b []byte) (begin, end int) {
	return func(b []byte) (begin, end int) {
		at := bytes.Index(b, delimiter)
		return at, at + len(delimiter)
	}
}

// The special characters of RFC 1055.
const (
	slipEnd    = 0xC0
	slipEsc    = 0xDB
	slipEscEnd = 0xDC
	slipEscEsc = 0xDD
)

func slipByte(c byte) (byte, bool) {
	switch c {
	case slipEscEnd:
		return slipEnd, true
	case slipEscEsc:
		return slipEsc, true
	}
	return 0, false
}

// The special characters of RFC 1662.
const (
	hdlcFlag   = 0x7E
	hdlcEsc    = 0x7D
	hdlcInvert = 0x20
)

func hdlcByte(c byte) (byte, bool) { return c ^ hdlcInvert, true }

// unescape returns a decoder for a coding in which escape changes the byte after
// it. A frame that ends with escape was given up by its sender.
func unescape(escape byte, change func(byte) (byte, bool)) func(b []byte) ([]byte, bool) {
	return func(b []byte) ([]byte, bool) {
		to := bytes.IndexByte(b, escape)
		if to < 0 {
			return b, true
		}
		for from := to; from < len(b); from++ {
			c := b[from]
			if c == escape {
				from++
				ok := from < len(b)
				if ok {
					c, ok = change(b[from])
				}
				if !ok {
					return nil, false
				}
			}
			b[to] = c
			to++
		}
		return b[:to], true
	}
}

// decodeCOBS replaces each code byte, which tells how far the next zero of the
// payload is, by that zero.
func decodeCOBS(b []byte) ([]byte, bool) {
	to := 0
	for from := 0; from < len(b); {
		n := int(b[from])
		if n == 0 || from+n > len(b) {
			return nil, false
		}
		to += copy(b[to:], b[from+1:from+n])
		if from += n; n < 0xFF && from < len(b) {
			b[to] = 0
			to++
		}
	}
	return b[:to], true
}

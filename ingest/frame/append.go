package frame

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// Append appends the payload to dst as a frame, as a Scanner of the same Config
// finds it, and returns dst. An error says why there is no such frame, and leaves
// dst as it was. Header bytes of the kind Length that are neither Sync nor length
// are part of a payload with KeepHeader, and zero without. Config must be valid.
func (c Config) Append(dst, payload []byte) ([]byte, error) {
	c = c.withDefaults()
	limit := c.MaxFrame
	if c.KeepHeader {
		limit += c.Length.Offset + c.Length.Bytes
	}
	switch {
	case len(payload) == 0:
		return dst, fmt.Errorf("an empty frame — hint: there is nothing to send then")
	case len(payload) > limit:
		return dst, fmt.Errorf("a frame of %d bytes, where at most %d are allowed — hint: raise the largest frame", len(payload), limit)
	}
	s := c.sealOf()
	switch c.Kind {
	case Length:
		return c.appendLength(dst, payload, &s)
	case Fixed:
		return c.appendFixed(dst, payload, &s)
	case STXETX:
		return c.appendEnveloped(dst, payload, &s)
	case Gap:
		return s.appendAll(dst, payload), nil
	case Octets:
		dst = fmt.Appendf(dst, "%d ", len(payload)+s.size)
		return s.appendAll(dst, payload), nil
	case Line:
		return c.appendLine(dst, payload, &s)
	}
	body := payload
	if s.algorithm != nil {
		body = s.appendAll(nil, payload)
	}
	switch c.Kind {
	case SLIP:
		return appendSLIP(dst, body), nil
	case HDLC:
		return appendHDLC(dst, body), nil
	}
	return appendCOBS(dst, body), nil
}

// appendAll appends the payload and its checksum.
func (s *seal) appendAll(dst, payload []byte) []byte {
	if s.algorithm == nil {
		return append(dst, payload...)
	}
	return s.append(append(dst, payload...), s.sum(payload))
}

func (c Config) appendLine(dst, payload []byte, s *seal) ([]byte, error) {
	delimiter := c.Delimiter
	if delimiter == "" {
		delimiter = "\r\n"
	}
	begin, covered := len(dst), payload
	if c.Checksum == NMEA {
		if covered = payload[1:]; payload[0] != '$' && payload[0] != '!' || bytes.ContainsAny(covered, "$!*") {
			return dst, fmt.Errorf("the line %q is no sentence of NMEA — hint: it begins with $ or !, and has neither of them nor * in it", payload)
		}
	}
	line := append(dst, payload...)
	if s.algorithm != nil {
		line = s.append(line, s.sum(covered))
	}
	find := untilNewline
	if c.Delimiter != "" {
		find = untilText([]byte(c.Delimiter))
	}
	end := len(line)
	line = append(line, delimiter...)
	if at, _ := find(line[begin:]); begin+at != end {
		return dst, fmt.Errorf("the line ends at byte %d already — hint: its text may not hold what lines end with", at)
	}
	return line, nil
}

// appendSLIP begins with END, too, as RFC 1055 advises: that ends the noise that
// came before.
func appendSLIP(dst, body []byte) []byte {
	dst = append(dst, slipEnd)
	for _, b := range body {
		switch b {
		case slipEnd:
			dst = append(dst, slipEsc, slipEscEnd)
		case slipEsc:
			dst = append(dst, slipEsc, slipEscEsc)
		default:
			dst = append(dst, b)
		}
	}
	return append(dst, slipEnd)
}

func appendHDLC(dst, body []byte) []byte {
	dst = append(dst, hdlcFlag)
	for _, b := range body {
		if b == hdlcFlag || b == hdlcEsc {
			dst = append(dst, hdlcEsc)
			b ^= hdlcInvert
		}
		dst = append(dst, b)
	}
	return append(dst, hdlcFlag)
}

func appendCOBS(dst, body []byte) []byte {
	for {
		run := body[:min(len(body), 254)]
		zero := bytes.IndexByte(run, 0)
		if zero >= 0 {
			run = run[:zero]
		}
		dst = append(dst, byte(len(run)+1))
		dst = append(dst, run...)
		body = body[len(run):]
		switch {
		case len(body) == 0:
			return append(dst, 0)
		case zero >= 0: // and what is left may be empty
			body = body[1:]
		}
	}
}

func (c Config) appendLength(dst, payload []byte, s *seal) ([]byte, error) {
	begin, l := len(dst), c.Length
	head := l.Offset + l.Bytes
	frame := dst
	if !c.KeepHeader {
		frame = append(append(frame, c.Sync...), make([]byte, head-len(c.Sync))...)
	}
	frame = append(frame, payload...)
	if len(frame) < begin+head {
		return dst, fmt.Errorf("a frame of %d bytes with a header of %d — hint: the payload begins with the header, because it is kept", len(payload), head)
	}
	copy(frame[begin:], c.Sync)
	number := int64(len(frame)-begin-head) - int64(l.Adjust)
	if most := int64(1)<<(8*l.Bytes) - 1; number < 0 || number > most {
		return dst, fmt.Errorf("the length %d does not go into %d bytes — hint: use a longer length field", number, l.Bytes)
	}
	l.write(frame[begin+l.Offset:], uint32(number))
	if s.algorithm != nil {
		if len(frame)-begin < c.SumFrom {
			return dst, fmt.Errorf("a frame of %d bytes, where the checksum covers what begins at byte %d — hint: the payload is too short", len(frame)-begin, c.SumFrom)
		}
		frame = s.append(frame, s.sum(frame[begin+c.SumFrom:]))
	}
	return append(frame, c.Trailer...), nil
}

func (l LengthField) write(b []byte, n uint32) {
	switch {
	case l.Bytes == 1:
		b[0] = byte(n)
	case l.Bytes == 2 && l.Little:
		binary.LittleEndian.PutUint16(b, uint16(n))
	case l.Bytes == 2:
		binary.BigEndian.PutUint16(b, uint16(n))
	case l.Little:
		binary.LittleEndian.PutUint32(b, n)
	default:
		binary.BigEndian.PutUint32(b, n)
	}
}

func (c Config) appendFixed(dst, payload []byte, s *seal) ([]byte, error) {
	if want := c.Size - len(c.Sync) - s.size - len(c.Trailer); len(payload) != want {
		return dst, fmt.Errorf("a payload of %d bytes in frames of %d for %d — hint: each frame has the same length", len(payload), c.Size, want)
	}
	begin := len(dst)
	frame := append(append(dst, c.Sync...), payload...)
	if s.algorithm != nil {
		frame = s.append(frame, s.sum(frame[begin+c.SumFrom:]))
	}
	return append(frame, c.Trailer...), nil
}

func (c Config) appendEnveloped(dst, payload []byte, s *seal) ([]byte, error) {
	e, body := c.Envelope, payload
	if e.Escapes == NoEscapes && (bytes.IndexByte(payload, e.Start) >= 0 || bytes.IndexByte(payload, e.End) >= 0) {
		return dst, fmt.Errorf("the payload holds %02X or %02X, which begin and end frames — hint: use escapes", e.Start, e.End)
	}
	if s.algorithm != nil && !e.SumAfterEnd {
		body = s.appendAll(nil, payload)
	}
	frame := dst
	if e.Escapes == EscapeDouble {
		frame = append(frame, e.Escape)
	}
	frame = append(frame, e.Start)
	covered := len(frame)
	for _, b := range body {
		control := b == e.Escape || e.Escapes == EscapeEach && (b == e.Start || b == e.End)
		if e.Escapes != NoEscapes && control {
			frame = append(frame, e.Escape)
		}
		frame = append(frame, b)
	}
	if e.Escapes == EscapeDouble {
		frame = append(frame, e.Escape)
	}
	frame = append(frame, e.End)
	if e.SumAfterEnd {
		frame = s.append(frame, s.sum(frame[covered:]))
	}
	return frame, nil
}

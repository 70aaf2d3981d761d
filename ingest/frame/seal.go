package frame

import (
	"bytes"
	"encoding/hex"
)

// seal is a checksum as it stands in a frame.
type seal struct {
	algorithm *algorithm // nil for none
	form      Form       // never Customary
	separator string
	size      int // bytes on the line, the separator included
}

func (c Config) sealOf() seal {
	if c.Checksum == None {
		return seal{}
	}
	s := seal{algorithm: &algorithms[c.Checksum], form: c.Form, separator: c.Separator}
	if c.Checksum == NMEA {
		s.form, s.separator = Hex, "*"
	}
	if s.form == Customary {
		s.form = Big
		if c.Checksum == CRC16Modbus || c.Checksum == CRC16X25 {
			s.form = Little
		}
	}
	s.size = s.algorithm.width / 8
	if s.form == Hex {
		s.size = 2*s.size + len(s.separator)
	}
	return s
}

func (s *seal) sum(b []byte) uint32 {
	return s.algorithm.final(s.algorithm.update(s.algorithm.initial, b))
}

// append appends the checksum.
func (s *seal) append(dst []byte, sum uint32) []byte {
	width := s.algorithm.width
	switch s.form {
	case Little:
		for shift := 0; shift < width; shift += 8 {
			dst = append(dst, byte(sum>>shift))
		}
	case Hex:
		dst = append(dst, s.separator...)
		for shift := width - 4; shift >= 0; shift -= 4 {
			dst = append(dst, "0123456789ABCDEF"[sum>>shift&15])
		}
	default:
		for shift := width - 8; shift >= 0; shift -= 8 {
			dst = append(dst, byte(sum>>shift))
		}
	}
	return dst
}

// read returns the checksum that b is, which has s.size bytes.
func (s *seal) read(b []byte) (sum uint32, ok bool) {
	var digits [4]byte
	switch s.form {
	case Little:
		for i, c := range b {
			sum |= uint32(c) << (8 * i)
		}
		return sum, true
	case Hex:
		if !bytes.HasPrefix(b, []byte(s.separator)) {
			return 0, false
		}
		n, err := hex.Decode(digits[:], b[len(s.separator):])
		if err != nil {
			return 0, false
		}
		b = digits[:n]
	}
	for _, c := range b {
		sum = sum<<8 | uint32(c)
	}
	return sum, true
}

// open takes the checksum off the end of body, and says whether it is right.
func (s *seal) open(body []byte) (payload []byte, ok bool) {
	if s.algorithm == nil {
		return body, true
	}
	if len(body) < s.size {
		return nil, false
	}
	payload = body[:len(body)-s.size]
	told, ok := s.read(body[len(payload):])
	return payload, ok && told == s.sum(payload)
}

// openSentence does so for a sentence of NMEA 0183, which begins with the last $
// or ! of the line: a line that lost its end has the next one behind it.
func (s *seal) openSentence(line []byte) (sentence []byte, noise int, ok bool) {
	begin := bytes.LastIndexAny(line, "$!")
	if begin < 0 || len(line)-begin < 1+s.size {
		return nil, len(line), false
	}
	sentence = line[begin : len(line)-s.size]
	told, ok := s.read(line[len(line)-s.size:])
	return sentence, begin, ok && told == s.sum(sentence[1:])
}

package firmwaresim

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// seqsIn decodes what a device sent, checks every checksum and returns the
// counters and what was no frame.
func seqsIn(e Encoding, summed bool, b []byte) (seqs []uint64, rest []byte) {
	switch e {
	case SLIP, COBS:
		end := []byte{0xC0}
		if e == COBS {
			end = []byte{0}
		}
		for _, f := range bytes.Split(b, end) {
			if record := unstuff(e, f); len(record) == 24 &&
				binary.BigEndian.Uint16(record[22:]) == crc16CCITT(record[:22]) {
				seqs = append(seqs, uint64(binary.LittleEndian.Uint32(record)))
			} else {
				rest = append(rest, f...)
			}
		}
	case Length:
		for len(b) >= 28 {
			if crc16CCITT(b[:26]) == binary.BigEndian.Uint16(b[26:]) && b[3] == 22 {
				seqs, b = append(seqs, uint64(binary.LittleEndian.Uint32(b[4:]))), b[28:]
			} else {
				rest, b = append(rest, b[0]), b[1:]
			}
		}
		rest = append(rest, b...)
	case Fixed:
		for len(b) >= 21 {
			if crc16Modbus(b[:19]) == binary.LittleEndian.Uint16(b[19:]) {
				seqs, b = append(seqs, uint64(binary.BigEndian.Uint32(b[3:]))), b[21:]
			} else {
				rest, b = append(rest, b[0]), b[1:]
			}
		}
		rest = append(rest, b...)
	case STXETX:
		for len(b) > 0 {
			etx := bytes.IndexByte(b, 3)
			if b[0] != 2 || etx < 0 || etx+1 >= len(b) || xor8(b[1:etx+2]) != 0 {
				rest, b = append(rest, b[0]), b[1:]
				continue
			}
			seqs = append(seqs, seqOfLine(string(b[1:etx])))
			b = b[etx+2:]
		}
	default:
		for line := range bytes.Lines(b) {
			if text, ok := uncrc(e, summed, string(line)); ok {
				seqs = append(seqs, seqOfLine(text))
			} else {
				rest = append(rest, line...)
			}
		}
	}
	return seqs, rest
}

// uncrc takes line end and checksum off a line.
func uncrc(e Encoding, summed bool, line string) (text string, ok bool) {
	text, ok = strings.CutSuffix(line, "\n")
	switch {
	case e == NMEA:
		text, sum, _ := strings.Cut(strings.TrimSuffix(text, "\r"), "*")
		return text, ok && len(text) > 1 && fmt.Sprintf("%02X", xor8([]byte(text[1:]))) == sum
	case summed:
		if len(text) < 4 {
			return "", false
		}
		text, sum := text[:len(text)-4], text[len(text)-4:]
		return text, ok && fmt.Sprintf("%04X", crc16CCITT([]byte(text))) == sum
	}
	return text, ok && seqOfLine(text) > 0
}

// unstuff undoes SLIP and COBS; nil for what is neither.
func unstuff(e Encoding, f []byte) (out []byte) {
	for i := 0; i < len(f); i++ {
		if e == COBS {
			code := int(f[i])
			if code == 0 || i+code > len(f) {
				return nil
			}
			out = append(out, f[i+1:i+code]...)
			if i += code - 1; code < 0xFF && i+1 < len(f) {
				out = append(out, 0)
			}
			continue
		}
		c := f[i]
		if c == 0xDB && i+1 < len(f) {
			i++
			c = f[i] - 0xDC // DC is C0, DD is DB
			c = 0xC0 + c*0x1B
		}
		out = append(out, c)
	}
	return out
}

var seqPattern = regexp.MustCompile(`(?:"seq":|seq=|^)(\d+)(?:[, ]|$)`)

func seqOfLine(line string) uint64 {
	if before, ok := strings.CutSuffix(line, ",,seq"); ok {
		line = before[strings.LastIndexByte(before, ',')+1:]
	}
	m := seqPattern.FindStringSubmatch(line)
	if m == nil {
		return 0
	}
	seq, _ := strconv.ParseUint(m[1], 10, 64)
	return seq
}

func upTo(n int) (seqs []uint64) {
	for i := range n {
		seqs = append(seqs, uint64(i+1))
	}
	return seqs
}

package kafka

import "encoding/binary"

// Snappy and LZ4 are two spellings of the same thing: stretches of text, and
// references to what was at most 64 KiB before. One seeker finds the references
// for both, with the same table and the same impatience as the authors' own
// programs: greedy, and in longer and longer steps where nothing repeats.

const (
	lzBlock   = 64 << 10 // what is looked at by itself, in bytes
	lzMatch   = 4        // the shortest reference
	lzTail    = 12       // LZ4 wants the last references to begin this far from the end
	lzLiteral = 5        // and so many bytes of text at the end
	tableBits = 14
)

// seeker finds repetitions in a block.
type seeker struct {
	table [1 << tableBits]uint16 // where six bytes with this hash were last
}

// sequence is a stretch of text, and a reference to what follows it: length bytes,
// which stand offset before. Length is 0 at the end.
type sequence struct {
	text           []byte
	offset, length int
}

// seek calls emit for the sequences of a block of 64 KiB at the most.
func (s *seeker) seek(block []byte, emit func(sequence)) {
	clear(s.table[:])
	done := 0 // what is emitted
	limit := len(block) - lzTail
	for at := 1; at < limit; {
		word := binary.LittleEndian.Uint64(block[at:])
		slot := &s.table[slotOf(word)]
		before := int(*slot)
		*slot = uint16(at)
		if before >= at || binary.LittleEndian.Uint32(block[before:]) != uint32(word) {
			at += 1 + (at-done)>>5
			continue
		}
		for at > done && before > 0 && block[at-1] == block[before-1] {
			at--
			before--
		}
		length := lzMatch
		for end := len(block) - lzLiteral; at+length < end && block[at+length] == block[before+length]; {
			length++
		}
		emit(sequence{block[done:at], at - before, length})
		at += length
		done = at
	}
	emit(sequence{text: block[done:]})
}

// slotOf is a hash of six bytes: four would find more, and shorter, repetitions.
func slotOf(word uint64) uint64 { return word << 16 * 0x9e3779b185ebca87 >> (64 - tableBits) }

// appendSnappy packs in the block format of snappy, for which see
// https://github.com/google/snappy/blob/main/format_description.txt.
func appendSnappy(dst, src []byte, s *seeker) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(src)))
	for len(src) > 0 {
		block := src[:min(len(src), lzBlock)]
		src = src[len(block):]
		s.seek(block, func(q sequence) {
			dst = appendSnappyText(dst, q.text)
			for n := q.length; n > 0; n -= min(n, 64) {
				dst = append(dst, byte(min(n, 64)-1)<<2|2, byte(q.offset), byte(q.offset>>8))
			}
		})
	}
	return dst
}

func appendSnappyText(dst, text []byte) []byte {
	n := len(text) - 1
	switch {
	case n < 0:
		return dst
	case n < 60:
		dst = append(dst, byte(n)<<2)
	case n < 1<<8:
		dst = append(dst, 60<<2, byte(n))
	default:
		dst = append(dst, 61<<2, byte(n), byte(n>>8))
	}
	return append(dst, text...)
}

// lz4Head begins a frame: its magic number, version 1 with independent blocks and
// no checksums, which the batch has, blocks of 64 KiB, and the checksum of that.
// See https://github.com/lz4/lz4/blob/dev/doc/lz4_Frame_format.md.
const lz4Head = "\x04\x22\x4d\x18\x60\x40\x82"

// appendLZ4 packs in the frame format of LZ4.
func appendLZ4(dst, src []byte, s *seeker) []byte {
	dst = append(dst, lz4Head...)
	for len(src) > 0 {
		block := src[:min(len(src), lzBlock)]
		src = src[len(block):]
		begin := len(dst)
		dst = append(dst, 0, 0, 0, 0)
		s.seek(block, func(q sequence) { dst = appendLZ4Sequence(dst, q) })
		size := uint32(len(dst) - begin - 4)
		if int(size) >= len(block) { // as it was, which its highest bit says
			dst = append(dst[:begin+4], block...)
			size = uint32(len(block)) | 1<<31
		}
		binary.LittleEndian.PutUint32(dst[begin:], size)
	}
	return append(dst, 0, 0, 0, 0) // no block any more
}

// appendLZ4Sequence appends a token, lengths that do not fit into it, the text and
// the reference. See https://github.com/lz4/lz4/blob/dev/doc/lz4_Block_format.md.
func appendLZ4Sequence(dst []byte, q sequence) []byte {
	text, match := len(q.text), max(q.length-lzMatch, 0)
	dst = append(dst, byte(min(text, 15))<<4|byte(min(match, 15)))
	dst = appendLZ4Length(dst, text)
	dst = append(dst, q.text...)
	if q.length == 0 {
		return dst
	}
	dst = append(dst, byte(q.offset), byte(q.offset>>8))
	return appendLZ4Length(dst, match)
}

// appendLZ4Length appends what the four bits of a token have no room for.
func appendLZ4Length(dst []byte, n int) []byte {
	if n < 15 {
		return dst
	}
	for n -= 15; n >= 255; n -= 255 {
		dst = append(dst, 255)
	}
	return append(dst, byte(n))
}

package buffer

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"

	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/wire"
)

// A record is one commit in a segment:
//
//	0  magic "tgR", version "2"
//	4  CRC-32C of bytes 8..32; in a version after "2", of those and the version
//	8  number of the segment
//	16 number of the record, ascending over all segments
//	24 length of the body
//	28 CRC-32C of the body
//	32 body: cursors that moved, notes of doors, then one block a lane
//
// All numbers are little-endian. The segment's number is in every record, so
// the old records of a recycled file are never taken for new ones.
const (
	recordMagic   = "tgR"
	recordVersion = recordVersion2
	recordHeader  = 32
)

// record is a parsed record.
type record struct {
	number  uint64
	cursors []cursorMark
	notes   []reading.Note // refer to the memory that was parsed
	blocks  []wire.Block
	size    int // header and body
	version byte
	unknown bool // whole, and not of this version: kept, and not read
}

// cursorMark is a cursor's place: what is elsewhere, by lane.
type cursorMark struct {
	name  string
	acked [reading.Lanes]ranges
}

// maxRanges bounds the ranges of a mark, a lane.
const maxRanges = 64

// beginRecord reserves room for the header and writes the cursors and notes.
func beginRecord(dst []byte, marks []cursorMark, notes []reading.Note) []byte {
	dst = append(dst, make([]byte, recordHeader)...)
	dst = binary.AppendUvarint(dst, uint64(len(marks)))
	for _, m := range marks {
		dst = m.append(dst)
	}
	dst = binary.AppendUvarint(dst, uint64(len(notes)))
	for _, n := range notes {
		dst = appendNote(dst, n)
	}
	return dst
}

// sealRecord fills in the header of the record that is all of rec.
func sealRecord(rec []byte, segment, number uint64) {
	le, body := binary.LittleEndian, rec[recordHeader:]
	copy(rec, recordMagic)
	rec[len(recordMagic)] = recordVersion
	le.PutUint64(rec[8:], segment)
	le.PutUint64(rec[16:], number)
	le.PutUint32(rec[24:], uint32(len(body)))
	le.PutUint32(rec[28:], crc32c(body))
	le.PutUint32(rec[4:], headerSum(rec))
}

// headerSum is the checksum of a header. Those of the first two versions leave the
// version out; a later one has it in, so that rot of that byte makes none of them.
func headerSum(header []byte) uint32 {
	sum, version := crc32c(header[8:recordHeader]), header[len(recordMagic)]
	if version == recordVersion1 || version == recordVersion2 {
		return sum
	}
	return crc32.Update(sum, crc32.MakeTable(crc32.Castagnoli), []byte{version})
}

// versionOf returns the version of a record. It is false unless the header is whole.
// One that is whole but for its version is of this version, or an earlier one.
func versionOf(header []byte) (version byte, ok bool) {
	switch binary.LittleEndian.Uint32(header[4:]) {
	case headerSum(header):
		return header[len(recordMagic)], true
	case crc32c(header[8:recordHeader]):
		return recordVersion2, true
	}
	return 0, false
}

// recordLength returns the length of the body that the header announces. It
// is false unless the header is whole and of this segment. Headers are the same
// in all versions: none may overwrite what a later one acknowledged.
func recordLength(header []byte, segment uint64) (number uint64, body int, ok bool) {
	le := binary.LittleEndian
	if len(header) < recordHeader || !bytes.HasPrefix(header, []byte(recordMagic)) || le.Uint64(header[8:]) != segment {
		return 0, 0, false
	}
	if _, ok := versionOf(header); !ok {
		return 0, 0, false
	}
	n := le.Uint32(header[24:])
	return le.Uint64(header[16:]), int(n), n <= segmentSize
}

// parseBody parses a body that the header promised. The blocks refer to it. It
// is false when the body is damaged.
func parseBody(header, body []byte) (record, bool) {
	if binary.LittleEndian.Uint32(header[28:]) != crc32c(body) {
		return record{}, false
	}
	rec := record{number: binary.LittleEndian.Uint64(header[16:]), size: recordHeader + len(body)}
	rec.version, _ = versionOf(header)
	switch rec.version {
	case recordVersion:
		rec.unknown = !rec.parse(body)
		if rec.unknown && header[len(recordMagic)] != rec.version { // it is rotten, and may have been an earlier one
			rec.notes = nil
			rec.unknown = !rec.parse1(body)
		}
	case recordVersion1:
		rec.unknown = !rec.parse1(body)
	default:
		rec.unknown = true
	}
	return rec, true
}

func (r *record) parse(body []byte) bool {
	body, ok := r.parseMarks(body, parseMark)
	if !ok {
		return false
	}
	if r.notes, body, ok = parseNotes(body); !ok {
		return false
	}
	return r.parseBlocks(body)
}

// parseMarks parses the marks that a body begins with, each by one.
func (r *record) parseMarks(body []byte, one func([]byte) (cursorMark, []byte, bool)) (rest []byte, ok bool) {
	n, used := binary.Uvarint(body)
	if used <= 0 || n > uint64(len(body)) {
		return body, false
	}
	body = body[used:]
	for range n {
		m, rest, ok := one(body)
		if !ok {
			return body, false
		}
		r.cursors, body = append(r.cursors, m), rest
	}
	return body, true
}

func (m cursorMark) append(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(m.name)))
	dst = append(dst, m.name...)
	for _, rs := range m.acked {
		dst = binary.AppendUvarint(dst, uint64(len(rs)))
		prev := uint64(0)
		for _, r := range rs {
			dst = binary.AppendUvarint(dst, r.First-prev)
			dst = binary.AppendUvarint(dst, r.Last-r.First)
			prev = r.Last
		}
	}
	return dst
}

func parseMark(b []byte) (m cursorMark, rest []byte, ok bool) {
	ok = true
	number := func() uint64 {
		n, used := binary.Uvarint(b)
		if used <= 0 {
			ok = false
			return 0
		}
		b = b[used:]
		return n
	}
	n := number()
	if n > uint64(len(b)) {
		return m, b, false
	}
	m.name, b = string(b[:n]), b[n:]
	for lane := range m.acked {
		prev := uint64(0)
		for range min(number(), maxRanges) {
			first := prev + number()
			prev = first + number()
			m.acked[lane] = m.acked[lane].add(first, prev)
		}
	}
	return m, b, ok
}

func crc32c(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }

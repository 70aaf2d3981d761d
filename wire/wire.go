// Package wire turns readings into bytes and back: the same bytes on flash and
// upstream. FORMAT.md specifies every byte; the golden vectors in testdata let
// an implementation in another language check itself.
//
// A block holds the readings of one commit of one lane, in columns: times as
// deltas of deltas, numbers as deltas of their decimal digits, names once. It
// carries its own checksum and identity (epoch, lane, first..last), so it means
// the same wherever it lies. A chunk is what travels upstream: the gateway's
// name and consecutive blocks, merged where that makes them smaller.
//
// Whatever ParseBlock, Decoder.Decode and ParseChunk are given, they return
// what an Encoder wrote or an error that wraps ErrCorrupt (or ErrVersion); they
// bound what they build before they build it.
package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/tidegate/tidegate/reading"
)

// Version is the version of blocks and chunks that this package writes.
const Version = 1

// Bounds of version 1. A writer keeps them and a reader refuses what exceeds
// them, so a damaged or hostile length never becomes a large allocation.
const (
	// MaxReadings is the largest number of readings in a block.
	MaxReadings = 1 << 16
	// MaxBody is the largest size of a block's body before compression, in
	// bytes.
	MaxBody = 16 << 20
	// MaxBlock is the largest size of an encoded block, in bytes.
	MaxBlock = MaxBody + 1<<10
	// MaxGateway is the longest gateway name in a chunk, in bytes.
	MaxGateway = 255
)

// ErrCorrupt means that the bytes are not what an Encoder wrote.
var ErrCorrupt = errors.New("corrupt data")

// ErrVersion means that the bytes are of a version that this package does not
// know: written by a newer tidegate, not damaged.
var ErrVersion = errors.New("unknown format version")

// ErrTooLarge means that readings do not fit into one block.
var ErrTooLarge = errors.New("too large for one block")

// ClockState says how far the gateway's clock could be trusted when a block
// was sealed.
type ClockState uint8

const (
	// Unsynced: the clock was not yet set in this boot; it may show 1970.
	Unsynced ClockState = iota
	// Synced: the kernel said that the clock is synchronised.
	Synced
	// Stepped: the clock was set while the block was open; times in it may be
	// from before and after.
	Stepped
)

// String returns the state in lower case.
func (c ClockState) String() string {
	switch c {
	case Unsynced:
		return "unsynced"
	case Synced:
		return "synced"
	case Stepped:
		return "stepped"
	}
	return "unknown"
}

// Header is the identity and summary of a block.
type Header struct {
	// Epoch names the sequence space: a buffer that lost its past starts a new
	// one, so that a number is never used twice for different readings.
	Epoch uint64
	// Lane is the lane that all of the block's readings are in.
	Lane reading.Lane
	// First is the sequence number of the first reading; numbers of a lane
	// start at 1 and have no holes except those that a gap explains.
	First uint64
	// Count is the number of readings, at least 1.
	Count int
	// Boot identifies the boot of the gateway in which the block was sealed.
	Boot uint32
	// Clock is the state of the gateway's clock.
	Clock ClockState
	// Base is the earliest time in the block and Span the distance from there
	// to the latest, in nanoseconds. The encoder computes both.
	Base, Span int64
	// Uptime is the time since boot when the block was sealed, in
	// milliseconds, from a clock that nobody can set.
	Uptime int64
}

// Last is the sequence number of the block's last reading.
func (h Header) Last() uint64 { return h.First + uint64(h.Count) - 1 }

// Block is an encoded block whose checksum has been verified.
type Block struct {
	Header
	// Raw is the whole encoded block.
	Raw []byte

	body   []byte // the part of Raw after the header
	rawLen int    // size of the body before compression
	packed bool   // the body is compressed
	merged bool   // the body begins with a table of parts
}

// The fixed part of a block and of a chunk: magic, version, flags, CRC, length.
const prefixLen = 12

const (
	blockMagic = "tB"
	chunkMagic = "tC"

	flagLane   = 0x03
	clockShift = 2
	flagClock  = 0x03 << clockShift
	flagPacked = 0x10
	flagMerged = 0x20
	flagsKnown = flagLane | flagClock | flagPacked | flagMerged
)

// ParseBlock verifies the block at the start of b and returns it and what
// follows it. The block refers to b's memory.
func ParseBlock(b []byte) (Block, []byte, error) {
	flags, frame, rest, err := openFrame(b, blockMagic, MaxBlock)
	if err != nil {
		return Block{}, b, fmt.Errorf("block: %w", err)
	}
	if flags&^flagsKnown != 0 || flags&flagClock > byte(Stepped)<<clockShift {
		return Block{}, b, fmt.Errorf("block: flags %#02x: %w", flags, ErrVersion)
	}
	blk := Block{Raw: frame, packed: flags&flagPacked != 0, merged: flags&flagMerged != 0}
	blk.Lane = reading.Lane(flags & flagLane)
	blk.Clock = ClockState(flags & flagClock >> clockShift)
	r := reader{b: frame[prefixLen:]}
	blk.Epoch = r.uint64()
	blk.Boot = r.uint32()
	blk.First = r.uvarint()
	blk.Count = r.count(MaxReadings)
	blk.rawLen = r.count(MaxBody)
	blk.Base = r.varint()
	blk.Span = r.varint()
	blk.Uptime = r.varint()
	blk.body = r.b
	if r.failed || blk.Count < 1 || blk.First < 1 || blk.Last() < blk.First || blk.Lane >= reading.Lanes ||
		blk.Span < 0 || blk.Base+blk.Span < blk.Base || !blk.packed && blk.rawLen != len(blk.body) {
		return Block{}, b, fmt.Errorf("block header: %w", ErrCorrupt)
	}
	return blk, rest, nil
}

// appendHeader appends everything of the block before its body.
func appendHeader(dst []byte, h Header, rawLen int, flags byte) []byte {
	flags |= byte(h.Lane) | byte(h.Clock)<<clockShift
	dst = append(dst, blockMagic[0], blockMagic[1], Version, flags, 0, 0, 0, 0, 0, 0, 0, 0)
	dst = binary.LittleEndian.AppendUint64(dst, h.Epoch)
	dst = binary.LittleEndian.AppendUint32(dst, h.Boot)
	dst = binary.AppendUvarint(dst, h.First)
	dst = binary.AppendUvarint(dst, uint64(h.Count))
	dst = binary.AppendUvarint(dst, uint64(rawLen))
	dst = binary.AppendVarint(dst, h.Base)
	dst = binary.AppendVarint(dst, h.Span)
	return binary.AppendVarint(dst, h.Uptime)
}

// openFrame checks the prefix that blocks and chunks share. It returns the
// flags, the whole frame and what follows it.
func openFrame(b []byte, magic string, limit int) (flags byte, frame, rest []byte, err error) {
	if len(b) < prefixLen || string(b[:2]) != magic {
		return 0, nil, nil, ErrCorrupt
	}
	n := int64(binary.LittleEndian.Uint32(b[8:]))
	if n < prefixLen || n > int64(limit) || n > int64(len(b)) {
		return 0, nil, nil, ErrCorrupt
	}
	frame, rest = b[:n:n], b[n:]
	if binary.LittleEndian.Uint32(b[4:]) != checksum(frame) {
		return 0, nil, nil, ErrCorrupt
	}
	// The version is looked at after the checksum: a flipped bit in it is
	// damage, not a newer tidegate. Every version keeps prefix and checksum.
	if b[2] != Version {
		return 0, nil, nil, fmt.Errorf("version %d: %w", b[2], ErrVersion)
	}
	return b[3], frame, rest, nil
}

// sealFrame fills in length and checksum of the frame that starts at start.
func sealFrame(dst []byte, start int) {
	frame := dst[start:]
	binary.LittleEndian.PutUint32(frame[8:], uint32(len(frame)))
	binary.LittleEndian.PutUint32(frame[4:], checksum(frame))
}

// checksum is CRC-32C (Castagnoli) over the frame without the checksum itself.
func checksum(frame []byte) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli)
	return crc32.Update(crc32.Checksum(frame[:4], table), table, frame[8:])
}

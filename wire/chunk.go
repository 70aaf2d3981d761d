package wire

import (
	"encoding/binary"
	"fmt"

	"github.com/tidegate/tidegate/reading"
)

// MaxChunk is the largest chunk that ParseChunk reads, in bytes.
const MaxChunk = 64 << 20

// maxChunkBlocks bounds the table of blocks of a chunk.
const maxChunkBlocks = 1 << 16

// Chunk is one delivery: consecutive blocks of one lane of one gateway.
type Chunk struct {
	// Gateway is the name of the gateway, 1 to MaxGateway bytes.
	Gateway string
	// Blocks are of one epoch and lane, and each begins where the one before
	// ended or later (a hole is what a gap record explains). At least one.
	Blocks []Block
}

// Epoch is the epoch of the chunk's blocks.
func (c Chunk) Epoch() uint64 { return c.Blocks[0].Epoch }

// Lane is the lane of the chunk's blocks.
func (c Chunk) Lane() reading.Lane { return c.Blocks[0].Lane }

// First is the sequence number of the chunk's first reading.
func (c Chunk) First() uint64 { return c.Blocks[0].First }

// Last is the sequence number of the chunk's last reading.
func (c Chunk) Last() uint64 { return c.Blocks[len(c.Blocks)-1].Last() }

// Count is the number of readings in the chunk.
func (c Chunk) Count() int {
	n := 0
	for _, b := range c.Blocks {
		n += b.Count
	}
	return n
}

// AppendChunk appends a chunk of the blocks to dst.
func AppendChunk(dst []byte, c Chunk) ([]byte, error) {
	if err := c.check(); err != nil {
		return dst, fmt.Errorf("append chunk: %w", err)
	}
	start := len(dst)
	dst = append(dst, chunkMagic[0], chunkMagic[1], Version, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	dst = binary.AppendUvarint(dst, 0) // no earlier chunk is referred to
	dst = binary.AppendUvarint(dst, uint64(len(c.Gateway)))
	dst = append(dst, c.Gateway...)
	dst = binary.AppendUvarint(dst, uint64(len(c.Blocks)))
	for _, b := range c.Blocks {
		dst = append(dst, b.Raw...)
	}
	sealFrame(dst, start)
	return dst, nil
}

// ParseChunk verifies a chunk and the headers of its blocks. The chunk refers
// to b's memory.
func ParseChunk(b []byte) (Chunk, error) {
	flags, frame, rest, err := openFrame(b, chunkMagic, MaxChunk)
	if err != nil {
		return Chunk{}, fmt.Errorf("chunk: %w", err)
	}
	if len(rest) > 0 {
		return Chunk{}, fmt.Errorf("chunk: %d bytes follow it: %w", len(rest), ErrCorrupt)
	}
	r := reader{b: frame[prefixLen:]}
	if ref := r.uvarint(); flags != 0 || ref != 0 {
		return Chunk{}, fmt.Errorf("chunk that refers to an earlier one: %w", ErrVersion)
	}
	c := Chunk{Gateway: string(r.bytes(r.count(MaxGateway)))}
	n := r.count(min(maxChunkBlocks, len(r.b)/prefixLen))
	if r.failed {
		return Chunk{}, fmt.Errorf("chunk header: %w", ErrCorrupt)
	}
	c.Blocks = make([]Block, n)
	for i := range c.Blocks {
		if c.Blocks[i], r.b, err = ParseBlock(r.b); err != nil {
			return Chunk{}, fmt.Errorf("chunk: block %d of %d: %w", i+1, n, err)
		}
	}
	if err := c.check(); err != nil || len(r.b) > 0 {
		return Chunk{}, fmt.Errorf("chunk: %w", ErrCorrupt)
	}
	return c, nil
}

func (c Chunk) check() error {
	if len(c.Gateway) < 1 || len(c.Gateway) > MaxGateway {
		return fmt.Errorf("gateway name of %d bytes, want 1 to %d", len(c.Gateway), MaxGateway)
	}
	if len(c.Blocks) < 1 || len(c.Blocks) > maxChunkBlocks {
		return fmt.Errorf("%d blocks, want 1 to %d", len(c.Blocks), maxChunkBlocks)
	}
	for i, b := range c.Blocks[1:] {
		prev := c.Blocks[i]
		if b.Epoch != prev.Epoch || b.Lane != prev.Lane || b.First <= prev.Last() {
			return fmt.Errorf("block %d does not follow block %d", i+2, i+1)
		}
	}
	return nil
}

// Package encode turns blocks into message bodies: Packed for a tidegate cloud,
// JSON for everybody else.
//
// An encoder is pure (the same blocks give the same body) but keeps working
// memory, so each Forwarder has one of its own.
package encode

import (
	"errors"
	"fmt"

	"github.com/tidegate/tidegate/uplink"
	"github.com/tidegate/tidegate/wire"
)

// PackedType is the media type of a wire chunk.
const PackedType = "application/vnd.tidegate.chunk"

// largeBlock is the number of readings from which a block is not merged with
// its neighbours: the names and times that it could share are a small part of
// it by then, and decoding it costs as much as ever.
const largeBlock = 4096

// Packed encodes blocks as one wire chunk, small neighbours merged where that
// makes them smaller.
type Packed struct {
	gateway string
	merger  *wire.Merger
	blocks  []wire.Block
	scratch []byte // merged blocks
}

// NewPacked returns a Packed encoder for the gateway, a name of 1 to
// wire.MaxGateway bytes.
func NewPacked(gateway string) *Packed {
	return &Packed{gateway: gateway, merger: wire.NewMerger()}
}

// ContentType returns PackedType.
func (p *Packed) ContentType() string { return PackedType }

// Encode appends the chunk to dst, whatever limit says. An error that wraps
// wire.ErrCorrupt means that a block cannot be decoded.
func (p *Packed) Encode(dst []byte, blocks []wire.Block, _ int) ([]byte, []uplink.Part, error) {
	p.blocks, p.scratch = p.blocks[:0], p.scratch[:0]
	for len(blocks) > 0 {
		n := run(blocks)
		if err := p.add(blocks[:n]); err != nil {
			return dst, nil, err
		}
		blocks = blocks[n:]
	}
	body, err := wire.AppendChunk(dst, wire.Chunk{Gateway: p.gateway, Blocks: p.blocks})
	return body, nil, err
}

// run is the number of blocks, at least 1, that may be merged from the first on.
func run(blocks []wire.Block) int {
	count := blocks[0].Count
	if count >= largeBlock {
		return 1
	}
	for n := 1; n < len(blocks); n++ {
		next := blocks[n]
		count += next.Count
		if next.Count >= largeBlock || count > wire.MaxReadings || !wire.Mergeable(blocks[n-1], next) {
			return n
		}
	}
	return len(blocks)
}

// add puts a run into the chunk: merged if that is smaller, else as it is.
func (p *Packed) add(run []wire.Block) error {
	if len(run) > 1 {
		merged, err := p.merge(run)
		if err != nil && !errors.Is(err, wire.ErrTooLarge) {
			return err
		}
		if err == nil && len(merged.Raw) < size(run) {
			p.blocks = append(p.blocks, merged)
			return nil
		}
	}
	p.blocks = append(p.blocks, run...)
	return nil
}

// merge appends to the scratch memory. Blocks merged before keep the memory
// that they are in, whether scratch moves or not.
func (p *Packed) merge(run []wire.Block) (wire.Block, error) {
	start := len(p.scratch)
	scratch, err := p.merger.Merge(p.scratch, run)
	if err != nil {
		return wire.Block{}, err
	}
	p.scratch = scratch
	merged, _, err := wire.ParseBlock(scratch[start:])
	if err != nil {
		return wire.Block{}, fmt.Errorf("merged block: %w", err)
	}
	return merged, nil
}

func size(blocks []wire.Block) int {
	n := 0
	for _, b := range blocks {
		n += len(b.Raw)
	}
	return n
}

package daemon

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/tidegate/tidegate/buffer"
	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/uplink/encode"
	"github.com/tidegate/tidegate/wire"
)

// The chunks of a packed file have about so many readings, or bytes before their
// blocks are merged, at the most. A bad spot of a stick costs one of them.
const (
	chunkReadings = 8 << 10
	chunkBytes    = 64 << 10
)

// packer makes chunks of the blocks that it is given, a lane apart.
type packer struct {
	to      *export
	encoder *encode.Packed
	open    [reading.Lanes][]wire.Block
	bytes   [reading.Lanes]int
	count   [reading.Lanes]int
	body    []byte
}

// packed writes chunks, one after the other: what the gateway would have sent,
// under the same numbers.
func (e *export) packed(ctx context.Context) error {
	p := packer{to: e, encoder: encode.NewPacked(e.gateway)}
	var err error
	if e.refused {
		err = p.addRefused(e.inventory.Refused)
	} else {
		err = e.inventory.Blocks(ctx, e.query, p.add)
	}
	if err != nil && !errors.Is(err, buffer.ErrLeftOut) {
		return err
	}
	for lane := range p.open {
		if err := p.flush(lane); err != nil {
			return err
		}
	}
	return err
}

func (p *packer) addRefused(refused []buffer.Refused) error {
	seen := map[string]bool{}
	for _, q := range refused {
		key := fmt.Sprint(q.Lane, q.First, q.Last)
		if seen[key] {
			continue // by several sinks
		}
		seen[key] = true
		blk, _, err := wire.ParseBlock(q.Raw)
		if err != nil {
			return err
		}
		if err := errors.Join(p.add(blk), p.flush(int(blk.Lane))); err != nil {
			return err
		}
	}
	return nil
}

func (p *packer) add(blk wire.Block) error {
	lane := int(blk.Lane)
	if open := p.open[lane]; len(open) > 0 && (open[0].Epoch != blk.Epoch ||
		p.count[lane]+blk.Count > chunkReadings || p.bytes[lane]+len(blk.Raw) > chunkBytes) {
		if err := p.flush(lane); err != nil {
			return err
		}
	}
	own, _, err := wire.ParseBlock(slices.Clone(blk.Raw))
	if err != nil {
		return err
	}
	p.open[lane] = append(p.open[lane], own)
	p.bytes[lane] += len(blk.Raw)
	p.count[lane] += blk.Count
	p.to.n.readings += uint64(blk.Count)
	return nil
}

func (p *packer) flush(lane int) (err error) {
	if len(p.open[lane]) == 0 {
		return nil
	}
	blocks := p.open[lane]
	p.open[lane], p.bytes[lane], p.count[lane] = nil, 0, 0
	p.body, _, err = p.encoder.Encode(p.body[:0], blocks, math.MaxInt)
	if errors.Is(err, wire.ErrCorrupt) && len(blocks) > 1 { // not to spoil the others
		for _, blk := range blocks {
			p.open[lane] = []wire.Block{blk}
			if err := p.flush(lane); err != nil {
				return err
			}
		}
		return nil
	}
	if err != nil {
		return err
	}
	p.to.n.chunks++
	_, err = p.to.Write(p.body)
	return err
}

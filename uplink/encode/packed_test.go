package encode

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/uplink"
	"github.com/tidegate/tidegate/wire"
)

func packed(t testing.TB, blocks []wire.Block) ([]byte, wire.Chunk) {
	t.Helper()
	body, _, err := NewPacked("gw").Encode(nil, blocks, math.MaxInt)
	if err != nil {
		t.Fatal(err)
	}
	c, err := wire.ParseChunk(body)
	if err != nil {
		t.Fatal(err)
	}
	return body, c
}

func TestSmallNeighboursAreMerged(t *testing.T) {
	blocks := commits(t, 30, 10)
	body, c := packed(t, blocks)
	if len(c.Blocks) != 1 || c.Gateway != "gw" {
		t.Errorf("30 small commits became %d blocks of %q, want 1 of gw", len(c.Blocks), c.Gateway)
	}
	if len(body)*2 > size(blocks) {
		t.Errorf("%d bytes of %d remain, want less than half", len(body), size(blocks))
	}
	if !slices.Equal(decodeAll(t, c.Blocks), decodeAll(t, blocks)) {
		t.Error("readings or their sequence numbers have changed")
	}
}

func TestLargeBlocksTravelAsTheyLieOnFlash(t *testing.T) {
	blocks := commits(t, 3, 1024)
	_, c := packed(t, blocks)
	if len(c.Blocks) != 3 {
		t.Fatalf("%d blocks, want 3", len(c.Blocks))
	}
	for i, b := range c.Blocks {
		if !bytes.Equal(b.Raw, blocks[i].Raw) {
			t.Errorf("block %d is not the block that was given", i)
		}
	}
}

func TestMergingStopsWhereBlocksDoNotFollow(t *testing.T) {
	all := commits(t, 12, 5)
	rs := []reading.Reading{{Device: "d", Metric: "m", Time: second, Value: reading.Float(1)}}
	reboot := block(t, wire.Header{Epoch: 5, First: all[11].Last() + 1, Boot: 2, Clock: wire.Synced}, rs)
	// A hole after the fourth, and another boot at the end.
	blocks := append(slices.Delete(slices.Clone(all), 4, 6), reboot)
	_, c := packed(t, blocks)
	if len(c.Blocks) != 3 {
		t.Errorf("%d blocks, want 3: before the hole, after it, and the next boot's", len(c.Blocks))
	}
	if !slices.Equal(decodeAll(t, c.Blocks), decodeAll(t, blocks)) {
		t.Error("readings or their sequence numbers have changed")
	}
}

func TestMergedBlockNeverExceedsTheFormat(t *testing.T) {
	blocks := commits(t, 25, 1000) // 100,000 readings in blocks of 4,000
	_, c := packed(t, blocks)
	for _, b := range c.Blocks {
		if b.Count > wire.MaxReadings {
			t.Errorf("a block of %d readings", b.Count)
		}
	}
	if c.Count() != 100_000 {
		t.Errorf("%d readings, want 100000", c.Count())
	}
}

func TestPackingNeverMakesAChunkLarger(t *testing.T) {
	for name, blocks := range map[string][]wire.Block{
		"Unlike": unlike(t),
		"Mixed":  mixed(t),
		"Two":    commits(t, 2, 1),
		"Many":   commits(t, 100, 1),
	} {
		t.Run(name, func(t *testing.T) {
			body, _ := packed(t, blocks)
			plain, err := wire.AppendChunk(nil, wire.Chunk{Gateway: "gw", Blocks: blocks})
			if err != nil {
				t.Fatal(err)
			}
			if len(body) > len(plain) {
				t.Errorf("%d bytes, and %d without merging", len(body), len(plain))
			}
		})
	}
}

// mixed returns a block of a series of decimals, and one of the same series
// with numbers of every digit: in one column they cost more than apart.
func mixed(t *testing.T) []wire.Block {
	rng := rand.New(rand.NewPCG(1, 2))
	var decimals, floats []reading.Reading
	for i := range 1000 {
		r := reading.Reading{Device: "d", Metric: "m", Time: int64(i) * second, Value: reading.Float(float64(2000+rng.IntN(3)) / 100)}
		decimals = append(decimals, r)
		r.Value = reading.Float(rng.NormFloat64())
		floats = append(floats, r)
	}
	first := block(t, wire.Header{Epoch: 5, First: 1, Boot: 1}, decimals)
	return []wire.Block{first, block(t, wire.Header{Epoch: 5, First: 1001, Boot: 1}, floats)}
}

// unlike returns blocks that share nothing.
func unlike(t *testing.T) []wire.Block {
	var blocks []wire.Block
	next := uint64(1)
	for i := range 20 {
		var rs []reading.Reading
		for k := range 1 + i%7 {
			rs = append(rs, reading.Reading{
				Device: strings.Repeat(string(rune('a'+i)), i+1), Metric: fmt.Sprint(k * i * 7919),
				Time: int64(i*i*i) * 1_234_567_891, Value: reading.String(fmt.Sprint(i * k * 104729)),
			})
		}
		b := block(t, wire.Header{Epoch: 5, First: next, Boot: 1}, rs)
		blocks, next = append(blocks, b), b.Last()+1
	}
	return blocks
}

func TestSameBlocksGiveTheSameBytes(t *testing.T) {
	p, blocks := NewPacked("gw"), commits(t, 10, 10)
	first, _, err := p.Encode([]byte("head"), blocks, math.MaxInt)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := p.Encode(nil, commits(t, 50, 3), math.MaxInt); err != nil {
		t.Fatal(err)
	}
	again, _, err := p.Encode([]byte("head"), blocks, math.MaxInt)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first, again) || !bytes.HasPrefix(again, []byte("head")) {
		t.Error("the second encoding differs from the first")
	}
}

func TestDamagedBlockIsNamed(t *testing.T) {
	blocks := commits(t, 5, 3)
	blocks[2] = damaged(t, blocks[2])
	for name, enc := range map[string]interface {
		Encode([]byte, []wire.Block, int) ([]byte, []uplink.Part, error)
	}{"Packed": NewPacked("gw"), "JSON": NewJSON("gw")} {
		t.Run(name, func(t *testing.T) {
			body, _, err := enc.Encode([]byte("head"), blocks, math.MaxInt)
			if !errors.Is(err, wire.ErrCorrupt) {
				t.Errorf("error %v, want ErrCorrupt", err)
			}
			if string(body) != "head" {
				t.Errorf("%q is left, want what was there before", body)
			}
			if _, _, err := enc.Encode(nil, blocks[:2], math.MaxInt); err != nil {
				t.Errorf("the next message: %v", err)
			}
		})
	}
}

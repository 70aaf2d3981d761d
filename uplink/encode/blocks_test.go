package encode

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/wire"
)

const second = 1_000_000_000

// block encodes the readings as a block.
func block(t testing.TB, h wire.Header, rs []reading.Reading) wire.Block {
	t.Helper()
	return blockBy(t, wire.NewEncoder(), h, rs)
}

func blockBy(t testing.TB, enc *wire.Encoder, h wire.Header, rs []reading.Reading) wire.Block {
	t.Helper()
	raw, err := enc.AppendBlock(nil, h, rs)
	if err != nil {
		t.Fatal(err)
	}
	b, _, err := wire.ParseBlock(raw)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// commits returns consecutive blocks, one a second, in each of which so many
// devices report four metrics whose values walk.
func commits(t testing.TB, blocks, devices int) []wire.Block {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, 2))
	temp := make([]float64, devices)
	round := func(f float64, decimals int) reading.Value {
		p := math.Pow10(decimals)
		return reading.Float(math.Round(f*p) / p)
	}
	enc := wire.NewEncoder()
	var out []wire.Block
	next := uint64(1)
	for s := range blocks {
		var rs []reading.Reading
		for d := range devices {
			temp[d] += 0.05 * rng.NormFloat64()
			r := reading.Reading{Device: fmt.Sprintf("dev-%04d", d), Time: 1_700_000_000*second + int64(s)*second + int64(d)*1e6}
			for _, f := range []struct {
				metric string
				v      reading.Value
			}{{"temp", round(20+temp[d], 2)}, {"hum", round(50+3*temp[d], 1)}, {"bat", round(3.7-float64(s)/1e5, 3)}, {"rssi", round(-60-float64(rng.IntN(9)), 0)}} {
				r.Metric, r.Value = f.metric, f.v
				rs = append(rs, r)
			}
		}
		b := blockBy(t, enc, wire.Header{Epoch: 5, First: next, Boot: 1, Clock: wire.Synced}, rs)
		out, next = append(out, b), b.Last()+1
	}
	return out
}

// numbered is a reading and its sequence number.
type numbered struct {
	seq uint64
	reading.Reading
}

func decodeAll(t testing.TB, blocks []wire.Block) []numbered {
	t.Helper()
	var out []numbered
	dec := wire.NewDecoder()
	for _, b := range blocks {
		rs, err := dec.Decode(nil, b)
		if err != nil {
			t.Fatal(err)
		}
		for i, r := range rs {
			out = append(out, numbered{b.First + uint64(i), r})
		}
	}
	return out
}

// damaged returns the block with a body that cannot be decoded, under a
// checksum that matches it.
func damaged(t testing.TB, b wire.Block) wire.Block {
	t.Helper()
	raw := append([]byte(nil), b.Raw...)
	for i := len(raw) - 8; i < len(raw); i++ {
		raw[i] ^= 0xa5
	}
	table := crc32.MakeTable(crc32.Castagnoli)
	binary.LittleEndian.PutUint32(raw[4:], crc32.Update(crc32.Checksum(raw[:4], table), table, raw[8:]))
	bad, _, err := wire.ParseBlock(raw)
	if err != nil {
		t.Fatal(err)
	}
	return bad
}

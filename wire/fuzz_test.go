package wire

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/tidegate/tidegate/reading"
)

const (
	// fuzzInput is the largest input that a fuzz target looks at, and
	// maxAllocated what reading it may allocate in all: three name tables
	// and a body of MaxBody, and MaxReadings readings.
	fuzzInput    = 64 << 10
	maxAllocated = 96 << 20
	// maxTexts bounds the names and texts of readings that are encoded anew:
	// a table lets a small body stand for more of them than a block can hold
	// without one.
	maxTexts = 1 << 20
)

// How FuzzDecodeBlock turns its bytes into the body of a block.
const (
	fuzzRaw      = iota // they are the body
	fuzzPacked          // they are the body, which is compressed first
	fuzzInflated        // they are what is to be inflated
)

// FuzzDecodeBlock puts arbitrary bodies under a good header and checksum, so
// that the parsers behind these are reached. Whatever decodes must encode and
// decode again to the same readings.
func FuzzDecodeBlock(f *testing.F) {
	for _, dir := range []string{goldenDir, badDir} {
		for _, name := range frames(f, dir) {
			var any struct{}
			b, _, err := ParseBlock(load(f, dir, name, &any))
			if err != nil {
				continue
			}
			for form := range byte(3) {
				f.Add(form, b.merged, uint32(b.Count), uint32(b.rawLen), b.Base, b.Span, b.body)
			}
		}
	}
	enc, dec := NewEncoder(), NewDecoder()
	f.Fuzz(func(t *testing.T, form byte, merged bool, count, rawLen uint32, base, span int64, body []byte) {
		if len(body) > fuzzInput {
			return
		}
		h := Header{Epoch: 1, First: 1, Count: int(count), Base: base, Span: span}
		flags := byte(0)
		if merged {
			flags |= flagMerged
		}
		switch form % 3 {
		case fuzzRaw:
			rawLen = uint32(len(body))
		case fuzzPacked:
			rawLen, flags = uint32(len(body)), flags|flagPacked
			body = enc.zstd.EncodeAll(body, nil)
		case fuzzInflated:
			flags |= flagPacked
		}
		raw := append(appendHeader(nil, h, int(rawLen), flags), body...)
		sealFrame(raw, 0)
		b, _, err := ParseBlock(raw)
		if err != nil {
			mustBeRefusal(t, err)
			return
		}
		var rs []reading.Reading
		if n := allocated(func() { rs, err = dec.Decode(nil, b) }); n > maxAllocated {
			t.Fatalf("decoding %d bytes allocated %d", len(raw), n)
		}
		if err != nil {
			mustBeRefusal(t, err)
			mustPickOrRefuse(t, dec, b)
			return
		}
		samePicks(t, dec, b, rs)
		encodeAnew(t, enc, dec, b, rs)
	})
}

// FuzzParseChunk seals arbitrary bytes as a chunk, or with the blocks in it
// sealed as well.
func FuzzParseChunk(f *testing.F) {
	for _, dir := range []string{goldenDir, badDir} {
		for _, name := range frames(f, dir) {
			var any struct{}
			raw := load(f, dir, name, &any)
			f.Add(false, raw)
			f.Add(true, raw)
		}
	}
	dec := NewDecoder()
	f.Fuzz(func(t *testing.T, seal bool, raw []byte) {
		if len(raw) > fuzzInput {
			return
		}
		if seal && len(raw) >= prefixLen {
			raw = resealed(raw)
		}
		var c Chunk
		var err error
		if n := allocated(func() { c, err = ParseChunk(raw) }); n > fuzzInput*16 {
			t.Fatalf("parsing %d bytes allocated %d", len(raw), n)
		}
		if err != nil {
			mustBeRefusal(t, err)
			return
		}
		again, err := AppendChunk(nil, c)
		if err != nil {
			t.Fatalf("a chunk that was parsed is refused: %v", err)
		}
		if d, err := ParseChunk(again); err != nil || d.Gateway != c.Gateway || d.First() != c.First() || d.Last() != c.Last() {
			t.Fatalf("%+v came back as %+v, %v", c, d, err)
		}
		for _, b := range c.Blocks {
			if _, err := dec.Decode(nil, b); err != nil {
				mustBeRefusal(t, err)
			}
		}
	})
}

// FuzzRoundTrip encodes readings, alone and merged from several blocks.
func FuzzRoundTrip(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte("\x00\x14\x01\x14\x02\x15\x40\x16\x80\x00\x41\x17"))
	f.Add(slices.Repeat([]byte{0x00, 0x10, 0x09, 0x20, 0x92, 0x33, 0xff}, 30))
	enc, dec, merger := NewEncoder(), NewDecoder(), NewMerger()
	f.Fuzz(func(t *testing.T, seed []byte) {
		var want []reading.Reading
		var blocks []Block
		next := uint64(1)
		for _, rs := range readingsFrom(seed) {
			raw, err := enc.AppendBlock(nil, Header{Epoch: 1, First: next}, rs)
			if err != nil {
				t.Fatal(err)
			}
			b := parseOne(t, raw)
			got, err := dec.Decode(nil, b)
			if err != nil {
				t.Fatal(err)
			}
			sameSet(t, got, rs)
			want, blocks, next = append(want, got...), append(blocks, b), b.Last()+1
		}
		raw, err := merger.Merge(nil, blocks)
		if err != nil {
			t.Fatal(err)
		}
		got, err := dec.Decode(nil, parseOne(t, raw))
		if err != nil || len(got) != len(want) {
			t.Fatalf("%d readings merged of %d, %v", len(got), len(want), err)
		}
		for i := range want {
			if !same(got[i], want[i]) {
				t.Fatalf("reading %d is %+v, was %+v", i+1, got[i], want[i])
			}
		}
	})
}

// readingsFrom makes blocks of readings of seed: at least one, each of at least
// one reading. A byte chooses who measures what and whether a block ends, the
// next the kind and size of the value, the step of time and the flags.
func readingsFrom(seed []byte) [][]reading.Reading {
	names := []string{"", "a", "ab", "b"}
	blocks := [][]reading.Reading{nil}
	at, last := int64(0), uint64(0)
	for first := true; first || len(seed) > 0; first = false {
		who, what := take(&seed, 1), take(&seed, 1)
		if who >= 0xf0 && len(blocks[len(blocks)-1]) > 0 {
			blocks = append(blocks, nil)
		}
		at += []int64{0, 1, second, -1e6}[what>>3&3]
		last += take(&seed, int(what&7))
		r := reading.Reading{Device: names[who&3], Metric: names[who>>2&3], Unit: names[who>>5&1], Time: at}
		if what >= 0xe0 {
			r.Flags = reading.Flags(last)
		}
		switch who >> 4 & 7 {
		case 4:
			r.Value = reading.Int(int64(last))
		case 5:
			r.Value = reading.Bool(last&1 != 0)
		case 6:
			r.Value = reading.String(string(binary.AppendUvarint(nil, last)))
		case 7:
			r.Value = reading.Bytes(fmt.Sprint(last % 4))
		case 3:
			r.Value = reading.Float(math.Float64frombits(last << 8))
		default:
			r.Value = reading.Float(float64(last) / 100)
		}
		b := &blocks[len(blocks)-1]
		*b = append(*b, r)
	}
	return blocks
}

// take reads an integer of n bytes off the front of seed; what is not there is
// zero.
func take(seed *[]byte, n int) (v uint64) {
	n = min(n, len(*seed))
	for _, b := range (*seed)[:n] {
		v = v<<8 | uint64(b)
	}
	*seed = (*seed)[n:]
	return v
}

// resealed returns raw with the lengths and checksums of every block in it, and
// its own, set right where that can be done.
func resealed(raw []byte) []byte {
	raw = slices.Clone(raw)
	copy(raw, chunkMagic)
	raw[2] = Version
	for at := prefixLen; at+prefixLen <= len(raw); at++ {
		if string(raw[at:at+3]) != blockMagic+"\x01" {
			continue
		}
		n := int64(binary.LittleEndian.Uint32(raw[at+8:]))
		if n >= prefixLen && n <= int64(len(raw)-at) {
			sealFrame(raw[:at+int(n)], at)
			at += int(n) - 1
		}
	}
	sealFrame(raw, 0)
	return raw
}

func encodeAnew(t *testing.T, enc *Encoder, dec *Decoder, b Block, rs []reading.Reading) {
	t.Helper()
	if len(rs) != b.Count {
		t.Fatalf("%d readings in a block of %d", len(rs), b.Count)
	}
	texts := 0
	for _, r := range rs {
		texts += len(r.Device) + len(r.Metric) + len(r.Unit) + len(r.Value.Text())
	}
	if texts > maxTexts {
		return
	}
	raw, err := enc.AppendBlock(nil, b.Header, rs)
	if err != nil {
		t.Fatalf("readings that were decoded are refused: %v", err)
	}
	got, err := dec.Decode(nil, parseOne(t, raw))
	if err != nil {
		t.Fatal(err)
	}
	sameSet(t, got, rs)
}

// sameSet is sameReadings for many readings. It compares them in an order of
// its own: encoding anew need not keep theirs.
func sameSet(t *testing.T, got, want []reading.Reading) {
	t.Helper()
	got, want = slices.Clone(got), slices.Clone(want)
	slices.SortFunc(got, compareReadings)
	slices.SortFunc(want, compareReadings)
	if !slices.EqualFunc(got, want, same) {
		t.Fatalf("%d readings came back as %d others:\n%+v\n%+v", len(want), len(got), want, got)
	}
}

func compareReadings(a, b reading.Reading) int {
	return cmp.Or(
		strings.Compare(a.Device, b.Device), strings.Compare(a.Metric, b.Metric), strings.Compare(a.Unit, b.Unit),
		cmp.Compare(a.Time, b.Time), cmp.Compare(a.Flags, b.Flags), cmp.Compare(a.Value.Kind(), b.Value.Kind()),
		cmp.Compare(math.Float64bits(a.Value.Float()), math.Float64bits(b.Value.Float())),
		cmp.Compare(a.Value.Int(), b.Value.Int()), strings.Compare(a.Value.Text(), b.Value.Text()),
		strings.Compare(a.Value.String(), b.Value.String())) // booleans
}

func mustBeRefusal(t *testing.T, err error) {
	t.Helper()
	if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrVersion) {
		t.Fatalf("%v is neither ErrCorrupt nor ErrVersion", err)
	}
}

// allocated returns how many bytes f allocates in all.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

package kafka

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func codecs() []Codec { return []Codec{Gzip, Snappy, LZ4, Zstd} }

// unpack is the work of those who have written the libraries.
func unpack(t *testing.T, packed []byte, c Codec) []byte {
	t.Helper()
	var out []byte
	var err error
	switch c {
	case None:
		return packed
	case Gzip:
		var r io.Reader
		if r, err = gzip.NewReader(bytes.NewReader(packed)); err == nil {
			out, err = io.ReadAll(r)
		}
	case Snappy:
		out, err = s2.Decode(nil, packed)
	case LZ4:
		out, err = io.ReadAll(lz4.NewReader(bytes.NewReader(packed)))
	case Zstd:
		var r *zstd.Decoder
		if r, err = zstd.NewReader(nil); err == nil {
			defer r.Close()
			out, err = r.DecodeAll(packed, nil)
		}
	}
	if err != nil {
		t.Fatalf("codec %d: %v", c, err)
	}
	return out
}

func newPacker(t testing.TB, c Codec) *Packer {
	t.Helper()
	p, err := NewPacker(c)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// telemetry are JSON objects that differ as readings do.
func telemetry(n int) []byte {
	random := rand.New(rand.NewPCG(1, 2))
	var b []byte
	for i := range n {
		b = fmt.Appendf(b, `{"gateway":"north-7","epoch":"00000000000004d2","lane":"normal","seq":%d,"device":"dev-%d","metric":"temp","unit":"Cel","time":%d,"value":%.2f}`,
			i, i%7, 1_700_000_000_123+int64(i)*997, 20+random.Float64())
	}
	return b
}

func TestOthersUnpackWhatWasPacked(t *testing.T) {
	noise := make([]byte, 200_000)
	random := rand.New(rand.NewPCG(1, 2))
	for i := range noise {
		noise[i] = byte(random.Uint32())
	}
	for name, text := range map[string][]byte{
		"nothing": {}, "a byte": {7}, "short": []byte("aaaaaaaaaaaa"), "same": make([]byte, 300_000), "readings": telemetry(2000), "noise": noise,
		"half noise": append(noise[:100_000:100_000], telemetry(500)...), "a block": telemetry(2000)[:lzBlock], "a block and a byte": telemetry(2000)[:lzBlock+1],
	} {
		for _, c := range codecs() {
			s := new(seeker)
			var packed []byte
			switch c { // without the way out that pack has
			case Snappy:
				packed = appendSnappy(nil, text, s)
			case LZ4:
				packed = appendLZ4(nil, text, s)
			default:
				var as Codec
				if packed, as = newPacker(t, c).pack(text); as == None {
					continue
				}
			}
			if got := unpack(t, packed, c); !bytes.Equal(got, text) {
				t.Errorf("%s, codec %d: %d bytes, want %d", name, c, len(got), len(text))
			}
			if len(packed) > len(text)+len(text)/100+64 {
				t.Errorf("%s, codec %d: %d bytes became %d", name, c, len(text), len(packed))
			}
		}
	}
	for _, c := range codecs() {
		if packed, as := newPacker(t, c).pack(noise); as != None || packed != nil {
			t.Errorf("codec %d makes noise smaller", c)
		}
	}
}

// Ours need not be the best, but must be worth having.
func TestPackedAsSmallAsOthersDo(t *testing.T) {
	text := telemetry(5000)
	var frame bytes.Buffer
	w := lz4.NewWriter(&frame)
	w.Apply(lz4.BlockSizeOption(lz4.Block64Kb))
	w.Write(text)
	w.Close()
	for c, theirs := range map[Codec]int{Snappy: len(s2.EncodeSnappy(nil, text)), LZ4: frame.Len()} {
		packed, _ := newPacker(t, c).pack(text)
		t.Logf("codec %d: %d bytes to %d; theirs %d", c, len(text), len(packed), theirs)
		if len(packed) > theirs*6/5 {
			t.Errorf("codec %d: %d bytes, theirs %d", c, len(packed), theirs)
		}
	}
}

func TestPackerServesManyAtOnce(t *testing.T) {
	for _, c := range codecs() {
		p := newPacker(t, c)
		var tasks sync.WaitGroup
		for i := range 8 {
			tasks.Go(func() {
				text := telemetry(100 + i)
				packed, as := p.pack(text)
				if got := unpack(t, packed, as); !bytes.Equal(got, text) {
					t.Errorf("codec %d: mixed up", c)
				}
			})
		}
		tasks.Wait()
	}
}

// FuzzPack: what is packed comes out as it was, whatever it is.
func FuzzPack(f *testing.F) {
	f.Add([]byte("abcabcabcabcabcabcabcabc"), 1)
	f.Add(telemetry(3), 500)
	f.Add([]byte(strings.Repeat("a", 70)), 1000)
	f.Fuzz(func(t *testing.T, text []byte, times int) {
		text = bytes.Repeat(text, min(max(times, 1), 200_000/(len(text)+1)+1))
		s := new(seeker)
		if got := unpack(t, appendSnappy(nil, text, s), Snappy); !bytes.Equal(got, text) {
			t.Errorf("snappy: %d bytes, want %d", len(got), len(text))
		}
		if got := unpack(t, appendLZ4(nil, text, s), LZ4); !bytes.Equal(got, text) {
			t.Errorf("lz4: %d bytes, want %d", len(got), len(text))
		}
	})
}

// FuzzBatch: what is in a batch is what others read in it.
func FuzzBatch(f *testing.F) {
	f.Add([]byte("boiler"), []byte("21.5"), "Tidegate-Key", []byte("x"), int64(1_700_000_000_000), 3, int64(7), int16(1), int32(99))
	f.Add([]byte{}, []byte{}, "", []byte{}, int64(-5), 1, int64(0), int16(0), int32(0))
	f.Fuzz(func(t *testing.T, key, value []byte, name string, said []byte, at int64, n int, producer int64, epoch int16, sequence int32) {
		n = min(max(n, 1), 50)
		var records []Record
		size := Overhead
		for i := range n {
			r := Record{Key: key, Value: value, Time: at%1e15 + int64(i%5)*int64(i)}
			if i%2 == 1 {
				r.Key, r.Headers = nil, []Header{{name, said}, {name, nil}}
			}
			records = append(records, r)
			size += r.Most()
		}
		for _, c := range append(codecs(), None) {
			raw := AppendBatch(nil, records, newPacker(t, c))
			Seal(raw, producer, epoch, sequence)
			var b kmsg.RecordBatch
			if err := b.ReadFrom(raw); err != nil {
				t.Fatal(err)
			}
			if uint32(b.CRC) != crc(raw[21:]) || int(b.Length) != len(raw)-12 || b.ProducerID != producer || b.ProducerEpoch != epoch || b.FirstSequence != sequence || int(b.NumRecords) != n {
				t.Fatalf("%+v", b)
			}
			rest := unpack(t, b.Records, Codec(b.Attributes&7))
			if Overhead+len(rest) > size {
				t.Errorf("%d bytes, at most %d were said", Overhead+len(rest), size)
			}
			for i := range records {
				rest = same(t, rest, records[i], i, b.FirstTimestamp)
			}
			if len(rest) > 0 {
				t.Errorf("%d bytes too many", len(rest))
			}
		}
	})
}

// same reads a record and compares it.
func same(t *testing.T, b []byte, want Record, n int, first int64) (rest []byte) {
	t.Helper()
	r := reader{rest: b}
	length, width := uvarint(b)
	whole := r.take(width + length)
	if r.bad {
		t.Fatal("a record is cut")
	}
	var k kmsg.Record
	if err := k.ReadFrom(whole); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(k.Key, want.Key) || (k.Key == nil) != (want.Key == nil) || !bytes.Equal(k.Value, want.Value) || len(k.Headers) != len(want.Headers) ||
		first+k.TimestampDelta64 != want.Time || int(k.OffsetDelta) != n {
		t.Fatalf("record %d: %+v, want %+v", n, k, want)
	}
	for i, h := range k.Headers {
		if h.Key != want.Headers[i].Key || !bytes.Equal(h.Value, want.Headers[i].Value) {
			t.Fatalf("header %d of record %d: %+v", i, n, h)
		}
	}
	return r.rest
}

// uvarint reads a zigzag varint that is no number below zero.
func uvarint(b []byte) (n, width int) {
	for i, c := range b {
		n |= int(c&0x7f) << (7 * i)
		if c < 0x80 {
			return n >> 1, i + 1
		}
	}
	return 0, 0
}

func BenchmarkPack(b *testing.B) {
	text := telemetry(1000)
	for c, name := range map[Codec]string{Gzip: "Gzip", Snappy: "Snappy", LZ4: "LZ4", Zstd: "Zstd"} {
		b.Run(name, func(b *testing.B) {
			p := newPacker(b, c)
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			size := 0
			for b.Loop() {
				packed, _ := p.pack(text)
				size = len(packed)
			}
			b.ReportMetric(float64(size)/float64(len(text)), "ratio")
		})
	}
	b.Run("TheirSnappy", func(b *testing.B) {
		b.SetBytes(int64(len(text)))
		for b.Loop() {
			s2.EncodeSnappy(nil, text)
		}
	})
	b.Run("TheirLZ4", func(b *testing.B) {
		b.SetBytes(int64(len(text)))
		w := lz4.NewWriter(io.Discard)
		for b.Loop() {
			w.Reset(io.Discard)
			w.Write(text)
			w.Close()
		}
	})
}

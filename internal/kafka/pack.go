package kafka

import (
	"bytes"
	"compress/gzip"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// Codec is how the records of a batch are packed. Its number is that of the
// batch's attributes.
type Codec int16

// What every broker unpacks, zstd since Kafka 2.1.
const (
	None Codec = iota
	Gzip
	Snappy
	LZ4
	Zstd
)

// zstdWindow is how far back zstd looks, in bytes: as far as snappy and lz4 do. It
// is also what receivers need of memory for it.
const zstdWindow = 64 << 10

// Packer packs batches. It may be used by several goroutines at once; those of
// zstd take turns.
type Packer struct {
	codec Codec
	zstd  *zstd.Encoder
	gzips sync.Pool // of *gzip.Writer
	seeks sync.Pool // of *seeker
}

// NewPacker returns a Packer for one codec.
func NewPacker(codec Codec) (*Packer, error) {
	p := &Packer{codec: codec}
	p.gzips.New = func() any { return gzip.NewWriter(nil) }
	p.seeks.New = func() any { return new(seeker) }
	if codec != Zstd {
		return p, nil
	}
	var err error
	p.zstd, err = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(zstdWindow), zstd.WithZeroFrames(true), zstd.WithEncoderCRC(false))
	return p, err
}

// pack returns the records packed, or None if that makes nothing smaller. A nil
// Packer packs nothing.
func (p *Packer) pack(records []byte) ([]byte, Codec) {
	if p == nil || p.codec == None {
		return nil, None
	}
	var packed []byte
	switch p.codec {
	case Gzip:
		packed = p.gzip(records)
	case Zstd:
		packed = p.zstd.EncodeAll(records, make([]byte, 0, len(records)/2))
	default:
		s := p.seeks.Get().(*seeker)
		defer p.seeks.Put(s)
		if p.codec == Snappy {
			packed = appendSnappy(make([]byte, 0, len(records)/2), records, s)
		} else {
			packed = appendLZ4(make([]byte, 0, len(records)/2), records, s)
		}
	}
	if packed == nil || len(packed) >= len(records) {
		return nil, None
	}
	return packed, p.codec
}

func (p *Packer) gzip(records []byte) []byte {
	w := p.gzips.Get().(*gzip.Writer)
	defer p.gzips.Put(w)
	var out bytes.Buffer
	w.Reset(&out)
	if _, err := w.Write(records); err != nil {
		return nil
	}
	if err := w.Close(); err != nil {
		return nil
	}
	return out.Bytes()
}

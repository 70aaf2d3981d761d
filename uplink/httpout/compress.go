package httpout

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// Compression is how bodies are compressed.
type Compression string

// The values of Compression. Bodies of less than a kilobyte, and packed ones,
// which are compressed in themselves, always go as they are. Auto is gzip: every
// server that takes readings knows it.
const (
	Auto Compression = "auto"
	None Compression = "none"
	Gzip Compression = "gzip"
	Zstd Compression = "zstd"
)

const (
	packedType  = "application/vnd.tidegate.chunk"
	minCompress = 1 << 10
	// zstdWindow is enough for readings, which resemble those just before, and
	// keeps the memory of the compressor below two megabytes.
	zstdWindow = 256 << 10
)

// packer compresses bodies. It is safe for concurrent use.
type packer struct {
	how  Compression
	gzip *sync.Pool // of *gzip.Writer, which take a megabyte each
	zstd *zstd.Encoder
}

func newPacker(how Compression) (packer, error) {
	p := packer{how: how}
	switch how {
	case "", None:
	case Auto, Gzip:
		p.gzip = &sync.Pool{New: func() any { return gzip.NewWriter(nil) }}
	case Zstd:
		var err error
		p.zstd, err = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true), zstd.WithWindowSize(zstdWindow))
		if err != nil {
			return p, fmt.Errorf("http uplink: %w", err)
		}
	default:
		return p, fmt.Errorf("http uplink: compression %q — hint: auto, none, gzip or zstd", how)
	}
	return p, nil
}

func (p packer) close() {
	if p.zstd != nil {
		p.zstd.Close()
	}
}

// pack returns the body to send, and the name of its encoding.
func (p packer) pack(contentType string, body []byte) ([]byte, string, error) {
	if p.gzip == nil && p.zstd == nil || contentType == packedType || len(body) < minCompress {
		return body, "", nil
	}
	packed, name := []byte(nil), string(Zstd)
	if p.zstd != nil {
		packed = p.zstd.EncodeAll(body, make([]byte, 0, len(body)/4))
	} else {
		var err error
		if packed, err = p.zipped(body); err != nil {
			return nil, "", err
		}
		name = string(Gzip)
	}
	if len(packed) >= len(body) {
		return body, "", nil
	}
	return packed, name, nil
}

func (p packer) zipped(body []byte) ([]byte, error) {
	var packed bytes.Buffer
	packed.Grow(len(body) / 4)
	z := p.gzip.Get().(*gzip.Writer)
	defer p.gzip.Put(z)
	z.Reset(&packed)
	_, err := z.Write(body)
	err = errors.Join(err, z.Close())
	return packed.Bytes(), err
}

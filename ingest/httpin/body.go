package httpin

import (
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// readBody returns the body of a request, decompressed. It takes memory from the
// budget first, which free gives back; the body is not valid any more then.
func (d *door) readBody(r *http.Request) (body []byte, free func(), refused *refusal) {
	limit := int64(d.cfg.MaxBody)
	if r.ContentLength > limit {
		return nil, nil, d.tooLarge()
	}
	coding := strings.ToLower(strings.TrimSpace(r.Header.Get("Content-Encoding")))
	size := 2 * limit // as it came and as it is: nobody knows what becomes of a compressed body
	if coding == "" && r.ContentLength >= 0 {
		size = r.ContentLength
	}
	if !d.room.take(size) {
		d.stats.overload.Add(1)
		return nil, nil, later(http.StatusTooManyRequests, 1, "too many requests at once", "wait as Retry-After says, and spread devices that start together")
	}
	free = func() { d.room.give(size) }
	body, refused = d.decompress(r, coding)
	if refused != nil {
		free()
		return nil, nil, refused
	}
	return body, free, nil
}

func (d *door) tooLarge() *refusal {
	d.stats.tooLarge.Add(1)
	return refuse(http.StatusRequestEntityTooLarge, "send less at once, or raise max_body", "the body is larger than %d bytes", d.cfg.MaxBody)
}

// decompress reads what the body says.
func (d *door) decompress(r *http.Request, coding string) ([]byte, *refusal) {
	switch coding {
	case "", "identity":
		return d.read(r.Body)
	case "gzip":
		unzip, err := gzip.NewReader(r.Body)
		if err != nil {
			return nil, unreadable(err)
		}
		return d.read(unzip)
	case "zstd":
		packed, refused := d.read(r.Body)
		if refused != nil {
			return nil, refused
		}
		// All at once: a stream takes as much memory as its header asks for.
		body, err := d.unzstd.DecodeAll(packed, nil)
		switch {
		case errors.Is(err, zstd.ErrDecoderSizeExceeded) || errors.Is(err, zstd.ErrWindowSizeExceeded) || len(body) > d.cfg.MaxBody:
			return nil, d.tooLarge()
		case err != nil:
			return nil, unreadable(err)
		}
		return body, nil
	}
	return nil, refuse(http.StatusUnsupportedMediaType, "send gzip or zstd, or do not compress", "content encoding %q is not known here", coding)
}

// read reads all there is, but no more than a body may have.
func (d *door) read(from io.Reader) ([]byte, *refusal) {
	body, err := io.ReadAll(io.LimitReader(from, int64(d.cfg.MaxBody)+1))
	switch {
	case err != nil:
		return nil, unreadable(err)
	case len(body) > d.cfg.MaxBody:
		return nil, d.tooLarge()
	}
	return body, nil
}

// zstdWindow is how far back a body may refer: what zstd's levels ask for at the
// most, however small the body is.
const zstdWindow = 8 << 20

// newUnzstd returns a decompressor. It has no goroutines, and unpacks one body
// at a time.
func newUnzstd(maxBody int) (*zstd.Decoder, error) {
	return zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxMemory(uint64(max(maxBody, zstdWindow))))
}

func unreadable(err error) *refusal {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return refuse(http.StatusBadRequest, "send it again", "the body ends too early")
	}
	return refuse(http.StatusBadRequest, "check the compression and Content-Encoding", "the body cannot be read: %v", err)
}

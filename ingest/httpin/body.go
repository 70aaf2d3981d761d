package httpin

import (
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// readBody returns the body of a request, decompressed. What it takes of memory
// is on the bill; the body is not valid any more when that is paid.
func (d *door) readBody(r *http.Request, b *bill) ([]byte, *refusal) {
	if r.ContentLength > int64(d.cfg.MaxBody) {
		return nil, d.tooLarge()
	}
	switch coding := strings.ToLower(strings.TrimSpace(r.Header.Get("Content-Encoding"))); coding {
	case "", "identity":
		return d.read(r.Body, int(r.ContentLength), b)
	case "gzip":
		return d.gunzip(r, b)
	case "zstd":
		return d.unpack(r, b)
	default:
		return nil, refuse(http.StatusUnsupportedMediaType, "send gzip or zstd, or do not compress", "content encoding %q is not known here", coding)
	}
}

func (d *door) overloaded() *refusal {
	d.stats.overload.Add(1)
	return later(http.StatusTooManyRequests, 1, "too many requests at once", "wait as Retry-After says, and spread devices that start together")
}

func (d *door) tooLarge() *refusal {
	d.stats.tooLarge.Add(1)
	return refuse(http.StatusRequestEntityTooLarge, "send less at once, or raise max_body", "the body is larger than %d bytes", d.cfg.MaxBody)
}

const (
	// leastRead and mostAhead bound the memory that a body gets before anything
	// of it has come: what a client announces is not there yet.
	leastRead, mostAhead = 512, 16 << 10
	// gunzipper is what decompression takes: 32 KiB to look back, and tables.
	gunzipper = 48 << 10
)

// read reads all there is, but no more than a body may have. expected is how many
// bytes will come, negative if nobody knows.
func (d *door) read(from io.Reader, expected int, b *bill) ([]byte, *refusal) {
	most := d.cfg.MaxBody + 1 // one more tells that there is too much
	size := min(max(expected+1, leastRead), mostAhead, most)
	if !b.take(size) {
		return nil, d.overloaded()
	}
	body := make([]byte, 0, size)
	for {
		if len(body) == cap(body) {
			if size = min(2*len(body), most); !b.take(size) {
				return nil, d.overloaded()
			}
			b.give(len(body))
			body = append(make([]byte, 0, size), body...)
		}
		n, err := from.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		switch {
		case len(body) == most:
			return nil, d.tooLarge()
		case err == io.EOF:
			return body, nil
		case err != nil:
			return nil, d.unreadable(err)
		}
	}
}

// gunzip reads a body that gzip has packed. What comes is bounded as well as what
// is in it: members may be empty.
func (d *door) gunzip(r *http.Request, b *bill) ([]byte, *refusal) {
	if !b.take(gunzipper) {
		return nil, d.overloaded()
	}
	packed := &bounds{from: r.Body, left: d.cfg.MaxBody}
	unzip, err := gzip.NewReader(packed)
	if err != nil {
		return nil, d.unreadable(err)
	}
	return d.read(unzip, -1, b)
}

// errTooMuch ends a body that does not.
var errTooMuch = errors.New("too much")

// bounds is a reader that fails when more has come than may.
type bounds struct {
	from io.Reader
	left int
}

// Read implements io.Reader.
func (b *bounds) Read(p []byte) (int, error) {
	n, err := b.from.Read(p)
	if b.left -= n; b.left < 0 {
		return 0, errTooMuch
	}
	return n, err
}

// unpack reads a body that zstd has packed, all at once: a stream takes as much
// memory as its header asks for.
func (d *door) unpack(r *http.Request, b *bill) ([]byte, *refusal) {
	packed, refused := d.read(r.Body, int(r.ContentLength), b)
	if refused != nil {
		return nil, refused
	}
	most := d.cfg.MaxBody + zstdBlock
	size := most
	var header zstd.Header
	if header.Decode(packed) == nil && header.HasFCS && header.FrameContentSize < uint64(d.cfg.MaxBody) {
		size = int(header.FrameContentSize) + zstdSpace
	}
	for {
		if !b.take(size) {
			return nil, d.overloaded()
		}
		body, err := d.unzstd.DecodeAll(packed, make([]byte, 0, size))
		switch {
		case len(body) > d.cfg.MaxBody: // with an error, too: there was no room for what comes next
			return nil, d.tooLarge()
		case err == nil:
			return body, nil
		case size < most: // there may be more behind the first frame
			b.give(size)
			size = most
		case errors.Is(err, zstd.ErrDecoderSizeExceeded):
			return nil, d.tooLarge()
		default:
			return nil, d.unreadable(err)
		}
	}
}

const (
	// zstdWindow is how far back a body may refer: as far as zstd's own decoder
	// allows. It takes no memory, because bodies are unpacked as a whole.
	zstdWindow = 128 << 20
	// zstdBlock is the largest block, and zstdSpace what the library writes
	// beyond the end of one.
	zstdBlock = 128<<10 + zstdSpace
	zstdSpace = 64
)

// newUnzstd returns a decompressor. It has no goroutines, unpacks one body at a
// time, and no more of it than it is given room for.
func newUnzstd() (*zstd.Decoder, error) {
	return zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxMemory(zstdWindow), zstd.WithDecodeAllCapLimit(true))
}

func (d *door) unreadable(err error) *refusal {
	switch {
	case errors.Is(err, errTooMuch):
		return d.tooLarge()
	case errors.Is(err, os.ErrDeadlineExceeded):
		return later(http.StatusRequestTimeout, 1, "the body did not come in time", "send it again, or less at once if the link is slow")
	case errors.Is(err, io.ErrUnexpectedEOF):
		return refuse(http.StatusBadRequest, "send it again", "the body ends too early")
	}
	return refuse(http.StatusBadRequest, "check the compression and Content-Encoding", "the body cannot be read: %v", err)
}

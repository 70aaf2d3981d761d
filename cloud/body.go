package cloud

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"net/http"
)

const (
	// requestOverhead is what a request costs in memory besides its body.
	requestOverhead = 16 << 10
	// maxRatio is how much larger a body may become by decompression. Readings
	// as JSON shrink to a thirtieth; a bomb shrinks to a thousandth.
	maxRatio = 100
	// ratioFree is the size up to which the ratio does not matter.
	ratioFree = 64 << 10
)

// need returns how much memory the request may take, before any of it is read.
func (r *Receiver) need(req *http.Request) (int64, error) {
	if req.ContentLength > r.maxBody {
		return 0, r.tooLarge()
	}
	switch req.Header.Get("Content-Encoding") {
	case "", "identity":
		if req.ContentLength >= 0 {
			return req.ContentLength + requestOverhead, nil
		}
		return r.maxBody + requestOverhead, nil
	case "gzip":
		if req.ContentLength >= 0 {
			return req.ContentLength + r.inflated(req.ContentLength) + requestOverhead, nil
		}
		return 2*r.maxBody + requestOverhead, nil
	}
	return 0, refuse(http.StatusUnsupportedMediaType, "send gzip, or nothing compressed", "Content-Encoding %.100q", req.Header.Get("Content-Encoding"))
}

func (r *Receiver) tooLarge() *refusal {
	return refuse(http.StatusRequestEntityTooLarge, "set the uplink's max_batch lower", "body of more than %d bytes", r.maxBody)
}

// readBody returns the body, decompressed, and its size as it travelled.
func (r *Receiver) readBody(w http.ResponseWriter, req *http.Request) (body []byte, size int64, err error) {
	var buf bytes.Buffer
	if req.ContentLength > 0 {
		buf.Grow(int(min(req.ContentLength, ratioFree)) + bytes.MinRead)
	}
	size, err = buf.ReadFrom(http.MaxBytesReader(w, req.Body, r.maxBody))
	if err != nil {
		var limit *http.MaxBytesError
		if errors.As(err, &limit) {
			return nil, 0, r.tooLarge()
		}
		// Cut off on the way: the gateway knows, and sends it again.
		return nil, 0, &refusal{status: http.StatusRequestTimeout, reason: "the body ended early", hint: "send it again"}
	}
	if req.Header.Get("Content-Encoding") != "gzip" {
		return buf.Bytes(), size, nil
	}
	body, err = r.gunzip(buf.Bytes())
	return body, size, err
}

// inflated is how large a compressed body of a size may become.
func (r *Receiver) inflated(size int64) int64 { return min(r.maxBody, max(ratioFree, maxRatio*size)) }

func (r *Receiver) gunzip(packed []byte) ([]byte, error) {
	limit := r.inflated(int64(len(packed)))
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, refuse(http.StatusBadRequest, "the body is not what its Content-Encoding says", "gzip: %v", err)
	}
	var buf bytes.Buffer
	n, err := buf.ReadFrom(io.LimitReader(z, limit+1))
	if err != nil {
		return nil, refuse(http.StatusBadRequest, "the bytes are damaged", "gzip: %v", err)
	}
	if n > limit {
		return nil, refuse(http.StatusRequestEntityTooLarge, "send smaller batches", "%d bytes grow beyond %d by decompression", len(packed), limit)
	}
	return buf.Bytes(), nil
}

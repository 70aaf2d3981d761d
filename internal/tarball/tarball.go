// Package tarball writes tar archives of small files, in the format that POSIX calls
// ustar (IEEE Std 1003.1, pax, "ustar Interchange Format"). The library of Go reads
// and writes much more of it, which a small program need not carry.
package tarball

import (
	"errors"
	"fmt"
	"io"
	"time"
)

// block is what everything in an archive is a multiple of, in bytes.
const block = 512

// Writer writes one archive.
type Writer struct{ w io.Writer }

// NewWriter returns a Writer to w. Close ends the archive.
func NewWriter(w io.Writer) *Writer { return &Writer{w} }

// maxName is how many bytes a name may have, maxSize how many a file.
const (
	maxName = 100
	maxSize = 1<<33 - 1
)

// File adds a file, which nobody but its owner may read when it is unpacked.
func (t *Writer) File(name string, changed time.Time, content []byte) error {
	if name == "" || len(name) > maxName || int64(len(content)) > maxSize {
		return fmt.Errorf("%q of %d bytes has no place in an archive", name, len(content))
	}
	var h [block]byte
	copy(h[:maxName], name)
	octal(h[100:108], 0o600)
	octal(h[108:116], 0) // user and group
	octal(h[116:124], 0)
	octal(h[124:136], int64(len(content)))
	octal(h[136:148], max(0, min(changed.Unix(), maxSize)))
	h[156] = '0' // a regular file
	copy(h[257:265], "ustar\x0000")
	copy(h[148:156], "        ") // the sum is made as if it was blank
	sum := int64(0)
	for _, b := range h {
		sum += int64(b)
	}
	octal(h[148:155], sum)
	_, err := t.w.Write(h[:])
	if err == nil {
		_, err = t.w.Write(content)
	}
	if rest := len(content) % block; err == nil && rest > 0 {
		_, err = t.w.Write(make([]byte, block-rest))
	}
	return err
}

// octal writes a number that ends in NUL.
func octal(dst []byte, n int64) {
	copy(dst, fmt.Sprintf("%0*o\x00", len(dst)-1, n))
}

// Close writes the end of the archive. It does not close what is below.
func (t *Writer) Close() error {
	n, err := t.w.Write(make([]byte, 2*block))
	if err == nil && n < 2*block {
		err = errors.New("archive not ended")
	}
	return err
}

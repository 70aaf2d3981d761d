package buffer

import (
	"bytes"
	"errors"
	"io"
	"os"
)

// scanner reads the records of one segment in order. It is what recovery and
// cursors have in common.
type scanner struct {
	file   readFile
	number uint64
	off    int64  // where the next record is looked for
	limit  int64  // records end here: what lies beyond is unwritten, or old
	record uint64 // number of the last record; later ones are higher
	buf    []byte // holds bufOff..bufOff+len(buf) of the file
	bufOff int64
}

// readFile is what a scanner needs of its file; tests put bad spots behind it.
type readFile interface {
	io.ReaderAt
	io.Closer
}

// scanWindow is how much is read at once: a commit of a lone reading is some
// hundred bytes, a full group a hundred kilobytes.
const scanWindow = 128 << 10

// errEnd means that no record follows.
var errEnd = errors.New("end of segment")

func openScanner(dir string, number uint64, limit int64) (*scanner, error) {
	f, err := os.Open(segmentPath(dir, number))
	if err != nil {
		return nil, err
	}
	return &scanner{file: f, number: number, limit: limit}, nil
}

func (s *scanner) close() error { return s.file.Close() }

// next returns the next record that checks, and how many bytes that do not
// were passed over on the way. What follows a damaged record is found by its
// header, so rot costs itself alone. errEnd means that none follows; more may,
// later, at the same place. The record's blocks are valid until the next call.
func (s *scanner) next() (rec record, skipped int64, err error) {
	start := s.off
	for {
		rec, err := s.at(s.off)
		if err == nil {
			skipped := s.off - start
			s.off += int64(rec.size)
			s.record = rec.number
			return rec, skipped, nil
		}
		if !errors.Is(err, errDamaged) {
			s.off = start
			return record{}, 0, err
		}
		next, err := s.find(s.off + 1)
		if err != nil {
			s.off = start
			return record{}, 0, err
		}
		s.off = next
	}
}

// errDamaged means that there is no whole record at this place.
var errDamaged = errors.New("damaged record")

func (s *scanner) at(off int64) (record, error) {
	header, err := s.window(off, recordHeader)
	if err != nil {
		return record{}, err
	}
	number, n, ok := recordLength(header, s.number)
	if !ok || number <= s.record || off+recordHeader+int64(n) > s.limit {
		return record{}, errDamaged
	}
	whole, err := s.window(off, recordHeader+n)
	if errors.Is(err, errEnd) {
		return record{}, errDamaged // truncated
	}
	if err != nil {
		return record{}, err
	}
	rec, ok := parseBody(whole[:recordHeader], whole[recordHeader:])
	if !ok {
		return record{}, errDamaged
	}
	return rec, nil
}

// find returns the place of the next header of this segment from off on.
func (s *scanner) find(off int64) (int64, error) {
	for {
		b, err := s.window(off, recordHeader)
		if err != nil {
			return 0, err
		}
		have := s.buf[off-s.bufOff:]
		i := bytes.Index(have, []byte(recordMagic))
		if i < 0 {
			off += int64(max(len(have)-len(recordMagic)+1, 1))
			continue
		}
		off += int64(i)
		if b, err = s.window(off, recordHeader); err != nil {
			return 0, err
		}
		if number, _, ok := recordLength(b, s.number); ok && number > s.record {
			return off, nil
		}
		off++
	}
}

// window returns n bytes at off, or errEnd when the records end before them.
func (s *scanner) window(off int64, n int) ([]byte, error) {
	if off+int64(n) > s.limit {
		return nil, errEnd
	}
	if at := off - s.bufOff; at >= 0 && at+int64(n) <= int64(len(s.buf)) {
		return s.buf[at : at+int64(n)], nil
	}
	size := max(n, scanWindow)
	if cap(s.buf) < size {
		s.buf = make([]byte, size)
	}
	s.bufOff, s.buf = off, s.buf[:size]
	got, err := s.file.ReadAt(s.buf, off)
	if err != nil && !errors.Is(err, io.EOF) {
		got, err = readAround(s.file, s.buf, off)
	}
	s.buf = s.buf[:got]
	if got >= n {
		return s.buf[:n], nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		return nil, errEnd
	}
	return nil, err
}

// readAround reads page by page. A page that cannot be read counts as zeros,
// and checksums say what that costs: a bad spot must not hide what lies behind
// it. When no page can be read, nor the file's first, the medium is gone, which
// is an error and no damage.
func readAround(f io.ReaderAt, buf []byte, off int64) (n int, err error) {
	var good bool
	var bad error
	for n < len(buf) {
		size := min(pageSize-int((off+int64(n))%pageSize), len(buf)-n)
		got, err := f.ReadAt(buf[n:n+size], off+int64(n))
		if errors.Is(err, io.EOF) {
			n += got
			break
		}
		if err != nil {
			bad, got = err, size
			clear(buf[n : n+size])
		} else {
			good = true
		}
		n += got
	}
	if good {
		return n, nil
	}
	if _, err := f.ReadAt(make([]byte, 1), 0); err != nil {
		return 0, bad
	}
	return n, nil
}

// extend moves the limit and drops what was read ahead of it, because it has
// been written since.
func (s *scanner) extend(limit int64) { s.limit, s.buf = limit, s.buf[:0] }

// unread makes next return rec once more.
func (s *scanner) unread(rec record) {
	s.off -= int64(rec.size)
	s.record = rec.number - 1
}

package buffer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	// segmentSize is the size of a segment file.
	segmentSize = 8 << 20
	// zeroStep is how far ahead of the records a segment is filled with zeros.
	// Overwriting blocks that were written once costs one flash page a commit;
	// growing a file, or writing into a hole, costs a journal commit of the
	// file system as well, four to seven times as much.
	zeroStep = 256 << 10
	pageSize = 4096

	segmentSuffix = ".seg"
)

// file is what a segment needs of its file; tests put faults behind it that no
// real disk can be made to show on demand.
type file interface {
	ReadAt(p []byte, off int64) (int, error)
	WriteAt(p []byte, off int64) (int, error)
	Fd() uintptr
	Close() error
}

// segment is the file that is being written.
type segment struct {
	file   file
	sync   func(file) error
	number uint64
	end    int64 // where the next record goes
	zeroed int64 // up to here the file's blocks have been written once
}

func segmentPath(dir string, number uint64) string {
	return filepath.Join(dir, fmt.Sprintf("%012d%s", number, segmentSuffix))
}

// segmentNumber is the inverse of segmentPath.
func segmentNumber(name string) (uint64, bool) {
	digits, ok := strings.CutSuffix(name, segmentSuffix)
	if !ok || len(digits) != 12 { // enough for eight exabytes
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	return n, err == nil && n > 0
}

// createSegment makes a new file with all of its room reserved, so that a full
// disk shows here and not in the middle of a commit.
func createSegment(dir string, number uint64) (*segment, error) {
	f, err := os.OpenFile(segmentPath(dir, number), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	if err := allocate(f); err != nil {
		f.Close()
		os.Remove(f.Name())
		return nil, err
	}
	if err := syncDir(dir); err != nil {
		f.Close()
		os.Remove(f.Name())
		return nil, err
	}
	return &segment{file: f, sync: fdatasync, number: number}, nil
}

// allocate reserves the file's blocks. Where the file system cannot, the file is made
// long, and a full disk may show later.
func allocate(f *os.File) error {
	err := unix.Fallocate(int(f.Fd()), 0, 0, segmentSize)
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		return f.Truncate(segmentSize)
	}
	return err
}

// openSegment opens a segment to go on writing at end.
func openSegment(dir string, number uint64, end int64) (*segment, error) {
	f, err := os.OpenFile(segmentPath(dir, number), os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	return &segment{file: f, sync: fdatasync, number: number, end: end, zeroed: max(writtenUpTo(f), end)}, nil
}

// writtenUpTo returns up to where the file's blocks hold data: up to its first
// hole, which is what the kernel calls reserved blocks, too.
func writtenUpTo(f *os.File) int64 {
	hole, err := unix.Seek(int(f.Fd()), 0, unix.SEEK_HOLE)
	if err != nil {
		return 0
	}
	return hole
}

// segmentHead tells the records of a segment from others under the same number:
// it is the checksum of the first header, which knows the body's. It is 0 when
// there is no such header.
func segmentHead(dir string, number uint64) uint32 {
	header, ok := firstHeader(dir, number)
	if !ok {
		return 0
	}
	return binary.LittleEndian.Uint32(header[4:])
}

// firstHeader is the header that the segment begins with.
func firstHeader(dir string, number uint64) (header []byte, ok bool) {
	f, err := os.Open(segmentPath(dir, number))
	if err != nil {
		return nil, false
	}
	defer f.Close()
	header = make([]byte, recordHeader)
	if _, err := f.ReadAt(header, 0); err != nil {
		return nil, false
	}
	_, _, ok = recordLength(header, number)
	return header, ok
}

func (s *segment) fits(n int) bool { return s.end+int64(n) <= segmentSize }

// append writes the record and brings it to stable storage. It returns the
// bytes of flash that this took. After an error nothing may be appended any
// more: what the file holds beyond end is unknown, and a second fdatasync would
// report success for pages that were dropped.
func (s *segment) append(rec []byte) (flash int64, err error) {
	last := s.end + int64(len(rec))
	if last > s.zeroed && s.zeroed < segmentSize {
		n := min((last+zeroStep-1)/zeroStep*zeroStep, segmentSize) - s.zeroed
		if _, err := s.file.WriteAt(make([]byte, n), s.zeroed); err != nil {
			return 0, err
		}
		s.zeroed += n
		flash += n
	}
	if _, err := s.file.WriteAt(rec, s.end); err != nil {
		return flash, err
	}
	if err := s.sync(s.file); err != nil {
		return flash, fmt.Errorf("fdatasync: %w", err)
	}
	flash += (last+pageSize-1)/pageSize*pageSize - s.end/pageSize*pageSize
	s.end = last
	return flash, nil
}

func (s *segment) close() error { return s.file.Close() }

func fdatasync(f file) error { return unix.Fdatasync(int(f.Fd())) }

// syncDir makes names in the folder durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// listSegments returns the numbers of the segment files in ascending order,
// and the names of files that are none.
func listSegments(dir string) (numbers []uint64, foreign []string, err error) {
	entries, err := os.ReadDir(dir) // in order of names, which is that of numbers
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	for _, e := range entries {
		if n, ok := segmentNumber(e.Name()); ok && e.Type().IsRegular() {
			numbers = append(numbers, n)
		} else {
			foreign = append(foreign, e.Name())
		}
	}
	return numbers, foreign, err
}

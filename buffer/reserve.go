package buffer

import (
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// reserve is room on the disk that is given back when the disk is full, so that
// making room, and ending in order, never need room that is not there.
type reserve struct{ path string }

// reserveFile takes a segment's size, beside what Config.MaxBytes allows.
const reserveFile = "reserve"

func newReserve(dir string) reserve { return reserve{filepath.Join(dir, reserveFile)} }

// take reserves the room again, if it was given back and is to be had.
func (r reserve) take() {
	f, err := os.OpenFile(r.path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return
	}
	defer f.Close()
	if unix.Fallocate(int(f.Fd()), 0, 0, segmentSize) != nil {
		os.Remove(r.path)
	}
}

// give gives the room back; it is false when there is none.
func (r reserve) give() bool { return os.Remove(r.path) == nil }

// withHeadroom does something that needs a little room on the disk, and once
// more on the reserve when there is none.
func (b *Buffer) withHeadroom(do func() error) error {
	err := do()
	if isNoSpace(err) && b.reserve.give() {
		b.log.Warn("the disk is full; the reserve is used", "bytes", segmentSize)
		err = do()
	}
	return err
}

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

// plenty is how much must be free before some of it is reserved: a disk for two
// segments holds two segments.
const plenty = 3 * segmentSize

// take reserves the room again, if it was given back and there is plenty.
func (r reserve) take() {
	if free, err := freeBytes(filepath.Dir(r.path)); err != nil || free < plenty {
		return
	}
	if info, err := os.Lstat(r.path); err == nil && info.Mode().IsRegular() && info.Size() != segmentSize {
		os.Remove(r.path) // a kill came before it was filled
	}
	f, err := os.OpenFile(r.path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return
	}
	defer f.Close()
	if unix.Fallocate(int(f.Fd()), 0, 0, segmentSize) != nil {
		os.Remove(r.path)
	}
}

func freeBytes(dir string) (int64, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return 0, err
	}
	return int64(fs.Bavail) * int64(fs.Bsize), nil
}

// give gives the room back; it is false when there is none.
func (r reserve) give() bool { return os.Remove(r.path) == nil }

// withHeadroom does something that needs a little room on the disk, and once
// more with that of the spare, and of the reserve, when there is none.
func (b *Buffer) withHeadroom(do func() error) error {
	err := do()
	for _, give := range []func() bool{b.giveSpare, b.reserve.give} {
		if isNoSpace(err) && give() {
			b.log.Warn("the disk is full; room that was kept is used", "bytes", segmentSize)
			err = do()
		}
	}
	return err
}

func (b *Buffer) giveSpare() bool { return os.Remove(filepath.Join(b.cfg.Dir, spareFile)) == nil }

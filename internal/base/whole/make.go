package whole

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Make makes a file of what fill writes, for its owner only, or does not make it. Until it
// is whole it has a name of its own in the same folder, which begins with prefix. Files are
// named once and for all, so nobody writes the same one again: what a kill or a power cut
// has left there of any of them is removed when the next is made.
func Make(path, prefix string, fill func(io.Writer) error) error {
	folder := filepath.Dir(path)
	sweepLeft(folder, prefix)
	temp, err := claimAny(folder, prefix)
	if err != nil {
		return err
	}
	defer temp.Close() // after it has its name, for its lock; it is safe before that
	if err = fill(temp); err == nil {
		err = temp.Sync()
	}
	if err == nil {
		err = os.Rename(temp.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(temp.Name()))
	}
	return SyncFolder(folder)
}

// sweepLeft removes the files of a prefix that nobody writes. What it cannot lock, or may
// not look into, is somebody else's.
func sweepLeft(folder, prefix string) {
	entries, _ := os.ReadDir(folder) // of what cannot be read, nothing
	for _, e := range entries {
		if e.Type().IsRegular() && strings.HasPrefix(e.Name(), prefix) {
			removeLeft(filepath.Join(folder, e.Name()))
		}
	}
}

func removeLeft(name string) {
	left, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return
	}
	defer left.Close() // for its lock, when it is gone
	if syscall.Flock(int(left.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
		_ = os.Remove(name) // the next one will
	}
}

// claimAny makes a file of the prefix that nobody else takes away until it is closed.
// Whoever sweeps just then may have it before it is locked.
func claimAny(folder, prefix string) (*os.File, error) {
	for {
		f, err := os.CreateTemp(folder, prefix+"*")
		if err != nil {
			return nil, err
		}
		if err = lock(f); err == nil {
			return f, nil
		}
		f.Close()
		if !errors.Is(err, ErrBusy) {
			return nil, err
		}
	}
}

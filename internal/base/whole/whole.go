// Package whole replaces files so that at any instant, and after a power cut, there is
// the old one or the new one, whole.
//
// The text is written beside the file, under the name that [Temp] gives, made safe there,
// and renamed. Others may be able to write the folder, too: a symbolic link at either
// name is replaced, never followed. What a power cut leaves at the second name stays
// until the file is written again, and no longer: there is one such name for each file.
//
// Two may write one file at once, in one process or in two. Whoever comes while another
// writes gets [ErrBusy], and the file is the other's: a lock says that there is another,
// and is gone with its process. On a file system without locks nothing promises this.
//
// What is too large for the memory is written by [Make]. Who changes a part of a file
// reads and writes it within [Alone].
package whole

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// ErrBusy means that somebody else writes the file at this instant.
var ErrBusy = errors.New("somebody else is writing this file")

// As is whose a file is to be. An id of -1 leaves it to who writes.
type As struct {
	Mode     fs.FileMode // its permissions
	UID, GID int
}

// Mine is a file of whoever writes it.
func Mine(mode fs.FileMode) As { return As{Mode: mode, UID: -1, GID: -1} }

// Like is as another file or folder is.
func Like(info fs.FileInfo) As {
	as := Mine(info.Mode().Perm())
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		as.UID, as.GID = int(st.Uid), int(st.Gid)
	}
	return as
}

// Temp is where the next text of a file is written.
func Temp(path string) string {
	return filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".new")
}

// Write puts a file where one may be already. After an error there is the old one, unless
// it is one of [SyncFolder]: then a power cut may bring the old one back.
func Write(path string, text []byte, as As) error {
	temp, err := claim(Temp(path))
	if err != nil {
		return err
	}
	defer temp.Close() // after it has its name, for its lock; it is safe before that
	if err = fill(temp, text, as); err == nil {
		err = os.Rename(temp.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(temp.Name()))
	}
	return SyncFolder(filepath.Dir(path))
}

// SyncFolder makes the names in a folder survive a power cut.
func SyncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}

// fill gives a file its owner before the mode that may let others in, and both before the
// name under which they look for it.
func fill(f *os.File, text []byte, as As) error {
	if _, err := f.Write(text); err != nil {
		return err
	}
	if as.UID >= 0 || as.GID >= 0 {
		if err := f.Chown(as.UID, as.GID); err != nil {
			return err
		}
	}
	return errors.Join(f.Chmod(as.Mode), f.Sync())
}

// claim makes a file of this name, for its owner only, that nobody else takes away who
// claims it, too, until it is closed.
func claim(name string) (*os.File, error) {
	if err := sweep(name); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL|syscall.O_NOFOLLOW, 0o600)
	if errors.Is(err, syscall.EEXIST) { // since it was swept away
		return nil, busy(name)
	}
	if err != nil {
		return nil, err
	}
	if err := lock(f); err != nil {
		return nil, errors.Join(err, f.Close()) // the name is another's now
	}
	return f, nil
}

// sweep removes what somebody has left or planted at a name, but not what is being
// written. Whoever may not open a file cannot know, and gets an error.
func sweep(name string) error {
	info, err := os.Lstat(name)
	if err == nil && info.Mode().IsRegular() {
		var left *os.File
		if left, err = os.OpenFile(name, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0); err == nil {
			defer left.Close() // for its lock, when it is gone
			err = lock(left)
		}
	}
	if err == nil {
		err = os.Remove(name)
	}
	if errors.Is(err, fs.ErrNotExist) { // or not any more
		return nil
	}
	return err
}

// lock returns nil to one at a time of all who open the file of this name, if it still
// has the name: who has the lock may remove or rename it, and nobody else.
func lock(f *os.File) error {
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); errors.Is(err, syscall.EWOULDBLOCK) {
		return busy(f.Name())
	}
	is, err := f.Stat()
	if err != nil {
		return err
	}
	if named, err := os.Lstat(f.Name()); err != nil || !os.SameFile(is, named) {
		return busy(f.Name())
	}
	return nil
}

func busy(name string) error { return fmt.Errorf("%s: %w", name, ErrBusy) }

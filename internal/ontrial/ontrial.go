// Package ontrial replaces a file only when its new text has proved itself.
//
// Stage writes the new text beside the file, where nothing reads it, and makes sure
// that Keep will be allowed to put it in its place. A crash or a power cut in between
// leaves the file as it was; the staged text stays where it is, for people.
//
//	NAME           the text that counts
//	NAME.trial     what was staged last and not kept
//	NAME.previous  what NAME was before the last Keep
package ontrial

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/tidegate/tidegate/internal/base/whole"
)

// MaxBytes bounds a text.
const MaxBytes = 1 << 20

// What the names of the other files end in.
const (
	Trial    = ".trial"
	Previous = ".previous"
)

// ErrChanged means that somebody else has changed the file meanwhile.
var ErrChanged = errors.New("the file was changed meanwhile")

// Read returns the text of a file, at most MaxBytes.
func Read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, MaxBytes+1))
	if err == nil && len(text) > MaxBytes {
		err = fmt.Errorf("read %s: it is larger than %d KiB", path, MaxBytes>>10)
	}
	return text, err
}

// Real is the file behind all symbolic links: the one that is replaced, and that the
// others are named after.
func Real(path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	return path
}

// Staged is a text on trial.
type Staged struct {
	path string // of the file, behind all symbolic links
	base []byte // its text when this was staged, nil if it did not exist
}

// Stage writes the text beside the file, with the owner and the mode of the file,
// and syncs it. base is what the file has to hold, nil if it must not exist. An error
// means that Keep would not work, either.
func Stage(path string, base, text []byte) (*Staged, error) {
	path = Real(path)
	s := &Staged{path: path, base: base}
	if err := s.unchanged(); err != nil {
		return nil, err
	}
	if err := s.write(text); err != nil {
		return nil, advise(err, path)
	}
	return s, nil
}

// unchanged returns ErrChanged if the file is not what it was.
func (s *Staged) unchanged() error {
	now, err := Read(s.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		now = nil
	case err != nil:
		return err
	}
	if (now == nil) != (s.base == nil) || !bytes.Equal(now, s.base) {
		return fmt.Errorf("%s: %w", s.path, ErrChanged)
	}
	return nil
}

func (s *Staged) write(text []byte) error {
	if err := os.Remove(s.path + Trial); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(s.path+Trial, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	err = errors.Join(err, s.dress(f), f.Sync(), f.Close())
	if err != nil {
		_ = os.Remove(s.path + Trial) // half a text is nobody's
	}
	return err
}

// errOwner means that the file would belong to somebody else.
var errOwner = errors.New("its owner cannot be kept")

// dress gives the file the owner and the mode of the one that it may replace.
func (s *Staged) dress(f *os.File) error {
	var is, was syscall.Stat_t
	switch err := syscall.Stat(s.path, &was); {
	case errors.Is(err, syscall.ENOENT):
		return f.Chmod(0o644)
	case err != nil:
		return &fs.PathError{Op: "stat", Path: s.path, Err: err}
	}
	if was.Mode&syscall.S_IFMT != syscall.S_IFREG {
		return fmt.Errorf("%s is no regular file", s.path)
	}
	if err := syscall.Fstat(int(f.Fd()), &is); err != nil {
		return err
	}
	if is.Uid != was.Uid || is.Gid != was.Gid {
		if err := f.Chown(int(was.Uid), int(was.Gid)); err != nil {
			return fmt.Errorf("%s: %w: %w", s.path, errOwner, err)
		}
	}
	return f.Chmod(fs.FileMode(was.Mode & 0o777))
}

// advise says what to do when a folder cannot be written.
func advise(err error, path string) error {
	hint := ""
	switch {
	case errors.Is(err, errOwner):
		hint = "let the file belong to the user who runs the gateway: chown USER " + path
	case errors.Is(err, syscall.EROFS):
		hint = "the service sees the folder as read-only: add ReadWritePaths=" + filepath.Dir(path) + " to its unit, or mount it to be written"
	case errors.Is(err, fs.ErrPermission):
		hint = "let the folder belong to the user who runs the gateway: chown USER " + filepath.Dir(path)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		hint = "make room on the disk of " + filepath.Dir(path)
	default:
		return err
	}
	return fmt.Errorf("%w — hint: %s", err, hint)
}

// Keep puts the staged text in the file's place, for good: at any instant, the file
// is whole, the one or the other. What the file was is kept beside it. An error means
// that the file is as it was, and Keep may be called again.
func (s *Staged) Keep() error {
	if err := s.unchanged(); err != nil {
		return err
	}
	if _, err := os.Stat(s.path + Trial); err != nil {
		return err
	}
	if s.base != nil {
		if err := s.keepPrevious(); err != nil {
			return advise(err, s.path)
		}
	}
	if err := whole.SyncFolder(filepath.Dir(s.path)); err != nil {
		return err // before it counts rather than after
	}
	if err := os.Rename(s.path+Trial, s.path); err != nil {
		return advise(err, s.path)
	}
	return nil
}

// Sync makes sure that a power cut does not take back what Keep did.
func (s *Staged) Sync() error { return whole.SyncFolder(filepath.Dir(s.path)) }

// keepPrevious gives the file one more name, so that it costs no room.
func (s *Staged) keepPrevious() error {
	fresh := s.path + Previous + ".new"
	if err := os.Remove(fresh); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Link(s.path, fresh); err != nil {
		return s.copyPrevious() // a file system without links
	}
	if err := os.Rename(fresh, s.path+Previous); err != nil {
		return err
	}
	// Two names of one file are not renamed over each other; a crash can have left that.
	if err := os.Remove(fresh); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (s *Staged) copyPrevious() error {
	text, err := Read(s.path)
	if err != nil {
		return err
	}
	info, err := os.Stat(s.path)
	if err != nil {
		return err
	}
	return whole.Write(s.path+Previous, text, whole.Mine(info.Mode().Perm()))
}

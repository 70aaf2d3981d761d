// Package erase removes files and what is in folders, and follows no symbolic link: where
// somebody else may write a folder, root must not be led out of it.
//
// Files of up to Small bytes, which secrets are, are written over before they are removed.
// That is for disks. Flash puts what is written to another place, and keeps the old one
// for as long as it likes: nothing that a program can do to a file changes that.
package erase

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Small is how many bytes a file may have that is written over: as many as a configuration
// may. Larger ones hold readings: writing over those would wear the flash out for nothing.
const Small = 1 << 20

// ErrOwner means that a folder is another user's than it was said to be.
var ErrOwner = errors.New("the folder is another user's")

// Folder removes what is in a folder but what spare wants kept, nil standing for nothing,
// by its name in the folder itself. It goes on after an error, and returns all of them. A
// folder that is not there is empty. One that is not owner's, unless that is -1, is left
// alone: somebody else may have said where it is, or put a link in its place.
func Folder(path string, owner int, spare func(name string) bool) error {
	return in(unix.AT_FDCWD, path, 0, func(dir *os.File) error {
		var is unix.Stat_t
		if err := unix.Fstat(int(dir.Fd()), &is); err != nil {
			return err
		}
		if owner >= 0 && int(is.Uid) != owner {
			return fmt.Errorf("%s: %w", path, ErrOwner)
		}
		return folder(dir, spare)
	})
}

// Path removes what has this name in a folder, or, if it is several with slashes, in
// folders below that: a file, a link, or a folder with all that is in it. What is not
// there is removed.
func Path(dir, name string) error {
	if !filepath.IsLocal(name) || name == "." {
		return fmt.Errorf("%q is no name below %s", name, dir)
	}
	return in(unix.AT_FDCWD, dir, 0, func(dir *os.File) error { return below(dir, filepath.Clean(name)) })
}

// below removes what is in a folder, following no link on the way.
func below(dir *os.File, name string) error {
	if first, rest, deeper := strings.Cut(name, "/"); deeper {
		return in(int(dir.Fd()), first, unix.O_NOFOLLOW, func(sub *os.File) error { return below(sub, rest) })
	}
	return errors.Join(remove(dir, name), dir.Sync())
}

// in opens a folder of another one, and no link if flags say so.
func in(at int, name string, flags int, do func(dir *os.File) error) error {
	fd, err := unix.Openat(at, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC|flags, 0)
	if err == unix.ENOENT {
		return nil
	}
	if err != nil {
		return &fs.PathError{Op: "open", Path: name, Err: err}
	}
	dir := os.NewFile(uintptr(fd), name)
	return errors.Join(do(dir), dir.Close())
}

func folder(dir *os.File, spare func(name string) bool) error {
	names, err := dir.Readdirnames(-1)
	for _, name := range names {
		if spare == nil || !spare(name) {
			err = errors.Join(err, remove(dir, name))
		}
	}
	return errors.Join(err, dir.Sync())
}

// remove removes what has the name, with all that is in it.
func remove(dir *os.File, name string) error {
	at, flags := int(dir.Fd()), 0
	var is unix.Stat_t
	err := unix.Fstatat(at, name, &is, unix.AT_SYMLINK_NOFOLLOW)
	switch kind := is.Mode & unix.S_IFMT; {
	case err != nil:
	case kind == unix.S_IFDIR:
		flags = unix.AT_REMOVEDIR
		err = in(at, name, unix.O_NOFOLLOW, func(sub *os.File) error { return folder(sub, nil) })
	case kind == unix.S_IFREG:
		overwrite(at, name)
	}
	if err == nil {
		err = unix.Unlinkat(at, name, flags)
	}
	switch {
	case err == nil, err == unix.ENOENT:
		return nil
	case err == unix.EBUSY && flags != 0:
		return nil // a disk is mounted there, which is empty now
	}
	return &fs.PathError{Op: "remove", Path: filepath.Join(dir.Name(), name), Err: err}
}

// overwrite writes over a file that is small, and that has no other name, which may be
// somebody's who had it before. The file goes whether that works or not.
func overwrite(at int, name string) {
	fd, err := unix.Openat(at, name, unix.O_WRONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	var is unix.Stat_t
	if unix.Fstat(fd, &is) != nil || is.Mode&unix.S_IFMT != unix.S_IFREG || is.Nlink != 1 || is.Size > Small {
		return
	}
	noise := make([]byte, is.Size)
	rand.Read(noise) // never fails
	if _, err := f.Write(noise); err == nil {
		_ = f.Sync()
	}
}

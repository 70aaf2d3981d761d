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
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Small is how many bytes a file may have that is written over. Larger ones hold readings:
// writing over those would wear the flash out for nothing.
const Small = 256 << 10

// Folder removes what is in a folder but what spare wants kept, nil standing for nothing,
// by its name in the folder itself. It goes on after an error, and returns all of them. A
// folder that is not there is empty.
func Folder(path string, spare func(name string) bool) error {
	root, err := os.OpenRoot(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	err = folder(root, spare)
	return errors.Join(err, root.Close())
}

// Path removes a file, a link, or a folder with all that is in it. What is not there is
// removed.
func Path(path string) error {
	root, err := os.OpenRoot(filepath.Dir(path))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	err = remove(root, filepath.Base(path))
	return errors.Join(err, syncNames(root), root.Close())
}

func folder(root *os.Root, spare func(name string) bool) error {
	names, err := namesIn(root)
	for _, name := range names {
		if spare == nil || !spare(name) {
			err = errors.Join(err, remove(root, name))
		}
	}
	return errors.Join(err, syncNames(root))
}

func namesIn(root *os.Root) ([]string, error) {
	f, err := root.Open(".")
	if err != nil {
		return nil, err
	}
	names, err := f.Readdirnames(-1)
	return names, errors.Join(err, f.Close())
}

// remove removes what has the name, with all that is in it.
func remove(root *os.Root, name string) error {
	info, err := root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	switch {
	case err != nil:
		return err
	case info.IsDir():
		err = inside(root, name)
	case info.Mode().IsRegular() && info.Size() <= Small:
		err = overwrite(root, name)
	}
	if gone := root.Remove(name); gone != nil && !errors.Is(gone, fs.ErrNotExist) {
		return errors.Join(err, gone)
	}
	if info.IsDir() {
		return err
	}
	return nil // gone it is; that it could not be written over is the least
}

func inside(root *os.Root, name string) error {
	sub, err := root.OpenRoot(name)
	if err != nil {
		return err
	}
	return errors.Join(folder(sub, nil), sub.Close())
}

// overwrite writes over a file that has no other name: such a name may be somebody's who
// had it before.
func overwrite(root *os.Root, name string) error {
	f, err := root.OpenFile(name, os.O_WRONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err == nil && info.Mode().IsRegular() && info.Size() <= Small {
		if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Nlink == 1 {
			_, err = io.CopyN(f, rand.Reader, info.Size())
			err = errors.Join(err, f.Sync())
		}
	}
	return errors.Join(err, f.Close())
}

func syncNames(root *os.Root) error {
	f, err := root.Open(".")
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

package fileout

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// disk is what a Sink asks of the file system, where tests break it.
type disk struct {
	// open opens a file to append to it; fresh says that it must not be there yet.
	open func(path string, fresh bool) (handle, error)
	// syncFolder makes the names in a folder durable.
	syncFolder func(dir string) error
	// free is how many bytes this user may still write there.
	free func(dir string) (int64, error)
	// writable says why this user may not make files there.
	writable func(dir string) error
	// mounted reports whether a file system begins at the path.
	mounted func(path string) (bool, error)
}

// handle is an open file.
type handle interface {
	io.WriteCloser
	Truncate(size int64) error
	// Sync returns when content and size are on stable storage.
	Sync() error
}

func realDisk() disk {
	return disk{
		open:       openFile,
		syncFolder: syncFolder,
		free:       freeBytes,
		writable:   func(dir string) error { return pathError("access", dir, unix.Access(dir, unix.W_OK|unix.X_OK)) },
		mounted:    mounted,
	}
}

// osFile is a file whose times of access need no sync.
type osFile struct{ *os.File }

// Sync implements handle.
func (f osFile) Sync() error {
	for {
		err := unix.Fdatasync(int(f.Fd()))
		if err != syscall.EINTR {
			return pathError("sync", f.Name(), err)
		}
	}
}

func openFile(path string, fresh bool) (handle, error) {
	flags := os.O_WRONLY | os.O_APPEND
	if fresh {
		flags |= os.O_CREATE | os.O_EXCL
	}
	f, err := os.OpenFile(path, flags|unix.O_NOFOLLOW, 0o640)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

// syncFolder lets file systems that know no such thing pass: their names are as
// durable as they get.
func syncFolder(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = f.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP) {
		err = nil
	}
	return errors.Join(err, f.Close())
}

func freeBytes(dir string) (int64, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return 0, pathError("statfs", dir, err)
	}
	return int64(fs.Bavail) * int64(fs.Bsize), nil
}

// mounted asks the kernel. One that cannot say (before Linux 5.8) is asked whether
// the folder is on another file system than the one above it.
func mounted(path string) (bool, error) {
	var st unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, path, 0, unix.STATX_BASIC_STATS, &st)
	if err == nil && st.Attributes_mask&unix.STATX_ATTR_MOUNT_ROOT != 0 {
		return st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0, nil
	}
	return mountedByDevice(path)
}

func mountedByDevice(path string) (bool, error) {
	var here, above unix.Stat_t
	if err := unix.Stat(path, &here); err != nil {
		return false, pathError("stat", path, err)
	}
	if err := unix.Stat(filepath.Join(path, ".."), &above); err != nil {
		return false, pathError("stat", filepath.Dir(path), err)
	}
	return here.Dev != above.Dev || here.Ino == above.Ino, nil
}

func pathError(op, path string, err error) error {
	if err == nil {
		return nil
	}
	return &os.PathError{Op: op, Path: path, Err: err}
}

// makeFolder makes a folder that stays, with those above it.
func (d disk) makeFolder(dir string) error {
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	above := filepath.Dir(dir)
	if err := d.makeFolder(above); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o750); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return d.syncFolder(above)
}

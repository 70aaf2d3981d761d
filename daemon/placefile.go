package daemon

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// owned is whose a file is to be. An id of -1 leaves it to who writes.
type owned struct {
	mode     fs.FileMode
	uid, gid int
}

// placeFile puts a file where one may be already, so that at any instant, and after a
// power cut, there is the old one or the new one, whole. A symbolic link of that name
// is replaced, never followed: others may write the folder.
func placeFile(path string, text []byte, as owned) error {
	temp, err := os.CreateTemp(filepath.Dir(path), ".new-*") // of mode 0600
	if err != nil {
		return err
	}
	if _, err = temp.Write(text); err == nil && (as.uid >= 0 || as.gid >= 0) {
		err = temp.Chown(as.uid, as.gid)
	}
	err = errors.Join(err, temp.Chmod(as.mode), temp.Sync(), temp.Close())
	if err == nil {
		err = os.Rename(temp.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(temp.Name()))
	}
	return syncDir(filepath.Dir(path))
}

// syncDir makes the names in a folder survive a power cut.
func syncDir(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}

// ownerOf returns whose a file or folder is, not following a link, and its permissions.
func ownerOf(path string) (owned, fs.FileMode, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return owned{}, 0, err
	}
	as := owned{mode: info.Mode().Perm(), uid: -1, gid: -1}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		as.uid, as.gid = int(st.Uid), int(st.Gid)
	}
	return as, info.Mode().Type(), nil
}

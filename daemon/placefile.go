package daemon

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/tidegate/tidegate/internal/ontrial"
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

// readOwned returns the text of a file and whose it is. It follows no link, and waits for
// no pipe: whoever else may write the folder must not choose what root reads.
func readOwned(path string) ([]byte, owned, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	noFile := fmt.Errorf("%s is no regular file — hint: write the name of the file itself behind -config", path)
	switch {
	case errors.Is(err, syscall.ELOOP), errors.Is(err, syscall.ENXIO):
		return nil, owned{}, noFile
	case err != nil:
		return nil, owned{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, owned{}, err
	}
	if !info.Mode().IsRegular() {
		return nil, owned{}, noFile
	}
	text, err := io.ReadAll(io.LimitReader(f, ontrial.MaxBytes+1))
	if err == nil && len(text) > ontrial.MaxBytes {
		err = fmt.Errorf("read %s: it is larger than %d KiB", path, ontrial.MaxBytes>>10)
	}
	return text, whose(info), err
}

// folderOf returns whose a folder is, behind all links.
func folderOf(path string) (owned, error) {
	info, err := os.Stat(path)
	if err != nil {
		return owned{}, err
	}
	return whose(info), nil
}

// choosy says whether whoever owns this may have written something that root is not to
// believe: which folder is the gateway's.
func (as owned) choosy() bool { return os.Geteuid() == 0 && as.uid > 0 }

// ownerOf returns whose a file or folder is, not following a link, and its permissions.
func ownerOf(path string) (owned, fs.FileMode, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return owned{}, 0, err
	}
	return whose(info), info.Mode().Type(), nil
}

func whose(info fs.FileInfo) owned {
	as := owned{mode: info.Mode().Perm(), uid: -1, gid: -1}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		as.uid, as.gid = int(st.Uid), int(st.Gid)
	}
	return as
}

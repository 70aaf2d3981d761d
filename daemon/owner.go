package daemon

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

	"github.com/tidegate/tidegate/internal/base/whole"
	"github.com/tidegate/tidegate/internal/ontrial"
)

// readOwned returns the text of a file and whose it is. It follows no link, and waits for
// no pipe: whoever else may write the folder must not choose what root reads.
func readOwned(path string) ([]byte, whole.As, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	noFile := fmt.Errorf("%s is no regular file — hint: write the name of the file itself behind -config", path)
	switch {
	case errors.Is(err, syscall.ELOOP), errors.Is(err, syscall.ENXIO):
		return nil, whole.As{}, noFile
	case err != nil:
		return nil, whole.As{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, whole.As{}, err
	}
	if !info.Mode().IsRegular() {
		return nil, whole.As{}, noFile
	}
	text, err := io.ReadAll(io.LimitReader(f, ontrial.MaxBytes+1))
	if err == nil && len(text) > ontrial.MaxBytes {
		err = fmt.Errorf("read %s: it is larger than %d KiB", path, ontrial.MaxBytes>>10)
	}
	return text, whole.Like(info), err
}

// folderOf returns whose a folder is, behind all links.
func folderOf(path string) (whole.As, error) {
	info, err := os.Stat(path)
	if err != nil {
		return whole.As{}, err
	}
	return whole.Like(info), nil
}

// choosy says whether whoever owns this may have written something that root is not to
// believe: which folder is the gateway's.
func choosy(as whole.As) bool { return os.Geteuid() == 0 && as.UID > 0 }

// ownerOf returns whose a file or folder is, not following a link, and its permissions.
func ownerOf(path string) (whole.As, fs.FileMode, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return whole.As{}, 0, err
	}
	return whole.Like(info), info.Mode().Type(), nil
}

package buffer

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// makeDir makes the folder, and those above it, and every entry durable. A folder
// that is there may have been made by a process that did not come to sync it.
func makeDir(dir string) error {
	parent := filepath.Dir(dir)
	switch info, err := os.Stat(dir); {
	case err == nil && !info.IsDir():
		return fmt.Errorf("%s is no folder — hint: move it away, or name another folder", dir)
	case errors.Is(err, fs.ErrNotExist) && parent != dir:
		if err := makeDir(parent); err != nil {
			return err
		}
		if err := os.Mkdir(dir, 0o700); errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("%w — hint: it is a link to what is not there; is a disk not mounted?", err)
		} else if isOfMedium(err) {
			return advise(err)
		} else if err != nil {
			return fmt.Errorf("%w — hint: make the folder, and give it to this user", err)
		}
	case err != nil:
		return fmt.Errorf("%w — hint: name another folder, or give it to this user", err)
	}
	if err := syncDir(parent); !errors.Is(err, fs.ErrPermission) {
		return err
	}
	return nil // who may not read it did not change it
}

// listFiles returns the numbers of the segments that are there.
func (b *Buffer) listFiles() ([]uint64, error) {
	if err := removeCopies(b.cfg.Dir, shrunkSuffix, mergedSuffix, oldSuffix); err != nil {
		b.log.Warn("half-made files stay", "err", err)
	}
	files, foreign, err := listSegments(b.cfg.Dir)
	for _, name := range foreign {
		if !ownFile(name) {
			b.log.Warn("foreign file in the buffer's folder is left alone", "file", name)
		}
	}
	return files, err
}

// ownFile says that a file beside the segments is the buffer's.
func ownFile(name string) bool {
	return strings.HasPrefix(name, stateFile) || name == spareFile || name == reserveFile
}

// Package aside moves a file of a later version of the program out of the way of one
// that this version writes, so that the later one finds it again.
package aside

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Later is what follows the name of a file that was set aside, and then a number.
const Later = ".later-"

// Keep moves the file to the first of its names that is free, and returns that. It
// never writes over another.
func Keep(path string) (name string, err error) {
	for n := 1; ; n++ {
		name = fmt.Sprint(path, Later, n)
		if _, err := os.Lstat(name); err == nil {
			continue
		} else if !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		if err := os.Rename(path, name); err != nil {
			return "", err
		}
		folder, err := os.Open(filepath.Dir(path))
		if err != nil {
			return name, err
		}
		return name, errors.Join(folder.Sync(), folder.Close())
	}
}

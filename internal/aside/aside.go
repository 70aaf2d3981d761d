// Package aside moves a file of a later version of the program out of the way of one
// that this version writes, so that the later one finds it again.
package aside

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/tidegate/tidegate/internal/base/whole"
)

// Later is what follows the name of a file that was set aside, before a number.
const Later = ".later-"

// Name returns the first of the file's names that is free.
func Name(path string) string {
	for n := 1; ; n++ {
		name := fmt.Sprint(path, Later, n)
		if _, err := os.Lstat(name); err != nil { // whatever else it is, renaming says so
			return name
		}
	}
}

// Keep moves the file there, for good, and returns its name then. It never writes over
// another.
func Keep(path string) (name string, err error) {
	name = Name(path)
	if err := os.Rename(path, name); err != nil {
		return "", err
	}
	return name, whole.SyncFolder(filepath.Dir(path))
}

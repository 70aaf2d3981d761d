package whole

import (
	"fmt"
	"os"
	"path/filepath"
)

// Later is what follows the name of a file that a later version of the program wrote and
// that was moved out of the way of one that this version writes, before a number: so the
// later one finds it again.
const Later = ".later-"

// LaterName returns the first of those names that is free.
func LaterName(path string) string {
	for n := 1; ; n++ {
		name := fmt.Sprint(path, Later, n)
		if _, err := os.Lstat(name); err != nil { // whatever else it is, renaming says so
			return name
		}
	}
}

// KeepLater moves the file there, for good, and returns its name then. It never writes
// over another.
func KeepLater(path string) (name string, err error) {
	name = LaterName(path)
	if err := os.Rename(path, name); err != nil {
		return "", err
	}
	return name, SyncFolder(filepath.Dir(path))
}

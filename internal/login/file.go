package login

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/tidegate/tidegate/internal/base/whole"
)

// maxFile bounds what is read of a file, in bytes.
const maxFile = 256 << 10

// load decodes a file of JSON. An error of *fs.PathError means that it could not
// be read, any other that it makes no sense.
func load(path string, into any) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxFile))
	if err != nil {
		return err
	}
	var of struct {
		Version int `json:"version"`
	}
	if json.Unmarshal(text, &of) == nil && of.Version > fileVersion {
		return fmt.Errorf("%w (file version %d, this program knows %d)", errLater, of.Version, fileVersion)
	}
	return json.Unmarshal(text, into)
}

// errLater is for a file that a later version of the program wrote. It stays where it
// is, until another one is to be written.
var errLater = errors.New("is of a later version of the program")

// keepLater moves such a file out of the way. Its error is of [ErrNotKept].
func keepLater(path string) error {
	if _, err := whole.KeepLater(path); err != nil {
		return notKept(path, err)
	}
	return nil
}

// save writes value as JSON.
func save(path string, value any) error {
	if err := load(path, &struct{}{}); errors.Is(err, errLater) {
		if err := keepLater(path); err != nil {
			return err
		}
	}
	text, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("encode %s: %w", filepath.Base(path), err)
	}
	return write(path, append(text, '\n'))
}

// write replaces a file, which is for its owner only. Its error is of [ErrNotKept].
func write(path string, text []byte) error {
	if err := whole.Write(path, text, whole.Mine(0o600)); err != nil {
		return notKept(path, err)
	}
	return nil
}

func notKept(path string, err error) error {
	return fmt.Errorf("%s %w: %w — hint: make room on the disk, or replace the card if it is read-only", filepath.Base(path), ErrNotKept, err)
}

// erase removes a file, if there is one. Its error is of [ErrNotKept].
func erase(path string) error {
	if err := os.Remove(path); errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return notKept(path, err)
	}
	return syncFolder(path)
}

// syncFolder makes the name of a file survive a power cut, or its end. Its error is of
// [ErrNotKept].
func syncFolder(path string) error {
	if err := whole.SyncFolder(filepath.Dir(path)); err != nil {
		return notKept(path, err)
	}
	return nil
}

// Package fresh holds values that are made of files, such as certificates, and
// makes them anew when the files change.
package fresh

import (
	"os"
	"sync"
	"syscall"
	"time"
)

// interval is how often the files are looked at, at the most.
const interval = time.Second

// Value is a value made of files. It is safe for use by many goroutines, and has
// none of its own: it looks at its files when it is asked for.
type Value[T any] struct {
	load   func() (T, error)
	failed func(error)
	paths  []string

	mu     sync.Mutex
	value  T
	files  []stamp
	looked time.Time
}

// Open makes a value with load, which reads the files at the paths. failed is
// told why when that does not work later on: the last good value stays then,
// until the files change again.
func Open[T any](load func() (T, error), failed func(error), paths ...string) (*Value[T], error) {
	v := &Value[T]{load: load, failed: failed, paths: paths, looked: time.Now()}
	v.files = v.look() // before load, so that no change is missed
	var err error
	v.value, err = load()
	return v, err
}

// Get returns the value, made anew if a file has changed.
func (v *Value[T]) Get() T {
	v.mu.Lock()
	defer v.mu.Unlock()
	now := time.Now()
	if now.Sub(v.looked) < interval {
		return v.value
	}
	v.looked = now
	files := v.look()
	if same(files, v.files) {
		return v.value
	}
	v.files = files
	value, err := v.load()
	if err != nil {
		v.failed(err)
		return v.value
	}
	v.value = value
	return value
}

// stamp tells one content of a file from another. A file that cannot be seen
// has the zero stamp.
type stamp struct {
	inode    uint64
	size     int64
	modified time.Time
}

func (v *Value[T]) look() []stamp {
	files := make([]stamp, len(v.paths))
	for i, path := range v.paths {
		info, err := os.Stat(path)
		if err != nil {
			continue
		}
		files[i] = stamp{size: info.Size(), modified: info.ModTime()}
		if sys, ok := info.Sys().(*syscall.Stat_t); ok {
			files[i].inode = sys.Ino
		}
	}
	return files
}

func same(a, b []stamp) bool {
	for i := range a {
		if a[i].inode != b[i].inode || a[i].size != b[i].size || !a[i].modified.Equal(b[i].modified) {
			return false
		}
	}
	return true
}

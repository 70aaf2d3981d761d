package docs_test

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
)

// conflict matches what a merge leaves where two have changed the same lines.
var conflict = regexp.MustCompile(`(?m)^(<{7} |\|{7}( |$)|={7}$|>{7} ).*`)

// TestNoMergeIsLeftUndone looks into every text of the repository, not only into code,
// which would not compile.
func TestNoMergeIsLeftUndone(t *testing.T) {
	texts := 0
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if name != root && slices.Contains([]string{".git", "bin", "dist", "node_modules"}, entry.Name()) {
				return fs.SkipDir
			}
			return nil
		}
		if !entry.Type().IsRegular() {
			return nil
		}
		text, err := os.ReadFile(name)
		if err != nil || bytes.IndexByte(text, 0) >= 0 {
			return err
		}
		texts++
		if line := conflict.Find(text); line != nil {
			t.Errorf("%s: a merge has left %q", name, line)
		}
		return nil
	})
	if err != nil || texts < 100 {
		t.Errorf("%d texts were looked at, %v", texts, err)
	}
}

package whole

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
)

const prefix = ".made-"

func text(s string) func(io.Writer) error {
	return func(w io.Writer) error { _, err := io.WriteString(w, s); return err }
}

func TestWhatIsNotWholeIsNotMade(t *testing.T) {
	f := newFolder(t)
	broken := errors.New("broken")
	err := Make(f.path+".copy", prefix, func(w io.Writer) error { return errors.Join(text("half")(w), broken) })
	if !errors.Is(err, broken) {
		t.Error(err)
	}
	f.holds("old")
	if err := Make(f.path, prefix, text("new")); err != nil {
		t.Error(err)
	}
	f.holds("new")
	if info, err := os.Stat(f.path); err != nil || info.Mode() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

// What a kill has left is removed, and nothing else: not what is being written, not what
// has another name, not what a link of that name leads to.
func TestTheNextOneRemovesWhatAKillHasLeft(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	for _, name := range []string{prefix + "1", prefix + "2", "made-3", ".other"} {
		if err := os.WriteFile(in(name), []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(in(".other"), in(prefix+"link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(in(prefix+"folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	err := Make(in("outer"), prefix, func(w io.Writer) error {
		return errors.Join(text("outer")(w), Make(in("inner"), prefix, text("inner")))
	})
	if err != nil {
		t.Error(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if want := []string{prefix + "folder", prefix + "link", ".other", "inner", "made-3", "outer"}; !slices.Equal(names, want) {
		t.Errorf("there are %q, want %q", names, want)
	}
}

func TestManyAreMadeInOneFolderAtOnce(t *testing.T) {
	dir := t.TempDir()
	var makers sync.WaitGroup
	for _, letter := range "abcdefgh" {
		makers.Go(func() {
			for range 30 {
				path := filepath.Join(dir, string(letter))
				if err := Make(path, prefix, text(path)); err != nil {
					t.Error(err)
				}
				if got, err := os.ReadFile(path); err != nil || string(got) != path {
					t.Errorf("%q, %v", got, err)
				}
			}
		})
	}
	makers.Wait()
	if left, _ := filepath.Glob(filepath.Join(dir, prefix+"*")); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}

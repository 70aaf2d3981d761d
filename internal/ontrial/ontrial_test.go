package ontrial

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func write(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

// check compares a file; "" is one that is not there.
func check(t *testing.T, path, want string) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil && !(want == "" && errors.Is(err, fs.ErrNotExist)) {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s holds %q, want %q", filepath.Base(path), got, want)
	}
}

func stage(t *testing.T, path, base, text string) *Staged {
	t.Helper()
	s, err := Stage(path, []byte(base), []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestAFileIsReplacedByKeepAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "conf")
	write(t, path, "one", 0o640)
	stage(t, path, "one", "never kept")
	s := stage(t, path, "one", "two")
	check(t, path, "one")
	check(t, path+Trial, "two")
	if err := errors.Join(s.Keep(), s.Sync()); err != nil {
		t.Fatal(err)
	}
	check(t, path, "two")
	check(t, path+Trial, "")
	check(t, path+Previous, "one")
	if err := stage(t, path, "two", "three").Keep(); err != nil {
		t.Fatal(err)
	}
	check(t, path, "three")
	check(t, path+Previous, "two")
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o640 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if left, _ := filepath.Glob(path + "*"); len(left) != 2 {
		t.Errorf("there are %v", left)
	}
}

func TestAFileThatIsNotThereIsMade(t *testing.T) {
	path := filepath.Join(t.TempDir(), "conf")
	s, err := Stage(path, nil, []byte("one"))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Keep(); err != nil {
		t.Fatal(err)
	}
	check(t, path, "one")
	if _, err := Stage(path, nil, []byte("two")); !errors.Is(err, ErrChanged) {
		t.Errorf("it is there meanwhile: %v", err)
	}
}

func TestWhatSomebodyElseWroteIsNotOverwritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "conf")
	write(t, path, "one", 0o600)
	if _, err := Stage(path, []byte("two"), []byte("three")); !errors.Is(err, ErrChanged) {
		t.Errorf("before: %v", err)
	}
	s := stage(t, path, "one", "two")
	write(t, path, "theirs", 0o600)
	if err := s.Keep(); !errors.Is(err, ErrChanged) {
		t.Errorf("meanwhile: %v", err)
	}
	check(t, path, "theirs")
	write(t, path, "one", 0o600)
	if err := s.Keep(); err != nil {
		t.Errorf("once it is as it was: %v", err)
	}
	check(t, path, "two")
}

func TestASymbolicLinkStays(t *testing.T) {
	dir := t.TempDir()
	path, link := filepath.Join(dir, "conf"), filepath.Join(dir, "link")
	write(t, path, "one", 0o600)
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	if err := stage(t, link, "one", "two").Keep(); err != nil {
		t.Fatal(err)
	}
	check(t, path, "two")
	if to, err := os.Readlink(link); err != nil || to != path {
		t.Errorf("the link leads to %q: %v", to, err)
	}
}

// A crash may leave the name that Keep gives first.
func TestKeepGoesOnAfterACrashInKeep(t *testing.T) {
	path := filepath.Join(t.TempDir(), "conf")
	write(t, path, "one", 0o600)
	s := stage(t, path, "one", "two")
	for _, name := range []string{Previous + ".new", Previous} {
		if err := os.Link(path, path+name); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Keep(); err != nil {
		t.Fatal(err)
	}
	check(t, path, "two")
	check(t, path+Previous, "one")
	check(t, path+Previous+".new", "")
}

func TestAFolderWithoutRoomOrLeave(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root may mount")
	}
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Skip("no mount: ", err)
	}
	defer unix.Unmount(dir, unix.MNT_DETACH)
	path := filepath.Join(dir, "conf")
	write(t, path, "one", 0o640)
	if err := os.Chown(path, 4711, 4712); err != nil {
		t.Fatal(err)
	}
	fails := func(what string, text string, hint string) {
		t.Helper()
		if _, err := Stage(path, []byte("one"), []byte(text)); err == nil || !strings.Contains(err.Error(), " — hint: "+hint) {
			t.Errorf("%s: %v", what, err)
		}
		check(t, path, "one")
	}
	fails("no room", strings.Repeat("x", 100<<10), "make room on the disk of "+dir)
	check(t, path+Trial, "")

	s := stage(t, path, "one", "two")
	fill := filepath.Join(dir, "fill")
	_ = os.WriteFile(fill, make([]byte, 100<<10), 0o600) // as much as there is room for
	if err := s.Keep(); err != nil {
		t.Errorf("there is no room any more, and none is needed: %v", err)
	}
	check(t, path, "two")
	var was unix.Stat_t
	if err := unix.Stat(path, &was); err != nil || was.Uid != 4711 || was.Gid != 4712 || was.Mode&0o777 != 0o640 {
		t.Errorf("owner %d:%d, mode %o: %v", was.Uid, was.Gid, was.Mode, err)
	}

	write(t, path, "one", 0o640)
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	fails("read-only", "two", "the service sees the folder as read-only: add ReadWritePaths="+dir)
}

func TestAFileThatIsTooLargeIsNotRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "conf")
	write(t, path, string(slices.Repeat([]byte("x"), MaxBytes+1)), 0o600)
	if _, err := Read(path); err == nil || !strings.Contains(err.Error(), "larger than 1024 KiB") {
		t.Errorf("the error is %v", err)
	}
}

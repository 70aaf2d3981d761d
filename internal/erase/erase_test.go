package erase

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func write(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func is(t *testing.T, path, want string) {
	t.Helper()
	if got, err := os.ReadFile(path); err != nil || string(got) != want {
		t.Errorf("%s holds %q, %v", path, got, err)
	}
}

func TestAFolderIsEmptyAfterwardsAndNothingElseIsTouched(t *testing.T) {
	dir, outside := t.TempDir(), write(t, filepath.Join(t.TempDir(), "outside"), "precious")
	folder := filepath.Join(dir, "folder")
	write(t, filepath.Join(folder, "a"), "secret")
	write(t, filepath.Join(folder, "deep", "er", "b"), "secret")
	write(t, filepath.Join(folder, "deep", "empty"), "")
	write(t, filepath.Join(folder, "lost+found", "c"), "kept")
	for name, to := range map[string]string{"file": outside, "dir": filepath.Dir(outside), "deep/up": "../..", "dangling": "/nowhere"} {
		if err := os.Symlink(to, filepath.Join(folder, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Link(outside, filepath.Join(folder, "hard")); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(folder, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	beside := write(t, filepath.Join(dir, "beside"), "precious")
	if err := Folder(folder, -1, func(name string) bool { return name == "lost+found" }); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(folder)
	if err != nil || len(left) != 1 {
		t.Errorf("left: %v, %v", left, err)
	}
	is(t, outside, "precious")
	is(t, beside, "precious")
	is(t, filepath.Join(folder, "lost+found", "c"), "kept")
	if err := Path(dir, "folder"); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(folder); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if err := errors.Join(Folder(filepath.Join(dir, "nowhere"), -1, nil), Path(dir, "nowhere"), Path(dir, "no/where"), Path(filepath.Join(dir, "no"), "where")); err != nil {
		t.Error(err)
	}
}

// TestSecretsAreWrittenOver looks at a file that is open when it is erased.
func TestSecretsAreWrittenOver(t *testing.T) {
	for size, over := range map[int]bool{1: true, 5000: true, Small: true, Small + 1: false} {
		text := bytes.Repeat([]byte("s"), size)
		path := write(t, filepath.Join(t.TempDir(), "f"), string(text))
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if err := Path(filepath.Dir(path), "f"); err != nil {
			t.Fatal(err)
		}
		after := make([]byte, size)
		if _, err := f.ReadAt(after, 0); err != nil {
			t.Fatal(err)
		}
		if size > 1 && bytes.Equal(after, text) == over {
			t.Errorf("%d bytes: written over is %v", size, !over)
		}
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
	}
}

func TestALinkIsRemovedAndNotWhatItLeadsTo(t *testing.T) {
	outside := write(t, filepath.Join(t.TempDir(), "outside"), "precious")
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(outside, link); err != nil {
		t.Fatal(err)
	}
	if err := Path(filepath.Dir(link), "link"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(link); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	is(t, outside, "precious")
}

// TestALinkOnTheWayIsNotFollowed plants one where a folder was: /etc/tidegate/sub for /etc.
func TestALinkOnTheWayIsNotFollowed(t *testing.T) {
	outside := write(t, filepath.Join(t.TempDir(), "shadow"), "precious")
	dir := t.TempDir()
	write(t, filepath.Join(dir, "sub", "deep", "shadow"), "secret")
	if err := errors.Join(os.Symlink(filepath.Dir(outside), filepath.Join(dir, "link")), os.Symlink(filepath.Dir(outside), filepath.Join(dir, "sub", "link"))); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"link/shadow", "sub/link/shadow", "sub/../link/shadow", "../" + filepath.Base(dir), ".", ""} {
		if err := Path(dir, name); err == nil {
			t.Errorf("%q was removed", name)
		}
	}
	is(t, outside, "precious")
	if err := Path(dir, "sub/deep/shadow"); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(filepath.Join(dir, "sub", "deep")); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

func TestAFolderOfSomebodyElseIsLeftAlone(t *testing.T) {
	dir := t.TempDir()
	kept := write(t, filepath.Join(dir, "a"), "precious")
	if err := Folder(dir, os.Geteuid()+1, nil); !errors.Is(err, ErrOwner) {
		t.Errorf("%v", err)
	}
	is(t, kept, "precious")
	if err := Folder(dir, os.Geteuid(), nil); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(kept); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// TestADiskInTheFolderIsEmptied: a mount point cannot be removed, and need not be.
func TestADiskInTheFolderIsEmptied(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root may mount")
	}
	dir := t.TempDir()
	write(t, filepath.Join(dir, "journal", "under"), "")
	if err := syscall.Mount("tmpfs", filepath.Join(dir, "journal"), "tmpfs", 0, "size=64k"); err != nil {
		t.Skip("no mount: ", err)
	}
	defer syscall.Unmount(filepath.Join(dir, "journal"), syscall.MNT_DETACH)
	write(t, filepath.Join(dir, "journal", "1"), "readings")
	if err := Folder(dir, -1, nil); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(filepath.Join(dir, "journal")); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

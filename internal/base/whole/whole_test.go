package whole

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// folder is one with a file that is to be replaced, and a precious one beside it.
type folder struct {
	*testing.T
	path, precious string
}

func newFolder(t *testing.T) folder {
	dir := t.TempDir()
	f := folder{t, filepath.Join(dir, "folder", "file"), filepath.Join(dir, "precious")}
	if err := os.Mkdir(filepath.Dir(f.path), 0o755); err != nil {
		t.Fatal(err)
	}
	f.plant(f.path, "old")
	f.plant(f.precious, "precious")
	return f
}

func (f folder) plant(path, text string) {
	f.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		f.Fatal(err)
	}
}

// holds fails unless the folder has the file with this text alone, and what is precious
// is as it was.
func (f folder) holds(want string) {
	f.Helper()
	entries, err := os.ReadDir(filepath.Dir(f.path))
	if err != nil || len(entries) != 1 || !entries[0].Type().IsRegular() {
		f.Errorf("there are %v, %v", entries, err)
	}
	for path, want := range map[string]string{f.path: want, f.precious: "precious"} {
		if got, err := os.ReadFile(path); err != nil || string(got) != want {
			f.Errorf("%s holds %.20q, %v", path, got, err)
		}
	}
}

func TestTextAndModeAreReplaced(t *testing.T) {
	f := newFolder(t)
	for _, mode := range []fs.FileMode{0o600, 0o640, 0o644} {
		text := mode.String()
		if err := Write(f.path, []byte(text), Mine(mode)); err != nil {
			t.Fatal(err)
		}
		f.holds(text)
		if info, err := os.Stat(f.path); err != nil || Like(info) != (As{Mode: mode, UID: os.Geteuid(), GID: os.Getegid()}) {
			t.Errorf("it is %v, %v", Like(info), err)
		}
	}
	if err := os.Remove(f.path); err != nil {
		t.Fatal(err)
	}
	if err := Write(f.path, nil, Mine(0o600)); err != nil {
		t.Error(err)
	}
	f.holds("")
}

func TestAFileIsGivenAway(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root may give files away")
	}
	f := newFolder(t)
	for _, as := range []As{{0o640, 4711, 4712}, {0o600, -1, 4712}, {0o600, 4711, -1}} {
		if err := Write(f.path, []byte("new"), as); err != nil {
			t.Fatal(err)
		}
		f.holds("new")
		want := As{as.Mode, max(as.UID, 0), max(as.GID, 0)}
		if info, err := os.Stat(f.path); err != nil || Like(info) != want {
			t.Errorf("it is %v and not %v, %v", Like(info), want, err)
		}
	}
}

// TestWhatIsPlantedIsReplaced plants things where the file, and its next text, are to be.
func TestWhatIsPlantedIsReplaced(t *testing.T) {
	for what, plant := range map[string]func(f folder, at string) error{
		"a link":           func(f folder, at string) error { return os.Symlink(f.precious, at) },
		"a link nowhere":   func(f folder, at string) error { return os.Symlink(f.precious+"-not", at) },
		"a second name":    func(f folder, at string) error { return os.Link(f.precious, at) },
		"a pipe":           func(f folder, at string) error { return syscall.Mkfifo(at, 0o666) },
		"half a text":      func(f folder, at string) error { return os.WriteFile(at, []byte("a longer text, ha"), 0o666) },
		"an empty folder":  func(f folder, at string) error { return os.Mkdir(at, 0o777) },
		"a folder's link":  func(f folder, at string) error { return os.Symlink(filepath.Dir(f.precious), at) },
		"a link to itself": func(f folder, at string) error { return os.Symlink(at, at) },
	} {
		for at, name := range map[string]func(path string) string{"target": filepath.Clean, "temp": Temp} {
			if what == "an empty folder" && at == "target" {
				continue // that is not ours to remove
			}
			t.Run(what+" at "+at, func(t *testing.T) {
				f := newFolder(t)
				_ = os.Remove(name(f.path))
				if err := plant(f, name(f.path)); err != nil {
					t.Fatal(err)
				}
				if err := Write(f.path, []byte("new"), Mine(0o600)); err != nil {
					t.Error(err)
				}
				f.holds("new")
				if _, err := os.Lstat(f.precious + "-not"); err == nil {
					t.Error("a link was followed")
				}
			})
		}
	}
}

// TestWhoeverHoldsALeftoverOpenReadsNothing: what was planted is removed, not filled.
func TestWhoeverHoldsALeftoverOpenReadsNothing(t *testing.T) {
	f := newFolder(t)
	f.plant(Temp(f.path), "")
	planted, err := os.Open(Temp(f.path))
	if err != nil {
		t.Fatal(err)
	}
	defer planted.Close()
	if err := Write(f.path, []byte("secret"), Mine(0o600)); err != nil {
		t.Fatal(err)
	}
	if info, err := planted.Stat(); err != nil || info.Size() != 0 {
		t.Errorf("%d bytes are read, %v", info.Size(), err)
	}
}

func TestWhatFailsLeavesTheOldFile(t *testing.T) {
	f := newFolder(t)
	if err := Write(filepath.Join(f.path, "below"), []byte("new"), Mine(0o600)); err == nil {
		t.Error("there is a file below a file")
	}
	f.holds("old")
	if err := os.Remove(f.path); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(f.path, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := Write(f.path, []byte("new"), Mine(0o600)); !errors.Is(err, fs.ErrExist) {
		t.Errorf("instead of a folder: %v", err)
	}
	if _, err := os.Lstat(Temp(f.path)); err == nil {
		t.Error("the new text is left")
	}
}

func TestAFolderWithoutRoomOrLeave(t *testing.T) {
	f := newFolder(t)
	dir := filepath.Dir(f.path)
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Skip("no mount: ", err)
	}
	defer syscall.Unmount(dir, syscall.MNT_DETACH)
	f.plant(f.path, "old")
	large := bytes.Repeat([]byte("x"), 100<<10)
	if err := Write(f.path, large, Mine(0o600)); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("without room: %v", err)
	}
	f.holds("old")
	if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	if err := Write(f.path, []byte("new"), Mine(0o600)); !errors.Is(err, syscall.EROFS) {
		t.Errorf("read-only: %v", err)
	}
	f.holds("old")
}

// TestWhoeverComesWhileAnotherWritesIsBusy plays all the ways in which two can meet.
func TestWhoeverComesWhileAnotherWritesIsBusy(t *testing.T) {
	f := newFolder(t)
	first, err := claim(Temp(f.path))
	if err != nil {
		t.Fatal(err)
	}
	if err := Write(f.path, []byte("second"), Mine(0o600)); !errors.Is(err, ErrBusy) {
		t.Errorf("the second: %v", err)
	}
	if err := fill(first, []byte("first"), Mine(0o600)); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(first.Name(), f.path); err != nil {
		t.Fatal(err)
	}
	f.holds("first")
	if err := Write(f.path, []byte("second"), Mine(0o600)); err != nil {
		t.Errorf("the first is over, but for its lock: %v", err)
	}
	first.Close()

	early, err := os.Create(Temp(f.path)) // made, and not locked yet
	if err != nil {
		t.Fatal(err)
	}
	defer early.Close()
	if err := Write(f.path, []byte("third"), Mine(0o600)); err != nil {
		t.Error(err)
	}
	if err := lock(early); !errors.Is(err, ErrBusy) {
		t.Errorf("its name is gone: %v", err)
	}
	f.plant(Temp(f.path), "")
	if err := lock(early); !errors.Is(err, ErrBusy) {
		t.Errorf("its name is another's: %v", err)
	}
	if err := os.Remove(Temp(f.path)); err != nil {
		t.Fatal(err)
	}
	f.holds("third")
}

func TestManyWritersTearNothing(t *testing.T) {
	f := newFolder(t)
	f.plant(f.path, strings.Repeat("a", 3<<12))
	var writers sync.WaitGroup
	for _, letter := range "bcdefg" {
		writers.Go(func() {
			for range 50 {
				text := bytes.Repeat([]byte(string(letter)), 3<<12)
				if err := Write(f.path, text, Mine(0o600)); err != nil && !errors.Is(err, ErrBusy) {
					t.Error(err)
				}
				if got, err := os.ReadFile(f.path); err != nil || len(got) != len(text) || bytes.Count(got, got[:1]) != len(got) {
					t.Errorf("torn: %d bytes, %v", len(got), err)
				}
			}
		})
	}
	writers.Wait()
	if err := Write(f.path, []byte("last"), Mine(0o600)); err != nil {
		t.Error(err)
	}
	f.holds("last")
}

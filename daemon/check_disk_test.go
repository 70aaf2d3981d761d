package daemon

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tidegate/tidegate/internal/conf"
)

func TestDataDirThatCannotHoldReadingsFails(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, word := range map[string]string{
		file:                       "is a file",
		filepath.Join(file, "sub"): "not a directory",
	} {
		k := &checklist{}
		k.dataDir(path, 1)
		expect(t, k.findings[0], Fail, word)
	}
}

func TestDataDirThatCannotBeMadeFails(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may write anywhere")
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	k := &checklist{}
	k.dataDir(filepath.Join(dir, "a", "b"), 1)
	expect(t, only(t, k), Fail, dir+" is not writable")
}

func TestReadOnlyDataDirFails(t *testing.T) {
	if _, err := os.Stat("/proc/self"); err != nil {
		t.Skip("there is no /proc here")
	}
	k := &checklist{}
	k.writable("/proc/self") // not writable for root either
	expect(t, only(t, k), Fail, "read-only")
}

func TestDataDirThatExistsIsProbedAndMeasured(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	k := &checklist{}
	k.dataDir(dir, int64(32*conf.MiB))
	if len(k.findings) != 3 || Worst(k.findings) == Fail {
		t.Fatalf("%+v", k.findings)
	}
	expect(t, k.findings[0], OK, dir+" is writable; a sync takes")
	expect(t, k.findings[2], OK, "the buffer may take 32.0MiB")
}

func TestProbeLeavesNothingBehind(t *testing.T) {
	dir := t.TempDir()
	if took, err := probe(dir); err != nil || took <= 0 {
		t.Errorf("probe: %v, %v", took, err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

// A kill while the disk takes its time leaves nothing, either.
func TestTheProbeHasNoNameWhileItIsWritten(t *testing.T) {
	dir := t.TempDir()
	f, err := nameless(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString("x"); err != nil {
		t.Error(err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("there are %v, %v", entries, err)
	}
}

func TestOpenDataDirIsNoticed(t *testing.T) {
	dir := t.TempDir()
	for mode, findings := range map[os.FileMode]int{0o750: 1, 0o755: 2} {
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		k := &checklist{}
		k.writable(dir)
		if len(k.findings) != findings {
			t.Errorf("%o: %+v", mode, k.findings)
		}
	}
}

func TestFileSystemsThatBreakTheCustodyPromiseAreNoticed(t *testing.T) {
	for magic, c := range map[uint32]struct {
		name  string
		doubt bool
	}{
		unix.EXT4_SUPER_MAGIC:      {"ext4", false},
		unix.F2FS_SUPER_MAGIC:      {"f2fs", false},
		unix.BTRFS_SUPER_MAGIC:     {"btrfs", false}, // beyond the int32 of 32-bit ARM
		unix.TMPFS_MAGIC:           {"tmpfs", true},
		unix.OVERLAYFS_SUPER_MAGIC: {"overlayfs", true},
		unix.NFS_SUPER_MAGIC:       {"NFS", true},
		unix.CIFS_SUPER_MAGIC:      {"SMB", true},
		unix.MSDOS_SUPER_MAGIC:     {"FAT", true},
		unix.EXFAT_SUPER_MAGIC:     {"exFAT", true},
		0xdeadbeef:                 {"a file system that is not known here", true},
	} {
		if name, doubt := fileSystemKind(magic); name != c.name || (doubt != "") != c.doubt {
			t.Errorf("%#x: %s, %q", magic, name, doubt)
		}
	}
}

func TestRoomCountsWhatTheBufferHasAlready(t *testing.T) {
	const mib = int64(conf.MiB)
	for _, c := range []struct {
		free, used int64
		level      Level
	}{
		{600 * mib, 0, OK},
		{12 * mib, 500 * mib, OK},
		{100 * mib, 0, Warn},
		{31 * mib, 0, Fail},
	} {
		k := &checklist{}
		k.room(c.free, c.used, 512*mib)
		expect(t, only(t, k), c.level)
	}
}

func TestUsedBytesLooksIntoDirectories(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "journal"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"state.db", "journal/1.seg"} {
		if err := os.WriteFile(filepath.Join(dir, name), make([]byte, 1000), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if used := usedBytes(dir); used != 2000 {
		t.Errorf("used: %d", used)
	}
}

func TestCheckTellsAReadOnlyFileSystemFromAMissingRight(t *testing.T) {
	for err, word := range map[error]string{unix.EROFS: "mount it writable", unix.EACCES: "give it to the user"} {
		k := &checklist{}
		k.cannotMake("/data/tidegate", "/data", err)
		expect(t, only(t, k), Fail, "data_dir /data/tidegate does not exist", word)
	}
}

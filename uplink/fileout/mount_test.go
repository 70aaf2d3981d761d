package fileout

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tidegate/tidegate/uplink"
)

// mountMemory mounts a file system of size bytes in memory at path, until the test
// ends. Only root may.
func mountMemory(t *testing.T, path, size string) {
	t.Helper()
	if err := unix.Mount("tidegate-test", path, "tmpfs", 0, "size="+size); err != nil {
		t.Skipf("file systems cannot be mounted here: %v", err)
	}
	t.Cleanup(func() { unix.Unmount(path, unix.MNT_DETACH) })
}

// stick is a file system in a file, as a USB stick is one on a device.
type stick struct {
	t     *testing.T
	image string
	path  string
}

func newStick(t *testing.T, mkfs ...string) *stick {
	t.Helper()
	tool, err := exec.LookPath(mkfs[0])
	if err != nil {
		t.Skipf("%s is not there: install the package dosfstools or e2fsprogs", mkfs[0])
	}
	s := &stick{t, filepath.Join(t.TempDir(), "image"), t.TempDir()}
	if err := os.WriteFile(s.image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(s.image, 8<<20); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(tool, append(mkfs[1:], s.image)...).CombinedOutput(); err != nil {
		t.Skipf("%v: %v: %s", mkfs, err, out)
	}
	s.mount("rw")
	t.Cleanup(s.pull)
	return s
}

func (s *stick) mount(options string) {
	s.t.Helper()
	if out, err := exec.Command("mount", "-o", "loop,"+options, s.image, s.path).CombinedOutput(); err != nil {
		s.t.Skipf("sticks cannot be mounted here: %v: %s", err, out)
	}
}

func (s *stick) pull() { exec.Command("umount", "-l", s.path).Run() }

// A full disk refuses, keeps what is acknowledged, and goes on when there is room.
func TestARealDiskThatIsFull(t *testing.T) {
	dir := t.TempDir()
	mountMemory(t, dir, "1m")
	s := newSink(t, Config{Dir: dir, Mount: dir, MaxSize: 100 << 10})
	acked := 0
	var err error
	for err == nil {
		if err = s.Send(t.Context(), document(acked, 10_000)); err == nil {
			acked++
		}
	}
	if delay, _ := uplink.RetryDelay(err); !errors.Is(err, unix.ENOSPC) || delay != uplink.ConfigDelay || acked < 50 {
		t.Errorf("after %d: %v", acked, err)
	}
	if got := numbers(t, content(t, dir)); len(got) != acked {
		t.Errorf("%d records of %d", len(got), acked)
	}
	oldest, _ := filepath.Glob(filepath.Join(dir, "*000001*"))
	if err := os.Remove(oldest[0]); err != nil {
		t.Fatal(err)
	}
	send(t, s, document(acked, 10_000))
}

// The headroom is kept, so that what else is on the disk can go on.
func TestARealDiskKeepsItsHeadroom(t *testing.T) {
	dir := t.TempDir()
	mountMemory(t, dir, "1m")
	s := newSink(t, Config{Dir: dir, MinFree: 300 << 10, Reserved: func(string) int64 { return 200 << 10 }})
	var err error
	for n := 0; err == nil; n++ {
		err = s.Send(t.Context(), document(n, 10_000))
	}
	free, ferr := freeBytes(dir)
	if ferr != nil || free < 500<<10 || free > 520<<10 || !strings.Contains(err.Error(), "min_free") {
		t.Errorf("%d are free, %v: %v", free, ferr, err)
	}
}

// Sneakernet: a stick is pulled out, carried away, emptied and put back, and put
// back without having been emptied. Nothing is written where it is not, and it can
// be unmounted at any time.
func TestARealStickIsCarried(t *testing.T) {
	for name, mkfs := range map[string][]string{"ext4": {"mkfs.ext4", "-q", "-F"}, "vfat": {"mkfs.vfat"}} {
		t.Run(name, func(t *testing.T) {
			stick := newStick(t, mkfs...)
			s := newSink(t, Config{Dir: stick.path, Mount: stick.path})
			send(t, s, document(1, 10), document(2, 10))
			if out, err := exec.Command("umount", stick.path).CombinedOutput(); err != nil {
				t.Fatalf("it cannot be unmounted: %v: %s", err, out)
			}
			err := s.Send(t.Context(), document(3, 10))
			if delay, _ := uplink.RetryDelay(err); delay != stickDelay || !strings.Contains(err.Error(), "put the stick back") {
				t.Errorf("without the stick: %v", err)
			}
			if _, err := s.Probe(t.Context()); err == nil || !strings.Contains(err.Error(), "put the stick back") {
				t.Errorf("without the stick: %v", err)
			}
			if got := names(t, stick.path); len(got) > 0 {
				t.Errorf("where the stick is not: %q", got)
			}
			stick.mount("rw")
			send(t, s, document(3, 10))
			if got := numbers(t, content(t, stick.path)); !slices.Equal(got, []int{1, 2, 3}) {
				t.Errorf("records %v", got)
			}
			whole, _ := filepath.Glob(filepath.Join(stick.path, "north-*"))
			for _, path := range whole { // carried away
				if err := os.Remove(path); err != nil {
					t.Fatal(err)
				}
			}
			if err := s.Send(t.Context(), document(4, 10)); err == nil || uplink.IsPermanent(err) {
				t.Errorf("the file was removed: %v", err)
			}
			send(t, s, document(4, 10))
			stick.pull()
			stick.mount("ro")
			err = s.Send(t.Context(), document(5, 10))
			if delay, _ := uplink.RetryDelay(err); delay != uplink.ConfigDelay || !strings.Contains(err.Error(), "read-only") {
				t.Errorf("read-only: %v", err)
			}
			stick.pull()
			stick.mount("rw")
			send(t, s, document(5, 10))
			if got := numbers(t, content(t, stick.path)); !slices.Equal(got, []int{4, 5}) {
				t.Errorf("records %v", got)
			}
		})
	}
}

// What is mounted is told from what is not, also by kernels that do not say.
func TestMounted(t *testing.T) {
	dir := t.TempDir()
	for path, want := range map[string]bool{"/": true, "/proc": true, dir: false} {
		for name, ask := range map[string]func(string) (bool, error){"Statx": mounted, "Device": mountedByDevice} {
			if got, err := ask(path); got != want || err != nil {
				t.Errorf("%s %s: %v, %v", name, path, got, err)
			}
		}
	}
	if _, err := mounted(filepath.Join(dir, "gone")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	mountMemory(t, dir, "1m")
	if got, err := mounted(dir); !got || err != nil {
		t.Errorf("%v, %v", got, err)
	}
}

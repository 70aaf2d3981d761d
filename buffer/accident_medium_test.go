package buffer

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tidegate/tidegate/reading"
)

func mediumAccidents() []accident {
	all := []accident{
		{name: "read-only file system", by: TestReadOnlyFileSystemDeliversAndGoesOnWhenWritable},
		{name: "read-only segment", by: TestReadOnlySegmentIsNotContinued},
		{name: "no room for a new segment, for long", by: TestFullDiskAcknowledgesNothingAndRecovers},
		{name: "one sync fails", by: TestFailedSyncPoisonsTheSegmentAndCostsNobodyAnAcknowledgement},
		{name: "one sync fails while the buffer is full", by: TestOneBadSpotDoesNotStopAFullBuffer},
		{name: "writing fails for long", by: TestFailingMediumDoesNotFillTheGroupWithGaps},
	}
	for _, step := range fullSteps() {
		all = append(all, accident{name: "no room: " + step, test: func(t *testing.T) { fullDisk(t, step) }})
	}
	for _, c := range failingCalls() {
		all = append(all, accident{name: c.name, test: func(t *testing.T) { failCalls(t, c.faults) }})
	}
	return all
}

func TestFailedSyncPoisonsTheSegmentAndCostsNobodyAnAcknowledgement(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir, nil)
	r := runBuffer(t, b)
	r.accept("a", 1)
	bad := r.active
	calls := 0
	bad.sync = func(file) error { calls++; return unix.EIO } // Run is waiting: nobody else looks
	r.accept("a", 2)
	r.accept("a", 3)
	if calls != 1 {
		t.Errorf("a segment whose sync failed was synced %d times", calls)
	}
	if n := len(segments(t, dir)); n != 2 {
		t.Errorf("%d segments, want a new one beside the bad one", n)
	}
	r.expect("cloud", 1, 2, 3)
	r.crash()
	r = start(t, dir, nil)
	r.expect("cloud", 1, 2, 3)
}

// TestFullDiskAcknowledgesNothingAndRecovers fills a file system of its own.
func TestFullDiskAcknowledgesNothingAndRecovers(t *testing.T) {
	dir := mountSmall(t, "20m")
	r := start(t, dir, func(c *Config) { c.MaxBytes = 1 << 30 })
	stored := 0
	var refused error
	for refused == nil {
		receipt, err := r.Accept(t.Context(), []reading.Reading{noise("a", stored, 256<<10)})
		if err == nil {
			err = receipt.Wait(t.Context())
		}
		if refused = err; err == nil {
			stored++
		}
	}
	if !errors.Is(refused, ErrFull) || r.Stats().Problem == "" {
		t.Errorf("refused with %v, problem %q", refused, r.Stats().Problem)
	}
	if gaps, _ := r.Gaps(); len(gaps) != 0 {
		t.Errorf("what was refused was declared lost: %+v", gaps)
	}
	c := r.Cursor("cloud") // delivering makes room
	for got := 0; got < stored; {
		bs := r.next(c, 1<<20)
		for _, b := range bs {
			got += b.Count
			c.Ack(b.Lane, b.First, b.Last())
		}
	}
	r.eventually(func() bool {
		receipt, err := r.Accept(t.Context(), []reading.Reading{noise("a", stored, 256<<10)})
		return err == nil && receipt.Wait(t.Context()) == nil
	})
	if p := r.Stats().Problem; p != "" {
		t.Errorf("it works again and still says %q", p)
	}
}

// fullSteps are the steps of a story, before each of which the disk may be full.
func fullSteps() []string {
	return []string{"at the first start", "at a start", "at a commit", "at a new segment", "where state.db grows", "at the end"}
}

// fullDisk fills a file system of its own before the step, and makes room after
// it. What was acknowledged, and nothing else, is there; then it goes on.
func fullDisk(t *testing.T, full string) {
	mount := mountSmall(t, "48m")
	dir, filler := filepath.Join(mount, "buffer"), filepath.Join(mount, "filler")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	var r *running
	var took []float64
	n := 0.0
	accept := func() (err error) {
		n++
		if err = r.try(n); err == nil {
			took = append(took, n)
		}
		return err
	}
	step := func(name string, do func()) {
		if name == full {
			fill(t, filler)
		}
		do()
		if name != full {
			return
		}
		r.makeRoom(filler)
		if name != "at the end" {
			r.eventually(func() bool { return accept() == nil })
		}
	}
	step("at the first start", func() { r = start(t, dir, nil); accept() })
	r.stop()
	step("at a start", func() { r = start(t, dir, nil); accept() })
	step("at a commit", func() { accept(); accept() })
	step("at a new segment", func() {
		for i := range 9 { // Run may refuse
			receipt, err := r.Accept(t.Context(), []reading.Reading{noise("noise", i, 1<<20)})
			if err == nil {
				_ = receipt.Wait(t.Context())
			}
		}
		accept()
	})
	step("where state.db grows", func() {
		r.declareLost(reading.Bulk, Gap{First: 1, Last: 1, Reason: strings.Repeat("x", 4<<20)})
		accept()
	})
	step("at the end", func() {
		accept()
		r.cancel()
		r.cancel = nil
		if err := <-r.ended; err != nil && !errors.Is(err, unix.ENOSPC) {
			t.Errorf("run: %v", err)
		}
	})
	r = start(t, dir, nil)
	there := slices.DeleteFunc(r.drain("cloud"), func(v float64) bool { return v == 0 }) // noise
	if fmt.Sprint(there) != fmt.Sprint(took) {
		t.Errorf("acknowledged %v, there %v", took, there)
	}
}

// makeRoom removes what filled the disk, when the problem has been told.
func (r *running) makeRoom(filler string) {
	r.t.Helper()
	if p := r.Stats().Problem; p != "" && !strings.Contains(p, "hint: make room") {
		r.t.Errorf("problem %q", p)
	}
	if err := os.Remove(filler); err != nil {
		r.t.Fatal(err)
	}
}

// fill leaves no room.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for n := 1 << 20; n >= 512; {
		if _, err := f.Write(make([]byte, n)); err != nil {
			n /= 2
		}
	}
}

// Nothing can be written to the last segment: the next one begins.
func TestReadOnlySegmentIsNotContinued(t *testing.T) {
	dir := mountSmall(t, "64m")
	r := start(t, dir, nil)
	r.accept("a", 1)
	r.stop()
	path := segmentPath(dir, 1)
	if err := errors.Join(unix.Mount(path, path, "", unix.MS_BIND, ""), unix.Mount("", path, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, "")); err != nil {
		t.Skipf("a file that is read-only for root, too, needs mount: %v", err)
	}
	defer unix.Unmount(path, unix.MNT_DETACH)
	r, log := startLogged(t, dir)
	r.accept("a", 2)
	r.expect("cloud", 1, 2)
	if n := len(segments(t, dir)); n != 2 {
		t.Errorf("%d segments", n)
	}
	if !strings.Contains(log.String(), "last segment cannot be continued") {
		t.Errorf("it says %q", log.String())
	}
	r.stop()
}

// mountSmall mounts an ext4 of the size, or a tmpfs where that cannot be.
func mountSmall(t *testing.T, size string) string {
	t.Helper()
	dir, disk := t.TempDir(), filepath.Join(t.TempDir(), "disk")
	ext4 := fmt.Sprintf("truncate -s %s %s && mkfs.ext4 -q -m 0 -O ^has_journal %[2]s && mount -o loop %[2]s %s", size, disk, dir)
	if exec.Command("sh", "-c", ext4).Run() != nil {
		if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size="+size, "tmpfs", dir).CombinedOutput(); err != nil {
			t.Skipf("mounting a small file system needs root: %v: %s", err, out)
		}
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

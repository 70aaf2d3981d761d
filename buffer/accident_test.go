package buffer

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tidegate/tidegate/reading"
)

// accident is something that happens to the files while no process has them
// open. Three commits were acknowledged: 1, 2 and 3.
type accident struct {
	name   string
	happen func(t *testing.T, dir string)
	keep   []float64 // what is still delivered
	gaps   []string  // reasons of the gaps that are declared
}

func accidents() []accident {
	return []accident{
		{"nothing", func(*testing.T, string) {}, []float64{1, 2, 3}, nil},
		{"torn record at the end", func(t *testing.T, dir string) {
			damage(t, lastSegment(t, dir), func(b []byte) []byte {
				end := recordsEnd(b)
				return append(append(b[:end:end], b[:200]...), b[end+200:]...)
			})
		}, []float64{1, 2, 3}, nil},
		{"zeros where the last record's end was", func(t *testing.T, dir string) {
			damage(t, lastSegment(t, dir), func(b []byte) []byte {
				clear(b[recordsEnd(b)-20:])
				return b
			})
		}, []float64{1, 2}, nil},
		{"bit rot in a block", func(t *testing.T, dir string) {
			damage(t, lastSegment(t, dir), func(b []byte) []byte {
				b[recordAt(b, 1)+recordHeader+40] ^= 4
				return b
			})
		}, []float64{1, 3}, []string{ReasonDamaged}},
		{"bit rot in a header", func(t *testing.T, dir string) {
			damage(t, lastSegment(t, dir), func(b []byte) []byte {
				b[recordAt(b, 1)+9] ^= 4
				return b
			})
		}, []float64{1, 3}, []string{ReasonDamaged}},
		{"truncated segment", func(t *testing.T, dir string) {
			damage(t, lastSegment(t, dir), func(b []byte) []byte { return b[:recordAt(b, 2)+10] })
		}, []float64{1, 2}, nil},
		{"half-made segment", func(t *testing.T, dir string) {
			if err := os.WriteFile(segmentPath(dir, 2), make([]byte, 5000), 0o600); err != nil {
				t.Fatal(err)
			}
		}, []float64{1, 2, 3}, nil},
		{"old records of a recycled file", func(t *testing.T, dir string) {
			old, err := os.ReadFile(lastSegment(t, dir))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(segmentPath(dir, 9), old, 0o600); err != nil {
				t.Fatal(err)
			}
		}, []float64{1, 2, 3}, nil},
		{"foreign files", func(t *testing.T, dir string) {
			for _, name := range []string{"README", "000000000007.seg.bak", "notanumber.seg"} {
				if err := os.WriteFile(filepath.Join(dir, name), []byte("hello"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}, []float64{1, 2, 3}, nil},
		{"state.db gone", func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir, stateFile)); err != nil {
				t.Fatal(err)
			}
		}, []float64{1, 2, 3}, nil},
		{"state.db overwritten", func(t *testing.T, dir string) {
			if err := os.WriteFile(filepath.Join(dir, stateFile), make([]byte, 32<<10), 0o600); err != nil {
				t.Fatal(err)
			}
		}, []float64{1, 2, 3}, nil},
		{"state.db truncated in the middle", func(t *testing.T, dir string) {
			if err := os.Truncate(filepath.Join(dir, stateFile), 9000); err != nil {
				t.Fatal(err)
			}
		}, []float64{1, 2, 3}, nil},
		{"state.db rotten in every page but the first two", func(t *testing.T, dir string) {
			damage(t, filepath.Join(dir, stateFile), func(b []byte) []byte {
				for i := 2 * pageSize; i < len(b); i++ {
					b[i] ^= 0x5a
				}
				return b
			})
		}, []float64{1, 2, 3}, nil},
	}
}

func TestEveryAccidentCostsWhatItSays(t *testing.T) {
	for _, a := range accidents() {
		t.Run(a.name, func(t *testing.T) {
			dir := t.TempDir()
			r := start(t, dir, nil)
			for _, v := range []float64{1, 2, 3} {
				r.accept("a", v)
			}
			r.crash()
			a.happen(t, dir)

			r = start(t, dir, nil) // it always starts
			r.expect("cloud", a.keep...)
			gaps, err := r.Gaps()
			if err != nil {
				t.Fatal(err)
			}
			var reasons []string
			for _, g := range gaps {
				reasons = append(reasons, g.Reason)
			}
			if strings.Join(reasons, ",") != strings.Join(a.gaps, ",") {
				t.Errorf("gaps %v, want %v", reasons, a.gaps)
			}
			r.accept("a", 4) // and goes on
			r.expect("late", append(a.keep, 4)...)
			r.stop()
			r = start(t, dir, nil)
			r.expect("later", append(a.keep, 4)...)
		})
	}
}

func TestMissingSegmentIsDeclared(t *testing.T) {
	dir := t.TempDir()
	r := start(t, dir, nil)
	for i := range segmentSize/(64<<10) + 10 { // into the second segment
		r.acceptAll(noise("a", i, 64<<10))
	}
	r.crash()
	if err := os.Remove(segments(t, dir)[0]); err != nil {
		t.Fatal(err)
	}
	r = start(t, dir, nil)
	gaps, err := r.Gaps()
	if err != nil || len(gaps) != 1 || gaps[0].Reason != ReasonMissing || gaps[0].First != 1 {
		t.Errorf("gaps %+v, %v", gaps, err)
	}
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

// mountSmall mounts a tmpfs of the size.
func mountSmall(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size="+size, "tmpfs", dir).CombinedOutput(); err != nil {
		t.Skipf("mounting a small file system needs root: %v: %s", err, out)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

func damage(t *testing.T, path string, change func([]byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, change(b), 0o600); err != nil {
		t.Fatal(err)
	}
}

func lastSegment(t *testing.T, dir string) string {
	t.Helper()
	all := segments(t, dir)
	return all[len(all)-1]
}

// recordAt returns where the n-th record of segment 1 begins, recordsEnd where
// the last ends.
func recordAt(b []byte, n int) int {
	at := 0
	for range n {
		at = nextRecord(b, at)
	}
	return at
}

func recordsEnd(b []byte) int {
	at := 0
	for {
		next := nextRecord(b, at)
		if next == at {
			return at
		}
		at = next
	}
}

func nextRecord(b []byte, at int) int {
	if _, n, ok := recordLength(b[at:at+recordHeader], 1); ok {
		return at + recordHeader + n
	}
	return at
}

package buffer

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tidegate/tidegate/reading"
)

// after the rename of a recycled segment something fails once.
func TestFailureAfterTheRenameIsNotForEver(t *testing.T) {
	r := start(t, t.TempDir(), nil)
	c := r.Cursor("cloud")
	for n := 0; len(r.index.all()) < 4 || !fullSegment(r.Buffer); n++ {
		r.acceptAll(noise("a", n, 1<<20))
		bs := r.next(c, 1<<20)
		c.Ack(bs[0].Lane, bs[0].First, bs[len(bs)-1].Last())
	}
	// No descriptor is left when the folder is to be synced.
	var old unix.Rlimit
	unix.Getrlimit(unix.RLIMIT_NOFILE, &old)
	unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 3, Max: old.Max})
	receipt, err := r.Accept(t.Context(), []reading.Reading{noise("a", 1, 1<<20)})
	if err == nil {
		err = receipt.Wait(t.Context())
	}
	unix.Setrlimit(unix.RLIMIT_NOFILE, &old)
	t.Log("without descriptors:", err)
	for range 5 {
		if receipt, err = r.Accept(t.Context(), []reading.Reading{value(1, reading.Normal)}); err == nil {
			err = receipt.Wait(t.Context())
		}
		if err == nil {
			return
		}
	}
	t.Errorf("descriptors are back, and commits fail for ever: %v", err)
}

func fullSegment(b *Buffer) bool {
	s, _ := b.index.active()
	return s.End > segmentSize-1<<20
}

// max_bytes is lowered.
func TestLoweredBoundIsKept(t *testing.T) {
	dir := t.TempDir()
	r := start(t, dir, func(c *Config) { c.MaxBytes = 2 * MinBytes })
	n := 0
	for ; len(r.index.all()) < 8; n++ {
		r.acceptAll(noise("a", n, 1<<20))
	}
	r.stop()
	r = start(t, dir, nil)
	for range 9 {
		r.acceptAll(noise("a", n, 1<<20))
		n++
	}
	if s := r.Stats(); s.ReservedBytes > MinBytes {
		t.Errorf("%d bytes reserved, the bound is %d", s.ReservedBytes, MinBytes)
	}
}

// it could not be read, or somebody deleted it.
func TestOldestSegmentThatIsUnreadableMakesRoomAllTheSame(t *testing.T) {
	for _, how := range []string{"missing", "unreadable"} {
		t.Run(how, func(t *testing.T) {
			dir := t.TempDir()
			r := start(t, dir, nil)
			r.Cursor("cloud")
			n := 0
			for ; len(segments(t, dir)) < 2; n++ {
				r.acceptAll(noise("a", n, 1<<20))
			}
			oldest := segments(t, dir)[0]
			if err := os.Remove(oldest); err != nil {
				t.Fatal(err)
			}
			if how == "unreadable" { // reading the first page of a process's memory is an I/O error
				if err := os.Symlink("/proc/self/mem", oldest); err != nil {
					t.Fatal(err)
				}
			}
			for ; r.Stats().Lost == 0; n++ {
				r.acceptAll(noise("a", n, 1<<20))
			}
			r.accept("a", 1)
			r.wantGap(reading.Normal, 1, 7)
		})
	}
}

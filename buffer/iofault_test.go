package buffer

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/tidegate/tidegate/internal/rerun"
	"github.com/tidegate/tidegate/reading"
)

var ioFaults = flag.Int("iofaults", 1, "which of the first calls of each kind fail")

// failingCalls are the rows of ACCIDENTS.md in which system calls fail.
func failingCalls() []struct{ name, faults string } {
	return []struct{ name, faults string }{
		{"a sync fails", "fdatasync:EIO fdatasync:ENOSPC fsync:EIO"},
		{"a write fails", "pwrite64:EIO ftruncate:EIO"},
		{"no room for a write", "pwrite64:ENOSPC"},
		{"no room for a file", "fallocate:ENOSPC openat:ENOSPC"},
		{"quota exceeded", "pwrite64:EDQUOT fallocate:EDQUOT"},
		{"file system turns read-only", "pwrite64:EROFS openat:EROFS"},
		{"a read fails", "pread64:EIO"},
		{"a rename fails", "renameat:EIO"},
		{"no file descriptors", "openat:EMFILE"},
	}
}

// failCalls lets the n-th call of a kind fail, for every n up to -iofaults, once
// or from then on, and looks at what is there afterwards. A failure that passes
// must not be remembered for ever: the process goes on until everything is
// stored.
func failCalls(t *testing.T, faults string) {
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("failing system calls needs strace (apt install strace)")
	}
	for fault := range strings.FieldsSeq(faults) {
		call, errno, _ := strings.Cut(fault, ":")
		for n := 1; n <= *ioFaults; n++ {
			for _, lasting := range []string{"", "+"} {
				t.Run(fmt.Sprintf("%s/%d%s", fault, n, lasting), func(t *testing.T) {
					t.Parallel()
					ioFault(t, strace, fmt.Sprintf("%s:error=%s:when=%d%s", call, errno, n, lasting), lasting == "")
				})
			}
		}
	}
}

func ioFault(t *testing.T, strace, inject string, passes bool) {
	dir := t.TempDir()
	args := []string{"-f", "-qq", "-o", filepath.Join(t.TempDir(), "log"), "-e", "trace=" + strings.Split(inject, ":")[0], "-e", "inject=" + inject, "-P", dir, "-P", filepath.Join(dir, stateFile)}
	for n := range 9 {
		args = append(args, "-P", segmentPath(dir, uint64(n+1)))
	}
	cmd := exec.Command(strace, slices.Concat(args, rerun.Program(), []string{"-test.run=^TestIOFaultWorkload$", "-test.timeout=5m"})...)
	cmd.Env = append(os.Environ(), "TIDEGATE_IOFAULT_DIR="+dir)
	out, err := cmd.CombinedOutput()
	if bytes.Contains(out, []byte("panic:")) || bytes.Contains(out, []byte("fatal error")) {
		t.Fatalf("it died of the failure: %s", out)
	}
	var took []float64
	there := map[float64]bool{}
	refused := 0
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		var id float64
		if _, err := fmt.Sscanf(lines.Text(), "took %g", &id); err == nil {
			took = append(took, id)
		}
		if _, err := fmt.Sscanf(lines.Text(), "gave %g", &id); err == nil {
			there[id] = true
		}
		if strings.HasPrefix(lines.Text(), "refused") {
			refused++
		}
	}
	if passes && !bytes.Contains(out, []byte("no start")) && len(took) != workloadReadings {
		t.Errorf("one failure, and %d of %d were stored: %v %s", len(took), workloadReadings, err, out)
	}
	t.Logf("%d stored, %d refused", len(took), refused)
	r := start(t, dir, nil)
	c, now := r.Cursor("audit"), ended()
	for blocks, err := c.Next(now, reading.AllLanes, 1<<20); err == nil; blocks, err = c.Next(now, reading.AllLanes, 1<<20) {
		for _, b := range blocks {
			for _, rd := range decode(t, b) {
				there[float64(rd.Time)] = there[float64(rd.Time)] || b.Lane == reading.Normal
			}
		}
	}
	gaps, err := r.Gaps()
	if err != nil {
		t.Fatal(err)
	}
	var lost uint64
	for _, g := range gaps {
		if g.Lane == "normal" && g.Reason != ReasonNotStored {
			lost += g.Count
		}
	}
	for _, id := range took {
		if !there[id] && lost == 0 {
			t.Errorf("%v was acknowledged, is not there, and no gap says so", id)
		} else if !there[id] {
			lost--
		}
	}
}

const workloadReadings = 16

// TestIOFaultWorkload is the process whose calls fail: small commits, then so
// large ones that segments are made and recycled. What is refused is
// tried again.
func TestIOFaultWorkload(t *testing.T) {
	dir := os.Getenv("TIDEGATE_IOFAULT_DIR")
	if dir == "" {
		t.Skip("runs under TestEveryAccidentCostsWhatItSays")
	}
	b, err := Open(Config{Dir: dir, MaxBytes: MinBytes, Clock: testClock()}, slog.New(slog.DiscardHandler))
	if err != nil {
		fmt.Println("no start:", err)
		return
	}
	runtime.LockOSThread() // calls are counted by thread
	go func() {
		runtime.LockOSThread()
		b.Run(t.Context())
	}()
	c := b.Cursor("cloud")
	for i := range workloadReadings {
		size := 100
		if i >= 6 {
			size = maxAcceptText - 100
		}
		rd := noise("d", i, size)
		for tries := 0; ; tries++ {
			receipt, err := b.Accept(t.Context(), []reading.Reading{rd})
			if err == nil {
				err = receipt.Wait(t.Context())
			}
			if err == nil {
				break
			}
			fmt.Println("refused", rd.Time, err)
			if tries == 4 {
				return
			}
		}
		fmt.Println("took", rd.Time)
		if i < 2 { // the sink stays two behind, so there is room without evicting
			continue
		}
		blocks, err := c.Next(t.Context(), reading.AllLanes, 1)
		if err != nil { // one that passes
			blocks, err = c.Next(t.Context(), reading.AllLanes, 1)
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, rd := range decode(t, blocks[0]) {
			fmt.Println("gave", rd.Time)
		}
		c.Ack(blocks[0].Lane, blocks[0].First, blocks[0].Last())
	}
}

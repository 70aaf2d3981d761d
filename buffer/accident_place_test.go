package buffer

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/wire"
)

func placeAccidents() []accident {
	refused := func(name, why string, dir func(t *testing.T, at string) string) accident {
		return accident{name: name, test: func(t *testing.T) {
			b, err := Open(Config{Dir: dir(t, t.TempDir()), MaxBytes: MinBytes, Clock: testClock()}, slog.New(slog.DiscardHandler))
			if err == nil {
				t.Fatal("it starts", b.Close())
			}
			if !strings.Contains(err.Error(), why) || !strings.Contains(err.Error(), "hint: ") {
				t.Errorf("it says %v", err)
			}
		}}
	}
	return []accident{
		refused("another process has the folder", fmt.Sprintf("process %d ", os.Getpid()), func(t *testing.T, at string) string {
			start(t, at, nil)
			return at
		}),
		refused("folder is a link to nothing", "link to what is not there", func(t *testing.T, at string) string {
			link := filepath.Join(at, "link")
			if err := os.Symlink(filepath.Join(at, "gone"), link); err != nil {
				t.Fatal(err)
			}
			return link
		}),
		refused("file where the folder should be", "is no folder", func(t *testing.T, at string) string {
			file := filepath.Join(at, "file")
			if err := os.WriteFile(file, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			return file
		}),
		refused("folder's name is too long", "file name too long", func(_ *testing.T, at string) string {
			return filepath.Join(at, strings.Repeat("x", 300))
		}),
		refused("folder may not be written", "permission denied", func(t *testing.T, at string) string {
			asNobody(t)
			return at
		}),
		refused("folder may not be made", "permission denied", func(t *testing.T, at string) string {
			asNobody(t)
			return filepath.Join(at, "buffer")
		}),
		refused("no room for the folder", "no space left on device", func(t *testing.T, _ string) string {
			mount := mountSmall(t, "1m")
			fill(t, filepath.Join(mount, "filler"))
			return filepath.Join(mount, strings.Repeat("a", 200), "buffer")
		}),
		clockAccident("clock jumps back ten years", -10*365*24*time.Hour, wire.Stepped),
		clockAccident("clock jumps forward ten years", 10*365*24*time.Hour, wire.Stepped),
		clockAccident("clock is in 1970 at boot", time.Duration(-storyTime), wire.Unsynced),
	}
}

// asNobody takes the rights of root from the test's thread.
func asNobody(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("who is not root needs a folder of root's; run the tests as root")
	}
	runtime.LockOSThread() // the rights are the thread's
	t.Cleanup(runtime.UnlockOSThread)
	if err := unix.Setfsuid(65534); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Setfsuid(0) })
}

const storyTime = 1_790_000_000_000_000_000 // of the first reading, in nanoseconds

// clockAccident lets the clock jump while readings come, and between two runs:
// readings keep their order and their times, and nothing is held to be old.
func clockAccident(name string, jump time.Duration, state wire.ClockState) accident {
	return accident{name: name, test: func(t *testing.T) {
		dir := t.TempDir()
		clock := testClock()
		clock.Boot, clock.State = 2, func() wire.ClockState { return state }
		at := func(now int64) reading.Reading {
			rd := value(float64(now), reading.Normal)
			rd.Time = now
			return rd
		}
		first, second := at(storyTime), at(storyTime+int64(jump))
		r := start(t, dir, nil)
		r.acceptAll(first)
		r.acceptAll(second)
		r.stop()
		r = start(t, dir, func(c *Config) { c.Clock = clock })
		r.acceptAll(second)
		r.stop()
		r = start(t, dir, nil)
		r.acceptAll(first)
		r.expect("cloud", first.Value.Float(), second.Value.Float(), second.Value.Float(), first.Value.Float())
		if got := r.gapList(); got != "" {
			t.Errorf("declared lost: %s", got)
		}
		if h := r.Stats().Held; h != 4 {
			t.Errorf("%d readings are held", h)
		}
	}}
}

package daemon

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestClockSaysWhetherItIsSet(t *testing.T) {
	var said strings.Builder
	c := &opsCall{call: call{stdout: &said}}
	if err := c.clockOf(t.Context(), func() bool { return false }, time.Second); !errors.Is(err, errClockUnset) || said.Len() > 0 {
		t.Errorf("%q, %v", said.String(), err)
	}
	if err := c.clockOf(t.Context(), func() bool { return true }, time.Second); err != nil || !strings.HasPrefix(said.String(), "the clock is set: ") {
		t.Errorf("%q, %v", said.String(), err)
	}
}

// TestTheMarkWaitsForTheClock: it is made when the clock is set, and not before.
func TestTheMarkWaitsForTheClock(t *testing.T) {
	mark := filepath.Join(t.TempDir(), "set")
	synctest.Test(t, func(t *testing.T) {
		asked, began := 0, time.Now()
		synced := func() bool {
			if _, err := os.Stat(mark); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("there is a mark before the clock is set: %v", err)
			}
			asked++
			return asked == 4
		}
		if err := (&opsCall{out: mark}).clockOf(t.Context(), synced, clockLook); err != nil {
			t.Fatal(err)
		}
		if waited := time.Since(began); asked != 4 || waited != 3*clockLook {
			t.Errorf("it asked %d times within %v", asked, waited)
		}
	})
	if info, err := os.Stat(mark); err != nil || info.Mode().Perm()&0o400 == 0 {
		t.Errorf("%v, %v", info, err)
	}
}

func TestWhoStopsTheWaitGetsNoMark(t *testing.T) {
	mark := filepath.Join(t.TempDir(), "set")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := (&opsCall{out: mark}).clockOf(ctx, func() bool { return false }, time.Hour); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(mark); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a mark of a clock that was never set: %v", err)
	}
}

func TestAMarkThatCannotBeMadeIsTold(t *testing.T) {
	mark := filepath.Join(t.TempDir(), "missing", "set")
	if err := (&opsCall{out: mark}).clockOf(t.Context(), func() bool { return true }, time.Hour); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

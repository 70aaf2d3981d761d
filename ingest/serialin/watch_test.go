package serialin

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/tidegate/tidegate/ingest/ingesttest"
	"github.com/tidegate/tidegate/internal/ptytest"
	"github.com/tidegate/tidegate/internal/serialport"
)

// What the kernel does not tell of, such as a link to a pseudo-terminal, is found when the
// hurry is over, too.
func TestADeviceIsFoundWhenTheHurryIsOver(t *testing.T) {
	name := filepath.Join(t.TempDir(), "ttyUSB0")
	s := newSource(t, Config{Port: serialport.Config{Path: name}})
	s.haste, s.rest = 0, 20*time.Millisecond
	run(t, s, ingesttest.NewCustody())
	until(t, "it waits", func() bool { return s.Stats().State == Waiting })
	_, path := ptytest.New(t)
	if err := os.Symlink(path, name); err != nil {
		t.Fatal(err)
	}
	isOpen(t, s)
}

func TestRareLooksFallTogether(t *testing.T) {
	began := time.Unix(1795900000, 0)
	for after := range time.Duration(40) {
		now := began.Add(after * 99 * time.Millisecond)
		wait := untilNext(now, restEvery)
		if wait <= 0 || wait > restEvery || now.Add(wait).UnixNano()%int64(restEvery) != 0 {
			t.Errorf("after %v the next look is in %v", now.Sub(began), wait)
		}
	}
}

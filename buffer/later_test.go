package buffer

import (
	"bytes"
	"context"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tidegate/tidegate/reading"
)

// laterVersion leaves a folder as a later version does, of eight readings of which the
// sink has three: a segment of its own records, and a state.db of its own schema if
// withState. It returns the segment's path.
func laterVersion(t *testing.T, dir string, withState bool) (path string) {
	t.Helper()
	r := start(t, dir, nil)
	for v := range 8 {
		r.accept("a", float64(v))
	}
	if err := r.Cursor("cloud").Ack(reading.Normal, 1, 3); err != nil {
		t.Fatal(err)
	}
	r.stop()
	path = lastSegment(t, dir)
	setVersion(t, path, '9')
	if withState {
		changeState(t, dir, put(bucketMeta, []byte(schemaKey), schema+1))
	}
	return path
}

// setVersion changes the version of all records of a segment.
func setVersion(t *testing.T, path string, version byte) {
	t.Helper()
	damage(t, path, func(b []byte) []byte {
		for at, end := 0, recordsEnd(b); at < end; at = nextRecord(b, at) {
			b[at+len(recordMagic)] = version
			binary.LittleEndian.PutUint32(b[at+4:], headerSum(b[at:at+recordHeader]))
		}
		return b
	})
}

// What a later version has acknowledged outlives this one, whatever that does: it is
// neither delivered nor declared lost nor written over, takes no room of others, and
// the later version delivers it when it comes back, with what came meanwhile.
func TestReadingsOfALaterVersionWaitForIt(t *testing.T) {
	for name, withState := range map[string]bool{"records": false, "records and state.db": true} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := laterVersion(t, dir, withState)
			before := contents(t, path)

			r, log := startLogged(t, dir)
			if said := log.String(); !strings.Contains(said, "readings of a later version of the program are kept for it") || !strings.Contains(said, path) {
				t.Errorf("it says %q", said)
			}
			if got := r.numbers("cloud"); got != "" {
				t.Errorf("numbers %s are delivered", got)
			}
			for n := range 80 { // of a MiB each, in a buffer of 64
				r.acceptAll(noise("b", n, 1<<20))
			}
			ackAll(t, r, "cloud")
			if r.Stats().Later == 0 {
				t.Error("nobody is told")
			}
			if !bytes.Equal(contents(t, path), before) {
				t.Error("the segment was written over")
			}
			r.stop()
			r, _ = startLogged(t, dir)
			r.accept("c", 1)
			ackAll(t, r, "cloud")
			gapsBefore := r.gapList()
			r.stop()

			setVersion(t, path, recordVersion) // it can be read again
			if withState {
				aside := filepath.Join(dir, stateFile+".later-1")
				if _, err := os.Stat(aside); err != nil {
					t.Error(err)
				}
			}
			r, log = startLogged(t, dir)
			want := "4-8"
			if withState {
				want = "1-8" // it is not known how far they were delivered
			}
			if got := r.numbers("cloud"); got != want {
				t.Errorf("the later version delivers %s, want %s", got, want)
			}
			if got := r.gapList(); got != gapsBefore || strings.Contains(got, ReasonDamaged) || strings.Contains(got, ReasonMissing) {
				t.Errorf("declared lost: %q, and before: %q", got, gapsBefore)
			}
			if said := log.String(); said != "" {
				t.Errorf("it says %q", said)
			}
		})
	}
}

func contents(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// ackAll delivers everything that there is.
func ackAll(t *testing.T, r *running, sink string) {
	t.Helper()
	c := r.Cursor(sink)
	for {
		ready, cancel := context.WithCancel(t.Context())
		cancel()
		blocks, err := c.Next(ready, reading.AllLanes, 1<<20)
		if err != nil {
			return
		}
		for _, b := range blocks {
			if err := c.Ack(b.Lane, b.First, b.Last()); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// A state.db of a later version is never written over, however often somebody goes
// back and forth.
func TestEachStateOfALaterVersionIsKept(t *testing.T) {
	dir := t.TempDir()
	start(t, dir, nil).stop()
	for range mostAside + 2 {
		changeState(t, dir, put(bucketMeta, []byte(schemaKey), schema+1))
		start(t, dir, nil).stop()
	}
	if aside := asideFiles(t, dir); len(aside) != mostAside+2 {
		t.Errorf("set aside: %q", aside)
	}
}

// While something is kept for a later version, what is damaged elsewhere is declared as
// always: a segment that nobody can deliver all of would take room for ever.
func TestDamageBesideALaterVersionIsDeclared(t *testing.T) {
	dir := t.TempDir()
	laterVersion(t, dir, false)
	r := start(t, dir, nil)
	for n := range 12 { // a segment and a half
		r.acceptAll(noise("b", n, 1<<20))
	}
	r.stop()
	damage(t, segments(t, dir)[1], func(b []byte) []byte { // sealed: nobody reads it at the start
		b[2<<20] ^= 4
		return b
	})
	r = start(t, dir, nil)
	ackAll(t, r, "cloud")
	r.accept("c", 1)
	ackAll(t, r, "cloud")
	if got := r.gapList(); !strings.Contains(got, ReasonDamaged) {
		t.Errorf("declared lost: %q", got)
	}
	for _, s := range r.index.all() {
		if owed := r.owedLanes(s); !s.kept() && owed != (laneSet{}) {
			t.Errorf("somebody waits for segment %d: %v", s.Number, owed)
		}
	}
	if lag := r.Cursor("cloud").Lag(); lag.Readings != 0 {
		t.Errorf("%d readings wait", lag.Readings)
	}
}

// When state.db is lost, numbers leap once more, behind those of this version's own
// segment: four billion readings that nobody has taken are no loss.
func TestALeapInASegmentIsNoLoss(t *testing.T) {
	dir := t.TempDir()
	laterVersion(t, dir, false)
	for range 3 {
		r := start(t, dir, nil)
		r.accept("b", 1, 2)
		dir = r.killed()
		r.stop()
		if err := os.Remove(filepath.Join(dir, stateFile)); err != nil {
			t.Fatal(err)
		}
	}
	r := start(t, dir, nil)
	r.accept("c", 1)
	delivered := 0
	c := r.Cursor("cloud")
	for delivered < 7 {
		for _, b := range r.next(c, 1<<20) {
			delivered += b.Count
			if err := c.Ack(b.Lane, b.First, b.Last()); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got := r.gapList(); got != "" {
		t.Errorf("declared lost: %q", got)
	}
	for _, s := range r.index.all() {
		if n := s.count(); n > 100 {
			t.Errorf("segment %d is said to hold %d readings", s.Number, n)
		}
	}
	if lag := c.Lag(); lag.Readings != 0 {
		t.Errorf("%d readings wait", lag.Readings)
	}
	stats := r.Stats()
	if stats.Lost != 0 || stats.Held > 100 {
		t.Errorf("%d lost, %d held", stats.Lost, stats.Held)
	}
}

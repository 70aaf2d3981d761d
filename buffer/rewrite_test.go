package buffer

import (
	"os"
	"testing"

	"github.com/tidegate/tidegate/reading"
)

// mixedSegments commits mixed groups, one after the other and without Run, until
// there are so many segments; the last is being written.
func mixedSegments(t *testing.T, b *Buffer, segments int) (groups int) {
	t.Helper()
	for len(b.index.all()) < segments {
		commitGroup(t, b, mixed(groups)...)
		groups++
	}
	return groups
}

func commitGroup(t *testing.T, b *Buffer, rs ...reading.Reading) {
	t.Helper()
	if err := tryGroup(t, b, rs...); err != nil {
		t.Fatal(err)
	}
}

func tryGroup(t *testing.T, b *Buffer, rs ...reading.Reading) error {
	t.Helper()
	if _, err := b.Accept(t.Context(), rs); err != nil {
		return err
	}
	g, _ := b.takeDue(true)
	if b.closed = false; b.active != nil {
		b.active.sync = func(file) error { return nil }
	}
	if err := b.commit(g); err != nil {
		b.fail(g, err)
		return err
	}
	b.done(g)
	return nil
}

// kill gives back the files as a process that is killed leaves them, links and
// all, and opens the folder anew.
func kill(t *testing.T, b *Buffer) *Buffer {
	t.Helper()
	return killBefore(t, b, func() {})
}

func killBefore(t *testing.T, b *Buffer, accident func()) *Buffer {
	t.Helper()
	if b.active != nil {
		b.active.close()
	}
	for _, c := range b.cursors {
		c.close()
	}
	if err := b.state.close(); err != nil {
		t.Fatal(err)
	}
	accident()
	cfg := b.cfg
	return open(t, cfg.Dir, func(c *Config) { *c = cfg })
}

// The old file of a segment becomes the spare when the new one has its name. If
// the exchange ends in between, one file has two names, and must not be written.
func TestSpareIsNeverASegmentsFile(t *testing.T) {
	for name, killed := range map[string]bool{"killed": true, "failed": false} {
		t.Run(name, func(t *testing.T) {
			b := open(t, t.TempDir(), func(c *Config) { c.MaxBytes = 2 * MinBytes })
			n := mixedSegments(t, b, 2)
			s, _ := b.index.segment(1)
			path := segmentPath(b.cfg.Dir, 1)
			if err := os.Mkdir(path+shrunkSuffix, 0o700); err != nil { // which cannot take the name of a file
				t.Fatal(err)
			}
			if err := b.replaceFile(s, shrunkSuffix, nil); err == nil {
				t.Fatal("a folder took the segment's place")
			}
			if killed {
				if err := os.Link(path, path+oldSuffix); err != nil {
					t.Fatal(err)
				}
				b = kill(t, b)
			}
			for len(b.index.all()) < 4 {
				commitGroup(t, b, mixed(n)...)
				n++
			}
			b = kill(t, b)
			if got := (&running{Buffer: b, t: t}).countLane("cloud", reading.Bulk); got != n {
				t.Errorf("%d readings of %d are left", got, n)
			}
			b.Close()
		})
	}
}

package buffer

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/tidegate/tidegate/reading"
)

// rot, then a record of another lane, then the lane goes on.
func TestRotBeforeARecordOfAnotherLaneIsDeclared(t *testing.T) {
	for _, running := range []bool{true, false} {
		t.Run(fmt.Sprint("running=", running), func(t *testing.T) {
			dir := t.TempDir()
			r := start(t, dir, nil)
			r.accept("a", 1)
			r.accept("a", 2)
			r.acceptAll(value(9, reading.Alarm))
			r.accept("a", 3)
			if !running {
				r.crash()
			}
			rot(t, dir, 1)
			if !running {
				r = start(t, dir, nil)
			}
			r.drain("cloud")
			r.wantGap(reading.Normal, 2, 2)
		})
	}
}

func value(v float64, lane reading.Lane) reading.Reading {
	return reading.Reading{Device: "a", Metric: "m", Time: 1, Value: reading.Float(v), Lane: lane}
}

func rot(t *testing.T, dir string, n int) {
	damage(t, segments(t, dir)[0], func(b []byte) []byte { b[recordAt(b, n)+recordHeader+40] ^= 4; return b })
}

// rot, and the record behind it does not fit the limit of that Next.
func TestRotAtTheLimitOfNextIsDeclared(t *testing.T) {
	dir := t.TempDir()
	r := start(t, dir, nil)
	for v := range 3 {
		r.accept("a", float64(v))
	}
	rot(t, dir, 1)
	c := r.Cursor("cloud")
	if b := r.next(c, 1); b[0].First != 1 {
		t.Fatal(b)
	}
	c = r.Cursor("cloud")
	r.next(c, 1) // limit 1: block 1; block 3 is read, does not fit, and is put back
	r.next(c, 1)
	r.wantGap(reading.Normal, 2, 2)
}

// the first record of the last segment rots.
func TestRotAtTheHeadOfASegment(t *testing.T) {
	dir := t.TempDir()
	r := start(t, dir, nil)
	n := 0
	for ; len(segments(t, dir)) < 2; n++ {
		r.acceptAll(noise("a", n, 1<<20))
	}
	r.acceptAll(value(9, reading.Alarm))
	r.accept("a", 1)
	r.crash()
	damage(t, lastSegment(t, dir), func(b []byte) []byte { b[recordHeader+40] ^= 4; return b })
	r = start(t, dir, nil)
	r.drainBlocks("cloud")
	r.wantGap(reading.Normal, uint64(n), uint64(n))
}

func (r *running) drainBlocks(cursor string) {
	c := r.Cursor(cursor)
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	for {
		if _, err := c.Next(ended, reading.AllLanes, 1<<20); err != nil {
			return
		}
	}
}

// rot in a segment that nobody read before it is evicted.
func TestRotInAnEvictedSegmentIsDeclared(t *testing.T) {
	dir := t.TempDir()
	r := start(t, dir, nil)
	r.Cursor("cloud")
	n := 0
	for ; len(segments(t, dir)) < 2; n++ {
		r.acceptAll(noise("a", n, 1<<20))
	}
	rot(t, dir, 3)
	for ; r.Stats().Lost == 0; n++ {
		r.acceptAll(noise("a", n, 1<<20))
	}
	r.wantGap(reading.Normal, 1, 7)
}

// the newest segment goes missing, and a new one must not take its number: what was noted of the old
// would be believed of the new.
func TestANumberThatWasNotedIsNotUsedAgain(t *testing.T) {
	dir := t.TempDir()
	r := start(t, dir, nil)
	for n := range 7 {
		r.acceptAll(noise("a", n, 1<<20))
	}
	r.seal() // as a roll does; the crash comes before the new segment's file
	r.crash()
	if err := os.Remove(segments(t, dir)[0]); err != nil {
		t.Fatal(err)
	}
	r = start(t, dir, nil)
	r.accept("a", 1)
	r.accept("a", 2)
	killed := t.TempDir() // what a process leaves that has no time to close
	if err := os.CopyFS(killed, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	r = start(t, killed, nil)
	r.accept("a", 3)
	r.expect("cloud", 1, 2, 3)
}

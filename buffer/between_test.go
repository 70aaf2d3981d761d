package buffer

import (
	"fmt"
	"io"
	"log"
	"sync"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/wire"
)

// listener does something when a transaction of state.db is at a place.
type listener struct {
	bbolt.DefaultLogger
	at string
	do func()
}

// Debugf implements bbolt.Logger.
func (l *listener) Debugf(format string, v ...any) {
	if do := l.do; do != nil && fmt.Sprintf(format, v...) == l.at {
		l.do = nil
		do()
	}
}

// beforeChange has something done once, when state.db is about to be changed.
func beforeChange(t *testing.T, b *Buffer, do func()) {
	t.Helper()
	listen(t, b, &listener{at: "Starting a new transaction [writable: true]", do: do})
}

// whileReading has something done once, when what state.db holds at the time is about to be
// read.
func whileReading(t *testing.T, b *Buffer, do func()) {
	t.Helper()
	listen(t, b, &listener{at: "Starting a new transaction [writable: false] successfully", do: do})
}

func listen(t *testing.T, b *Buffer, l *listener) {
	t.Helper()
	path := b.state.path()
	if err := b.state.db.Close(); err != nil {
		t.Fatal(err)
	}
	l.DefaultLogger = bbolt.DefaultLogger{Logger: log.New(io.Discard, "", 0)}
	options := stateOptions()
	options.Logger = l
	db, err := bbolt.Open(path, 0o600, options)
	if err != nil {
		t.Fatal(err)
	}
	b.state.db = db
}

// oneByOne returns all that a cursor hands out, checked to come once.
func oneByOne(t *testing.T, c *Cursor, blocks []wire.Block, limit int) (readings int) {
	t.Helper()
	for more := blocks; ; blocks = append(blocks, more...) {
		var err error
		if more, err = c.look(flowsOf(reading.AllLanes, true), limit); err != nil {
			t.Fatal(err)
		}
		if len(more) == 0 {
			break
		}
	}
	var seen ranges
	for _, blk := range blocks {
		if n := seen.overlap(blk.First, blk.Last()); n > 0 {
			t.Errorf("%d of the readings %d to %d are handed out under two names", n, blk.First, blk.Last())
		}
		seen = seen.add(blk.First, blk.Last())
		readings += blk.Count
	}
	return readings
}

// fewSmallRecords fills a segment with some blocks of one reading each, and begins the next.
func fewSmallRecords(t *testing.T, b *Buffer) (readings int) {
	t.Helper()
	for readings = range 50 {
		g := newGroup()
		g.add([]reading.Reading{{Device: "tank", Metric: "level", Time: int64(readings), Value: reading.Float(1)}}, 0, b.saved)
		if err := b.commit(g); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.roll(true); err != nil {
		t.Fatal(err)
	}
	return readings + 1
}

// mergedFirst makes a file of large blocks of the first segment.
func mergedFirst(t *testing.T, b *Buffer) merged {
	t.Helper()
	before, _ := b.index.segment(1)
	after, err := b.mergeSegment(t.Context(), before)
	if err != nil {
		t.Fatal(err)
	}
	return merged{before, after, nil}
}

// a sink comes back in the very moment in which a merged segment gets its place. What
// it is handed then must not be in a larger block as well.
func TestWhatIsHandedOutMeanwhileIsNotMerged(t *testing.T) {
	b := open(t, t.TempDir(), nil)
	defer b.Close()
	readings := fewSmallRecords(t, b)
	c := b.Cursor("cloud")
	m := mergedFirst(t, b)
	var blocks []wire.Block
	beforeChange(t, b, func() {
		if !c.place.TryLock() {
			return // nobody is handed anything now
		}
		c.place.Unlock()
		var err error
		if blocks, err = c.look(flowsOf(reading.AllLanes, true), 1); err != nil {
			t.Error(err)
		}
	})
	b.finishMerge(m)
	if n := oneByOne(t, c, blocks, 64<<10); n != readings {
		t.Errorf("%d readings handed out, want %d", n, readings)
	}
}

// a sink is taken out of the configuration and put back later.
func TestTheHalfOfAnAbsentSinkIsNotMerged(t *testing.T) {
	b := open(t, t.TempDir(), nil)
	defer b.Close()
	readings := fewSmallRecords(t, b)
	c := b.Cursor("cloud")
	blocks, err := c.look(flowsOf(reading.AllLanes, true), 1000)
	if err != nil {
		t.Fatal(err)
	}
	for _, blk := range blocks {
		if err := c.Ack(blk.Lane, blk.First, blk.Last()); err != nil {
			t.Fatal(err)
		}
	}
	b.Retire("cloud")
	b.finishMerge(mergedFirst(t, b))
	if n := oneByOne(t, b.Cursor("cloud"), blocks, 64<<10); n != readings {
		t.Errorf("%d readings handed out, want %d", n, readings)
	}
}

// unlessHeld does something, unless the lock is held: then whoever does it waits.
func unlessHeld(lock *sync.Mutex, do func()) (done bool) {
	if !lock.TryLock() {
		return false
	}
	lock.Unlock()
	do()
	return true
}

// the places of cursors are saved while somebody gives readings up: what is saved last
// must not be what was true before.
func TestAnOlderPlaceDoesNotReplaceAPurge(t *testing.T) {
	b := open(t, t.TempDir(), nil)
	defer b.Close()
	last := uint64(fewSmallRecords(t, b))
	b.Cursor("cloud")
	purge := func() {
		if _, err := b.Purge(t.Context(), Purge{Sink: "cloud"}); err != nil {
			t.Error(err)
		}
	}
	purged := false
	beforeChange(t, b, func() { purged = unlessHeld(&b.saving, purge) })
	if err := b.updateWithCursors(); err != nil {
		t.Fatal(err)
	}
	if !purged {
		purge()
	}
	var saved [reading.Lanes]ranges
	if err := get(b.state, bucketCursors, "cloud", func(acked [reading.Lanes]ranges) { saved = acked }); err != nil {
		t.Fatal(err)
	}
	if !saved[reading.Normal].has(1, last) {
		t.Errorf("given up, and the place on flash is %v", saved)
	}
}

func TestAnOlderPlaceDoesNotReplaceAForgottenOne(t *testing.T) {
	b := open(t, t.TempDir(), nil)
	defer b.Close()
	fewSmallRecords(t, b)
	b.Cursor("cloud")
	b.Retire("cloud")
	forget := func() {
		if err := b.Forget("cloud"); err != nil {
			t.Error(err)
		}
	}
	forgotten := false
	beforeChange(t, b, func() { forgotten = unlessHeld(&b.saving, forget) })
	if err := b.updateWithCursors(); err != nil {
		t.Fatal(err)
	}
	if !forgotten {
		forget()
	}
	if err := get(b.state, bucketCursors, "cloud", func([reading.Lanes]ranges) { t.Error("it is still known") }); err != nil {
		t.Fatal(err)
	}
}

// somebody wants a block of the quarantine sent again while its sink begins anew.
func TestAWishIsNotLostWhenASinkBeginsAnew(t *testing.T) {
	b := open(t, t.TempDir(), nil)
	defer b.Close()
	fewSmallRecords(t, b)
	c := b.Cursor("cloud")
	blocks, err := c.look(flowsOf(reading.AllLanes, true), 1)
	if err != nil {
		t.Fatal(err)
	}
	blk := blocks[0]
	if err := b.Quarantine("cloud", blk, "no"); err != nil {
		t.Fatal(err)
	}
	if err := c.Ack(reading.Normal, 1, 50); err != nil {
		t.Fatal(err)
	}
	retry := func() {
		if err := b.RetryRefused([]string{refusedID("cloud", blk.Lane, blk.First)}); err != nil {
			t.Error(err)
		}
	}
	wished := false
	whileReading(t, b, func() { wished = unlessHeld(&b.curMu, retry) })
	c = b.Cursor("cloud")
	if !wished {
		retry()
	}
	again, err := c.look(flowsOf(reading.AllLanes, true), 1)
	if err != nil || len(again) != 1 || again[0].First != blk.First {
		t.Errorf("handed out %d blocks, %v; want the one from quarantine", len(again), err)
	}
}

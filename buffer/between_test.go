package buffer

import (
	"fmt"
	"io"
	"log"
	"strings"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/wire"
)

// listener does something when a change of state.db begins.
type listener struct {
	bbolt.DefaultLogger
	began func()
}

// Debugf implements bbolt.Logger.
func (l *listener) Debugf(format string, v ...any) {
	if began := l.began; began != nil && strings.HasPrefix(fmt.Sprintf(format, v...), "Starting a new transaction [writable: true]") {
		l.began = nil
		began()
	}
}

// beforeChange has something done once, when the next change of state.db begins.
func beforeChange(t *testing.T, b *Buffer, do func()) {
	t.Helper()
	path := b.state.path()
	if err := b.state.db.Close(); err != nil {
		t.Fatal(err)
	}
	l := &listener{DefaultLogger: bbolt.DefaultLogger{Logger: log.New(io.Discard, "", 0)}}
	options := stateOptions()
	options.Logger = l
	db, err := bbolt.Open(path, 0o600, options)
	if err != nil {
		t.Fatal(err)
	}
	b.state.db, l.began = db, do
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

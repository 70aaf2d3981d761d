package buffer

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/wire"
)

// smallRecords fills segments with blocks of one reading each, as a quiet
// gateway would in a long outage: ten sensors whose values wander, stamped on
// arrival to the millisecond.
func smallRecords(t testing.TB, b *Buffer, segments, perCommit int) (readings int) {
	t.Helper()
	random := rand.New(rand.NewPCG(1, 2))
	var level [10]int
	now := int64(1_700_000_000_000)
	for len(b.index.all()) <= segments {
		g := newGroup()
		for range perCommit {
			i := readings % len(level)
			level[i] += random.IntN(7) - 3
			now += 100 + random.Int64N(5)
			g.add([]reading.Reading{{Device: fmt.Sprint("tank-", i), Metric: "level", Unit: "m", Flags: reading.Stamped,
				Time: now * 1e6, Value: reading.Float(float64(2137+level[i]) / 100)}}, 6, b.saved)
			readings++
		}
		if b.active != nil {
			b.active.sync = func(file) error { return nil }
		}
		if err := b.commit(g); err != nil {
			t.Fatal(err)
		}
	}
	return readings
}

func TestSmallBlocksOfAnOutageAreMerged(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir, func(c *Config) { c.MaxBytes = 1 << 30 })
	readings := smallRecords(t, b, 2, 1)
	before, _ := b.index.segment(1)
	r := runBuffer(t, b)
	r.eventually(func() bool { s, _ := r.index.segment(1); return s.Size < segmentSize })
	after, _ := r.index.segment(1)
	t.Logf("%d readings: %d bytes in %d blocks, then %d in %d: %.1f times less, %.2f bytes a reading",
		after.Lanes[reading.Normal].Last, before.End, before.Blocks, after.End, after.Blocks,
		float64(before.End)/float64(after.End), float64(after.End)/float64(after.Lanes[reading.Normal].Last))
	if after.End*10 > before.End {
		t.Errorf("%d bytes became %d", before.End, after.End)
	}
	if info, err := os.Stat(segmentPath(dir, 1)); err != nil || info.Size() != after.Size {
		t.Errorf("the file has %v, %v; want %d bytes", info, err, after.Size)
	}
	for _, r := range []*running{r, start(t, r.killed(), nil)} {
		want := uint64(1)
		for _, blk := range r.everything("cloud") {
			if blk.First != want {
				t.Fatalf("block from %d on, want %d", blk.First, want)
			}
			want = blk.Last() + 1
		}
		if want != uint64(readings)+1 {
			t.Errorf("%d readings handed out, want %d", want-1, readings)
		}
	}
}

// a block that a sink has is not joined with others that it has not.
func TestWhatIsBeingDeliveredIsNotMerged(t *testing.T) {
	b := open(t, t.TempDir(), nil)
	smallRecords(t, b, 2, 1)
	s, _ := b.index.segment(1)
	c := b.Cursor("cloud")
	if !b.isUntouched(s) {
		t.Error("nobody has any of it")
	}
	blocks, err := c.look(flowsOf(reading.AllLanes, true), 1)
	if err != nil {
		t.Fatal(err)
	}
	if b.isUntouched(s) {
		t.Error("a block is on its way, and all of it counts as untouched")
	}
	c.Ack(reading.Normal, blocks[0].First, blocks[0].Last())
	if b.isUntouched(s) {
		t.Error("a block is elsewhere, and all of it counts as untouched")
	}
	c.Ack(reading.Normal, 1, s.Lanes[reading.Normal].Last)
	if !b.isUntouched(s) {
		t.Error("all of it is elsewhere")
	}
}

func TestNoiseIsNotWrittenTwice(t *testing.T) {
	b := open(t, t.TempDir(), nil)
	for n := range 9 {
		g := newGroup()
		g.add([]reading.Reading{noise("a", n, 1<<20)}, 1<<20, b.saved)
		if err := b.commit(g); err != nil {
			t.Fatal(err)
		}
	}
	s, _ := b.index.segment(1)
	if _, err := b.mergeSegment(t.Context(), s); err == nil {
		t.Error("merging what cannot get smaller succeeds")
	}
	if copies, _ := filepath.Glob(filepath.Join(b.cfg.Dir, "*"+mergedSuffix)); len(copies) != 0 {
		t.Errorf("%v stays", copies)
	}
}

// What cannot be read is not left out of a new file: somebody may be able to later.
func TestWhatIsDamagedIsNotMerged(t *testing.T) {
	b := open(t, t.TempDir(), nil)
	smallRecords(t, b, 2, 30)
	rot(t, b.cfg.Dir, 3)
	s, _ := b.index.segment(1)
	if _, err := b.mergeSegment(t.Context(), s); !errors.Is(err, errDamaged) {
		t.Errorf("merged: %v", err)
	}
}

// a cursor is in the middle of a segment when its file is exchanged.
func TestReaderGoesOnInAnExchangedFile(t *testing.T) {
	b := open(t, t.TempDir(), func(c *Config) { c.MaxBytes = 1 << 30 })
	readings := smallRecords(t, b, 2, 1)
	c := b.Cursor("cloud")
	var got []wire.Block
	for range 3 {
		blocks, err := c.look(flowsOf(reading.AllLanes, true), 1000)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, blocks...)
	}
	s, _ := b.index.segment(1)
	s, err := b.shrunk(s)
	if err == nil {
		err = b.replaceFile(s, shrunkSuffix, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	damage(t, filepath.Join(b.cfg.Dir, spareFile), func(old []byte) []byte { return make([]byte, len(old)) }) // used again
	for {
		blocks, err := c.look(flowsOf(reading.AllLanes, true), 64<<10)
		if err != nil {
			t.Fatal(err)
		}
		if len(blocks) == 0 {
			break
		}
		got = append(got, blocks...)
	}
	want := uint64(1)
	for _, blk := range got {
		if blk.First != want {
			t.Fatalf("block from %d on, want %d", blk.First, want)
		}
		want = blk.Last() + 1
	}
	if gaps, _ := b.Gaps(); want != uint64(readings)+1 || len(gaps) != 0 {
		t.Errorf("%d readings of %d, gaps %v", want-1, readings, gaps)
	}
}

// the crash comes between the steps of an exchange.
func TestEveryStepOfAnExchangeMayBeTheLast(t *testing.T) {
	b := open(t, t.TempDir(), func(c *Config) { c.MaxBytes = 1 << 30 })
	readings := smallRecords(t, b, 2, 1)
	s, _ := b.index.segment(1)
	after, err := b.mergeSegment(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	r := &running{Buffer: b, t: t}
	states := []string{r.killed()} // the new file is there
	if err := b.state.update(put(bucketSegments, numberKey(1), nil)); err != nil {
		t.Fatal(err)
	}
	states = append(states, r.killed())
	path := segmentPath(b.cfg.Dir, 1)
	for _, step := range []func() error{
		func() error { return os.Link(path, path+oldSuffix) },
		func() error { return os.Rename(path+mergedSuffix, path) },
		func() error { return os.Rename(path+oldSuffix, filepath.Join(b.cfg.Dir, spareFile)) },
		func() error { return b.state.update(put(bucketSegments, numberKey(1), after)) },
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
		states = append(states, r.killed())
	}
	for i, dir := range states {
		r := start(t, dir, func(c *Config) { c.MaxBytes = 1 << 30 })
		n := 0
		for _, blk := range r.everything("cloud") {
			n += blk.Count
		}
		if gaps, _ := r.Gaps(); n != readings || len(gaps) != 0 {
			t.Errorf("after step %d: %d readings of %d, gaps %v", i, n, readings, gaps)
		}
		if files, _ := os.ReadDir(dir); slices.ContainsFunc(files, func(f os.DirEntry) bool {
			return slices.Contains([]string{mergedSuffix, oldSuffix}, filepath.Ext(f.Name()))
		}) {
			t.Errorf("after step %d: a half-made file stays", i)
		}
	}
}

// What merging a segment costs and brings, by the readings of a commit.
func BenchmarkMerge(b *testing.B) {
	for _, perCommit := range []int{1, 3, 10, 30, 100} {
		b.Run(fmt.Sprint("commit=", perCommit), func(b *testing.B) {
			buf, err := Open(Config{Dir: b.TempDir(), MaxBytes: 1 << 30, Clock: testClock()}, slog.New(slog.DiscardHandler))
			if err != nil {
				b.Fatal(err)
			}
			defer buf.Close()
			smallRecords(b, buf, 1, perCommit)
			s, _ := buf.index.segment(1)
			var after segmentInfo
			for b.Loop() {
				if after, err = buf.copySegment(s, mergedSuffix, func(out *segmentCopy) (func(wire.Block) error, func() error) {
					j := &joiner{merger: wire.NewMerger(), emit: out.write}
					return j.add, j.end
				}); err != nil {
					b.Fatal(err)
				}
			}
			n := float64(s.Lanes[reading.Normal].Last)
			b.ReportMetric(float64(s.End)/n, "B/reading-before")
			b.ReportMetric(float64(after.End)/n, "B/reading-after")
			b.ReportMetric(float64(s.End)/float64(after.End), "x-smaller")
		})
	}
}

package cloud

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/bbolt"
	"pgregory.net/rapid"

	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/wire"
)

func TestSameChunkTwiceCountsOnce(t *testing.T) {
	s := openStore(t)
	c := chunk(run(t, 1, 5), run(t, 6, 9))
	receive(t, s, c, 9, 0)
	receive(t, s, c, 0, 9)
	wantExport(t, s, Range{1, 9})
	lanes, err := s.Ledger()
	if err != nil || len(lanes) != 1 || lanes[0].Readings != 9 || lanes[0].Duplicates != 9 {
		t.Errorf("ledger %+v, %v", lanes, err)
	}
}

func TestOverlapStoresOnlyTheNewReadings(t *testing.T) {
	a, b, c := run(t, 1, 3), run(t, 4, 5), run(t, 6, 8)
	s := openStore(t)
	receive(t, s, chunk(merge(t, a, b)), 5, 0)
	receive(t, s, chunk(merge(t, a, b, c)), 3, 5)
	wantExport(t, s, Range{1, 8})
}

// One block brings two runs that are new, with one between them that is not.
func TestBlockFillsSeveralHoles(t *testing.T) {
	blocks := []wire.Block{run(t, 1, 2), run(t, 3, 4), run(t, 5, 6), run(t, 7, 8), run(t, 9, 9)}
	s := openStore(t)
	receive(t, s, chunk(blocks[1]), 2, 0)
	receive(t, s, chunk(blocks[3]), 2, 0)
	receive(t, s, chunk(merge(t, blocks...)), 5, 4)
	wantExport(t, s, Range{1, 9})
	if got, want := exported(t, s, Filter{FromSeq: 6}), rows(Range{6, 9}); got != want {
		t.Errorf("from 6:\n%swant\n%s", got, want)
	}
}

func TestOutOfOrderChunksExportInOrder(t *testing.T) {
	s := openStore(t)
	for _, first := range []uint64{31, 1, 21, 11} {
		receive(t, s, chunk(run(t, first, first+9)), 10, 0)
	}
	wantExport(t, s, Range{1, 40})
}

// Whatever blocks a gateway's flash holds, and however they are merged, cut,
// repeated and reordered on the way, each reading is here exactly once.
func TestAnyOverlapYieldsEveryReadingOnce(t *testing.T) {
	s := openStore(t)
	tries := 0
	rapid.Check(t, func(rt *rapid.T) {
		tries++
		gateway := fmt.Sprintf("g%d", tries)
		blocks, want := drawBlocks(t, rt, gateway)
		have := map[uint64]bool{}
		for range rapid.IntRange(1, 12).Draw(rt, "deliveries") {
			from := rapid.IntRange(0, len(blocks)-1).Draw(rt, "from")
			to := rapid.IntRange(from+1, len(blocks)).Draw(rt, "to")
			c := chunk(blocks[from:to]...)
			if rapid.Bool().Draw(rt, "merged") {
				c = chunk(merge(t, blocks[from:to]...))
			}
			c.Gateway = gateway
			fresh := uint64(0)
			for seq := c.First(); seq <= c.Last(); seq++ {
				if !have[seq] {
					have[seq] = true
					fresh++
				}
			}
			receive(t, s, c, fresh, uint64(c.Count())-fresh)
		}
		var lines strings.Builder
		for _, seq := range slices.Sorted(maps.Keys(have)) {
			lines.WriteString(want[seq])
		}
		if got := exported(t, s, Filter{Gateway: gateway}); got != lines.String() {
			rt.Errorf("export is\n%swant\n%s", got, lines.String())
		}
	})
}

// drawBlocks draws consecutive blocks of several devices, and the line of an
// export that each number stands for.
func drawBlocks(t *testing.T, rt *rapid.T, gateway string) ([]wire.Block, map[uint64]string) {
	lines, next := map[uint64]string{}, uint64(1)
	var blocks []wire.Block
	for range rapid.IntRange(1, 6).Draw(rt, "blocks") {
		var rs []reading.Reading
		for range rapid.IntRange(1, 6).Draw(rt, "count") {
			r := sample(next + uint64(len(rs)))
			r.Device = rapid.SampledFrom([]string{"b", "a", "c"}).Draw(rt, "device")
			r.Metric = rapid.SampledFrom([]string{"y", "x"}).Draw(rt, "metric")
			rs = append(rs, r)
		}
		b := block(t, next, rs...)
		rs, err := wire.NewDecoder().Decode(nil, b)
		if err != nil {
			t.Fatal(err)
		}
		var row rowWriter
		row.begin(laneID{gateway, epoch, reading.Normal})
		for i := range rs {
			row.buf = row.buf[:0]
			row.append(next+uint64(i), &rs[i])
			lines[next+uint64(i)] = string(row.buf)
		}
		blocks, next = append(blocks, b), b.Last()+1
	}
	return blocks, lines
}

func TestConcurrentDuplicatesCountOnce(t *testing.T) {
	s := openStore(t)
	c := chunk(run(t, 1, 100))
	var all sync.WaitGroup
	results := make([]Result, 32)
	for i := range results {
		all.Go(func() {
			var err error
			if results[i], err = s.Receive(t.Context(), c); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	var total Result
	for _, r := range results {
		total.Fresh += r.Fresh
		total.Duplicates += r.Duplicates
	}
	if want := (Result{Fresh: 100, Duplicates: 3100}); total != want {
		t.Errorf("got %+v, want %+v", total, want)
	}
	wantExport(t, s, Range{1, 100})
}

// Whoever arrives while a commit is under way shares the next one.
func TestCrowdSharesOneCommit(t *testing.T) {
	s := openStore(t)
	s.committing.Lock() // a commit is under way
	var all sync.WaitGroup
	for i := range uint64(20) {
		all.Go(func() {
			if _, err := s.Receive(t.Context(), chunk(run(t, i*10+1, i*10+10))); err != nil {
				t.Error(err)
			}
		})
	}
	waitFor(t, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.open != nil && len(s.open.deliveries) == 20
	})
	before := lastTransaction(t, s)
	s.committing.Unlock()
	all.Wait()
	if n := lastTransaction(t, s) - before; n != 1 {
		t.Errorf("%d transactions for one crowd", n)
	}
	wantExport(t, s, Range{1, 200})
}

// lastTransaction is the number of the newest transaction in the file.
func lastTransaction(t testing.TB, s *Store) (id int) {
	t.Helper()
	if err := s.db.View(func(tx *bbolt.Tx) error { id = tx.ID(); return nil }); err != nil {
		t.Fatal(err)
	}
	return id
}

// waitFor waits for a condition that another goroutine brings about.
func waitFor(t *testing.T, met func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	deadline := time.After(time.Minute)
	for !met() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("waited in vain")
		}
	}
}

func TestCorruptReadingsAreNeverStored(t *testing.T) {
	s := openStore(t)
	good := run(t, 1, 4)
	bad := good
	bad.First = 9 // the header no longer fits the chunk, the body is another's
	bad.Count = 3
	_, err := s.Receive(t.Context(), chunk(good, bad))
	if !errors.Is(err, wire.ErrCorrupt) {
		t.Errorf("got %v, want ErrCorrupt", err)
	}
	wantExport(t, s)
}

func TestStoreThatIsHeldSaysWhoToAsk(t *testing.T) {
	t.Parallel() // bbolt waits a second for the lock
	s := openStore(t)
	_, err := Open(StoreConfig{Dir: filepath.Dir(s.db.Path()), ReadOnly: true})
	if err == nil || !strings.Contains(err.Error(), "-url") {
		t.Errorf("got %v, want a hint to use -url", err)
	}
}

func TestUnreadableFileStaysAsItIs(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, fileName)
	rubbish := []byte(strings.Repeat("not a store\n", 1000))
	if err := os.WriteFile(path, rubbish, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(StoreConfig{Dir: dir}); err == nil || !strings.Contains(err.Error(), "hint") {
		t.Errorf("got %v, want an error with a hint", err)
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != string(rubbish) {
		t.Errorf("the file was changed (%v)", err)
	}
}

// A full store refuses, loses nothing that it has, and is not broken by it.
func TestFullStoreRefusesAndKeepsWhatItHas(t *testing.T) {
	s, err := Open(StoreConfig{Dir: t.TempDir(), MaxBytes: 17 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	s.db.NoSync = true
	noise := reading.Reading{Device: "d", Metric: "m", Value: reading.Bytes(randomText(3 << 20))}
	stored := uint64(0)
	for seq := uint64(1); err == nil && seq < 20; seq++ {
		if _, err = s.Receive(t.Context(), chunk(block(t, seq, noise))); err == nil {
			stored = seq
		}
	}
	if !isFull(err) || s.Err() != nil {
		t.Fatalf("got %v and %v, want a store that is full and not damaged", err, s.Err())
	}
	lanes, err := s.Ledger()
	if err != nil || lanes[0].Readings != stored || stored == 0 {
		t.Errorf("ledger %+v, %v, want %d readings", lanes, err, stored)
	}
}

// After a write that failed for another reason nothing is acknowledged.
func TestFailedCommitStopsAcknowledging(t *testing.T) {
	s := openStore(t)
	receive(t, s, chunk(run(t, 1, 3)), 3, 0)
	if err := s.update(func(*bbolt.Tx) error { return errors.New("input/output error") }); !errors.Is(err, ErrDamaged) {
		t.Fatalf("got %v, want ErrDamaged", err)
	}
	if _, err := s.Receive(t.Context(), chunk(run(t, 4, 6))); !errors.Is(err, ErrDamaged) {
		t.Errorf("got %v, want ErrDamaged", err)
	}
	wantExport(t, s, Range{1, 3})
}

func TestPanicInACommitReachesEveryoneWhoWaits(t *testing.T) {
	s := openStore(t)
	s.committing.Lock()
	errs := make(chan error, 2)
	for i := range uint64(2) {
		go func() {
			_, err := s.Receive(context.Background(), chunk(run(t, i*3+1, i*3+3)))
			errs <- err
		}()
	}
	waitFor(t, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.open != nil && len(s.open.deliveries) == 2
	})
	s.mu.Lock()
	s.open.deliveries[0].chunk.Blocks = nil // nobody can store that
	s.mu.Unlock()
	s.committing.Unlock()
	for range 2 {
		if err := <-errs; !errors.Is(err, ErrDamaged) {
			t.Errorf("got %v, want ErrDamaged", err)
		}
	}
}

func TestLanesEpochsAndGatewaysAreApart(t *testing.T) {
	s := openStore(t)
	for _, id := range []laneID{{"g", 1, reading.Normal}, {"g", 1, reading.Alarm}, {"g", 2, reading.Normal}, {"gg", 1, reading.Normal}, {"g2", 1, reading.Normal}} {
		raw, err := wire.NewEncoder().AppendBlock(nil, wire.Header{Epoch: id.epoch, Lane: id.lane, First: 1}, samples(1, 3))
		if err != nil {
			t.Fatal(err)
		}
		b, _, err := wire.ParseBlock(raw)
		if err != nil {
			t.Fatal(err)
		}
		receive(t, s, wire.Chunk{Gateway: id.gateway, Blocks: []wire.Block{b}}, 3, 0)
	}
	lanes, err := s.Ledger()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, l := range lanes {
		got = append(got, fmt.Sprintf("%s/%s/%s=%d", l.Gateway, l.Epoch[15:], l.Lane, l.Readings))
	}
	want := []string{"g/1/normal=3", "g/1/alarm=3", "g/2/normal=3", "g2/1/normal=3", "gg/1/normal=3"}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

package buffer

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/wire"
)

// eventful leaves a buffer with two segments, two sinks, a gap and a block in
// quarantine.
func eventful(t *testing.T, dir string) *running {
	r := start(t, dir, nil)
	r.Cursor("archive").Ack(reading.Normal, 1, 0)
	c := r.Cursor("cloud")
	r.mixed(0, 30)
	blk := r.next(c, 1)[0]
	if err := r.Quarantine("cloud", blk, "422: no"); err != nil {
		t.Fatal(err)
	}
	c.Ack(blk.Lane, blk.First, blk.Last())
	for i := range segmentSize/(512<<10) + 2 {
		r.acceptAll(noise("fill", i, 512<<10))
	}
	return r
}

func TestInventoryIsTheSameFromOutside(t *testing.T) {
	dir := t.TempDir()
	r := eventful(t, dir)
	if _, err := ReadInventory(t.Context(), dir); !errors.Is(err, ErrInUse) {
		t.Errorf("a buffer in use: %v", err)
	}
	r.stop()
	want := start(t, dir, nil).Inventory()
	dir2 := t.TempDir()
	if err := os.CopyFS(dir2, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	for _, killed := range []bool{true, false} {
		if !killed {
			r.stop()
		}
		got, err := ReadInventory(t.Context(), dir2)
		if err != nil {
			t.Fatal(err)
		}
		got.Dir = want.Dir
		if len(got.Segments) != 2 || len(got.Sinks) != 2 || len(got.Gaps) != 1 || len(got.Refused) != 1 || got.Refused[0].Last != 1 {
			t.Errorf("got %+v", got)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("killed %v:\ngot  %+v\nwant %+v", killed, got, want)
		}
	}
}

func TestLookingWritesNothing(t *testing.T) {
	dir := t.TempDir()
	eventful(t, dir).crash()
	before := journalFiles(t, dir)
	inv, err := ReadInventory(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := inv.History(t.Context(), Query{}, func(Entry) error { return nil }); err != nil {
		t.Error(err)
	}
	if _, err := Check(t.Context(), func() (Inventory, error) { return ReadInventory(t.Context(), dir) }); err != nil {
		t.Error(err)
	}
	if !maps.Equal(journalFiles(t, dir), before) {
		t.Error("files have changed")
	}
}

func TestInventoryWithoutStateIsOfTheJournalAlone(t *testing.T) {
	for name, spoil := range map[string]func(path string) error{
		"missing": os.Remove,
		"zeros":   func(path string) error { return os.WriteFile(path, make([]byte, 32<<10), 0o600) },
		"short":   func(path string) error { return os.Truncate(path, 9000) },
	} {
		dir := t.TempDir()
		r := eventful(t, dir)
		want := r.Inventory()
		r.stop()
		if err := spoil(filepath.Join(dir, stateFile)); err != nil {
			t.Fatal(err)
		}
		before := journalFiles(t, dir)
		got, err := ReadInventory(t.Context(), dir)
		if err != nil || got.StateError == "" {
			t.Errorf("%s: %q, %v", name, got.StateError, err)
		}
		if !reflect.DeepEqual(got.Segments, want.Segments) {
			t.Errorf("%s:\ngot  %+v\nwant %+v", name, got.Segments, want.Segments)
		}
		if !maps.Equal(journalFiles(t, dir), before) {
			t.Errorf("%s: files have changed", name)
		}
	}
}

func TestInventoryOfNothing(t *testing.T) {
	if _, err := ReadInventory(t.Context(), filepath.Join(t.TempDir(), "no")); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

func TestWaitingIsTheLag(t *testing.T) {
	r := eventful(t, t.TempDir())
	inv := r.Inventory()
	for _, s := range inv.Sinks {
		n, bytes := inv.Waiting(s)
		if lag := r.cursors[s.Name].Lag(); lag.Readings != n || lag.Bytes != bytes || !s.Active {
			t.Errorf("%s: %d readings, %d bytes, active %v; its cursor says %+v", s.Name, n, bytes, s.Active, lag)
		}
	}
	if cloud, _ := inv.Sink("cloud"); cloud.Has(inv.Segments[0]) {
		t.Error("cloud does not have the first segment")
	}
}

func TestBlocksAreThoseThatASinkDoesNotHave(t *testing.T) {
	r := start(t, t.TempDir(), nil)
	r.mixed(0, 30)
	c := r.Cursor("cloud")
	for lane := range reading.Lane(reading.Lanes) {
		c.Ack(lane, 1, 5)
	}
	inv := r.Inventory()
	var numbers [reading.Lanes][]uint64
	err := inv.Blocks(t.Context(), Query{Undelivered: "cloud", Lanes: []reading.Lane{reading.Alarm}}, func(b wire.Block) error {
		numbers[b.Lane] = append(numbers[b.Lane], b.First)
		return nil
	})
	if err != nil || len(numbers[reading.Alarm]) != 5 || numbers[reading.Alarm][0] != 6 || numbers[reading.Normal] != nil {
		t.Errorf("%v, %v", numbers, err)
	}
}

package ingesttest

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/reading"
)

// Custody is an ingest.Custody whose receipts resolve when the test says so: a
// real buffer cannot show on demand what happens while a commit takes long or
// when it fails.
type Custody struct {
	mu      sync.Mutex
	changed chan struct{}     // closed and replaced when readings come in
	taken   []reading.Reading // also what was not committed
	closed  []*group          // that come before the open one
	open    *group
	stored  []reading.Reading // committed
	notes   map[string][]byte // committed
	instant bool
	crashed bool
	refusal error
}

// group is the receipt of everything accepted between two commits.
type group struct {
	done  chan struct{}
	err   error // read only after done
	taken []reading.Reading
	notes []reading.Note
}

// Wait implements ingest.Receipt.
func (g *group) Wait(ctx context.Context) error {
	select {
	case <-g.done:
		return g.err
	default:
	}
	select {
	case <-g.done:
		return g.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// NewCustody returns a custody that takes everything and commits nothing.
func NewCustody() *Custody {
	return &Custody{changed: make(chan struct{}), notes: map[string][]byte{}, open: newGroup()}
}

func newGroup() *group { return &group{done: make(chan struct{})} }

// Accept implements ingest.Custody.
func (c *Custody) Accept(_ context.Context, rs []reading.Reading, notes ...reading.Note) (ingest.Receipt, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.refusal != nil {
		return nil, c.refusal
	}
	c.open.taken = append(c.open.taken, rs...)
	c.open.notes = append(c.open.notes, notes...)
	c.taken = append(c.taken, rs...)
	close(c.changed)
	c.changed = make(chan struct{})
	receipt := c.open
	if c.instant {
		c.resolve(nil)
	}
	return receipt, nil
}

// Notes implements ingest.Custody. It does not wait: what is not committed is
// not there.
func (c *Custody) Notes(_ context.Context, prefix string, visit func(reading.Note) error) error {
	c.mu.Lock()
	notes := maps.Clone(c.notes)
	c.mu.Unlock()
	for _, key := range slices.Sorted(maps.Keys(notes)) {
		if !strings.HasPrefix(key, prefix) {
			continue
		}
		if err := visit(reading.Note{Key: key, Value: notes[key]}); err != nil {
			return err
		}
	}
	return nil
}

// Commit resolves all receipts given out so far, but for that of a group with
// nothing in it: the buffer, too, waits for something to commit.
func (c *Custody) Commit() { c.finish(nil) }

// Fail resolves all receipts given out so far with the error, likewise.
func (c *Custody) Fail(err error) { c.finish(err) }

// Close closes the open group, if there is anything in it: what is accepted from
// now on is of another.
func (c *Custody) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.crashed {
		c.shut()
	}
}

// Finish commits the oldest group that Close has closed, or makes it fail with
// the error. It returns false if there is none.
func (c *Custody) Finish(err error) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.crashed || len(c.closed) == 0 {
		return false
	}
	c.end(err)
	return true
}

func (c *Custody) finish(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.resolve(err)
}

func (c *Custody) resolve(err error) {
	if c.crashed {
		return
	}
	c.shut()
	for len(c.closed) > 0 {
		c.end(err)
	}
}

// shut closes the open group.
func (c *Custody) shut() {
	if len(c.open.taken)+len(c.open.notes) > 0 {
		c.closed, c.open = append(c.closed, c.open), newGroup()
	}
}

// end resolves the oldest group.
func (c *Custody) end(err error) {
	g := c.closed[0]
	c.closed = c.closed[1:]
	if err == nil {
		c.stored = append(c.stored, g.taken...)
		for _, n := range g.notes {
			if c.notes[n.Key] = n.Value; n.Value == nil {
				delete(c.notes, n.Key)
			}
		}
	}
	g.err = err
	close(g.done)
}

// CommitAtOnce resolves all receipts given out so far, and later ones as they
// are given out.
func (c *Custody) CommitAtOnce() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.instant = true
	c.resolve(nil)
}

// CommitNever ends CommitAtOnce.
func (c *Custody) CommitNever() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.instant = false
}

// Crash returns the custody of the next life: it has what was committed, and
// nothing else. No receipt of this one resolves from now on, as if the power had
// been cut at this instant.
func (c *Custody) Crash() *Custody {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.crashed = true
	next := NewCustody()
	next.stored = slices.Clone(c.stored)
	next.taken = slices.Clone(c.stored)
	next.notes = maps.Clone(c.notes)
	return next
}

// Stored returns the readings that were committed, in this life and before.
func (c *Custody) Stored() []reading.Reading {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.stored)
}

// Noted returns the notes that were committed.
func (c *Custody) Noted() map[string][]byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.notes)
}

// Refuse makes Accept return the error from now on; nil ends that.
func (c *Custody) Refuse(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refusal = err
}

// Taken waits until at least n readings were taken, in all, and returns them.
func (c *Custody) Taken(t testing.TB, n int) []reading.Reading {
	t.Helper()
	late := time.After(Patience)
	for {
		c.mu.Lock()
		taken, changed := c.taken, c.changed
		c.mu.Unlock()
		if len(taken) >= n {
			return taken[:len(taken):len(taken)]
		}
		select {
		case <-changed:
		case <-late:
			t.Fatalf("custody took %d readings, want %d", len(taken), n)
		}
	}
}

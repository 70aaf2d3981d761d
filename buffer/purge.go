package buffer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/tidegate/tidegate/internal/inorder"
	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/wire"
)

// ReasonPurged is the reason of a gap that somebody wanted.
const ReasonPurged = "purged"

// ErrActive means that a sink is in use.
var ErrActive = errors.New("the sink is configured")

// Purge says what is given up: what Sink has not acknowledged of the lanes, and
// was measured before a time. The readings stay in the journal as history until
// their room is needed; they are no longer sent.
type Purge struct {
	// Sink is the sink's name; "" stands for all that are configured.
	Sink string `json:"sink"`
	// Lanes are the lanes; none stands for all.
	Lanes []reading.Lane `json:"lanes"`
	// Before is in nanoseconds since the Unix epoch; 0 is no bound. Blocks are
	// given up whole, when their last reading is older.
	Before int64 `json:"before"`
	// Rehearse only counts.
	Rehearse bool `json:"rehearse"`
}

// Purged is what a Purge has done, or would do.
type Purged struct {
	// Gaps are what is declared.
	Gaps []Gap `json:"gaps"`
	// OnTheWay counts the readings that stay because a sink was handed them and
	// has not acknowledged them yet. A buffer that was just opened has none.
	OnTheWay uint64 `json:"on_the_way"`
}

// Purge gives readings up. When it returns nil, the gaps that say so and the
// places of the sinks are on flash.
func (b *Buffer) Purge(ctx context.Context, p Purge) (done Purged, err error) {
	cursors, err := b.cursorsOf(p.Sink)
	if err != nil {
		return done, err
	}
	for _, c := range cursors {
		losses, err := b.view().owed(ctx, p, c.name, c.ackedNow())
		if err == nil {
			err = c.giveUp(losses, p.Rehearse, &done)
		}
		if err != nil {
			return done, err
		}
	}
	if p.Rehearse {
		return done, nil
	}
	b.saving.Lock()
	defer b.saving.Unlock()
	if err := b.state.update(b.cursorChanges()...); err != nil {
		b.setDirty()
		return done, fmt.Errorf("gaps are declared, and places of sinks not saved yet: %w", err)
	}
	return done, nil
}

// cursorsOf returns the cursor of the sink, or all of them, by name.
func (b *Buffer) cursorsOf(sink string) ([]*Cursor, error) {
	b.curMu.Lock()
	defer b.curMu.Unlock()
	if sink == "" {
		return inorder.Sorted(maps.Values(b.cursors), func(a, b *Cursor) int { return cmp.Compare(a.name, b.name) }), nil
	}
	if c := b.cursors[sink]; c != nil {
		return []*Cursor{c}, nil
	}
	return nil, ErrNoSink
}

// RehearsePurge returns what a Purge of this buffer would do if a process opened
// it now. It only reads.
func (inv Inventory) RehearsePurge(ctx context.Context, p Purge) (done Purged, err error) {
	known := false
	for _, s := range inv.Sinks {
		if !s.Active || p.Sink != "" && p.Sink != s.Name {
			continue
		}
		known = true
		losses, err := inv.view().owed(ctx, p, s.Name, s.Acked)
		if err != nil {
			return done, err
		}
		for _, l := range losses {
			done.Gaps = append(done.Gaps, l.between(l.First, l.Last))
		}
	}
	if p.Sink != "" && !known {
		return done, ErrNoSink
	}
	return done, nil
}

// owed lists what the sink does not have of what is to go, joined where it goes
// on. Commits and links go on meanwhile.
func (v view) owed(ctx context.Context, p Purge, sink string, acked [reading.Lanes]ranges) (losses []*loss, err error) {
	q := Query{Lanes: p.Lanes, To: p.Before}
	open := [reading.Lanes]*loss{}
	seen := place{}
	w := walk{view: v, mayHold: func(s Segment) bool { return q.mayBeIn(s, acked) }}
	w.wants = func(b wire.Block) bool {
		first, last := seen.ahead(b)
		return first <= last && q.wantsLane(b.Lane) && (p.Before == 0 || b.Base+b.Span < p.Before)
	}
	w.visit = func(b wire.Block) error {
		seen.pass(b.Lane, b.First, b.Last())
		for _, r := range acked[b.Lane].missing(b.First, b.Last()) {
			g := Gap{First: r.First, Last: r.Last, From: b.Base, To: b.Base + b.Span, Epoch: b.Epoch, Reason: ReasonPurged, Sinks: []string{sink}}
			if l := open[b.Lane]; l == nil || !l.join(g) {
				open[b.Lane] = &loss{b.Lane, g}
				losses = append(losses, open[b.Lane])
			}
		}
		return nil
	}
	err = cmp.Or(w.run(ctx), w.unread)
	return losses, err
}

// giveUp declares the losses and makes the sink go on behind them. Nothing is
// handed out meanwhile, so that what is declared is not on its way.
func (c *Cursor) giveUp(losses []*loss, rehearse bool, done *Purged) error {
	c.place.Lock()
	defer c.place.Unlock()
	for _, l := range losses {
		elsewhere, onTheWay := c.elsewhere(l.lane)
		done.OnTheWay += onTheWay.overlap(l.First, l.Last)
		for _, r := range elsewhere.missing(l.First, l.Last) {
			g := l.between(r.First, r.Last)
			if !rehearse {
				if err := c.purge(l.lane, g); err != nil {
					return err
				}
			}
			done.Gaps = append(done.Gaps, g)
		}
	}
	return nil
}

// between is the part of the loss that has these numbers.
func (l *loss) between(first, last uint64) Gap {
	g := l.Gap
	g.Lane, g.First, g.Last, g.Count = l.lane.String(), first, last, last-first+1
	return g
}

func (c *Cursor) purge(lane reading.Lane, g Gap) error {
	if err := c.buf.declare(lane, g); err != nil {
		return err
	}
	c.pass(lane, g.First, g.Last)
	if lane == reading.Alarm {
		return c.buf.reportAgain(g) // the news of other losses may be among them
	}
	return nil
}

// elsewhere returns what the sink has or was handed, and the latter alone.
func (c *Cursor) elsewhere(lane reading.Lane) (all, onTheWay ranges) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, h := range c.out[lane] {
		onTheWay = onTheWay.add(h.First, h.Last)
	}
	return slices.Clone(c.acked[lane]).union(onTheWay), onTheWay
}

// missing returns the numbers of first..last that are not in the set.
func (rs ranges) missing(first, last uint64) (out ranges) {
	for _, r := range rs {
		if r.First > last {
			break
		}
		if first < r.First {
			out = append(out, numberRange{first, r.First - 1})
		}
		first = max(first, r.Last+1)
	}
	if first <= last {
		out = append(out, numberRange{first, last})
	}
	return out
}

// Forget forgets the place of a sink that is no longer configured. Under the
// same name, it would be sent everything that the buffer holds.
func (b *Buffer) Forget(sink string) error {
	b.saving.Lock()
	defer b.saving.Unlock()
	b.curMu.Lock()
	defer b.curMu.Unlock()
	if b.cursors[sink] != nil {
		return ErrActive
	}
	known := false
	if err := get(b.state, bucketCursors, sink, func([reading.Lanes]ranges) { known = true }); err != nil {
		return err
	}
	_, marked := b.marks[sink]
	if !known && !marked {
		return ErrNoSink
	}
	delete(b.marks, sink)
	return b.state.update(put(bucketCursors, []byte(sink), nil))
}

package buffer

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"

	"github.com/tidegate/tidegate/reading"
)

// ErrNotHere means that the journal does not have such a reading: it is lost, or
// was delivered and has made room.
var ErrNotHere = errors.New("there is no such reading on flash")

// Reading returns the reading with the number.
func (b *Buffer) Reading(ctx context.Context, lane reading.Lane, seq uint64) (found Entry, err error) {
	if seq == 0 || seq >= math.MaxInt64 || lane >= reading.Lanes {
		return Entry{}, ErrNotHere
	}
	behind := place{newestFirst: true}
	behind.passed[lane] = seq + 1
	err = b.first(ctx, Query{Lanes: []reading.Lane{lane}, After: behind.token()}, func(Entry) bool { return true }, &found)
	if err == nil && found.Seq != seq {
		err = ErrNotHere
	}
	return found, err
}

// Newest returns the reading of the device and the metric that was taken last. It
// may have to read the whole journal: bound it by ctx.
func (b *Buffer) Newest(ctx context.Context, device, metric string) (found Entry, err error) {
	q := Query{Device: device, Metric: metric} // in which "*" may stand for more
	is := func(e Entry) bool { return e.Device == device && e.Metric == metric }
	return found, b.first(ctx, q, is, &found)
}

// first finds the newest reading that the query chooses and that is the one.
func (b *Buffer) first(ctx context.Context, q Query, is func(Entry) bool, found *Entry) error {
	errFound := errors.New("found")
	q.NewestFirst = true
	_, err := b.History(ctx, q, func(e Entry) error {
		if !is(e) {
			return nil
		}
		*found = e.own()
		return errFound
	})
	switch {
	case errors.Is(err, errFound):
		return nil
	case err == nil:
		return ErrNotHere
	}
	return err
}

// own returns an entry whose texts are its own.
func (e Entry) own() Entry {
	e.Device, e.Metric, e.Unit = strings.Clone(e.Device), strings.Clone(e.Metric), strings.Clone(e.Unit)
	switch e.Value.Kind() {
	case reading.KindString:
		e.Value = reading.String(strings.Clone(e.Value.Text()))
	case reading.KindBytes:
		e.Value = reading.Bytes(strings.Clone(e.Value.Text()))
	}
	return e
}

// Place says where the reading is with the sink: whether that has it, and if not,
// how many readings of the lane before it the sink does not have either. What is
// in quarantine counts as what it has.
func (c *Cursor) Place(lane reading.Lane, seq uint64) (acked bool, ahead uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.acked[lane].has(seq, seq) {
		return true, 0
	}
	return false, c.buf.index.unsentBefore(lane, c.acked[lane], seq)
}

// LossOf returns the loss that was declared of the reading for the sink, as far as
// it is remembered. What was in quarantine once has one, too.
func (b *Buffer) LossOf(sink string, lane reading.Lane, seq uint64) (Gap, bool) {
	b.gapMu.Lock()
	defer b.gapMu.Unlock()
	for _, r := range slices.Backward(b.gaps) {
		if r.entry.covers(Gap{Lane: lane.String(), First: seq, Last: seq, Sinks: []string{sink}}) {
			return r.entry.Gap, true
		}
	}
	return Gap{}, false
}

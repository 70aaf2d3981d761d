package buffer

import (
	"encoding/json"
	"fmt"
	"time"

	"go.etcd.io/bbolt"

	"github.com/tidegate/tidegate/reading"
)

// A gap travels upstream as a reading of this device and metric, whose value is
// the gap as JSON. It goes in the alarm lane: that something is missing is news.
const (
	GapDevice = "$tidegate"
	GapMetric = "gap"
)

// The reasons of gaps.
const (
	// ReasonEvicted: the buffer was full and the oldest readings made room.
	ReasonEvicted = "evicted"
	// ReasonDamaged: the readings were on flash and can no longer be read.
	ReasonDamaged = "damaged"
	// ReasonMissing: a segment file is gone.
	ReasonMissing = "missing"
	// ReasonNotStored: writing failed. The readings were not acknowledged, so
	// sources that repeat will deliver them under other numbers.
	ReasonNotStored = "not stored"
	// ReasonQuarantined: the other side refused the readings for good; they
	// are set aside on the gateway.
	ReasonQuarantined = "quarantined"
)

// Gap is a counted loss: the readings First..Last of a lane will not arrive.
type Gap struct {
	Lane   string `json:"lane"`
	First  uint64 `json:"first"`
	Last   uint64 `json:"last"`
	Count  uint64 `json:"count"`
	From   int64  `json:"from,omitempty"` // earliest time, nanoseconds since 1970; 0 when unknown
	To     int64  `json:"to,omitempty"`   // latest time
	Epoch  uint64 `json:"epoch"`
	Reason string `json:"reason"`
	// Sinks are the doors out that did not have the readings yet.
	Sinks []string `json:"sinks,omitempty"`
}

// gapEntry is a gap in state.db: kept after it was sent, so that the same loss
// is not reported twice, and so that status can show it.
type gapEntry struct {
	Gap
	At int64 `json:"at"` // when it was noticed
	// Sent says that the gap's own reading is on flash, among the readings
	// FirstReport..LastReport of the alarm lane.
	Sent        bool   `json:"sent"`
	FirstReport uint64 `json:"first_report,omitempty"`
	LastReport  uint64 `json:"last_report,omitempty"`
}

// maxGaps bounds the gaps that are remembered; the oldest are forgotten.
const maxGaps = 1000

// declare notes a loss that is about to happen and puts its reading into the
// open group. When it returns nil the note is durable, together with the other
// changes; when not, nothing has been declared, and the loss must not happen.
func (b *Buffer) declare(lane reading.Lane, g Gap, with ...func(*bbolt.Tx) error) error {
	r, isNew := b.newReport(lane, g)
	if !isNew {
		return b.state.update(with...)
	}
	if err := b.state.update(append(with, put(bucketGaps, r.key, r.entry), trimGaps)...); err != nil {
		b.gapMu.Lock()
		delete(b.gaps, string(r.key))
		b.gapMu.Unlock()
		return fmt.Errorf("note gap: %w", err)
	}
	b.announce(r)
	return nil
}

// declareLost declares a loss that has happened, whether that can be noted or
// not.
func (b *Buffer) declareLost(lane reading.Lane, g Gap) {
	r, isNew := b.newReport(lane, g)
	if !isNew {
		return
	}
	if err := b.state.update(put(bucketGaps, r.key, r.entry), trimGaps); err != nil {
		b.log.Warn("gap is reported, but would not survive a restart", "err", err)
	}
	b.announce(r)
}

// newReport completes the gap; it is not new when it was declared before.
func (b *Buffer) newReport(lane reading.Lane, g Gap) (r gapReport, isNew bool) {
	key := laneKey(lane, g.First)
	b.gapMu.Lock()
	defer b.gapMu.Unlock()
	if b.gaps[string(key)] {
		return gapReport{}, false
	}
	b.gaps[string(key)] = true
	g.Lane, g.Count = lane.String(), g.Last-g.First+1
	return gapReport{gapEntry{Gap: g, At: time.Now().UnixNano()}, key}, true
}

// announce says that the readings are lost, here and upstream.
func (b *Buffer) announce(r gapReport) {
	g := r.entry.Gap
	b.stats.lost.Add(g.Count)
	b.log.Error("readings lost", "reason", g.Reason, "lane", g.Lane, "first", g.First, "last", g.Last, "n", g.Count, "sinks", g.Sinks)
	b.report(r)
}

// trimGaps forgets the first gaps until at most maxGaps are left.
func trimGaps(tx *bbolt.Tx) error {
	b := tx.Bucket([]byte(bucketGaps))
	for n := b.Stats().KeyN; n > maxGaps; n-- {
		k, _ := b.Cursor().First()
		if err := b.Delete(k); err != nil {
			return err
		}
	}
	return nil
}

// gapReport is a gap whose reading is on its way to flash.
type gapReport struct {
	entry gapEntry
	key   []byte
}

// report puts the gap's reading into the open group, whether that is full or
// not: refusing to report a loss for want of room would hide it.
func (b *Buffer) report(r gapReport) {
	text, err := json.Marshal(r.entry.Gap)
	if err != nil {
		panic(err) // a struct of numbers and strings always marshals
	}
	gap := reading.Reading{
		Device: GapDevice, Metric: GapMetric, Time: r.entry.At, Value: reading.String(string(text)),
		Flags: reading.Stamped, Lane: reading.Alarm,
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.open.add([]reading.Reading{gap}, len(text), time.Now())
	b.open.gaps = append(b.open.gaps, r)
	b.signal()
}

// reported notes that the gaps' readings are on flash, in the last alarms.
func (b *Buffer) reported(reports []gapReport, alarms int) {
	for _, r := range reports {
		last := b.next[reading.Alarm] - 1
		r.entry.Sent, r.entry.FirstReport, r.entry.LastReport = true, last-uint64(alarms)+1, last
		if err := b.state.update(put(bucketGaps, r.key, r.entry)); err != nil {
			b.log.Warn("gap will be reported again after a restart", "err", err)
		}
	}
}

// reportAgain reports the gaps anew whose readings are among the alarms that
// are about to be evicted: the news of a loss must not be lost itself.
func (b *Buffer) reportAgain(evicted Gap) error {
	var again []gapReport
	var changes []func(*bbolt.Tx) error
	err := each(b.state, bucketGaps, func(key []byte, e gapEntry) error {
		if e.Sent && e.FirstReport <= evicted.Last && e.LastReport >= evicted.First {
			e.Sent = false
			again = append(again, gapReport{e, append([]byte(nil), key...)})
			changes = append(changes, put(bucketGaps, again[len(again)-1].key, e))
		}
		return nil
	})
	if err != nil || len(again) == 0 {
		return err
	}
	if err := b.state.update(changes...); err != nil {
		return err
	}
	for _, r := range again {
		b.report(r)
	}
	return nil
}

// Gaps returns the losses that are remembered, ordered by lane and number.
func (b *Buffer) Gaps() ([]Gap, error) {
	var gaps []Gap
	err := each(b.state, bucketGaps, func(_ []byte, e gapEntry) error {
		gaps = append(gaps, e.Gap)
		return nil
	})
	return gaps, err
}

package buffer

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
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
	// ReasonExpired: the readings were older than their lane's MaxAge.
	ReasonExpired = "expired"
	// ReasonRefused: the buffer was full and takes no new readings rather than
	// lose old ones. They were not acknowledged and have no numbers; sources
	// that repeat are counted each time.
	ReasonRefused = "refused"
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

// Reasons returns all of them.
func Reasons() []string {
	return []string{ReasonEvicted, ReasonExpired, ReasonRefused, ReasonDamaged, ReasonMissing, ReasonNotStored, ReasonQuarantined, ReasonPurged}
}

// lostBy counts what was declared lost since the start, by reason.
func (b *Buffer) lostBy() (by map[string]uint64, sum uint64) {
	b.gapMu.Lock()
	defer b.gapMu.Unlock()
	by = make(map[string]uint64)
	for _, reason := range Reasons() {
		by[reason] = b.lost[reason]
		sum += by[reason]
	}
	return by, sum
}

// Gap is a counted loss: the readings First..Last of a lane will not arrive. Of
// refused readings, which have no numbers, there is only the count.
type Gap struct {
	Lane   string `json:"lane"`
	First  uint64 `json:"first"` // 0 when the readings have no numbers
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
	r, isNew := newReport(lane, g), !b.isDeclared(lane, g)
	if isNew {
		with = append(with, put(bucketGaps, r.key, r.entry), b.trimGaps)
	}
	if err := b.state.update(with...); err != nil {
		return fmt.Errorf("note gap: %w", err)
	}
	if isNew {
		b.announce(r)
	}
	return nil
}

// declareLost declares a loss that has happened, whether that can be noted or
// not.
func (b *Buffer) declareLost(lane reading.Lane, g Gap) {
	if b.isDeclared(lane, g) {
		return
	}
	r := newReport(lane, g)
	if err := b.state.update(put(bucketGaps, r.key, r.entry), b.trimGaps); err != nil {
		b.log.Warn("gap is reported, but would not survive a restart", "err", err)
	}
	b.announce(r)
}

// isDeclared says whether gaps that are remembered cover the loss: all of its
// numbers, for all of its sinks.
func (b *Buffer) isDeclared(lane reading.Lane, g Gap) bool {
	b.gapMu.Lock()
	defer b.gapMu.Unlock()
	g.Lane = lane.String()
	return slices.ContainsFunc(b.gaps, func(r gapReport) bool { return r.entry.covers(g) })
}

// covers says whether who knows g knows that h is lost. No sinks means all.
func (g Gap) covers(h Gap) bool {
	if g.Lane != h.Lane || g.First > h.First || g.Last < h.Last || h.Last == 0 {
		return false
	}
	return len(g.Sinks) == 0 || len(h.Sinks) > 0 &&
		!slices.ContainsFunc(h.Sinks, func(sink string) bool { return !slices.Contains(g.Sinks, sink) })
}

// told returns the numbers of the lane that the sink was told are lost; "" stands
// for a sink that will come.
func (b *Buffer) told(lane reading.Lane, sink string) (numbers ranges) {
	b.gapMu.Lock()
	defer b.gapMu.Unlock()
	for _, r := range b.gaps {
		g := r.entry.Gap
		if g.Lane == lane.String() && g.Last != 0 && (len(g.Sinks) == 0 || slices.Contains(g.Sinks, sink)) {
			numbers = numbers.add(g.First, g.Last)
		}
	}
	return numbers
}

// newReport completes the gap.
func newReport(lane reading.Lane, g Gap) gapReport {
	g.Lane = lane.String()
	at, end := time.Now().UnixNano(), g.Last
	if g.Last != 0 {
		g.Count = g.Last - g.First + 1
	} else { // refused readings have no numbers
		end = uint64(at)
	}
	key := append(laneKey(lane, g.First), numberKey(end)...)
	return gapReport{gapEntry{Gap: g, At: at}, append(key, strings.Join(g.Sinks, ",")...)}
}

// announce says that the readings are lost, here and upstream.
func (b *Buffer) announce(r gapReport) {
	g := r.entry.Gap
	b.gapMu.Lock()
	b.gaps = append(b.gaps[max(len(b.gaps)-maxGaps+1, 0):], r)
	if b.lost == nil {
		b.lost = make(map[string]uint64)
	}
	b.lost[g.Reason] += g.Count
	b.gapMu.Unlock()
	b.log.Error("readings lost", "reason", g.Reason, "lane", g.Lane, "first", g.First, "last", g.Last, "n", g.Count, "sinks", g.Sinks)
	b.report(r)
}

// trimGaps forgets the oldest gap when there are too many.
func (b *Buffer) trimGaps(tx *bbolt.Tx) error {
	b.gapMu.Lock()
	defer b.gapMu.Unlock()
	if len(b.gaps) < maxGaps {
		return nil
	}
	return tx.Bucket([]byte(bucketGaps)).Delete(b.gaps[0].key)
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
	if len(reports) == 0 {
		return
	}
	last := b.next[reading.Alarm] - 1
	var changes []func(*bbolt.Tx) error
	for _, r := range reports {
		r.entry.Sent, r.entry.FirstReport, r.entry.LastReport = true, last-uint64(alarms)+1, last
		changes = append(changes, put(bucketGaps, r.key, r.entry))
	}
	if err := b.state.update(changes...); err != nil {
		b.log.Warn("gaps will be reported again after a restart", "err", err)
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

// shownGaps is how many losses Stats shows.
const shownGaps = 5

// lastGaps returns the gaps that were declared last, the newest first.
func (b *Buffer) lastGaps(n int) (last []Gap) {
	b.gapMu.Lock()
	defer b.gapMu.Unlock()
	for _, r := range slices.Backward(b.gaps) {
		if len(last) == n {
			break
		}
		last = append(last, r.entry.Gap)
	}
	return last
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

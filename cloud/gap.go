package cloud

import (
	"bytes"
	"cmp"
	"encoding/json"
	"slices"

	"go.etcd.io/bbolt"

	"github.com/tidegate/tidegate/reading"
)

// A gateway reports its losses as readings of this device and metric; the value
// is a Gap as JSON, with the lane that it is about in "lane".
const (
	gapDevice = "$tidegate"
	gapMetric = "gap"
)

// Gap is a loss that the gateway itself has declared.
type Gap struct {
	// First to Last are the sequence numbers that are affected; both are zero
	// when the readings were lost before they had any.
	First uint64 `json:"first"`
	Last  uint64 `json:"last"`
	// Count is the number of readings that are lost; less than the range holds
	// when only some of it are.
	Count uint64 `json:"count"`
	// From and To are the times of the first and last lost reading, in
	// nanoseconds since the Unix epoch.
	From int64 `json:"from"`
	To   int64 `json:"to"`
	// Reason says why, in the gateway's words: "evicted", "refused".
	Reason string `json:"reason"`
}

// gapReport is a gap, the lane that it is about, and the number of the reading
// that reported it.
type gapReport struct {
	Gap
	epoch uint64 // 0: that of the report itself
	lane  reading.Lane
	seq   uint64
}

// parseGap returns the report in a reading. A reading that only looks like one
// is an ordinary reading.
func parseGap(r *reading.Reading) (gapReport, bool) {
	if r.Device != gapDevice || r.Metric != gapMetric {
		return gapReport{}, false
	}
	var g struct {
		Gap
		Epoch uint64 `json:"epoch"`
		Lane  string `json:"lane"`
	}
	if err := json.Unmarshal([]byte(r.Value.Text()), &g); err != nil || g.First > g.Last || g.Last > maxSeq {
		return gapReport{}, false
	}
	lane, ok := reading.ParseLane(g.Lane)
	return gapReport{Gap: g.Gap, epoch: g.Epoch, lane: lane}, ok
}

// store notes the gap under the lane that it is about, by the identity of the
// reading that reported it: the same report again changes nothing. The lane is
// in the ledger from then on, even if nothing else of it has ever come.
func (g gapReport) store(tx *bbolt.Tx, from laneID) error {
	about := laneID{from.gateway, cmp.Or(g.epoch, from.epoch), g.lane}.key()
	lanes := tx.Bucket(lanesBucket)
	if lanes.Get(about) == nil {
		if err := lanes.Put(about, []byte("{}")); err != nil {
			return err
		}
	}
	value, err := json.Marshal(g.Gap)
	if err != nil {
		return err
	}
	reporter := from.key()
	reporter = reporter[len(reporter)-laneSuffix:]
	return tx.Bucket(gapsBucket).Put(seqKey(slices.Concat(about, reporter), g.seq), value)
}

// gapsOf returns the gaps declared for the lane, in order.
func gapsOf(tx *bbolt.Tx, id laneID) ([]Gap, error) {
	var gaps []Gap
	prefix := id.key()
	c := tx.Bucket(gapsBucket).Cursor()
	for k, v := c.Seek(prefix); k != nil; k, v = c.Next() {
		if len(k) != len(prefix)+laneSuffix+8 || !bytes.HasPrefix(k, prefix) {
			break
		}
		var g Gap
		if err := json.Unmarshal(v, &g); err != nil {
			return nil, err
		}
		gaps = append(gaps, g)
	}
	slices.SortFunc(gaps, func(a, b Gap) int {
		return cmp.Or(cmp.Compare(a.First, b.First), cmp.Compare(a.Last, b.Last))
	})
	return gaps, nil
}

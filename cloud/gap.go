package cloud

import (
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
	lane reading.Lane
	seq  uint64
}

// parseGap returns the report in a reading. A reading that only looks like one
// is an ordinary reading.
func parseGap(r *reading.Reading) (gapReport, bool) {
	if r.Device != gapDevice || r.Metric != gapMetric {
		return gapReport{}, false
	}
	var g struct {
		Gap
		Lane string `json:"lane"`
	}
	if err := json.Unmarshal([]byte(r.Value.Text()), &g); err != nil || g.First > g.Last || g.Last > maxSeq {
		return gapReport{}, false
	}
	lane, ok := reading.ParseLane(g.Lane)
	return gapReport{Gap: g.Gap, lane: lane}, ok
}

// store notes the gap under the lane that it is about, by the lane and number
// of the reading that reported it: the same report again changes nothing.
func (g gapReport) store(tx *bbolt.Tx, from laneID) error {
	about := from
	about.lane = g.lane
	value, err := json.Marshal(g.Gap)
	if err != nil {
		return err
	}
	return tx.Bucket(gapsBucket).Put(seqKey(append(about.key(), byte(from.lane)), g.seq), value)
}

// gapsOf returns the gaps declared for the lane, in order.
func gapsOf(tx *bbolt.Tx, id laneID) ([]Gap, error) {
	var gaps []Gap
	prefix := id.key()
	c := tx.Bucket(gapsBucket).Cursor()
	for k, v := c.Seek(prefix); k != nil; k, v = c.Next() {
		if len(k) != len(prefix)+9 || string(k[:len(prefix)]) != string(prefix) {
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

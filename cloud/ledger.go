package cloud

import (
	"encoding/json"
	"fmt"

	"go.etcd.io/bbolt"
)

// LaneLedger is what is here of one lane, and what is not. Times are in
// nanoseconds since the Unix epoch.
type LaneLedger struct {
	Gateway string `json:"gateway"`
	Epoch   string `json:"epoch"` // 16 hexadecimal digits
	Lane    string `json:"lane"`
	// Readings is how many different readings are here.
	Readings uint64 `json:"readings"`
	// Ranges are their sequence numbers, in order.
	Ranges []Range `json:"ranges"`
	// Missing are the numbers below the highest one that are neither here nor
	// part of a declared gap; MissingReadings is how many.
	Missing         []Range `json:"missing,omitempty"`
	MissingReadings uint64  `json:"missing_readings"`
	// Gaps are the losses that the gateway has declared.
	Gaps []Gap `json:"gaps,omitempty"`
	// Duplicates is how many readings came again and were dropped.
	Duplicates uint64 `json:"duplicates"`
	// FirstTime and LastTime span the times of the readings.
	FirstTime int64 `json:"first_time"`
	LastTime  int64 `json:"last_time"`
	// ReceivedAt is when the last delivery came.
	ReceivedAt int64 `json:"received_at"`
	// Twin is the epoch of another gateway that delivered under the same name at the same
	// time, last at TwinAt.
	Twin   string `json:"twin,omitempty"`
	TwinAt int64  `json:"twin_at,omitempty"`
}

// TwinHint is what to do about a Twin.
const TwinHint = "was a card copied? Give one of them another gateway.id; what they have delivered is told apart by its epoch only"

// Ledger accounts for every lane, in the order of gateway, epoch and lane.
func (s *Store) Ledger() ([]LaneLedger, error) {
	ledger := []LaneLedger{}
	err := s.view(func(tx *bbolt.Tx) error {
		lanes := tx.Bucket(lanesBucket)
		if lanes == nil {
			return nil // made, but never opened for writing
		}
		return lanes.ForEach(func(k, v []byte) error {
			l, err := readLedger(tx, k, v)
			ledger = append(ledger, l)
			return err
		})
	})
	if err != nil {
		return nil, fmt.Errorf("ledger: %w", err)
	}
	return ledger, nil
}

func readLedger(tx *bbolt.Tx, key, value []byte) (LaneLedger, error) {
	id, ok := parseLaneKey(key)
	var s summary
	if err := json.Unmarshal(value, &s); err != nil || !ok {
		return LaneLedger{}, fmt.Errorf("%w: lane %q", ErrDamaged, key)
	}
	gaps, err := gapsOf(tx, id)
	if err != nil {
		return LaneLedger{}, fmt.Errorf("%w: gaps of lane %q: %w", ErrDamaged, key, err)
	}
	l := LaneLedger{
		Gateway:    id.gateway,
		Epoch:      fmt.Sprintf("%016x", id.epoch),
		Lane:       id.lane.String(),
		Readings:   s.Readings,
		Ranges:     rangeSet{tx.Bucket(rangesBucket), key}.all(),
		Gaps:       gaps,
		Duplicates: s.Duplicates,
		FirstTime:  s.FirstTime,
		LastTime:   s.LastTime,
		ReceivedAt: s.ReceivedAt,
	}
	if s.Twin != 0 {
		l.Twin, l.TwinAt = fmt.Sprintf("%016x", s.Twin), s.TwinAt
	}
	l.Missing = missing(l.Ranges, gaps)
	for _, r := range l.Missing {
		l.MissingReadings += r.Count()
	}
	return l, nil
}

// missing returns the holes below the highest number that no gap explains.
// What came before the first number that the lane names was never given out in
// its epoch. Both lists are sorted.
func missing(received []Range, gaps []Gap) []Range {
	if len(received) == 0 {
		return nil
	}
	declared := make([]Range, 0, len(gaps))
	for _, g := range gaps {
		if g.First > 0 {
			declared = append(declared, Range{g.First, g.Last})
		}
	}
	first := received[0].First // an epoch goes on above the numbers of the one before
	if len(declared) > 0 {
		first = min(first, declared[0].First)
	}
	var left []Range
	for _, hole := range subtract(Range{first, received[len(received)-1].Last}, received) {
		left = append(left, subtract(hole, declared)...)
	}
	return left
}

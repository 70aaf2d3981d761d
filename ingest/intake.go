package ingest

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/tidegate/tidegate/reading"
)

// StampResolution is the resolution of the times that the gateway gives on
// arrival. A finer stamp would store the jitter of the operating system at a
// cost of about a byte a reading.
const StampResolution = time.Millisecond

// Intake is the one way in: stamp → custody → show. It is safe for use by many
// goroutines at once, unless it is a passage.
type Intake struct {
	*shared
	way *way // of a passage whose readings are being filtered
	own bool // it is a passage
}

// shared is what the passages of an intake have in common with it.
type shared struct {
	custody Custody
	live    Live
	memory  *Memory
	now     func() time.Time
	lost    []func()
	accepts watch
	taken   atomic.Uint64
	refused atomic.Uint64
}

// NewIntake returns an Intake over custody. live may be nil; now is the clock
// that stamps readings, time.Now outside tests.
func NewIntake(custody Custody, live Live, now func() time.Time) *Intake {
	return &Intake{shared: &shared{custody: custody, live: live, memory: NewMemory(), now: now}}
}

// Passage returns an intake for one goroutine at a time, which a door uses for
// payloads from their decoding to Accept; then it may be used for the next ones.
// From the moment that a filter sees a reading, others wait for what becomes of
// it: so a repeat that another connection brings is not acknowledged while the
// first is still on its way to custody. Hence whoever uses a passage must call
// Accept, also without readings, or Leave.
func (in *Intake) Passage() *Intake { return &Intake{shared: in.shared, own: true} }

// Leave says that what was filtered since the last Accept will not be handed
// over. It does nothing behind Accept, so that it can be deferred.
func (in *Intake) Leave() {
	if in.way != nil {
		in.accepts.end(in.way, nil, errLeft)
		in.way = nil
		in.accepts.settle(in.tellLoss)
	}
}

var errLeft = errors.New("the door has left it")

// WithMemory makes the intake share a memory with others, and returns it. It is
// for the time before anything comes in.
func (in *Intake) WithMemory(m *Memory) *Intake {
	in.memory = m
	return in
}

// Memory returns what devices have announced. Decoders are given it with every
// frame.
func (in *Intake) Memory() *Memory { return in.memory }

// Owes reports whether Accept must be called before a payload is acknowledged
// that left no readings: because something was announced that is not on flash yet,
// or because its readings were filtered and those that they lean on are not.
func (in *Intake) Owes() bool { return in.memory.owes() || in.filters() && in.accepts.pending() }

// filters reports whether readings may be left out that lean on others.
func (in *Intake) filters() bool { return len(in.lost) > 0 }

// OnLoss has lost called when custody did not keep what it was given: filters
// that lean on it must let such readings pass again. It is for the time before
// anything comes in.
func (in *Intake) OnLoss(lost func()) { in.lost = append(in.lost, lost) }

// Settle looks whether a commit has failed, and calls what OnLoss was given if
// so. Whoever filters readings calls it first. Within a passage, it does so once:
// what fails later fails the passage.
func (in *Intake) Settle() {
	switch {
	case !in.filters():
	case !in.own:
		in.accepts.settle(in.tellLoss)
	case in.way == nil:
		in.way = in.accepts.begin(in.tellLoss)
	}
}

func (in *shared) tellLoss() {
	for _, lost := range in.lost {
		lost()
	}
}

// Now returns what Accept would stamp a reading with, in nanoseconds since the
// Unix epoch.
func (in *Intake) Now() int64 { return in.now().Truncate(StampResolution).UnixNano() }

// latest is the latest time that a reading may carry, in the year 2116: what is
// beyond, or before 1970, was never measured, and a block could not hold it
// beside others.
const latest = 1 << 62

// Accept stamps the readings that carry no time, or an impossible one, hands all of
// them to custody, with the notes, and shows them to the live view. It fills in
// rs, which belongs to the caller again on return. An error means that nothing
// was taken, or, of very many readings, not all.
//
// Where there are filters, the receipt stands for everything else as well that was
// accepted there, or filtered in a passage, and is on its way: what was left out
// is as safe then as what it leans on.
func (in *Intake) Accept(ctx context.Context, rs []reading.Reading, notes ...reading.Note) (Receipt, error) {
	in.stamp(rs)
	receipt, err := in.give(ctx, rs, notes)
	if err != nil {
		in.refused.Add(uint64(len(rs)))
		in.accepts.settle(in.tellLoss)
		return nil, err
	}
	in.taken.Add(uint64(len(rs)))
	if in.live != nil && len(rs) > 0 {
		in.live.Publish(rs)
	}
	return receipt, nil
}

// give hands readings and notes to custody, and has it watched where there are
// filters.
func (in *Intake) give(ctx context.Context, rs []reading.Reading, notes []reading.Note) (Receipt, error) {
	switch {
	case !in.filters():
		return in.hand(ctx, rs, notes)
	case in.way == nil && len(rs)+len(notes) == 0 && !in.memory.owes():
		return in.accepts.join(), nil
	}
	way := in.way
	if way == nil {
		way = in.accepts.begin(in.tellLoss)
	}
	receipt, err := in.hand(ctx, rs, notes)
	if in.own {
		in.way = nil
	}
	return in.accepts.end(way, receipt, err), err
}

// hand hands them over, behind what was announced. Nothing is handed over that is
// empty: such a group would never be committed.
func (in *Intake) hand(ctx context.Context, rs []reading.Reading, notes []reading.Note) (Receipt, error) {
	var receipts []Receipt
	if in.memory.owes() {
		var err error
		if receipts, err = in.memory.carry(ctx, in.custody); err != nil {
			return nil, err
		}
	}
	for ; len(rs) > maxPart; rs = rs[maxPart:] {
		receipt, err := in.custody.Accept(ctx, rs[:maxPart])
		if err != nil {
			return nil, err
		}
		receipts = union(receipts, []Receipt{receipt})
	}
	if len(rs)+len(notes) > 0 {
		receipt, err := in.custody.Accept(ctx, rs, notes...)
		if err != nil || len(receipts) == 0 {
			return receipt, err
		}
		receipts = union(receipts, []Receipt{receipt})
	}
	return in.memory.joints.of(receipts), nil
}

// maxPart is how many readings are handed to custody at once. It refuses some more
// than that, and would again whenever they came.
const maxPart = 16 << 10

// Notes calls visit with the notes that custody holds under the prefix; see
// Custody.
func (in *Intake) Notes(ctx context.Context, prefix string, visit func(reading.Note) error) error {
	return in.custody.Notes(ctx, prefix, visit)
}

func (in *Intake) stamp(rs []reading.Reading) {
	var now int64
	for i := range rs {
		if t := rs[i].Time; t > 0 && t <= latest {
			continue
		}
		if now == 0 {
			now = in.Now()
		}
		rs[i].Time = now
		rs[i].Flags |= reading.Stamped
	}
}

// Stats counts readings since the start.
type Stats struct {
	// Taken readings were accepted by custody; Refused ones were not, and
	// their sources were not acknowledged.
	Taken, Refused uint64
}

// Stats returns the counts so far.
func (in *Intake) Stats() Stats {
	return Stats{Taken: in.taken.Load(), Refused: in.refused.Load()}
}

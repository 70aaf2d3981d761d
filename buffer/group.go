package buffer

import (
	"context"
	"fmt"
	"time"

	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/wire"
)

// A group closes when it holds this many readings, or texts of this many bytes:
// larger blocks compress no better, and memory is bounded.
const (
	groupReadings = 8192
	groupText     = 256 << 10

	// One Accept is never split over groups, so its size is bounded too: a
	// group that was all but full and takes one more must fit into a block and
	// its record into a segment, even if nothing compresses and every reading
	// costs a hundred bytes beside its text.
	maxAccept     = 24 << 10
	maxAcceptText = 4 << 20
	// maxTime bounds times, before and after 1970: 146 years, so that the
	// distance of any two fits into a block. One absurd clock must not make a
	// group fail in which others wait.
	maxTime = 1 << 62
)

// Receipt stands for the readings of one group on their way to flash. All
// readings of a group share one.
type Receipt struct {
	done chan struct{}
	err  error // written before done is closed
}

// Wait returns nil when the group is on flash, or why it is not.
func (r *Receipt) Wait(ctx context.Context) error {
	select {
	case <-r.done:
		return r.err
	default:
	}
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (r *Receipt) resolve(err error) {
	r.err = err
	close(r.done)
}

// group is what one commit will hold.
type group struct {
	receipt *Receipt
	born    time.Time // when the first reading came
	lanes   [reading.Lanes][]reading.Reading
	arrived [reading.Lanes]arrivals
	count   int
	text    int         // bytes of texts
	gaps    []gapReport // gaps whose readings are among the others
	notes   []reading.Note
	noted   map[string]int // where in notes a key is
}

func newGroup() *group { return &group{receipt: &Receipt{done: make(chan struct{})}} }

// reuse empties a group that is on flash, so that its memory serves again.
func (g *group) reuse() *group {
	for l := range g.lanes {
		clear(g.lanes[l]) // let go of the texts
		g.lanes[l] = g.lanes[l][:0]
	}
	return &group{receipt: &Receipt{done: make(chan struct{})}, lanes: g.lanes}
}

func (g *group) empty() bool { return g.count == 0 && len(g.notes) == 0 }

func (g *group) full() bool { return g.count >= groupReadings || g.text >= groupText }

func (g *group) add(rs []reading.Reading, text int, now time.Time) {
	if g.empty() {
		g.born = now
	}
	g.count += len(rs)
	g.text += text
	for len(rs) > 0 { // batches of one lane are the rule
		n := 1
		for n < len(rs) && rs[n].Lane == rs[0].Lane {
			n++
		}
		lane := &g.lanes[rs[0].Lane]
		g.arrived[rs[0].Lane].add(now)
		*lane = append(*lane, rs[:n]...)
		rs = rs[n:]
	}
}

// note adds notes; the last one of a key counts.
func (g *group) note(notes []reading.Note) {
	for _, n := range notes {
		if n.Key == "" {
			continue // see knock
		}
		if g.noted == nil {
			g.noted = map[string]int{}
		}
		i, again := g.noted[n.Key]
		if again {
			g.notes[i] = n
			continue
		}
		g.noted[n.Key] = len(g.notes)
		g.notes = append(g.notes, n)
	}
}

// ordinaryName is the length up to which a metric's name is not counted: such
// names repeat and are written once a block.
const ordinaryName = 64

// measure returns the number of bytes that the readings and notes bring beside
// numbers: what a record of them could take even if nothing repeats.
func measure(rs []reading.Reading, notes []reading.Note) (int, error) {
	n, device := 0, ""
	for i := range notes {
		if k, v := len(notes[i].Key), len(notes[i].Value); k > reading.MaxNoteKey || v > reading.MaxNoteValue {
			return 0, fmt.Errorf("note with a key of %d bytes and a value of %d, at most %d and %d: %w",
				k, v, reading.MaxNoteKey, reading.MaxNoteValue, wire.ErrTooLarge)
		}
		n += len(notes[i].Key) + len(notes[i].Value)
	}
	for i := range rs {
		r := &rs[i]
		if r.Lane >= reading.Lanes {
			return 0, fmt.Errorf("reading of %q in lane %d: there is none", r.Device, r.Lane)
		}
		if r.Time < -maxTime || r.Time > maxTime {
			return 0, fmt.Errorf("reading of %q with time %d, want at most 146 years from 1970: %w", r.Device, r.Time, wire.ErrTooLarge)
		}
		if r.Device != device {
			device = r.Device
			n += len(device)
		}
		if len(r.Metric)+len(r.Unit) > ordinaryName {
			n += len(r.Metric) + len(r.Unit)
		}
		n += len(r.Value.Text())
	}
	if len(rs) > maxAccept || n > maxAcceptText {
		return 0, fmt.Errorf("%d readings with %d bytes of text at once, at most %d and %d: %w",
			len(rs), n, maxAccept, maxAcceptText, wire.ErrTooLarge)
	}
	return n, nil
}

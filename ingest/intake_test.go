package ingest_test

import (
	"context"
	"errors"
	"math"
	"testing"
	"time"

	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/reading"
)

// hold is custody that keeps what it takes, or refuses.
type hold struct {
	taken  []reading.Reading
	refuse error
	steps  *[]string
}

func (*hold) Notes(context.Context, string, func(reading.Note) error) error { return nil }

func (h *hold) Accept(_ context.Context, rs []reading.Reading, _ ...reading.Note) (ingest.Receipt, error) {
	*h.steps = append(*h.steps, "custody")
	if h.refuse != nil {
		return nil, h.refuse
	}
	h.taken = append(h.taken, rs...)
	return nil, nil
}

// view notes what it is shown.
type view struct{ steps *[]string }

func (v view) Publish([]reading.Reading) { *v.steps = append(*v.steps, "live") }

func newIntake(h *hold) (*ingest.Intake, *[]string) {
	var steps []string
	h.steps = &steps
	now := func() time.Time { return time.Unix(1_700_000_000, 123_456_789) }
	return ingest.NewIntake(h, view{&steps}, now), &steps
}

func TestIntakeStampsWhatHasNoPossibleTime(t *testing.T) {
	h := &hold{}
	in, _ := newIntake(h)
	own := int64(1_600_000_000_000_000_001)
	_, err := in.Accept(t.Context(), []reading.Reading{{}, {Time: own}, {Time: -1}, {Time: math.MaxInt64}, {Time: math.MinInt64}})
	if err != nil {
		t.Fatal(err)
	}
	const now = 1_700_000_000_123_000_000 // to the millisecond
	for i, want := range []int64{now, own, now, now, now} {
		r := h.taken[i]
		if stamped := r.Flags&reading.Stamped != 0; r.Time != want || stamped != (want == now) {
			t.Errorf("reading %d has the time %d, stamped %v; want %d", i, r.Time, stamped, want)
		}
	}
}

func TestNothingIsShownThatCustodyDidNotTake(t *testing.T) {
	h := &hold{refuse: errors.New("full")}
	in, steps := newIntake(h)
	if _, err := in.Accept(t.Context(), make([]reading.Reading, 3)); !errors.Is(err, h.refuse) {
		t.Errorf("got %v, want custody's error", err)
	}
	h.refuse = nil
	if _, err := in.Accept(t.Context(), make([]reading.Reading, 2)); err != nil {
		t.Fatal(err)
	}
	if got := *steps; len(got) != 3 || got[0] != "custody" || got[1] != "custody" || got[2] != "live" {
		t.Errorf("steps %v: want custody twice, then live once", got)
	}
	if got, want := in.Stats(), (ingest.Stats{Taken: 2, Refused: 3}); got != want {
		t.Errorf("counted %+v, want %+v", got, want)
	}
}

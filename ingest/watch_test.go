package ingest_test

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/ingest/ingesttest"
	"github.com/tidegate/tidegate/reading"
)

// state says how a receipt is, without waiting.
func state(r ingest.Receipt) string {
	over, cancel := context.WithCancel(context.Background())
	cancel()
	switch err := r.Wait(over); {
	case err == nil:
		return "resolved"
	case errors.Is(err, context.Canceled):
		return "waiting"
	}
	return "failed"
}

func accept(t *testing.T, in *ingest.Intake, metrics ...string) ingest.Receipt {
	t.Helper()
	var rs []reading.Reading
	for _, m := range metrics {
		rs = append(rs, reading.Reading{Metric: m})
	}
	receipt, err := in.Accept(t.Context(), rs)
	if err != nil {
		t.Fatal(err)
	}
	return receipt
}

// A device sends a reading and loses its connection before the acknowledgement.
// It sends it again, and it is left out, being its own repeat. To acknowledge it
// before the first one is on flash would be to lose it with the power.
func TestWhatWasLeftOutWaitsForWhatItLeansOn(t *testing.T) {
	for _, ending := range []string{"resolved", "failed"} {
		custody := ingesttest.NewCustody()
		in := ingest.NewIntake(custody, nil, time.Now)
		in.OnLoss(func() {})
		if in.Owes() {
			t.Fatal("nothing was accepted, and something is owed")
		}
		accept(t, in, "a")
		if !in.Owes() {
			t.Fatal("what is on its way is not owed")
		}
		repeat := accept(t, in)
		if got := state(repeat); got != "waiting" {
			t.Fatalf("before the commit it is %s", got)
		}
		if ending == "failed" {
			custody.Fail(ingest.ErrFull)
		} else {
			custody.Commit()
		}
		if got := state(repeat); got != ending {
			t.Errorf("after the commit it is %s, want %s", got, ending)
		}
		in.Settle()
		if in.Owes() {
			t.Error("nothing is on its way, and something is owed")
		}
		if got := state(accept(t, in)); got != "resolved" {
			t.Errorf("with nothing on its way it is %s", got)
		}
	}
}

// The group before may fail and the next not.
func TestReceiptsBehindAFailedGroupFail(t *testing.T) {
	custody := &groups{}
	in := ingest.NewIntake(custody, nil, time.Now)
	forgotten := 0
	in.OnLoss(func() { forgotten++ })
	first := accept(t, in, "a")
	second := accept(t, in, "b")
	if again := accept(t, in, "c"); again == second {
		t.Error("two sets of groups have one receipt")
	}
	custody.resolve(0, ingest.ErrFull)
	custody.resolve(1, nil)
	if state(first) != "failed" || state(second) != "failed" {
		t.Errorf("%s, %s", state(first), state(second))
	}
	// Its readings may have been left out before anybody knew.
	if got := state(accept(t, in)); got != "failed" {
		t.Errorf("what leans on a group that failed is %s", got)
	}
	in.Settle()
	if forgotten != 1 {
		t.Errorf("told %d times", forgotten)
	}
	if got := state(accept(t, in)); got != "waiting" {
		t.Errorf("what leans on the third group is %s", got)
	}
	custody.resolve(2, nil)
	if got := state(accept(t, in)); got != "resolved" {
		t.Errorf("and in the end it is %s", got)
	}
}

// Custody may let a reading wait for room. Its repeat, on another connection, must
// not be acknowledged while nobody knows whether there will be any.
func TestWhatWasLeftOutWaitsForWhatWaitsForRoom(t *testing.T) {
	for _, refusal := range []error{nil, ingest.ErrFull} {
		custody := &slow{entered: make(chan struct{}), room: make(chan error)}
		in := ingest.NewIntake(custody, nil, time.Now)
		lost := make(chan struct{}, 1)
		in.OnLoss(func() { lost <- struct{}{} })
		answer := make(chan error, 1)
		go func() {
			_, err := in.Accept(t.Context(), []reading.Reading{{Metric: "a"}})
			answer <- err
		}()
		<-custody.entered
		if !in.Owes() {
			t.Fatal("what waits for room is not owed")
		}
		repeat := accept(t, in)
		if got := state(repeat); got != "waiting" {
			t.Fatalf("while there is no room it is %s", got)
		}
		custody.room <- refusal
		if err := <-answer; !errors.Is(err, refusal) {
			t.Fatal(err)
		}
		if refusal != nil {
			<-lost
			if got := state(repeat); got != "failed" {
				t.Errorf("after the refusal it is %s", got)
			}
			continue
		}
		if got := state(repeat); got != "waiting" {
			t.Errorf("before the commit it is %s", got)
		}
		custody.resolve(0, nil)
		if got := state(repeat); got != "resolved" {
			t.Errorf("after the commit it is %s", got)
		}
	}
}

// slow is a custody that waits for room.
type slow struct {
	groups
	entered chan struct{}
	room    chan error
}

func (s *slow) Accept(ctx context.Context, rs []reading.Reading, notes ...reading.Note) (ingest.Receipt, error) {
	s.entered <- struct{}{}
	if err := <-s.room; err != nil {
		return nil, err
	}
	return s.groups.Accept(ctx, rs, notes...)
}

// At a busy door, many calls are of one group.
func TestManyReceiptsOfOneGroupAreWatchedAsOne(t *testing.T) {
	custody := ingesttest.NewCustody()
	in := ingest.NewIntake(custody, nil, time.Now)
	in.OnLoss(func() {})
	var doors sync.WaitGroup
	for range 8 {
		doors.Go(func() {
			for i := range 500 {
				receipt, err := in.Accept(t.Context(), []reading.Reading{{Metric: "a"}})
				if err != nil {
					t.Error(err)
					return
				}
				for i%50 == 0 && state(receipt) != "resolved" {
					custody.Commit() // what another has begun before may be in the next group
					runtime.Gosched()
				}
			}
		})
	}
	doors.Wait()
	custody.Commit()
	if got := state(accept(t, in)); got != "resolved" {
		t.Errorf("in the end it is %s", got)
	}
	if in.Settle(); in.Owes() {
		t.Error("in the end, something is owed")
	}
}

func TestReceiptsOfTheSameGroupsAreTheSame(t *testing.T) {
	custody := ingesttest.NewCustody()
	in := ingest.NewIntake(custody, nil, time.Now)
	in.OnLoss(func() {})
	if accept(t, in, "a") != accept(t, in, "b") || accept(t, in, "c") != accept(t, in) {
		t.Error("one group has several receipts")
	}
	two := &groups{}
	in = ingest.NewIntake(two, nil, time.Now)
	in.OnLoss(func() {})
	accept(t, in, "a")
	if accept(t, in, "b") != accept(t, in) {
		t.Error("the same two groups have several receipts")
	}
}

func TestWithoutFiltersReceiptsAreCustodys(t *testing.T) {
	custody := &groups{}
	in := ingest.NewIntake(custody, nil, time.Now)
	accept(t, in, "a")
	if in.Owes() {
		t.Error("without filters, nothing leans on anything")
	}
	if got := accept(t, in, "b"); got != ingest.Receipt(custody.all[1]) {
		t.Errorf("%v", got)
	}
}

// groups is a custody that makes every call a group of its own.
type groups struct{ all []*single }

type single struct {
	readings, notes int
	done            chan struct{}
	err             error // read only after done
}

func (s *single) Wait(ctx context.Context) error {
	select {
	case <-s.done:
		return s.err
	default:
	}
	select {
	case <-s.done:
		return s.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (g *groups) Accept(_ context.Context, rs []reading.Reading, notes ...reading.Note) (ingest.Receipt, error) {
	g.all = append(g.all, &single{readings: len(rs), notes: len(notes), done: make(chan struct{})})
	return g.all[len(g.all)-1], nil
}

func (*groups) Notes(context.Context, string, func(reading.Note) error) error { return nil }

func (g *groups) resolve(i int, err error) {
	g.all[i].err = err
	close(g.all[i].done)
}

package ingest_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/ingest/ingesttest"
	"github.com/tidegate/tidegate/reading"
)

// A device announces something, loses its connection before the acknowledgement
// and announces it again: that is known now, but not on flash.
func TestAnAnnouncementIsOwedUntilItIsOnFlash(t *testing.T) {
	for _, ending := range []string{"resolved", "failed"} {
		custody := ingesttest.NewCustody()
		in := life(t, custody)
		in.Memory().Remember("alias/7", []byte("temperature"))
		accept(t, in)
		in.Memory().Remember("alias/7", []byte("temperature"))
		if !in.Owes() {
			t.Fatal("what is on its way is not owed")
		}
		again, beside := accept(t, in), accept(t, in, "a")
		if state(again) != "waiting" || state(beside) != "waiting" {
			t.Fatalf("before the commit: %s, %s", state(again), state(beside))
		}
		if ending == "failed" {
			custody.Fail(ingest.ErrFull)
		} else {
			custody.Commit()
		}
		if state(again) != ending || state(beside) != ending {
			t.Errorf("after the commit: %s, %s; want %s", state(again), state(beside), ending)
		}
		if in.Owes() != (ending == "failed") {
			t.Errorf("%s: owes %v", ending, in.Owes())
		}
	}
}

// The group with the announcement may fail, and that with its repeat not.
func TestAnAnnouncementIsNotTakenForStoredInAnotherGroup(t *testing.T) {
	custody := &groups{}
	in := ingest.NewIntake(custody, nil, time.Now)
	in.Memory().Remember("k", []byte("v"))
	accept(t, in)
	in.Memory().Remember("k", []byte("v"))
	receipt := accept(t, in, "a")
	custody.resolve(0, ingest.ErrFull)
	for i := range custody.all[1:] {
		custody.resolve(1+i, nil)
	}
	if got := state(receipt); got != "failed" {
		t.Errorf("its repeat is %s", got)
	}
}

func TestAnnouncementsInSeveralPartsFailTogether(t *testing.T) {
	custody := &groups{}
	in := ingest.NewIntake(custody, nil, time.Now)
	for i := range 2500 {
		in.Memory().Remember(fmt.Sprint(i), []byte("v"))
	}
	receipt := accept(t, in, "a")
	custody.resolve(0, ingest.ErrFull)
	for i := range custody.all[1:] {
		custody.resolve(1+i, nil)
	}
	if got := state(receipt); got != "failed" {
		t.Errorf("with a part missing, it is %s", got)
	}
}

func TestWhatWasWithdrawnIsWithdrawnAgainAfterAFailedCommit(t *testing.T) {
	custody := ingesttest.NewCustody()
	in := life(t, custody)
	in.Memory().Remember("k", []byte("v"))
	accept(t, in)
	custody.Commit()
	in.Memory().Remember("k", nil)
	accept(t, in)
	custody.Fail(errors.New("disk is gone"))
	in.Memory().Remember("k", nil) // sent again
	if !in.Owes() {
		t.Error("nothing is owed")
	}
	accept(t, in)
	custody.Commit()
	if got := custody.Noted(); len(got) != 0 {
		t.Errorf("noted: %q", got)
	}
}

// Nobody else may come for hours whose readings would fill the group.
func TestNobodyWaitsForAnEmptyGroup(t *testing.T) {
	for _, filters := range []bool{false, true} {
		custody := ingesttest.NewCustody()
		in := life(t, custody)
		if filters {
			in.OnLoss(func() {})
		}
		if got := state(accept(t, in)); got != "resolved" {
			t.Errorf("filters %v: nothing is owed, and it is %s", filters, got)
		}
	}
}

// Two callers see that something is owed; the second has nothing left to carry.
func TestWhoComesTooLateToCarryWaitsForWhoWasFirst(t *testing.T) {
	custody := &slow{entered: make(chan struct{}), room: make(chan error)}
	in := ingest.NewIntake(custody, nil, time.Now)
	in.Memory().Remember("k", []byte("v"))
	receipts := make(chan ingest.Receipt)
	call := func() {
		receipt, err := in.Accept(t.Context(), nil)
		if err != nil {
			t.Error(err)
		}
		receipts <- receipt
	}
	go call()
	<-custody.entered
	if !in.Owes() {
		t.Fatal("what waits for room is not owed")
	}
	go call()
	custody.room <- nil
	first := <-receipts
	second := <-receipts
	if len(custody.all) != 1 {
		t.Errorf("%d groups", len(custody.all))
	}
	if state(first) != "waiting" || state(second) != "waiting" {
		t.Errorf("before the commit: %s, %s", state(first), state(second))
	}
	custody.resolve(0, nil)
	if state(first) != "resolved" || state(second) != "resolved" {
		t.Errorf("after the commit: %s, %s", state(first), state(second))
	}
}

func TestWhoWaitsToCarryCanGiveUp(t *testing.T) {
	custody := &slow{entered: make(chan struct{}), room: make(chan error)}
	in := ingest.NewIntake(custody, nil, time.Now)
	in.Memory().Remember("k", []byte("v"))
	ended := make(chan error, 2)
	go func() {
		_, err := in.Accept(t.Context(), nil)
		ended <- err
	}()
	<-custody.entered
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		_, err := in.Accept(ctx, nil)
		ended <- err
	}()
	cancel()
	select {
	case err := <-ended:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	case <-time.After(ingesttest.Patience):
		t.Error("it waits for ever")
	}
	custody.room <- nil
	<-ended
}

// A filter must have been told before anybody can believe that what it leans on
// is safe.
func TestLossesAreToldBeforeTheyAreForgotten(t *testing.T) {
	for _, how := range []string{"commit", "refusal"} {
		custody := ingesttest.NewCustody()
		in := life(t, custody)
		var told atomic.Bool
		early := make(chan bool, 1)
		in.OnLoss(func() {
			go func() { // a reading that was left out by now
				safe := !in.Owes()
				if !safe {
					receipt, err := in.Accept(t.Context(), nil)
					safe = err == nil && state(receipt) == "resolved"
				}
				early <- safe && !told.Load()
			}()
			select { // the other has all the time that it needs
			case safe := <-early:
				early <- safe
			case <-time.After(ingesttest.Impatience):
			}
			told.Store(true)
		})
		if how == "commit" {
			accept(t, in, "a")
			custody.Fail(ingest.ErrFull)
			in.Settle()
		} else {
			custody.Refuse(ingest.ErrFull)
			if _, err := in.Accept(t.Context(), []reading.Reading{{Metric: "a"}}); err == nil {
				t.Fatal("it was taken")
			}
		}
		if <-early {
			t.Errorf("after a %s, what leans on it was safe before the filter knew", how)
		}
	}
}

// Only some routes of a door have filters, and others have all the traffic.
func TestReceiptsAreLetGoWhoeverCallsAccept(t *testing.T) {
	custody := &groups{}
	in := ingest.NewIntake(custody, nil, time.Now)
	in.OnLoss(func() {})
	for i := range 10 {
		if receipt := accept(t, in, "a"); receipt != ingest.Receipt(custody.all[i]) {
			t.Fatalf("the receipt of group %d is %T", i, receipt)
		}
		custody.resolve(i, nil)
	}
}

// A commit may be over before Accept is.
func TestReceiptsMayResolveAtAnyMoment(t *testing.T) {
	in := ingest.NewIntake(&flaky{}, nil, time.Now)
	in.OnLoss(func() {})
	var doors sync.WaitGroup
	for range 8 {
		doors.Go(func() {
			for range 2000 {
				in.Settle()
				if receipt, err := in.Accept(t.Context(), []reading.Reading{{Metric: "a"}}); err == nil {
					_ = receipt.Wait(t.Context())
				}
				in.Owes()
			}
		})
	}
	doors.Wait()
	in.Settle()
	if in.Owes() {
		t.Error("in the end, something is owed")
	}
}

// flaky is a custody that commits at once, fails at once, and refuses, in turn.
type flaky struct {
	groups
	calls atomic.Int64
}

func (f *flaky) Accept(context.Context, []reading.Reading, ...reading.Note) (ingest.Receipt, error) {
	s := &single{done: make(chan struct{})}
	runtime.Gosched()
	switch f.calls.Add(1) % 3 {
	case 0:
		return nil, ingest.ErrFull
	case 1:
		s.err = ingest.ErrFull
	}
	close(s.done)
	return s, nil
}

// Custody refuses more than some 24,000 readings at once, for ever. One payload may
// have more, or as many alarms besides.
func TestMoreReadingsThanCustodyTakesAreHandedOverInParts(t *testing.T) {
	custody := &groups{}
	in := ingest.NewIntake(custody, nil, time.Now)
	receipt, err := in.Accept(t.Context(), make([]reading.Reading, 40_000), reading.Note{Key: "k"})
	if err != nil {
		t.Fatal(err)
	}
	if len(custody.all) != 3 {
		t.Fatalf("%d parts", len(custody.all))
	}
	for i, g := range custody.all {
		if g.readings > 1<<14 || (g.notes > 0) != (i == 2) {
			t.Errorf("part %d has %d readings and %d notes", i, g.readings, g.notes)
		}
		if got := state(receipt); got != "waiting" {
			t.Errorf("before part %d it is %s", i, got)
		}
		custody.resolve(i, nil)
	}
	if got := state(receipt); got != "resolved" {
		t.Errorf("in the end it is %s", got)
	}
}

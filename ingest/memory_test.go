package ingest_test

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/ingest/ingesttest"
	"github.com/tidegate/tidegate/reading"
)

// life is an intake over a custody, with the memory that begins it.
func life(t *testing.T, custody *ingesttest.Custody) *ingest.Intake {
	t.Helper()
	memory := ingest.NewMemory()
	if err := memory.Load(t.Context(), custody); err != nil {
		t.Fatal(err)
	}
	return ingest.NewIntake(custody, nil, time.Now).WithMemory(memory)
}

func TestAnnouncementsSurviveACrashOnceTheirReceiptResolved(t *testing.T) {
	custody := ingesttest.NewCustody()
	in := life(t, custody)
	in.Memory().Remember("alias/7", []byte("temperature"))
	if !in.Owes() {
		t.Fatal("nothing is owed")
	}
	if _, err := in.Accept(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if got := life(t, custody.Crash()).Memory().Recall("alias/7"); got != nil {
		t.Errorf("%q was never committed", got)
	}

	custody = ingesttest.NewCustody()
	in = life(t, custody)
	in.Memory().Remember("alias/7", []byte("temperature"))
	in.Memory().Remember("alias/8", []byte("humidity"))
	in.Memory().Remember("alias/8", nil)
	if _, err := in.Accept(t.Context(), []reading.Reading{{Metric: "a"}}); err != nil {
		t.Fatal(err)
	}
	custody.Commit()
	after := life(t, custody.Crash()).Memory()
	if got := string(after.Recall("alias/7")); got != "temperature" {
		t.Errorf("got %q", got)
	}
	if after.Recall("alias/8") != nil || after.Len() != 1 {
		t.Error("what was forgotten came back")
	}
}

func TestWhatCustodyRefusesIsCarriedAgain(t *testing.T) {
	custody := ingesttest.NewCustody()
	in := life(t, custody)
	custody.Refuse(errors.New("full"))
	in.Memory().Remember("k", []byte("v"))
	if _, err := in.Accept(t.Context(), nil); err == nil || !in.Owes() {
		t.Fatalf("%v, owes %v", err, in.Owes())
	}
	custody.Refuse(nil)
	if _, err := in.Accept(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	custody.Commit()
	if len(custody.Noted()) != 1 {
		t.Errorf("noted: %v", custody.Noted())
	}
}

func TestAfterAFailedCommitEverythingIsCarriedAgain(t *testing.T) {
	custody := ingesttest.NewCustody()
	in := life(t, custody)
	in.Memory().Remember("k", []byte("v"))
	if _, err := in.Accept(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	custody.Fail(errors.New("disk is gone"))
	if !in.Owes() {
		t.Fatal("what was lost is not owed")
	}
	if _, err := in.Accept(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	custody.Commit()
	if len(custody.Noted()) != 1 {
		t.Errorf("noted: %v", custody.Noted())
	}
}

func TestMuchThatWasAnnouncedIsCarriedBeforeItsPayload(t *testing.T) {
	custody := ingesttest.NewCustody()
	in := life(t, custody)
	for i := range 2500 {
		in.Memory().Remember(fmt.Sprint(i), []byte("v"))
	}
	if _, err := in.Accept(t.Context(), []reading.Reading{{Metric: "a"}}); err != nil {
		t.Fatal(err)
	}
	custody.Commit()
	if in.Owes() || len(custody.Noted()) != 2500 || len(custody.Stored()) != 1 {
		t.Errorf("%d notes, %d readings", len(custody.Noted()), len(custody.Stored()))
	}
}

func TestUnitsAreThereInTheNextLife(t *testing.T) {
	custody := ingesttest.NewCustody()
	in := life(t, custody)
	in.Memory().RememberUnit("home/kitchen", "temp", "Cel")
	in.Memory().RememberUnit("home/kitchen", "hum", "%RH")
	in.Memory().RememberUnit("home/cellar", "temp", "K")
	before := in.Memory().Units("home/kitchen")
	in.Memory().RememberUnit("home/kitchen", "temp", "K")
	if before["temp"] != "Cel" {
		t.Error("a map that somebody has was changed")
	}
	if _, err := in.Accept(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	custody.Commit()
	after := life(t, custody.Crash()).Memory()
	want := map[string]string{"temp": "K", "hum": "%RH"}
	if got := after.Units("home/kitchen"); !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := after.Units("home/attic"); len(got) != 0 {
		t.Errorf("got %v", got)
	}
}

func TestFiltersLearnOfEveryLoss(t *testing.T) {
	custody := ingesttest.NewCustody()
	in := life(t, custody)
	losses := 0
	in.OnLoss(func() { losses++ })
	accept := func() {
		t.Helper()
		if _, err := in.Accept(t.Context(), []reading.Reading{{Metric: "a"}}); err != nil {
			t.Fatal(err)
		}
	}
	accept()
	in.Settle()
	custody.Commit()
	in.Settle()
	if losses != 0 {
		t.Fatal("nothing was lost")
	}
	accept()
	custody.Fail(errors.New("disk is gone"))
	in.Settle()
	in.Settle()
	if losses != 1 {
		t.Errorf("%d losses after one commit failed", losses)
	}
	custody.Refuse(errors.New("full"))
	if _, err := in.Accept(t.Context(), []reading.Reading{{Metric: "a"}}); err == nil || losses != 2 {
		t.Errorf("%v, %d losses", err, losses)
	}
}

// Whoever announces something and sees that nothing is owed may acknowledge
// what custody takes from now on.
func TestNobodyOvertakesAnAnnouncement(t *testing.T) {
	custody := ingesttest.NewCustody()
	in := life(t, custody)
	var devices sync.WaitGroup
	for d := range 8 {
		devices.Go(func() {
			for i := range 100 {
				key := fmt.Sprintf("%d/%d", d, i)
				in.Memory().Remember(key, []byte("x"))
				receipt, err := in.Accept(t.Context(), nil)
				if err != nil {
					t.Error(err)
					return
				}
				custody.Commit()
				if err := receipt.Wait(t.Context()); err != nil {
					t.Error(err)
				}
				if custody.Noted()["announced/"+key] == nil {
					t.Errorf("%s is not on flash", key)
				}
			}
		})
	}
	devices.Wait()
}

func TestMemoryIsBounded(t *testing.T) {
	m := ingest.NewMemory()
	m.Remember(strings.Repeat("k", reading.MaxNoteKey), []byte("v"))
	m.Remember("k", make([]byte, reading.MaxNoteValue+1))
	if m.Len() != 0 || m.Refused() != 2 {
		t.Errorf("%d entries, %d refused", m.Len(), m.Refused())
	}
	for i := range ingest.MaxMemoryEntries + 100 {
		m.Remember(fmt.Sprint(i), []byte("v"))
	}
	if m.Len() > ingest.MaxMemoryEntries || m.Refused() < 102 {
		t.Errorf("%d entries, %d refused", m.Len(), m.Refused())
	}
	m.Remember("0", nil)
	m.Remember("new", []byte("v"))
	if m.Recall("new") == nil {
		t.Error("room that became free is not used")
	}
}

// Custody may take nothing for hours, while somebody announces and withdraws.
func TestWhatWasWithdrawnIsBounded(t *testing.T) {
	m := ingest.NewMemory()
	for i := range 2*ingest.MaxMemoryEntries + 100 {
		key := fmt.Sprint(i)
		m.Remember(key, []byte("v"))
		m.Remember(key, nil)
	}
	if m.Len() != 0 || m.Refused() != 100 {
		t.Errorf("%d entries, %d refused", m.Len(), m.Refused())
	}
}

// Each of them costs a copy of those before it, at every start.
func TestUnitsOfATopicAreBounded(t *testing.T) {
	m := ingest.NewMemory()
	for i := range ingest.MaxTopicUnits + 10 {
		m.RememberUnit("a", fmt.Sprint(i), "V")
	}
	m.RememberUnit("a", "0", "A") // there is room for a change
	m.RememberUnit("b", "0", "V")
	if n := len(m.Units("a")); n != ingest.MaxTopicUnits || m.Refused() != 10 || m.Units("a")["0"] != "A" || len(m.Units("b")) != 1 {
		t.Errorf("%d units, %d refused, %q", n, m.Refused(), m.Units("a")["0"])
	}
}

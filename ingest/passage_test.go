package ingest_test

import (
	"testing"
	"time"

	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/ingest/ingesttest"
	"github.com/tidegate/tidegate/reading"
)

// filtered is an intake of a door with filters, and how often they were told of a
// loss.
func filtered(custody ingest.Custody) (in *ingest.Intake, told *int) {
	in, told = ingest.NewIntake(custody, nil, time.Now), new(int)
	in.OnLoss(func() { *told++ })
	return in, told
}

// A connection has a reading between its filter and custody. On another one, its
// repeat has been left out.
func TestWhatWasLeftOutWaitsForWhatIsStillInAPassage(t *testing.T) {
	custody := ingesttest.NewCustody()
	in, _ := filtered(custody)
	first, second := in.Passage(), in.Passage()
	first.Settle()
	second.Settle()
	repeat := accept(t, second)
	if got := state(repeat); got != "waiting" {
		t.Fatalf("before the first is with custody, it is %s", got)
	}
	receipt := accept(t, first, "a")
	if state(receipt) != "waiting" || state(repeat) != "waiting" {
		t.Fatalf("before the commit: %s, %s", state(receipt), state(repeat))
	}
	custody.Commit()
	if state(receipt) != "resolved" || state(repeat) != "resolved" {
		t.Errorf("after the commit: %s, %s", state(receipt), state(repeat))
	}
}

// A third connection notices, and the filters forget, before the second is through.
func TestALossFailsAPassageThatItHappenedIn(t *testing.T) {
	custody := ingesttest.NewCustody()
	in, told := filtered(custody)
	first, second := in.Passage(), in.Passage()
	first.Settle()
	accept(t, first, "a")
	second.Settle() // and its reading is left out
	custody.Fail(ingest.ErrFull)
	if in.Settle(); *told != 1 {
		t.Fatalf("told %d times", *told)
	}
	if got := state(accept(t, second)); got != "failed" {
		t.Errorf("what leant on the loss is %s", got)
	}
	second.Settle()
	if got := state(accept(t, second)); got != "resolved" {
		t.Errorf("the next one is %s", got)
	}
}

func TestWhatIsLeftIsALoss(t *testing.T) {
	in, told := filtered(ingesttest.NewCustody())
	first, second := in.Passage(), in.Passage()
	first.Settle()
	second.Settle()
	repeat := accept(t, second)
	first.Leave()
	if got := state(repeat); got != "failed" || *told != 1 {
		t.Errorf("what leant on what was left is %s; told %d times", got, *told)
	}
	first.Leave()
	first.Settle()
	accept(t, first)
	first.Leave()
	if *told != 1 || in.Owes() {
		t.Errorf("told %d times, owes %v", *told, in.Owes())
	}
}

// What is refused is lost, also for its own connection.
func TestARefusedPassageIsALoss(t *testing.T) {
	custody := ingesttest.NewCustody()
	in, told := filtered(custody)
	passage := in.Passage()
	passage.Settle()
	custody.Refuse(ingest.ErrFull)
	if _, err := passage.Accept(t.Context(), []reading.Reading{{Metric: "a"}}); err == nil || *told != 1 {
		t.Errorf("%v, told %d times", err, *told)
	}
	custody.Refuse(nil)
	passage.Settle()
	if got := state(accept(t, passage)); got != "resolved" {
		t.Errorf("the next one is %s", got)
	}
}

// Without filters, passages are intakes as any other.
func TestPassagesWithoutFiltersWaitForNobody(t *testing.T) {
	custody := &groups{}
	in := ingest.NewIntake(custody, nil, time.Now)
	first, second := in.Passage(), in.Passage()
	first.Settle()
	second.Settle()
	if got := accept(t, second, "a"); got != ingest.Receipt(custody.all[0]) || second.Owes() {
		t.Errorf("%v, owes %v", got, second.Owes())
	}
	first.Leave()
}

// What changes while custody takes its time is carried anew.
func TestWhatChangesWhileItIsCarriedIsOwed(t *testing.T) {
	for _, value := range [][]byte{[]byte("new"), {}, nil} {
		custody := &slow{entered: make(chan struct{}), room: make(chan error)}
		in := ingest.NewIntake(custody, nil, time.Now)
		in.Memory().Remember("k", []byte("old"))
		first := make(chan ingest.Receipt)
		go func() { first <- accept(t, in) }()
		<-custody.entered
		in.Memory().Remember("k", value)
		custody.room <- nil
		<-first
		custody.resolve(0, nil)
		if !in.Owes() {
			t.Errorf("%q: nothing is owed", value)
		}
	}
}

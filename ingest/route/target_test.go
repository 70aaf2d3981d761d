package route_test

import (
	"slices"
	"testing"
	"time"

	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/ingest/decode"
	"github.com/tidegate/tidegate/ingest/ingesttest"
	"github.com/tidegate/tidegate/ingest/route"
	"github.com/tidegate/tidegate/reading"
)

func newIntake() *ingest.Intake {
	return ingest.NewIntake(ingesttest.NewCustody(), nil, time.Now)
}

func TestPayloadsHaveOneOfThreeFates(t *testing.T) {
	in := newIntake()
	target := route.Target{Topic: "t", Device: "d", Lane: reading.Alarm, Decoder: decode.NewJSON(decode.JSONConfig{})}
	keep := []reading.Reading{{Metric: "before"}}

	rs, fate, err := target.Read(keep, []byte(`{"a":1}`), route.Arrival{Intake: in, Flags: reading.Retained})
	if err != nil || fate != route.Decoded || len(rs) != 2 {
		t.Fatal(rs, fate, err)
	}
	if r := rs[1]; r.Device != "d" || r.Metric != "a" || r.Lane != reading.Alarm || r.Flags != reading.Retained {
		t.Errorf("%+v", r)
	}
	if rs, fate, err = target.Read(keep, []byte(`{`), route.Arrival{Intake: in}); err == nil || fate != route.Dropped || len(rs) != 1 {
		t.Error(rs, fate, err)
	}
	target.KeepOpaque = true
	rs, fate, err = target.Read(keep, []byte(`{`), route.Arrival{Intake: in})
	if err == nil || fate != route.Opaque || len(rs) != 2 || rs[1].Value != reading.Bytes("{") || rs[1].Lane != reading.Alarm {
		t.Error(rs, fate, err)
	}
}

func TestAnnouncedUnitsAreFilledIn(t *testing.T) {
	in := newIntake()
	in.Memory().RememberUnit("t", "a", "Cel")
	target := route.Target{Topic: "t", Decoder: decode.NewJSON(decode.JSONConfig{})}
	rs, _, err := target.Read(nil, []byte(`{"a":1,"b":2}`), route.Arrival{Intake: in})
	if err != nil || rs[0].Unit != "Cel" || rs[1].Unit != "" {
		t.Fatal(rs, err)
	}
	buffer, payload := make([]reading.Reading, 0, 8), []byte(`{"a":1,"b":2}`)
	if n := testing.AllocsPerRun(100, func() { target.Read(buffer, payload, route.Arrival{Intake: in}) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// oddOnes lets every second reading pass, until it forgets.
type oddOnes struct{ seen int }

func (o *oddOnes) Refine(dst []reading.Reading, first int, _ int64) []reading.Reading {
	kept := dst[:first]
	for _, r := range dst[first:] {
		if o.seen++; o.seen%2 == 1 {
			kept = append(kept, r)
		}
	}
	return kept
}

func (o *oddOnes) Forget() { o.seen = 0 }

func TestWhatWasNotKeptIsNotLeantOn(t *testing.T) {
	custody := ingesttest.NewCustody()
	in := ingest.NewIntake(custody, nil, time.Now)
	filter := &oddOnes{}
	in.OnLoss(filter.Forget)
	target := route.Target{Decoder: decode.NewJSON(decode.JSONConfig{}), Refine: filter}
	rs, _, _ := target.Read(nil, []byte(`{"a":1}`), route.Arrival{Intake: in})
	if _, err := in.Accept(t.Context(), rs); err != nil {
		t.Fatal(err)
	}
	custody.Fail(ingest.ErrFull)
	again, _, _ := target.Read(nil, []byte(`{"a":1}`), route.Arrival{Intake: in})
	if !slices.EqualFunc(rs, again, func(a, b reading.Reading) bool { return a.Value == b.Value }) {
		t.Errorf("what was lost came again and was filtered out: %v", again)
	}
}

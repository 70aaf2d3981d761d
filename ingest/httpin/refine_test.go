package httpin

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/ingest/decode"
	"github.com/tidegate/tidegate/ingest/ingesttest"
	"github.com/tidegate/tidegate/ingest/refine"
	"github.com/tidegate/tidegate/ingest/route"
)

// A request that is too large is refused after it was refined. What is sent again
// in smaller parts must not be left out as repeats of what was never kept.
func TestWhatWasRefusedIsNotLeantOn(t *testing.T) {
	chain, err := refine.New(refine.Config{Steps: []refine.Step{{Deadband: new(float64)}}})
	if err != nil {
		t.Fatal(err)
	}
	json := decode.NewJSON(decode.JSONConfig{})
	table, err := route.NewTable([]route.Rule{{Topic: "{device}", Decoder: json, Refine: chain}}, json)
	if err != nil {
		t.Fatal(err)
	}
	cfg := config(t)
	cfg.Routes = table
	w := start(t, cfg)
	lines := map[string]string{"Content-Type": "application/x-ndjson"}
	many := strings.Repeat("{\"a\":1}\n{\"a\":2}\n", maxReadings/2) + "{\"a\":1}\n"
	w.do(t, request{path: "/v1/readings/d", header: lines, body: many, status: 413, answer: `{"error":"more than`})
	w.do(t, request{path: "/v1/readings/d", header: lines, body: `{"a":1}`, status: 201, answer: `{"readings":1}`})
	w.do(t, request{path: "/v1/readings/d", header: lines, body: `{"a":1}`, status: 201, answer: `{"readings":0}`})
	if stored := w.custody.Stored(); len(stored) != 1 {
		t.Errorf("stored: %v", stored)
	}
}

// A reading that was left out leans on one that may be on its way still: it is not
// acknowledged before that one is on flash.
func TestWhatIsLeftOutWaitsForWhatItLeansOn(t *testing.T) {
	chain, err := refine.New(refine.Config{Steps: []refine.Step{{Deadband: new(float64)}}})
	if err != nil {
		t.Fatal(err)
	}
	json := decode.NewJSON(decode.JSONConfig{})
	table, err := route.NewTable([]route.Rule{{Topic: "{device}", Decoder: json, Refine: chain}}, json)
	if err != nil {
		t.Fatal(err)
	}
	cfg := config(t)
	cfg.Routes = table
	custody := ingesttest.NewCustody()
	intake := ingest.NewIntake(custody, nil, time.Now)
	intake.OnLoss(chain.Forget)
	w := startFor(t, cfg, intake)
	answers := make(chan int, 2)
	post := func() {
		r, err := http.Post(w.url+"/v1/readings/d", "", strings.NewReader(`{"a":1}`))
		if err != nil {
			answers <- 0
			return
		}
		r.Body.Close()
		answers <- r.StatusCode
	}
	go post()
	custody.Taken(t, 1)
	go post()
	select {
	case status := <-answers:
		t.Fatalf("status %d before anything is on flash", status)
	case <-time.After(4 * ingesttest.Impatience):
	}
	custody.Commit()
	for range 2 {
		if status := <-answers; status != http.StatusCreated {
			t.Errorf("status %d", status)
		}
	}
}

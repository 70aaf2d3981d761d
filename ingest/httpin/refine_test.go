package httpin

import (
	"strings"
	"testing"

	"github.com/tidegate/tidegate/ingest/decode"
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

package cloud

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"testing"
	"time"

	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/wire"
)

// report is a reading in which a gateway declares a loss.
func report(lane string, first, last, count uint64) reading.Reading {
	return reading.Reading{Device: "$tidegate", Metric: "gap", Time: sample(1).Time, Value: reading.String(fmt.Sprintf(
		`{"lane":%q,"first":%d,"last":%d,"count":%d,"from":5,"to":6,"reason":"evicted"}`, lane, first, last, count))}
}

func TestLedgerNamesWhatIsMissing(t *testing.T) {
	s := openStore(t)
	before := time.Now().UnixNano()
	receive(t, s, chunk(run(t, 20, 24)), 5, 0)
	receive(t, s, chunk(run(t, 5, 9), run(t, 12, 14)), 8, 0)
	receive(t, s, chunk(run(t, 12, 14)), 0, 3)
	lanes, err := s.Ledger()
	if err != nil || len(lanes) != 1 {
		t.Fatalf("%+v, %v", lanes, err)
	}
	got := lanes[0]
	if got.ReceivedAt < before || got.ReceivedAt > time.Now().UnixNano() {
		t.Errorf("received at %d", got.ReceivedAt)
	}
	got.ReceivedAt = 0
	want := LaneLedger{
		Gateway: "g", Epoch: "00000000000000a1", Lane: "normal", Readings: 13, Duplicates: 3,
		Ranges:  []Range{{5, 9}, {12, 14}, {20, 24}},
		Missing: []Range{{10, 11}, {15, 19}}, MissingReadings: 7,
		FirstTime: sample(5).Time, LastTime: sample(24).Time,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestDeclaredGapIsNotMissing(t *testing.T) {
	s := openStore(t)
	receive(t, s, chunk(run(t, 1, 4)), 4, 0)
	receive(t, s, chunk(run(t, 15, 20)), 6, 0)
	receive(t, s, chunk(block(t, 21, report("normal", 6, 10, 5))), 1, 0)
	receive(t, s, chunk(block(t, 22, report("normal", 0, 0, 7))), 1, 0) // refused before they had numbers
	receive(t, s, chunk(block(t, 21, report("normal", 6, 10, 5))), 0, 1)
	lanes, err := s.Ledger()
	if err != nil {
		t.Fatal(err)
	}
	if want := []Range{{5, 5}, {11, 14}}; !reflect.DeepEqual(lanes[0].Missing, want) || lanes[0].MissingReadings != 5 {
		t.Errorf("missing %v, want %v", lanes[0].Missing, want)
	}
	want := []Gap{{0, 0, 7, 5, 6, "evicted"}, {6, 10, 5, 5, 6, "evicted"}}
	if !reflect.DeepEqual(lanes[0].Gaps, want) {
		t.Errorf("gaps %v, want %v", lanes[0].Gaps, want)
	}
}

// A loss of one lane may be reported on another.
func TestGapCountsForTheLaneThatItIsAbout(t *testing.T) {
	s := openStore(t)
	receive(t, s, chunk(run(t, 5, 9)), 5, 0)
	raw, err := wire.NewEncoder().AppendBlock(nil, wire.Header{Epoch: epoch, Lane: reading.Alarm, First: 1},
		[]reading.Reading{report("normal", 1, 4, 4)})
	if err != nil {
		t.Fatal(err)
	}
	b, _, err := wire.ParseBlock(raw)
	if err != nil {
		t.Fatal(err)
	}
	receive(t, s, chunk(b), 1, 0)
	lanes, err := s.Ledger()
	if err != nil || len(lanes) != 2 || lanes[0].Lane != "normal" {
		t.Fatalf("%+v, %v", lanes, err)
	}
	if lanes[0].Missing != nil || len(lanes[0].Gaps) != 1 || lanes[1].Gaps != nil {
		t.Errorf("ledger %+v", lanes)
	}
}

// A gateway that lost a whole epoch says so in the next one.
func TestGapOfAnEpochOfWhichNothingCame(t *testing.T) {
	s := openStore(t)
	r := report("bulk", 1, 9, 9)
	r.Value = reading.String(`{"epoch":7,` + r.Value.Text()[1:])
	receive(t, s, chunk(block(t, 1, r)), 1, 0)
	lanes, err := s.Ledger()
	if err != nil || len(lanes) != 2 {
		t.Fatalf("%+v, %v", lanes, err)
	}
	want := LaneLedger{Gateway: "g", Epoch: "0000000000000007", Lane: "bulk", Gaps: []Gap{{1, 9, 9, 5, 6, "evicted"}}}
	if !reflect.DeepEqual(lanes[0], want) || lanes[1].Gaps != nil {
		t.Errorf("got %+v, want %+v", lanes[0], want)
	}
	receive(t, s, chunk(block(t, 1, r)), 0, 1)
	if again, err := s.Ledger(); err != nil || !reflect.DeepEqual(again[0], lanes[0]) {
		t.Errorf("got %+v, %v after a repetition, want %+v", again[0], err, lanes[0])
	}
}

func TestWhatOnlyLooksLikeAGapIsAReading(t *testing.T) {
	for _, text := range []string{``, `{`, `[]`, `{"lane":"urgent","first":1,"last":2}`, `{"lane":"normal","first":3,"last":2}`,
		`{"lane":"normal","first":1,"last":18446744073709551615}`} {
		r := reading.Reading{Device: "$tidegate", Metric: "gap", Value: reading.String(text)}
		if g, ok := parseGap(&r); ok {
			t.Errorf("%s is taken for %+v", text, g)
		}
	}
}

func TestLedgerAndExportAnswerThisMachine(t *testing.T) {
	s := openStore(t)
	server := serve(t, s, ReceiverConfig{Tokens: map[string]string{"g": "secret"}})
	receive(t, s, chunk(run(t, 1, 5)), 5, 0)
	var answer struct{ Lanes []LaneLedger }
	if err := json.Unmarshal([]byte(get(t, server.URL+"/v1/ledger", "", 200)), &answer); err != nil {
		t.Fatal(err)
	}
	if want, err := s.Ledger(); err != nil || !reflect.DeepEqual(answer.Lanes, want) {
		t.Errorf("answered %+v, want %+v, %v", answer.Lanes, want, err)
	}
	if got, want := get(t, server.URL+"/v1/export?gateway=g&from=3", "", 200), rows(Range{3, 5}); got != want {
		t.Errorf("export is\n%swant\n%s", got, want)
	}
	for _, bad := range []string{"lane=urgent", "from=-1", "since=monday", "until=x", "gatway=g"} {
		get(t, server.URL+"/v1/export?"+bad, "", 400)
	}
}

// A web page can make a browser on this machine ask, but by the page's name.
func TestLedgerAndExportAnswerNobodyElse(t *testing.T) {
	server := serve(t, openStore(t), ReceiverConfig{})
	get(t, server.URL+"/v1/ledger", "rebound.example:8440", 403)
	get(t, server.URL+"/v1/export", "rebound.example", 403)
	for host, want := range map[string]bool{
		"127.0.0.1:80": true, "127.8.8.8": true, "[::1]:80": true, "::1": true, "localhost:1": true, "[::ffff:127.0.0.1]:1": true,
		"10.0.0.1:80": false, "localhost.example": false, "": false, "127.0.0.1.example:80": false,
	} {
		if got := loopback(host); got != want {
			t.Errorf("loopback(%q) = %v", host, got)
		}
	}
}

// get asks for url by the name host, wants the status and returns the body.
func get(t *testing.T, url, host string, status int) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = host
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != status {
		t.Errorf("%s answered %d %s, %v; want %d", url, res.StatusCode, body, err, status)
	}
	return string(body)
}

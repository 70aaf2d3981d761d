package httpout

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidegate/tidegate/internal/servertest"
	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/uplink"
	"github.com/tidegate/tidegate/uplink/encode"
	"github.com/tidegate/tidegate/wire"
)

// patience is more than any answer takes, also on a machine that has much to do.
const patience = time.Minute

const began = 1_700_000_000_000_000_000

// measured returns n readings of one metric from the i-th second on.
func measured(device string, i, n int, value func(i int) reading.Value) []reading.Reading {
	var rs []reading.Reading
	for k := i; k < i+n; k++ {
		rs = append(rs, reading.Reading{Device: device, Metric: "temp", Time: began + int64(k)*1_000_000_000, Value: value(k)})
	}
	return rs
}

func number(i int) reading.Value { return reading.Float(float64(i) / 4) }

// blockOf encodes readings as a block.
func blockOf(t *testing.T, first uint64, rs []reading.Reading) wire.Block {
	t.Helper()
	raw, err := wire.NewEncoder().AppendBlock(nil, wire.Header{Epoch: 7, First: first}, rs)
	if err != nil {
		t.Fatal(err)
	}
	b, _, err := wire.ParseBlock(raw)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func lineEncoder(t *testing.T) uplink.Encoder {
	t.Helper()
	e, err := encode.New(encode.Config{Gateway: "north-7", Encoding: "line", Pieces: true})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// written returns a message of the blocks.
func written(t *testing.T, blocks ...wire.Block) uplink.Message {
	t.Helper()
	e := lineEncoder(t)
	body, parts, err := e.Encode(nil, blocks, math.MaxInt)
	if err != nil {
		t.Fatal(err)
	}
	last := blocks[len(blocks)-1]
	return uplink.Message{
		Key:   uplink.Key{Gateway: "north-7", Epoch: 7, First: blocks[0].First, Last: last.Last()},
		Count: int(last.Last() - blocks[0].First + 1), ContentType: e.ContentType(), Body: body, Parts: parts,
	}
}

// database returns a Sink for line protocol.
func database(t *testing.T, url string, auth Auth) *Sink {
	t.Helper()
	return newSink(t, Config{URL: url, Auth: auth, TrustStatus: true, Database: true, Compression: Auto, Connections: 4})
}

// influxCount asks InfluxDB how many values the field has.
func influxCount(t *testing.T, s *servertest.Server, field string) int {
	t.Helper()
	query := url.Values{"db": {"tide"}, "q": {fmt.Sprintf(`SELECT COUNT(%q) FROM tidegate`, field)}}
	resp, err := http.Get("http://" + s.Addr("http") + "/query?" + query.Encode())
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer struct {
		Results []struct {
			Error  string
			Series []struct{ Values [][]any }
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || len(answer.Results) != 1 || answer.Results[0].Error != "" {
		t.Fatalf("%+v, %v", answer, err)
	}
	if len(answer.Results[0].Series) == 0 {
		return 0
	}
	return int(answer.Results[0].Series[0].Values[0][1].(float64))
}

func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// TestInfluxDBKilledInMidStream sends a stream while the server is killed twice:
// what was taken is there, once, and sending it again changes nothing.
func TestInfluxDBKilledInMidStream(t *testing.T) {
	s := servertest.InfluxDB(t)
	sink := database(t, "http://"+s.Addr("http")+"/write?db=tide", Auth{})
	const messages, each = 60, 50
	var stream []uplink.Message
	for i := range messages {
		stream = append(stream, written(t, blockOf(t, uint64(i*each+1), measured("boiler", i*each, each, number))))
	}
	failures := 0
	for i, m := range stream {
		if i%25 == 20 {
			s.Kill()
			err := sink.Send(within(t, patience), m)
			if err == nil || uplink.IsPermanent(err) || !strings.Contains(err.Error(), "hint: ") {
				t.Errorf("a server that is gone: %v", err)
			}
			failures++
			s.Start()
		}
		if err := sink.Send(within(t, patience), m); err != nil {
			t.Fatalf("message %d: %v", i, err)
		}
	}
	s.Restart() // what is only in memory would be gone
	if n := influxCount(t, s, "temp"); n != messages*each || failures != 2 {
		t.Errorf("%d readings after %d failures, want %d", n, failures, messages*each)
	}
	for _, m := range stream {
		if err := sink.Send(within(t, patience), m); err != nil {
			t.Fatal(err)
		}
	}
	if n := influxCount(t, s, "temp"); n != messages*each {
		t.Errorf("%d readings after everything was sent again, want %d", n, messages*each)
	}
}

// TestDatabasesSayWhatIsWrong has databases refuse what only a person can
// correct, which is never held against the readings.
func TestDatabasesSayWhatIsWrong(t *testing.T) {
	open, closed := servertest.InfluxDB(t), servertest.InfluxDB(t, servertest.User("gw", "s3cret"))
	victoria := servertest.VictoriaMetrics(t, servertest.User("gw", "s3cret"))
	wrong, right := Auth{Username: "gw", PasswordFile: secret(t, "wrong")}, Auth{Username: "gw", PasswordFile: secret(t, "s3cret")}
	at := func(s *servertest.Server, path string) string { return "http://" + s.Addr("http") + path }
	m := written(t, blockOf(t, 1, measured("boiler", 0, 10, number)))
	for _, c := range []struct {
		name, url string
		auth      Auth
		want      string // of the hint; empty: nothing is wrong
	}{
		{"Influx", at(open, "/write?db=tide"), Auth{}, ""},
		{"InfluxPassword", at(closed, "/write?db=tide"), right, ""},
		{"InfluxWrongPassword", at(closed, "/write?db=tide"), wrong, "check"},
		{"InfluxNobody", at(closed, "/write?db=tide"), Auth{}, "check"},
		{"InfluxWrongDatabase", at(open, "/write?db=tied"), Auth{}, "create the database"},
		{"InfluxNoDatabase", at(open, "/write"), Auth{}, "/write?db=NAME"},
		{"InfluxWrongPath", at(open, "/writes?db=tide"), Auth{}, "path of the url"},
		{"Victoria", at(victoria, "/write"), right, ""},
		{"VictoriaV2", at(victoria, "/api/v2/write?org=a&bucket=b"), right, ""},
		{"VictoriaWrongPassword", at(victoria, "/write"), wrong, "check"},
		{"VictoriaWrongPath", at(victoria, "/writes"), right, "path of the url"},
	} {
		t.Run(c.name, func(t *testing.T) {
			sink := database(t, c.url, c.auth)
			about, probed := sink.Probe(within(t, patience))
			sent := sink.Send(within(t, patience), m)
			if c.want == "" {
				if probed != nil || sent != nil || about == "" {
					t.Errorf("probe: %q, %v; send: %v", about, probed, sent)
				}
				return
			}
			for what, err := range map[string]error{"probe": probed, "send": sent} {
				if _, delayed := uplink.RetryDelay(err); !delayed || uplink.IsPermanent(err) || !strings.Contains(err.Error(), "hint: ") || !strings.Contains(err.Error(), c.want) {
					t.Errorf("%s: %v, want a delay and a hint of %q", what, err, c.want)
				}
			}
		})
	}
	if n := influxCount(t, open, "temp"); n != 10 {
		t.Errorf("%d readings of 10", n)
	}
}

// backlog is a cursor over blocks in memory, and a quarantine.
type backlog struct {
	mu     sync.Mutex
	blocks []wire.Block
	aside  []wire.Block
	why    string
	acked  int
	all    chan struct{}
	total  int
}

func (b *backlog) Next(ctx context.Context, _ reading.LaneSet, _ int) ([]wire.Block, error) {
	b.mu.Lock()
	blocks := b.blocks
	b.blocks = nil
	b.mu.Unlock()
	if len(blocks) > 0 {
		return blocks, nil
	}
	<-ctx.Done()
	return nil, ctx.Err()
}

func (b *backlog) NextLive(ctx context.Context, _ reading.LaneSet, _ int) ([]wire.Block, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func (b *backlog) Ack(_ reading.Lane, first, last uint64) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.acked += int(last - first + 1); b.acked == b.total {
		close(b.all)
	}
	return nil
}

func (b *backlog) Quarantine(block wire.Block, reason string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.aside, b.why = append(b.aside, block), reason
	return nil
}

// forward sends the blocks with a Forwarder, and returns when all are acked.
func forward(t *testing.T, sink uplink.Sink, cfg uplink.Config, blocks []wire.Block) *backlog {
	t.Helper()
	b := &backlog{blocks: blocks, all: make(chan struct{})}
	for _, block := range blocks {
		b.total += block.Count
	}
	cfg.Gateway = "north-7"
	f := uplink.New(cfg, b, lineEncoder(t), sink, b, slog.New(slog.DiscardHandler))
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- f.Run(ctx) }()
	select {
	case <-b.all:
	case <-time.After(30 * time.Second):
		t.Errorf("%d of %d readings acked: %+v", b.acked, b.total, f.Stats())
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	return b
}

// TestTypeConflictCostsOneBlock: a field that has had numbers gets a text. The
// block with the text is set aside, in the database's own words, and all others
// are there.
func TestTypeConflictCostsOneBlock(t *testing.T) {
	s := servertest.InfluxDB(t)
	sink := database(t, "http://"+s.Addr("http")+"/write?db=tide", Auth{})
	var blocks []wire.Block
	for i := range 12 {
		rs := measured("boiler", i*10, 10, number)
		if i == 7 {
			rs[4].Value = reading.String("n/a")
		}
		blocks = append(blocks, blockOf(t, uint64(i*10+1), rs))
	}
	b := forward(t, sink, uplink.Config{}, blocks)
	if len(b.aside) != 1 || b.aside[0].First != 71 || !strings.Contains(b.why, "field type conflict") || !strings.Contains(b.why, "kinds_apart") {
		t.Errorf("%d blocks set aside, because %s", len(b.aside), b.why)
	}
	if n := influxCount(t, s, "temp"); n != 119 {
		t.Errorf("%d readings, want all but one of 120", n)
	}
}

// TestInfluxDBsLimitIsKept: bodies that are too large are cut, and the limit is
// remembered.
func TestInfluxDBsLimitIsKept(t *testing.T) {
	s := servertest.InfluxDB(t, servertest.MaxMessage(20_000))
	sink := newSink(t, Config{URL: "http://" + s.Addr("http") + "/write?db=tide", TrustStatus: true, Database: true, Connections: 4})
	var blocks []wire.Block
	for i := range 4 {
		blocks = append(blocks, blockOf(t, uint64(i*1000+1), measured("boiler", i*1000, 1000, number)))
	}
	b := forward(t, sink, uplink.Config{}, blocks)
	if len(b.aside) > 0 {
		t.Errorf("%d blocks set aside, because %s", len(b.aside), b.why)
	}
	if n := influxCount(t, s, "temp"); n != 4000 {
		t.Errorf("%d readings of 4000", n)
	}
	if l := sink.Limit(); l <= 0 || l > 40_000 {
		t.Errorf("the limit is said to be %d", l)
	}
}

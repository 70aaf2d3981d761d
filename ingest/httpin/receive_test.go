package httpin

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/ingest/decode"
	"github.com/tidegate/tidegate/ingest/ingesttest"
	"github.com/tidegate/tidegate/reading"
)

// request is one request and the answer that is due.
type request struct {
	method, path, body string
	header             map[string]string
	status             int
	answer             string // begins the body
}

func (w *world) do(t *testing.T, q request) *http.Response {
	t.Helper()
	if q.method == "" {
		q.method = http.MethodPost
	}
	r, err := http.NewRequestWithContext(t.Context(), q.method, w.url+q.path, strings.NewReader(q.body))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range q.header {
		r.Header.Set(name, value)
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	if response.StatusCode != q.status || !strings.HasPrefix(string(body), q.answer) {
		t.Errorf("%s %s %.60q: status %d, %s; want %d, %s", q.method, q.path, q.body, response.StatusCode, body, q.status, q.answer)
	}
	return response
}

func TestEveryRequestHasItsAnswer(t *testing.T) {
	cfg := config(t)
	cfg.MaxBody = 1 << 10
	cfg.Types = map[string]decode.Decoder{"application/octet-stream": decode.Raw{}}
	cfg.LineProtocol = map[string]decode.Decoder{"": decode.NewJSON(decode.JSONConfig{})}
	w := start(t, cfg)
	json := map[string]string{"Content-Type": "application/json; charset=utf-8"}
	for _, q := range []request{
		{path: "/v1/readings/flat/kitchen", header: json, body: `{"temp":21.5,"hum":40}`, status: 201, answer: `{"readings":2}`},
		{path: "/v1/readings/flat/kitchen/temp", body: `21.5`, status: 201, answer: `{"readings":1}`},
		{method: "PUT", path: "/v1/readings/flat", body: `[{"t":1},{"t":2}]`, status: 201, answer: `{"readings":2}`},
		{path: "/v1/readings/flat", body: `{"temp":`, status: 201, answer: `{"readings":1,"opaque":1,"error":"malformed payload: `},
		{path: "/v1/readings/flat", header: map[string]string{"Content-Type": "application/octet-stream"}, body: "\x00\x01", status: 201, answer: `{"readings":1}`},
		{path: "/v1/readings/strict/d", body: `{"temp":`, status: 400, answer: `{"error":"malformed payload: `},
		{path: "/v1/readings/strict/d", body: ``, status: 400, answer: `{"error":"malformed payload: `},
		{path: "/v1/readings/strict/d", header: map[string]string{"Content-Type": "application/x-ndjson"}, body: "{\"a\":1}\n\n{\"a\":\n{\"a\":3}", status: 201, answer: `{"readings":2,"dropped":1,"error":"`},
		{path: "/v1/readings/", body: `1`, status: 404, answer: `{"error":"\"\" is no topic"`},
		{path: "/v1/readings/$SYS/x", body: `1`, status: 404, answer: `{"error":"\"$SYS/x\" takes no readings"`},
		{path: "/v1/readings/a/%23", body: `1`, status: 404, answer: `{"error":"\"a/#\" is no topic"`},
		{path: "/v1/readings/a%ff", body: `1`, status: 404},
		{path: "/", body: `1`, status: 404, answer: `{"error":"nothing is here"`},
		{method: "GET", path: "/v1/readings/a", status: 405, answer: `{"error":"GET does not`},
		{path: "/v1/readings/a", header: map[string]string{"Content-Encoding": "br"}, body: `1`, status: 415, answer: `{"error":"content encoding \"br\"`},
		{path: "/v1/readings/a", header: map[string]string{"Content-Encoding": "gzip"}, body: `1`, status: 400, answer: `{"error":"the body`},
		{path: "/v1/readings/a", header: map[string]string{"Content-Encoding": "zstd"}, body: `1`, status: 400, answer: `{"error":"the body`},
		{path: "/v1/readings/a", body: `"` + strings.Repeat("x", 1<<10) + `"`, status: 413, answer: `{"error":"the body is larger than 1024 bytes"`},
		{path: "/write?db=plant&precision=s", body: `{"a":1}`, status: 400, answer: `{"error":"precision \"s\"`},
		{path: "/api/v2/write?bucket=plant", body: `{"a":1}`, status: 204, answer: ""},
	} {
		w.do(t, q)
	}
	if s := w.Stats(); s.Requests != 7 || s.Opaque != 1 || s.Dropped != 3 || s.TooLarge != 1 {
		t.Errorf("%+v", s)
	}
}

func TestCompressedBodiesAreTaken(t *testing.T) {
	w := start(t, config(t))
	body := []byte(`{"temp":21.5}`)
	var gzipped bytes.Buffer
	zip := gzip.NewWriter(&gzipped)
	zip.Write(body)
	zip.Close()
	encoder, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	w.do(t, request{path: "/v1/readings/a", header: map[string]string{"Content-Encoding": "gzip"}, body: gzipped.String(), status: 201})
	w.do(t, request{path: "/v1/readings/a", header: map[string]string{"Content-Encoding": "zstd"}, body: string(encoder.EncodeAll(body, nil)), status: 201})
	var streamed bytes.Buffer // its header asks for a window of 8 MiB
	stream, err := zstd.NewWriter(&streamed, zstd.WithEncoderLevel(zstd.SpeedBestCompression))
	if err != nil {
		t.Fatal(err)
	}
	stream.Write(body)
	stream.Flush()
	stream.Close()
	w.do(t, request{path: "/v1/readings/a", header: map[string]string{"Content-Encoding": "zstd"}, body: streamed.String(), status: 201})
	w.do(t, request{path: "/v1/readings/a", header: map[string]string{"Content-Encoding": "gzip"}, body: gzipped.String()[:gzipped.Len()-4], status: 400})
	for _, r := range w.custody.Taken(t, 3) {
		if r.Device != "a" || r.Metric != "temp" || r.Value != reading.Float(21.5) {
			t.Errorf("%+v", r)
		}
	}
}

// A body that is small on the wire and huge behind it is read no further than
// the limit.
func TestBombsAreNotUnpacked(t *testing.T) {
	w := start(t, config(t))
	bomb := make([]byte, 64<<20)
	var gzipped bytes.Buffer
	zip, _ := gzip.NewWriterLevel(&gzipped, gzip.BestSpeed)
	zip.Write(bomb)
	zip.Close()
	encoder, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	for coding, body := range map[string]string{"gzip": gzipped.String(), "zstd": string(encoder.EncodeAll(bomb, nil))} {
		w.do(t, request{path: "/v1/readings/a", header: map[string]string{"Content-Encoding": coding}, body: body, status: 413})
	}
}

func TestManyReadingsInFewBytesAreRefused(t *testing.T) {
	w := start(t, config(t))
	w.do(t, request{
		path: "/v1/readings/a", header: map[string]string{"Content-Type": "application/x-ndjson"},
		body: strings.Repeat("1\n", 400_000), status: 413, answer: `{"error":"more than 16384 readings"`,
	})
	if rs := w.custody.Taken(t, 0); len(rs) != 0 {
		t.Errorf("%d readings of a refused request were taken", len(rs))
	}
}

func TestWhoFindsNoRoomIsToldWhenToComeAgain(t *testing.T) {
	w := start(t, config(t))
	w.custody.Refuse(ingest.ErrFull)
	r := w.do(t, request{path: "/v1/readings/a", body: `1`, status: 429, answer: `{"error":"there is no room`})
	if n, err := strconv.Atoi(r.Header.Get("Retry-After")); err != nil || n < 1 {
		t.Errorf("Retry-After: %q", r.Header.Get("Retry-After"))
	}
	w.custody.Refuse(errors.New("disk is gone"))
	w.do(t, request{path: "/v1/readings/a", body: `1`, status: 503, answer: `{"error":"the readings could not be taken`})
	if s := w.Stats(); s.NotStored != 2 {
		t.Errorf("%+v", s)
	}
}

// Bodies that are still arriving hold memory; those who come when it is used up
// are told to come again, and it is given back.
func TestBodiesInFlightShareABudget(t *testing.T) {
	cfg := config(t)
	cfg.MaxInFlight = 1 // as little as there can be
	w := start(t, cfg)
	most := w.cfg.MaxInFlight
	head := fmt.Sprintf("POST /v1/readings/a HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", w.cfg.MaxBody)
	var slow []net.Conn
	for range most/w.cfg.MaxBody + 1 {
		slow = append(slow, w.raw(t, head+strings.Repeat(" ", w.cfg.MaxBody-1)))
	}
	for w.Stats().Overloaded == 0 {
		runtime.Gosched()
	}
	taken, refused := 0, 0
	for _, conn := range slow {
		io.WriteString(conn, "1") // one that is refused may be closed
		switch got := status(t, conn); got {
		case http.StatusCreated:
			taken++
		case http.StatusTooManyRequests:
			refused++
		default:
			t.Errorf("status %d", got)
		}
	}
	if taken == 0 || refused == 0 {
		t.Errorf("%d were taken and %d refused", taken, refused)
	}
	w.do(t, request{path: "/v1/readings/a", body: strings.Repeat(" ", w.cfg.MaxBody-1) + "1", status: 201})
}

// Readings that custody has when the door stops, because the gateway does or begins
// anew, are on flash in a moment: a client that is told to send them again would have
// them stored twice.
func TestAStopAnswersForWhatCustodyHas(t *testing.T) {
	custody := ingesttest.NewCustody()
	s := New(config(t), discard())
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx, ingest.NewIntake(ingesttest.Late{Custody: custody}, nil, time.Now)) }()
	p := newPeer(t, s.Addr(t.Context()).String())
	p.Send(0)
	custody.Taken(t, 1)
	cancel()
	if status := <-p.answers[0]; status != http.StatusCreated {
		t.Errorf("status %d", status)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestLanesComeFromTheRoute(t *testing.T) {
	w := start(t, config(t))
	w.do(t, request{path: "/v1/readings/alarms/pump", body: `{"smoke":true}`, status: 201})
	if rs := w.custody.Taken(t, 1); rs[0].Lane != reading.Alarm || rs[0].Device != "pump" {
		t.Errorf("%+v", rs[0])
	}
}

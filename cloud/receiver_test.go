package cloud

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/tidegate/tidegate/wire"
)

func TestAnswersOnlyAfterTheCommit(t *testing.T) {
	s := openStore(t)
	server := serve(t, s, ReceiverConfig{})
	s.committing.Lock() // the sync before takes its time
	answered := make(chan int, 1)
	body := encode(t, chunk(run(t, 1, 5)))
	go func() {
		status, _, _ := post(t, server.URL, ChunkType, body)
		answered <- status
	}()
	waitFor(t, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.open != nil
	})
	select {
	case status := <-answered:
		t.Errorf("answered %d before anything was written", status)
	default:
	}
	s.committing.Unlock()
	if status := <-answered; status != http.StatusOK {
		t.Errorf("answered %d", status)
	}
	wantExport(t, s, Range{1, 5})
}

func TestAcknowledgesWhatItStored(t *testing.T) {
	s := openStore(t)
	var seen []Result
	server := serve(t, s, ReceiverConfig{Received: func(d Delivery) { seen = append(seen, d.Result) }})
	c := chunk(run(t, 1, 5), run(t, 8, 9))
	body := encode(t, c)
	for _, want := range []string{
		`{"acked":{"epoch":"00000000000000a1","lane":"normal","first":1,"last":9}}`,
		`{"acked":{"epoch":"00000000000000a1","lane":"normal","first":1,"last":9},"duplicate":true}`,
	} {
		status, got, _ := post(t, server.URL, ChunkType, body, "Tidegate-Key", "g/00000000000000a1/normal/1-9")
		if status != http.StatusOK || got != want {
			t.Errorf("answered %d %s, want %s", status, got, want)
		}
	}
	if want := []Result{{Fresh: 7}, {Duplicates: 7}}; fmt.Sprint(seen) != fmt.Sprint(want) {
		t.Errorf("saw %v, want %v", seen, want)
	}
	wantExport(t, s, Range{1, 5}, Range{8, 9})
}

func zipped(t testing.TB, body []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write(body); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// Every refusal has its status, says why, and stores nothing.
func TestRefusals(t *testing.T) {
	s := openStore(t)
	server := serve(t, s, ReceiverConfig{MaxBody: 1 << 20})
	good := encode(t, chunk(run(t, 1, 5)))
	flipped := bytes.Clone(good)
	flipped[len(flipped)/2] ^= 1
	for _, c := range []struct {
		name, media string
		body        []byte
		headers     []string
		status      int
	}{
		{"a flipped bit", ChunkType, flipped, nil, 400},
		{"a chunk cut short", ChunkType, good[:len(good)-3], nil, 400},
		{"bytes after the chunk", ChunkType, append(bytes.Clone(good), 0), nil, 400},
		{"nothing", ChunkType, nil, nil, 400},
		{"a page of a captive portal", ChunkType, []byte("<html>"), nil, 400},
		{"another chunk's key", ChunkType, good, []string{"Tidegate-Key", "g/00000000000000a1/normal/1-6"}, 409},
		{"a key of more", ChunkType, good, []string{"Tidegate-Key", "g/00000000000000a1/normal/1-99"}, 409},
		{"JSON that is none", DocumentType, []byte(`{"gateway":`), nil, 400},
		{"gzip that is none", DocumentType, good, []string{"Content-Encoding", "gzip"}, 400},
		{"an unprintable name", ChunkType, encode(t, wire.Chunk{Gateway: "g\x00", Blocks: []wire.Block{run(t, 1, 5)}}), nil, 403},
		{"a large body", ChunkType, make([]byte, 1<<20+1), nil, 413},
		{"a bomb", DocumentType, zipped(t, make([]byte, 900<<10)), []string{"Content-Encoding", "gzip"}, 413},
		{"a large document, packed", DocumentType, zipped(t, []byte(randomText(1<<20+1))), []string{"Content-Encoding", "gzip"}, 413},
		{"more readings than bytes should hold", DocumentType, []byte(`{"readings":[` + strings.Repeat("{},", maxDocument) + `{}]}`), nil, 413},
		{"text", "text/plain", good, nil, 415},
		{"no type", "", good, nil, 415},
		{"an unknown compression", ChunkType, good, []string{"Content-Encoding", "br"}, 415},
	} {
		t.Run(c.name, func(t *testing.T) {
			status, answer, _ := post(t, server.URL, c.media, c.body, c.headers...)
			var no struct{ Error, Hint string }
			if err := json.Unmarshal([]byte(answer), &no); err != nil || no.Error == "" || no.Hint == "" {
				t.Errorf("answered %s", answer)
			}
			if status != c.status {
				t.Errorf("answered %d %s, want %d", status, answer, c.status)
			}
			wantExport(t, s)
		})
	}
}

// A version that is not known yet is not damage: the gateway must keep it.
func TestNewerVersionIsKeptByTheGateway(t *testing.T) {
	if err := corrupt(fmt.Errorf("chunk: %w", wire.ErrVersion)); !strings.Contains(err.Error(), "update") || err.(*refusal).status != 501 {
		t.Errorf("got %v", err)
	}
}

func TestOnlyPostDelivers(t *testing.T) {
	server := serve(t, openStore(t), ReceiverConfig{})
	res, err := http.Get(server.URL + "/v1/ingest")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != 405 || res.Header.Get("Allow") != "POST" {
		t.Errorf("answered %d, Allow %q", res.StatusCode, res.Header.Get("Allow"))
	}
}

func TestTokensOpenOnlyTheirOwnGateway(t *testing.T) {
	s := openStore(t)
	server := serve(t, s, ReceiverConfig{Tokens: map[string]string{"g": "secret-g", "h": "secret-h"}})
	own := encode(t, chunk(run(t, 1, 5)))
	stranger := encode(t, wire.Chunk{Gateway: "x", Blocks: []wire.Block{run(t, 1, 5)}})
	for _, c := range []struct {
		name, token string
		body        []byte
		status      int
	}{
		{"no token", "", own, 401},
		{"an unknown token", "Bearer secret", own, 401},
		{"another scheme", "Basic secret-g", own, 401},
		{"another gateway's token", "Bearer secret-h", own, 401},
		{"an unknown gateway", "Bearer secret-g", stranger, 401},
		{"the right one", "Bearer secret-g", own, 200},
	} {
		if status, answer, _ := post(t, server.URL, ChunkType, c.body, "Authorization", c.token); status != c.status {
			t.Errorf("%s: answered %d %s, want %d", c.name, status, answer, c.status)
		}
	}
	lanes, err := s.Ledger()
	if err != nil || len(lanes) != 1 || lanes[0].Gateway != "g" {
		t.Errorf("ledger %+v, %v", lanes, err)
	}
}

// Who has no token does not even get to send the body.
func TestTokenIsCheckedBeforeTheBody(t *testing.T) {
	r := NewReceiver(ReceiverConfig{Tokens: map[string]string{"g": "secret"}}, openStore(t), quiet())
	req := httptest.NewRequest(http.MethodPost, "/v1/ingest", untouchable{t})
	w := httptest.NewRecorder()
	r.ServeHTTP(w, req)
	if w.Code != 401 {
		t.Errorf("answered %d", w.Code)
	}
}

type untouchable struct{ t *testing.T }

func (u untouchable) Read([]byte) (int, error) {
	u.t.Error("the body was read")
	return 0, context.Canceled
}

func TestOverloadAsksToComeAgain(t *testing.T) {
	s := openStore(t)
	server := serve(t, s, ReceiverConfig{MaxInFlight: 64 << 10})
	status, answer, header := post(t, server.URL, ChunkType, make([]byte, 64<<10))
	if status != 429 || header.Get("Retry-After") == "" {
		t.Errorf("answered %d %s, Retry-After %q", status, answer, header.Get("Retry-After"))
	}
	for range 10 { // what a request took, it gives back
		if status, answer, _ = post(t, server.URL, ChunkType, encode(t, chunk(run(t, 1, 5)))); status != 200 {
			t.Errorf("answered %d %s", status, answer)
		}
	}
}

// A compressed body is counted as what it may become, and not as the largest there
// is: a gateway with a window of small ones is no overload.
func TestSmallCompressedBodiesAreNoOverload(t *testing.T) {
	s := openStore(t)
	server := serve(t, s, ReceiverConfig{MaxInFlight: 256 << 10})
	body := zipped(t, []byte(`{"gateway":"g","epoch":"00000000000000a1","lane":"normal","first":1,"last":1,"readings":[{"seq":1,"device":"d","metric":"m","time":1,"value":1}]}`))
	if status, answer, _ := post(t, server.URL, DocumentType, body, "Content-Encoding", "gzip"); status != 200 {
		t.Errorf("answered %d %s", status, answer)
	}
}

func TestBrokenStoreIsNotTheGatewaysFault(t *testing.T) {
	s := openStore(t)
	server := serve(t, s, ReceiverConfig{})
	s.Close()
	status, answer, header := post(t, server.URL, ChunkType, encode(t, chunk(run(t, 1, 5))))
	if status != 503 || header.Get("Retry-After") == "" {
		t.Errorf("answered %d %s, Retry-After %q", status, answer, header.Get("Retry-After"))
	}
}

func TestHealthFollowsTheStore(t *testing.T) {
	s := openStore(t)
	server := serve(t, s, ReceiverConfig{})
	for _, want := range []int{200, 503} {
		res, err := http.Get(server.URL + "/healthz")
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("answered %d, want %d", res.StatusCode, want)
		}
		s.mu.Lock()
		s.failed = ErrDamaged
		s.mu.Unlock()
	}
}

// A request that is too large for the moment does not turn away, for an instant, small
// ones for which there is room.
func TestWhatDoesNotFitIsInNobodysWay(t *testing.T) {
	b := budget{limit: 100}
	ctx, cancel := context.WithCancel(t.Context())
	var large sync.WaitGroup
	for range 2 {
		large.Go(func() {
			for ctx.Err() == nil {
				if b.take(101) {
					t.Error("there is no room for that")
				}
			}
		})
	}
	refused := 0
	for range 1_000_000 {
		if !b.take(1) {
			refused++
			continue
		}
		b.give(1)
	}
	cancel()
	large.Wait()
	if used := b.used.Load(); refused > 0 || used != 0 {
		t.Errorf("%d refused, %d bytes left taken", refused, used)
	}
}

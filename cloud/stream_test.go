package cloud

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/tidegate/tidegate/wire"
)

// patience bounds what must happen soon.
const patience = time.Minute

// gatewayStream is a gateway's end of a WebSocket.
type gatewayStream struct {
	t  testing.TB
	ws *websocket.Conn
}

// dialStream opens a WebSocket at the server, and returns the status if there is none.
func dialStream(t testing.TB, url string, header http.Header, mode websocket.CompressionMode) (gatewayStream, int) {
	t.Helper()
	ws, resp, err := websocket.Dial(t.Context(), url+"/v1/ingest", &websocket.DialOptions{
		Subprotocols: []string{StreamProtocol}, HTTPHeader: header, CompressionMode: mode,
	})
	if err != nil {
		if resp == nil {
			t.Fatal(err)
		}
		return gatewayStream{}, resp.StatusCode
	}
	if limit := resp.Header.Get(limitHeader); limit == "" {
		t.Error("the handshake does not say how large a body may be")
	}
	t.Cleanup(func() { ws.CloseNow() })
	return gatewayStream{t, ws}, resp.StatusCode
}

func newStream(t testing.TB, url string) gatewayStream {
	t.Helper()
	g, status := dialStream(t, url, nil, websocket.CompressionDisabled)
	if status != http.StatusSwitchingProtocols {
		t.Fatalf("answered %d", status)
	}
	return g
}

func (g gatewayStream) send(head string, body []byte) {
	g.t.Helper()
	if err := g.ws.Write(g.t.Context(), websocket.MessageBinary, append([]byte(head+"\n"), body...)); err != nil {
		g.t.Fatal(err)
	}
}

// hear returns the next answer.
func (g gatewayStream) hear() string {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(g.t.Context(), patience)
	defer cancel()
	kind, text, err := g.ws.Read(ctx)
	if err != nil || kind != websocket.MessageText {
		g.t.Fatalf("%v %v", kind, err)
	}
	return string(text)
}

// ended returns the code with which the other side closes.
func (g gatewayStream) ended() websocket.StatusCode {
	ctx, cancel := context.WithTimeout(g.t.Context(), patience)
	defer cancel()
	for {
		if _, _, err := g.ws.Read(ctx); err != nil {
			return websocket.CloseStatus(err)
		}
	}
}

const head19 = ChunkType + " g/00000000000000a1/normal/1-9"

func TestStreamAcknowledgesWhatItStored(t *testing.T) {
	s := openStore(t)
	g := newStream(t, serve(t, s, ReceiverConfig{}).URL)
	body := encode(t, chunk(run(t, 1, 5), run(t, 8, 9)))
	g.send(head19, body)
	if got, want := g.hear(), `{"acked":{"epoch":"00000000000000a1","lane":"normal","first":1,"last":9}}`; got != want {
		t.Errorf("answered %s, want %s", got, want)
	}
	g.send(" g/00000000000000a1/normal/1-9", body) // the media type of the message before
	if got, want := g.hear(), `{"acked":{"epoch":"00000000000000a1","lane":"normal","first":1,"last":9},"duplicate":true}`; got != want {
		t.Errorf("answered %s, want %s", got, want)
	}
	wantExport(t, s, Range{1, 5}, Range{8, 9})
}

func TestStreamAnswersOnlyAfterTheCommit(t *testing.T) {
	s := openStore(t)
	g := newStream(t, serve(t, s, ReceiverConfig{}).URL)
	s.committing.Lock() // the sync before takes its time
	g.send(ChunkType+" g/00000000000000a1/normal/1-5", encode(t, chunk(run(t, 1, 5))))
	heard := make(chan string, 1)
	go func() { heard <- g.hear() }()
	waitFor(t, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.open != nil
	})
	select {
	case answer := <-heard:
		t.Errorf("answered %s before anything was written", answer)
	default:
	}
	s.committing.Unlock()
	if answer := <-heard; !strings.Contains(answer, `"acked"`) {
		t.Errorf("answered %s", answer)
	}
}

// Documents may be compressed, and each message has the class of refusal that
// its status has as a request. Nothing of it breaks the connection.
func TestStreamRefusals(t *testing.T) {
	s := openStore(t)
	url := serve(t, s, ReceiverConfig{MaxBody: 1 << 20}).URL
	good := encode(t, chunk(run(t, 1, 9)))
	flipped := bytes.Clone(good)
	flipped[len(flipped)/2] ^= 1
	g, _ := dialStream(t, url, nil, websocket.CompressionNoContextTakeover)
	for _, c := range []struct {
		name, head string
		body       []byte
		class      string
	}{
		{"a flipped bit", head19, flipped, "permanent"},
		{"nothing", head19, nil, "permanent"},
		{"another chunk's key", ChunkType + " g/00000000000000a1/normal/1-8", good, "retry"},
		{"text", "text/plain g/00000000000000a1/normal/1-9", good, "permanent"},
		{"a large body", head19, []byte(randomText(1<<20 + 2<<10)), "too_large"},
		{"a bomb", DocumentType + " g/00000000000000a1/normal/1-9", make([]byte, 1<<20+2<<10), "too_large"},
		{"a document that is none", DocumentType + " g/00000000000000a1/normal/1-9", []byte(`{"gateway":`), "permanent"},
		{"more readings than bytes should hold", DocumentType + " g/00000000000000a1/normal/1-9", []byte(`{"readings":[` + strings.Repeat("{},", maxDocument) + `{}]}`), "too_large"},
	} {
		g.send(c.head, c.body)
		var said struct {
			Refused struct {
				acked
				Class, Reason, Hint string
				Limit               int64
			}
		}
		text := g.hear()
		if err := json.Unmarshal([]byte(text), &said); err != nil || said.Refused.Class != c.class || said.Refused.First != 1 ||
			said.Refused.Epoch != "00000000000000a1" || said.Refused.Reason == "" || said.Refused.Hint == "" || (c.class == "too_large") != (said.Refused.Limit == 1<<20) {
			t.Errorf("%s: answered %s, want %s", c.name, text, c.class)
		}
		wantExport(t, s)
	}
	g.send(head19, good)
	if answer := g.hear(); !strings.Contains(answer, `"acked"`) {
		t.Errorf("answered %s", answer)
	}
}

// What does not even say what it is ends the connection.
func TestStreamViolations(t *testing.T) {
	url := serve(t, openStore(t), ReceiverConfig{}).URL
	for name, message := range map[string]string{
		"no line":          "x",
		"no key":           ChunkType + "\nx",
		"half a key":       ChunkType + " g/00000000000000a1/normal\nx",
		"no number":        ChunkType + " g/00000000000000a1/normal/1-x\nx",
		"an unknown lane":  ChunkType + " g/00000000000000a1/fast/1-2\nx",
		"an endless line":  strings.Repeat("x", 3000) + " g/00000000000000a1/normal/1-2\nx",
		"an epoch in hell": ChunkType + " g/hell/normal/1-2\nx",
	} {
		g := newStream(t, url)
		if err := g.ws.Write(t.Context(), websocket.MessageBinary, []byte(message)); err != nil {
			t.Fatal(err)
		}
		if code := g.ended(); code != websocket.StatusProtocolError {
			t.Errorf("%s: closed with %v", name, code)
		}
	}
	g := newStream(t, url)
	if err := g.ws.Write(t.Context(), websocket.MessageText, []byte(head19+"\nx")); err != nil {
		t.Fatal(err)
	}
	if code := g.ended(); code != websocket.StatusProtocolError {
		t.Errorf("text: closed with %v", code)
	}
}

func TestStreamWantsItsTokenAndItsProtocol(t *testing.T) {
	s := openStore(t)
	url := serve(t, s, ReceiverConfig{Tokens: map[string]string{"g": "secret-g", "h": "secret-h"}}).URL
	for token, want := range map[string]int{"": 401, "Bearer x": 401, "Bearer secret-g": 101} {
		if _, status := dialStream(t, url, http.Header{"Authorization": {token}}, 0); status != want {
			t.Errorf("%q: answered %d, want %d", token, status, want)
		}
	}
	g, _ := dialStream(t, url, http.Header{"Authorization": {"Bearer secret-h"}}, 0)
	g.send(head19, encode(t, chunk(run(t, 1, 9))))
	if answer := g.hear(); !strings.Contains(answer, `"class":"retry","retry_after":60`) || !strings.Contains(answer, "not that of gateway") {
		t.Errorf("another gateway's token: %s", answer)
	}
	wantExport(t, s)
	ws, _, err := websocket.Dial(t.Context(), url+"/v1/ingest", &websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"Bearer secret-g"}}})
	if err != nil {
		t.Fatal(err)
	}
	defer ws.CloseNow()
	if code := (gatewayStream{t, ws}).ended(); code != websocket.StatusProtocolError {
		t.Errorf("without the subprotocol: closed with %v", code)
	}
}

// A page that was lured here by a name of this machine is no gateway.
func TestStreamRefusesPages(t *testing.T) {
	url := serve(t, openStore(t), ReceiverConfig{}).URL
	for _, c := range []struct{ host, origin string }{
		{"evil.example:8440", "http://evil.example:8440"},
		{"", "http://evil.example"},
	} {
		_, resp, err := websocket.Dial(t.Context(), url+"/v1/ingest", &websocket.DialOptions{Host: c.host, HTTPHeader: http.Header{"Origin": {c.origin}}, Subprotocols: []string{StreamProtocol}})
		if err == nil || resp == nil || resp.StatusCode != http.StatusForbidden {
			t.Errorf("%v: %v", c, err)
		}
	}
}

// Memory is taken for what has come, not for what was announced, and given back.
func TestStreamsShareTheMemory(t *testing.T) {
	s := openStore(t)
	url := serve(t, s, ReceiverConfig{MaxInFlight: 64 << 10}).URL
	g := newStream(t, url)
	body := encode(t, chunk(run(t, 1, 9)))
	for range 10 {
		g.send(head19, []byte(randomText(100<<10)))
		if answer := g.hear(); !strings.Contains(answer, `"class":"retry","retry_after":1`) {
			t.Errorf("answered %s", answer)
		}
		g.send(head19, body)
		if answer := g.hear(); !strings.Contains(answer, `"acked"`) {
			t.Errorf("answered %s", answer)
		}
	}
}

// What ends in the middle, or is none, gives its memory back, too.
func TestStreamsGiveBackWhatBrokenMessagesTook(t *testing.T) {
	s := openStore(t)
	r := NewReceiver(ReceiverConfig{MaxInFlight: 1 << 20}, s, quiet())
	server := httptest.NewServer(Routes(r, s))
	t.Cleanup(server.Close)
	t.Cleanup(r.Close)
	for i := range 20 {
		g := newStream(t, server.URL)
		w, err := g.ws.Writer(t.Context(), websocket.MessageBinary)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(randomText(100 << 10))); err != nil {
			t.Fatal(err)
		}
		if i%2 == 0 { // whole, but no delivery
			w.Close()
			if code := g.ended(); code != websocket.StatusProtocolError {
				t.Errorf("closed with %v", code)
			}
		}
		g.ws.CloseNow()
	}
	waitFor(t, func() bool { return r.memory.used.Load() == 0 })
}

func TestStreamsAreBounded(t *testing.T) {
	url := serve(t, openStore(t), ReceiverConfig{MaxStreams: 2}).URL
	first := newStream(t, url)
	newStream(t, url)
	if _, status := dialStream(t, url, nil, 0); status != http.StatusServiceUnavailable {
		t.Errorf("a third one: answered %d", status)
	}
	first.ws.Close(websocket.StatusNormalClosure, "")
	waitFor(t, func() bool {
		_, status := dialStream(t, url, nil, 0)
		return status == http.StatusSwitchingProtocols
	})
}

// Close lets what came have its answer, says goodbye, and leaves nobody behind.
func TestStreamsEndWithAWord(t *testing.T) {
	s := openStore(t)
	r := NewReceiver(ReceiverConfig{}, s, quiet())
	server := httptest.NewServer(Routes(r, s))
	t.Cleanup(server.Close)
	g := newStream(t, server.URL)
	s.committing.Lock()
	g.send(head19, encode(t, chunk(run(t, 1, 9))))
	waitFor(t, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.open != nil
	})
	closed := make(chan struct{})
	go func() {
		r.Close()
		close(closed)
	}()
	waitFor(t, r.streams.stopped)
	s.committing.Unlock()
	if answer := g.hear(); !strings.Contains(answer, `"acked"`) {
		t.Errorf("answered %s", answer)
	}
	if code := g.ended(); code != websocket.StatusGoingAway {
		t.Errorf("closed with %v", code)
	}
	<-closed
	if _, status := dialStream(t, server.URL, nil, 0); status != http.StatusServiceUnavailable {
		t.Errorf("after that: answered %d", status)
	}
}

// A gateway may cut messages at will; each reading counts once over both ways in.
func TestStreamAndPostShareOneStore(t *testing.T) {
	s := openStore(t)
	server := serve(t, s, ReceiverConfig{})
	g := newStream(t, server.URL)
	for i, c := range []wire.Chunk{chunk(run(t, 1, 5)), chunk(run(t, 3, 8)), chunk(run(t, 1, 9))} {
		body := encode(t, c)
		if i%2 == 0 {
			g.send(fmt.Sprintf("%s g/00000000000000a1/normal/%d-%d", ChunkType, c.First(), c.Last()), body)
			g.hear()
		} else if status, answer, _ := post(t, server.URL, ChunkType, body); status != 200 {
			t.Errorf("answered %d %s", status, answer)
		}
	}
	lanes, err := s.Ledger()
	if err != nil || len(lanes) != 1 || lanes[0].Readings != 9 || lanes[0].Duplicates != 11 {
		t.Errorf("%+v, %v", lanes, err)
	}
}

package dashboard

import (
	"bufio"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
)

func TestViewersSeeValuesAndLaterChanges(t *testing.T) {
	g := startGateway(t, Config{Interval: 5 * time.Millisecond})
	g.hub.Publish(batch("boiler", 2, 21))
	page, conn := make(model), g.watch()
	g.follow(conn, page, "boiler/m1", 21)
	g.hub.Publish(batch("boiler", 2, 22))
	g.follow(conn, page, "boiler/m1", 22)
}

func TestReconnectGetsTheRightState(t *testing.T) {
	g := startGateway(t, Config{Interval: 5 * time.Millisecond})
	conn := g.watch()
	g.hub.Publish(batch("boiler", 1, 1))
	g.follow(conn, make(model), "boiler/m0", 1)
	conn.CloseNow()
	g.hub.Publish(batch("boiler", 1, 2))
	g.hub.Publish(batch("pump", 1, 3))
	page := make(model)
	conn = g.watch()
	g.follow(conn, page, "pump/m0", 3)
	if page["boiler/m0"] != 2.0 {
		t.Errorf("boiler shows %v after the reconnect, want 2", page["boiler/m0"])
	}
}

func TestViewerBeyondTheLimitIsRefused(t *testing.T) {
	g := startGateway(t, Config{Interval: time.Millisecond})
	var conns []*websocket.Conn
	for range 32 {
		conns = append(conns, g.watch())
	}
	if _, code := g.dial(nil); code != http.StatusServiceUnavailable {
		t.Fatalf("viewer 33: HTTP %d, want 503", code)
	}
	conns[0].CloseNow()
	deadline := time.Now().Add(time.Minute)
	for {
		conn, code := g.dial(nil)
		if code == http.StatusSwitchingProtocols {
			conn.CloseNow()
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("a viewer left, and the next one still gets HTTP %d", code)
		}
	}
}

func TestForeignHostIsRefused(t *testing.T) {
	hub := NewHub(Config{}, func() Status { return Status{} })
	server := NewServer(hub, []string{"Gateway.local"}, slog.New(slog.DiscardHandler))
	tests := map[string]int{
		"192.168.4.1":         http.StatusOK,
		"192.168.4.1:8080":    http.StatusOK,
		"[fe80::1]:8080":      http.StatusOK,
		"[::1]":               http.StatusOK,
		"localhost:8080":      http.StatusOK,
		"gateway.local":       http.StatusOK,
		"GATEWAY.LOCAL.:8080": http.StatusOK,
		"evil.example":        http.StatusForbidden,
		"evil.example:8080":   http.StatusForbidden,
		"localhost.evil.test": http.StatusForbidden,
		"1.2.3.4.evil.test":   http.StatusForbidden,
		"":                    http.StatusForbidden,
	}
	for host, want := range tests {
		for _, path := range []string{"/", "/live", "/api/v1/status"} {
			r := httptest.NewRequest(http.MethodGet, path, nil)
			r.Host = host
			w := httptest.NewRecorder()
			server.ServeHTTP(w, r)
			if refused := w.Code == http.StatusForbidden; refused != (want == http.StatusForbidden) {
				t.Errorf("Host %q, %s: HTTP %d", host, path, w.Code)
			}
		}
	}
}

func TestCrossOriginViewerIsRefused(t *testing.T) {
	g := startGateway(t, Config{})
	for _, origin := range []string{"https://evil.example", "null", "http://127.0.0.1:1"} {
		_, code := g.dial(http.Header{"Origin": {origin}})
		if code != http.StatusForbidden {
			t.Errorf("Origin %s: HTTP %d, want 403", origin, code)
		}
	}
}

func TestEveryAnswerForbidsForeignAndInlineCode(t *testing.T) {
	g := startGateway(t, Config{})
	for _, path := range []string{"/", "/assets/app.js", "/api/v1/status", "/nowhere"} {
		response := g.get(path, nil)
		csp := response.Header.Get("Content-Security-Policy")
		if !strings.Contains(csp, "default-src 'self'") || strings.Contains(csp, "unsafe") {
			t.Errorf("%s: Content-Security-Policy %q", path, csp)
		}
		if response.Header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s may be read across origins", path)
		}
	}
}

func TestOnlyWhatIsNamedIsServed(t *testing.T) {
	g := startGateway(t, Config{})
	for path, want := range map[string]int{
		"/": 200, "/assets/app.js": 200,
		"/assets/": 404, "/assets": 404, "/assets/..%2fserver.go": 404, "/index.php": 404,
	} {
		if got := g.get(path, nil).StatusCode; got != want {
			t.Errorf("GET %s: HTTP %d, want %d", path, got, want)
		}
	}
	response, err := http.Post(g.url+"/api/v1/status", "application/json", nil)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST: HTTP %d, want 405", response.StatusCode)
	}
}

func TestAssetsAreCompressedAndRevalidated(t *testing.T) {
	g := startGateway(t, Config{})
	response := g.get("/", http.Header{"Accept-Encoding": {"gzip"}})
	zr, err := gzip.NewReader(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	if page, err := io.ReadAll(zr); err != nil || !strings.Contains(string(page), "<!doctype html>") {
		t.Errorf("gzipped page: %v", err)
	}
	again := g.get("/", http.Header{"If-None-Match": {response.Header.Get("ETag")}})
	if again.StatusCode != http.StatusNotModified {
		t.Errorf("unchanged page: HTTP %d, want 304", again.StatusCode)
	}
}

func TestStatusTellsTheTruth(t *testing.T) {
	g := startGateway(t, Config{})
	var status Status
	if err := json.NewDecoder(g.get("/api/v1/status", nil).Body).Decode(&status); err != nil || status.Gateway != "gw-7" {
		t.Errorf("status %+v, %v", status, err)
	}
}

func TestEndOfTheHubSaysGoodbye(t *testing.T) {
	hub := NewHub(Config{Interval: time.Millisecond}, func() Status { return Status{} })
	stop := run(t, hub)
	server := httptest.NewServer(NewServer(hub, nil, slog.New(slog.DiscardHandler)))
	defer server.Close()
	conn, response, err := websocket.Dial(t.Context(), server.URL+"/live", nil)
	if err != nil {
		t.Fatal(response, err)
	}
	defer conn.CloseNow()
	conn.SetReadLimit(-1)
	stop()
	for err == nil {
		_, _, err = conn.Read(t.Context())
	}
	if code := websocket.CloseStatus(err); code != websocket.StatusGoingAway {
		t.Errorf("close code %v (%v), want going away", code, err)
	}
	if _, err := hub.join(0, false); err == nil {
		t.Error("an ended hub admits viewers")
	}
}

func TestStuckViewerIsClosedAndPublishNeverWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := NewHub(Config{}, func() Status { return Status{} })
		defer run(t, hub)()
		pipes := newPipes()
		ctx, cancel := context.WithCancel(t.Context())
		served := make(chan error, 1)
		go func() { served <- NewServer(hub, nil, slog.New(slog.DiscardHandler)).Serve(ctx, pipes) }()

		conn := pipes.dial()
		defer conn.Close()
		shakeHands(t, conn) // and never read again
		begin := time.Now()
		for i := range 40 {
			hub.Publish(batch("device", 4, float64(i)))
			time.Sleep(250 * time.Millisecond)
		}
		if took := time.Since(begin); took != 10*time.Second {
			t.Errorf("publishing took %v of the bubble's clock: Publish waited", took)
		}
		hub.shown.Lock()
		if n := len(hub.viewers); n != 0 {
			t.Errorf("%d viewers after %v without a read, want none", n, writeTimeout)
		}
		hub.shown.Unlock()
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
}

func TestBrokenListenerEndsItsViewers(t *testing.T) {
	hub := NewHub(Config{}, func() Status { return Status{} })
	defer run(t, hub)()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- NewServer(hub, nil, slog.New(slog.DiscardHandler)).Serve(t.Context(), listener) }()
	conn, _, err := websocket.Dial(t.Context(), "http://"+listener.Addr().String()+"/live", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseNow()
	listener.Close()
	select {
	case err := <-served:
		if err == nil {
			t.Error("a listener that broke is no error")
		}
	case <-time.After(time.Minute):
		t.Fatal("Serve waits for a viewer who stays")
	}
}

func TestLargeFramesGetMoreTime(t *testing.T) {
	if small, large := patience(1000), patience(1<<20); small > writeTimeout+time.Second || large < 30*time.Second {
		t.Errorf("1 kB may take %v, 1 MiB %v", small, large)
	}
}

// gateway is a Hub and a Server at a real address.
type gateway struct {
	t   *testing.T
	hub *Hub
	url string
}

func startGateway(t *testing.T, config Config) *gateway {
	t.Helper()
	hub := NewHub(config, func() Status { return Status{Gateway: "gw-7", Buffer: Buffer{State: OK}} })
	stop := run(t, hub)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- NewServer(hub, nil, slog.New(slog.DiscardHandler)).Serve(ctx, listener) }()
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
		stop()
	})
	return &gateway{t: t, hub: hub, url: "http://" + listener.Addr().String()}
}

func (g *gateway) get(path string, header http.Header) *http.Response {
	g.t.Helper()
	request, err := http.NewRequestWithContext(g.t.Context(), http.MethodGet, g.url+path, nil)
	if err != nil {
		g.t.Fatal(err)
	}
	request.Header = header
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { response.Body.Close() })
	return response
}

func (g *gateway) dial(header http.Header) (*websocket.Conn, int) {
	g.t.Helper()
	conn, response, err := websocket.Dial(g.t.Context(), g.url+"/live", &websocket.DialOptions{HTTPHeader: header})
	if response == nil {
		g.t.Fatal(err)
	}
	return conn, response.StatusCode
}

func (g *gateway) watch() *websocket.Conn {
	g.t.Helper()
	conn, code := g.dial(nil)
	if conn == nil {
		g.t.Fatalf("viewer refused: HTTP %d", code)
	}
	conn.SetReadLimit(-1)
	g.t.Cleanup(func() { conn.CloseNow() })
	return conn
}

// follow applies frames to page until the series shows the value.
func (g *gateway) follow(conn *websocket.Conn, page model, series string, value float64) {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(g.t.Context(), time.Minute)
	defer cancel()
	for page[series] != value {
		_, message, err := conn.Read(ctx)
		if err != nil {
			g.t.Fatalf("%s never showed %v: %v", series, value, err)
		}
		page.apply(g.t, parse(g.t, message))
	}
}

// pipes is a listener whose connections have no buffers: a peer that does not
// read blocks the writer at the first byte.
type pipes struct {
	conns   chan net.Conn
	closed  chan struct{}
	dialled []net.Conn
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), closed: make(chan struct{})} }

func (p *pipes) dial() net.Conn {
	client, server := net.Pipe()
	p.conns <- onLoopback{server}
	p.dialled = append(p.dialled, client)
	return client
}

// onLoopback is a connection of this machine with itself.
type onLoopback struct{ net.Conn }

func (onLoopback) LocalAddr() net.Addr  { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80} }
func (onLoopback) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 7} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case conn := <-p.conns:
		return conn, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	select {
	case <-p.closed:
	default:
		close(p.closed)
	}
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

func shakeHands(t *testing.T, conn net.Conn) {
	t.Helper()
	_, err := fmt.Fprint(conn, "GET /live HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || response.StatusCode != http.StatusSwitchingProtocols {
		t.Fatal(response, err)
	}
}

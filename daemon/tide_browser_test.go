package daemon

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// inBrowser runs a script of dashboard/browsertest against the site's page. What
// an operator may do is done on the admin socket.
func (s *site) inBrowser(script string, control http.Handler) {
	s.Helper()
	browse(s.T, script, s.asOperator(), control)
}

// browse runs a script of dashboard/browsertest against a page. With
// TIDEGATE_PICTURES=folder the script leaves screenshots there.
func browse(t *testing.T, script string, page, control http.Handler) {
	t.Helper()
	const install = "apt-get install chromium nodejs npm && npm install --prefix dashboard/browsertest"
	folder := filepath.Join("..", "dashboard", "browsertest")
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("no chromium; ", install)
	}
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("no node; ", install)
	}
	if _, err := os.Stat(filepath.Join(folder, "node_modules", "playwright-core")); err != nil {
		t.Skip("no playwright-core; ", install)
	}
	front, steering := httptest.NewServer(page), httptest.NewServer(control)
	defer front.Close()
	defer steering.Close()
	defer front.CloseClientConnections()
	ctx, cancel := context.WithTimeout(context.Background(), 6*patience)
	defer cancel()
	command := exec.CommandContext(ctx, node, script, front.URL, steering.URL, chromium, os.Getenv("TIDEGATE_PICTURES"))
	command.Dir = folder
	output, err := command.CombinedOutput()
	t.Logf("%s", output)
	if err != nil {
		t.Error(err)
	}
}

// signedIn is what the page is told that an operator looks at.
func signedIn(w http.ResponseWriter, _ *http.Request) {
	io.WriteString(w, `{"signed_in": true, "access": "operate", "setup": "done"}`)
}

// asOperator is the page for one who may do everything: requests of the API go to
// the admin socket.
func (s *site) asOperator() http.Handler {
	socket := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(s.data, "admin.sock"))
	}}
	direct := &http.Transport{}
	s.Cleanup(func() {
		socket.CloseIdleConnections()
		direct.CloseIdleConnections()
	})
	proxy := func(through http.RoundTripper, host string) http.Handler {
		return &httputil.ReverseProxy{Transport: through, Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: host})
			r.Out.Host = r.In.Host // which the Origin names
		}}
	}
	mux := http.NewServeMux()
	mux.Handle("/", proxy(direct, s.dashboard))
	operate := proxy(socket, "tidegate")
	mux.HandleFunc("/api/v1/", func(w http.ResponseWriter, r *http.Request) {
		// An answer that begins before the proxy has seen the end of the body breaks it.
		body, err := io.ReadAll(r.Body)
		if err != nil {
			s.Error(err)
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		operate.ServeHTTP(w, r)
	})
	mux.HandleFunc("GET /api/v1/session", signedIn)
	return mux
}

// A whole gateway with its cloud behind a line that is pulled and plugged, on the
// screen: the tide, the way of one reading, and the quarantine.
func TestTideInABrowser(t *testing.T) {
	s := newSite(t)
	line := s.insertLink("2s")
	p := s.startPeer()
	s.startGateway()
	s.eventually("the page is served", func() bool { return listens(s.dashboard) })
	mux := http.NewServeMux()
	scene := func(name string, play func(r *http.Request)) {
		mux.HandleFunc("POST /"+name, func(_ http.ResponseWriter, r *http.Request) { play(r) })
	}
	scene("publish", func(r *http.Request) {
		n, err := strconv.ParseUint(r.FormValue("n"), 10, 32)
		if err != nil {
			t.Error(err)
		}
		s.publish(r.FormValue("device"), n, nil)
	})
	scene("cut", func(*http.Request) { line.Cut() })
	scene("restore", func(*http.Request) { line.Restore() })
	scene("refuse", func(*http.Request) {
		p.change(func(w http.ResponseWriter, r *http.Request, cloud http.Handler) {
			body, err := io.ReadAll(r.Body)
			if err != nil || holdsDevice(t, body, "poison-") {
				http.Error(w, `{"error": "field type conflict: temp is a text"}`, http.StatusBadRequest)
				return
			}
			r.Body = io.NopCloser(bytes.NewReader(body))
			cloud.ServeHTTP(w, r)
		})
	})
	scene("mend", func(*http.Request) { p.change(nil) })
	s.inBrowser("tide.mjs", mux)
	if rows := s.export("?device=poison-0000"); len(rows) == 0 {
		if rows = s.export("?device=poison-0001"); len(rows) == 0 {
			t.Error("what was sent again did not arrive")
		}
	}
	if text := s.quarantine(exitOK, "ls"); !strings.Contains(text, "nothing is set aside") {
		t.Errorf("quarantine at the end:\n%s", text)
	}
}

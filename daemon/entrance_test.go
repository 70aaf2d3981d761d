package daemon

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tidegate/tidegate/dashboard"
	"github.com/tidegate/tidegate/internal/login"
)

// newDaemon is a gateway that is built and does not run.
func newDaemon(t *testing.T, more string) *Daemon {
	t.Helper()
	cfg, err := Parse("test", []byte(`
[gateway]
id = "north-7"
data_dir = "`+t.TempDir()+`"
admin_socket = "`+filepath.Join(t.TempDir(), "s")+`"
[buffer]
max_bytes = "32MiB"
[ingest.mqtt]
listen = "127.0.0.1:0"
websocket = true
[dashboard]
listen = "127.0.0.1:0"
`+more))
	if err != nil {
		t.Fatal(err)
	}
	d, err := New(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if err := d.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	return d
}

// openToAll are the requests that anybody may make who reaches the page. One more
// is one more thing that a stranger can do: think before you add it.
var openToAll = []string{
	"GET /healthz", "GET /readyz", "POST /api/v1/login", "POST /api/v1/logout", "POST /api/v1/setup",
}

// Every request of the gateway says who may make it, and that holds: for a
// stranger, for who may look, and for the operator.
func TestEveryRouteIsForWhomItSays(t *testing.T) {
	d := newDaemon(t, "")
	page, machine := d.newPage(d.routes()), login.From{Local: true}
	if err := d.entrance.SetPassword(t.Context(), "correct horse battery"); err != nil {
		t.Fatal(err)
	}
	token, err := d.entrance.AddToken(machine, "looks", login.Look)
	if err != nil {
		t.Fatal(err)
	}
	ask := func(route dashboard.Route, token string) int {
		method, path, _ := strings.Cut(route.Pattern, " ")
		r := httptest.NewRequest(method, "http://192.168.4.1:8080"+strings.NewReplacer("{", "", "}", "").Replace(path), nil)
		r.RemoteAddr = "192.168.4.20:4711"
		r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, net.Addr(&net.TCPAddr{IP: net.IPv4(192, 168, 4, 1)})))
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		w := httptest.NewRecorder()
		page.ServeHTTP(w, r)
		return w.Code
	}
	var open []string
	for _, route := range append(d.routes(), dashboard.StatusRoute(d.status), dashboard.Route{Pattern: "GET /live", Access: dashboard.Look}) {
		switch route.Access {
		case dashboard.Open:
			open = append(open, route.Pattern)
		case dashboard.Operate:
			if code := ask(route, token); code != http.StatusForbidden {
				t.Errorf("%s: HTTP %d for who may look", route.Pattern, code)
			}
			fallthrough
		case dashboard.Look:
			if code := ask(route, ""); code != http.StatusUnauthorized {
				t.Errorf("%s: HTTP %d for a stranger", route.Pattern, code)
			}
		}
	}
	if slices.Sort(open); !slices.Equal(open, openToAll) {
		t.Errorf("anybody may ask %q", open)
	}
	for _, route := range d.entrance.machineRoutes() {
		if code := ask(route, ""); code != http.StatusNotFound {
			t.Errorf("%s: HTTP %d on the page", route.Pattern, code)
		}
	}
}

// Whatever is let through has the access that its route says: with handlers that
// do nothing, because the real ones purge, reset and send.
func TestWhoMayIsLetThrough(t *testing.T) {
	d := newDaemon(t, "")
	page := dashboard.NewServer(d.hub, nil, d.log)
	page.Admit(d.entrance.Gate, d.gateway)
	machine, seen := login.From{Local: true}, 0
	operates, err := d.entrance.AddToken(machine, "operates", login.Operate)
	if err != nil {
		t.Fatal(err)
	}
	for _, route := range d.routes() {
		route.Handler = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			seen++
			if c := dashboard.CallerOf(r); c.Access < route.Access {
				t.Errorf("%s: %+v", route.Pattern, c)
			}
		})
		page.Handle(route)
		method, path, _ := strings.Cut(route.Pattern, " ")
		r := httptest.NewRequest(method, "http://192.168.4.1"+strings.NewReplacer("{", "", "}", "").Replace(path), nil)
		r.Header.Set("Authorization", "Bearer "+operates)
		page.ServeHTTP(httptest.NewRecorder(), r)
	}
	if seen != len(d.routes()) || seen < 10 {
		t.Errorf("%d of %d requests were let through", seen, len(d.routes()))
	}
}

// What only so many may do at once, those at the page and those at the admin socket may
// together.
func TestBoundsHoldForThePageAndTheCommandsTogether(t *testing.T) {
	d := newDaemon(t, "")
	ctx, cancel := context.WithCancel(t.Context())
	shown := d.runPages(ctx)
	defer shown.Wait()
	defer cancel()
	for range 8 {
		log, err := openAdmin(t.Context(), d.current().cfg.Gateway.SocketPath(), http.MethodGet, "/api/v1/log", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer log.Close()
	}
	token, err := d.entrance.AddToken(login.From{Local: true}, "operates", login.Operate)
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+d.page.Addr().String()+"/api/v1/log?follow=false", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("the ninth is answered with HTTP %d", answer.StatusCode)
	}
}

func TestStatusTellsWhoGetsIn(t *testing.T) {
	d := newDaemon(t, "tls_generate = true\n")
	if s := d.status().Access; s == nil || s.SetUp || !s.TLS || s.Events["signed_in"] != 0 || len(s.Events) < 10 {
		t.Errorf("%+v", s)
	}
	addresses := strings.Join(d.addresses(), "\n")
	for _, part := range []string{"dashboard  https://127.0.0.1:", "  set-up code ", d.entrance.PrintedCode(), "  certificate SHA-256 " + d.entrance.fingerprint()} {
		if !strings.Contains(addresses, part) {
			t.Errorf("%q is not in\n%s", part, addresses)
		}
	}
	if err := d.entrance.SetPassword(t.Context(), "correct horse battery"); err != nil {
		t.Fatal(err)
	}
	if s := d.status().Access; !s.SetUp || s.Events["password_changed"] != 1 {
		t.Errorf("%+v", s)
	}
	if strings.Contains(strings.Join(d.addresses(), "\n"), "set-up") {
		t.Error("the code is told after its use")
	}
}

func TestPageIsToBeFoundByOthers(t *testing.T) {
	for listen, want := range map[string]string{
		"127.0.0.1:8080": "http://127.0.0.1:8080/", "gateway.lan:80": "http://gateway.lan:80/", "[fe80::1]:80": "http://[fe80::1]:80/",
	} {
		if got := pageURL(listen, false); got != want {
			t.Errorf("%s: %s", listen, got)
		}
	}
	for _, listen := range []string{":8443", "0.0.0.0:8443", "[::]:8443"} {
		if got := pageURL(listen, true); !strings.HasPrefix(got, "https://") || !strings.HasSuffix(got, ":8443/") || strings.Contains(got, "//:") || strings.Contains(got, "0.0.0.0") || strings.Contains(got, "[::]") {
			t.Errorf("%s: %s", listen, got)
		}
	}
}

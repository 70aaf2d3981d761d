package dashboard

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/tidegate/tidegate/internal/login"
)

const password = "correct horse battery"

// porch is a server whose gate has an operator.
type porch struct {
	*Server
	t    *testing.T
	gate *login.Gate
	log  *bytes.Buffer
	// What is shown to it.
	session, look, operate string
}

func newPorch(t *testing.T) *porch {
	p := &porch{t: t, log: &bytes.Buffer{}}
	log := slog.New(slog.NewTextHandler(p.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	p.gate = login.Open(login.Config{
		Dir: t.TempDir(), Gateway: "gw-7", Hash: func(p []byte) string { return "hash of " + string(p) },
		Parse: func(h string) (func([]byte) bool, error) {
			return func(p []byte) bool { return "hash of "+string(p) == h }, nil
		},
	}, log)
	p.Server = NewServer(NewHub(Config{}, func() Status { return Status{Buffer: Buffer{State: OK}} }), []string{"gateway.lan"}, log)
	p.Admit(p.gate, "gw-7")
	stub := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "%+v", CallerOf(r).From) })
	p.Handle(Route{"/open", Open, stub}, Route{"/look", Look, stub}, Route{"/operate", Operate, stub})
	return p
}

func (p *porch) setUp() *porch {
	p.t.Helper()
	here := login.From{Local: true}
	var errs [3]error
	p.session, errs[0] = p.gate.SetUp(p.t.Context(), here, p.gate.PrintedCode(), password)
	p.look, errs[1] = p.gate.AddToken(here, "look", login.Look)
	p.operate, errs[2] = p.gate.AddToken(here, "operate", login.Operate)
	if err := errors.Join(errs[:]...); err != nil {
		p.t.Fatal(err)
	}
	return p
}

// request is one as it arrives: from a phone unless change says otherwise.
func request(method, path string, change func(*http.Request)) *http.Request {
	r := httptest.NewRequest(method, "http://192.168.4.1:8080"+path, nil)
	end(r, "192.168.4.20", "192.168.4.1")
	if change != nil {
		change(r)
	}
	return r
}

// end sets the two ends of the connection.
func end(r *http.Request, remote, local string) {
	r.RemoteAddr = netip.AddrPortFrom(netip.MustParseAddr(remote), 4711).String()
	at := &net.TCPAddr{IP: net.ParseIP(local), Port: 8080}
	*r = *r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, net.Addr(at)))
}

func loopback(r *http.Request) { end(r, "127.0.0.1", "127.0.0.1") }

func (p *porch) answer(r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	p.ServeHTTP(w, r)
	return w
}

func header(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

func all(changes ...func(*http.Request)) func(*http.Request) {
	return func(r *http.Request) {
		for _, change := range changes {
			change(r)
		}
	}
}

// visit is who asks, and what is answered.
type visit struct {
	who           func(*http.Request)
	look, operate int
}

func (p *porch) visits() map[string]visit {
	cookie := func(value string) func(*http.Request) {
		return func(r *http.Request) { r.AddCookie(&http.Cookie{Name: "tidegate-gw-7", Value: value}) }
	}
	bearer := func(token string) func(*http.Request) { return header("Authorization", "Bearer "+token) }
	v6 := func(r *http.Request) { end(r, "::1", "::1") }
	old := func(r *http.Request) { r.Proto, r.ProtoMajor, r.ProtoMinor = "HTTP/1.0", 1, 0 }
	secure := func(r *http.Request) { r.TLS = &tls.ConnectionState{} }
	return map[string]visit{
		"a phone":                             {nil, 401, 401},
		"this machine":                        {loopback, 200, 401},
		"this machine, IPv6":                  {v6, 200, 401},
		"this machine, IPv4 in IPv6":          {func(r *http.Request) { end(r, "::ffff:127.0.0.1", "::ffff:127.0.0.1") }, 200, 401},
		"this machine at its other address":   {func(r *http.Request) { end(r, "192.168.4.1", "192.168.4.1") }, 401, 401},
		"a phone that says it is local":       {header("X-Forwarded-For", "127.0.0.1"), 401, 401},
		"a proxy, Forwarded":                  {all(loopback, header("Forwarded", "for=192.0.2.1")), 401, 401},
		"a proxy, X-Forwarded-For":            {all(loopback, header("X-Forwarded-For", "192.0.2.1")), 401, 401},
		"a proxy, X-Real-IP":                  {all(loopback, header("X-Real-IP", "192.0.2.1")), 401, 401},
		"a proxy, Via":                        {all(loopback, header("Via", "1.1 box")), 401, 401},
		"a proxy that says nothing":           {all(loopback, old), 401, 401},
		"the operator":                        {cookie(p.session), 200, 200},
		"the operator behind a proxy":         {all(loopback, header("Via", "1.1 box"), cookie(p.session)), 200, 200},
		"the operator here":                   {all(loopback, cookie(p.session)), 200, 200},
		"another session":                     {cookie(p.session + "x"), 401, 401},
		"an empty session":                    {cookie(""), 401, 401},
		"an old session here":                 {all(loopback, cookie("old")), 200, 401},
		"the cookie of plain HTTP over TLS":   {all(secure, cookie(p.session)), 401, 401},
		"a token that looks":                  {bearer(p.look), 200, 403},
		"a token that operates":               {bearer(p.operate), 200, 200},
		"a token, small letters":              {header("Authorization", "bearer "+p.operate), 200, 200},
		"a wrong token":                       {bearer("tg_wrong"), 401, 401},
		"a wrong token here":                  {all(loopback, bearer("tg_wrong")), 401, 401},
		"a session as a token":                {bearer(p.session), 401, 401},
		"a token as a session":                {cookie(p.operate), 401, 401},
		"a password":                          {func(r *http.Request) { r.SetBasicAuth("operator", password) }, 401, 401},
		"the operator with a look token":      {all(cookie(p.session), bearer(p.look)), 200, 403},
		"a page from elsewhere, here":         {all(loopback, header("Origin", "https://evil.example")), 403, 403},
		"a page from elsewhere, signed in":    {all(cookie(p.session), header("Origin", "https://evil.example")), 403, 403},
		"a page of another port, signed in":   {all(cookie(p.session), header("Origin", "http://192.168.4.1")), 403, 403},
		"a page without origin, signed in":    {all(cookie(p.session), header("Origin", "null")), 403, 403},
		"the page itself":                     {all(cookie(p.session), header("Origin", "http://192.168.4.1:8080")), 200, 200},
		"a name that was made to point here":  {all(loopback, func(r *http.Request) { r.Host = "evil.example:8080" }), 403, 403},
		"the operator under a foreign name":   {all(cookie(p.session), func(r *http.Request) { r.Host = "evil.example" }), 403, 403},
		"the operator under its own name":     {all(cookie(p.session), func(r *http.Request) { r.Host = "gateway.lan" }), 200, 200},
		"a token without Origin, as curl has": {all(bearer(p.operate), func(r *http.Request) { r.Header.Del("Origin") }), 200, 200},
	}
}

func TestEveryoneGetsWhatHeMayHaveAndNoMore(t *testing.T) {
	p := newPorch(t).setUp()
	for name, c := range p.visits() {
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodDelete} {
			for path, want := range map[string]int{"/look": c.look, "/operate": c.operate} {
				w := p.answer(request(method, path, c.who))
				if w.Code != want {
					t.Errorf("%s, %s %s: HTTP %d, want %d", name, method, path, w.Code, want)
				}
				if w.Code == 401 && (!strings.HasPrefix(w.Body.String(), `{"error":`) || w.Header().Get("WWW-Authenticate") == "") {
					t.Errorf("%s: %s", name, w.Body)
				}
			}
		}
		if w := p.answer(request(http.MethodGet, "/open", c.who)); w.Code != 200 && !strings.Contains(name, "name") {
			t.Errorf("%s: an open path has HTTP %d", name, w.Code)
		}
	}
	for _, secret := range []string{p.session, p.look, p.operate} {
		if strings.Contains(p.log.String(), secret) {
			t.Error("the log tells a secret")
		}
	}
}

// What a page elsewhere makes a browser send changes nothing, whatever cookies the
// browser adds.
func TestForeignPagesChangeNothing(t *testing.T) {
	p := newPorch(t).setUp()
	for _, each := range []struct {
		name   string
		change func(*http.Request)
	}{
		{"origin", header("Origin", "https://evil.example")}, // the first ones are logged
		{"null", header("Origin", "null")},
		{"cross", header("Sec-Fetch-Site", "cross-site")},
		{"same-site", header("Sec-Fetch-Site", "same-site")},
	} {
		name, change := each.name, each.change
		for _, path := range []string{"/open", "/look", "/operate", "/nowhere"} {
			if w := p.answer(request(http.MethodPost, path, change)); w.Code != 403 {
				t.Errorf("%s, %s: HTTP %d", name, path, w.Code)
			}
		}
	}
	events := p.gate.Stats().Events
	if events[login.ForeignOrigin] != 16 || !strings.Contains(p.log.String(), "event=foreign_origin from=192.168.4.20 origin=https://evil.example") {
		t.Errorf("%v\n%s", events, p.log)
	}
	p.answer(request(http.MethodGet, "/look", func(r *http.Request) { r.Host = "evil.example\nlevel=ERROR" }))
	if !strings.Contains(p.log.String(), `host="evil.example\nlevel=ERROR"`) {
		t.Error(p.log)
	}
}

// A picture, a script or a link of another page is asked for without an Origin.
func TestForeignPagesTakeNobodysPlace(t *testing.T) {
	p := newPorch(t).setUp()
	for site, want := range map[string][3]int{"cross-site": {200, 403, 403}, "same-site": {200, 403, 403}, "same-origin": {200, 200, 200}, "none": {200, 200, 200}} {
		for i, path := range []string{"/open", "/look", "/operate"} {
			from := all(loopback, header("Sec-Fetch-Site", site), header("Authorization", "Bearer "+p.operate))
			if w := p.answer(request(http.MethodGet, path, from)); w.Code != want[i] {
				t.Errorf("%s, %s: HTTP %d, want %d", site, path, w.Code, want[i])
			}
		}
	}
	if w := p.answer(request(http.MethodGet, "/events", all(loopback, header("Sec-Fetch-Site", "cross-site")))); w.Code != 403 {
		t.Errorf("a picture takes a viewer's place: HTTP %d", w.Code)
	}
}

func TestBeforeSetUpOnlyThisMachineLooks(t *testing.T) {
	p := newPorch(t)
	for path, want := range map[string][2]int{"/open": {200, 200}, "/": {200, 200}, "/look": {401, 200}, "/operate": {401, 401}, "/live": {401, 426}} {
		if w := p.answer(request(http.MethodGet, path, nil)); w.Code != want[0] {
			t.Errorf("%s from elsewhere: HTTP %d, want %d", path, w.Code, want[0])
		}
		if w := p.answer(request(http.MethodGet, path, loopback)); w.Code != want[1] {
			t.Errorf("%s from here: HTTP %d, want %d", path, w.Code, want[1])
		}
	}
}

func TestWithoutAGateNobodyOperates(t *testing.T) {
	s := NewServer(NewHub(Config{}, func() Status { return Status{} }), nil, slog.New(slog.DiscardHandler))
	s.Handle(Route{"/operate", Operate, http.NotFoundHandler()})
	for path, want := range map[string]int{"/operate": 401, "/api/v1/status": 200} {
		w := httptest.NewRecorder()
		s.ServeHTTP(w, request(http.MethodGet, path, loopback))
		if w.Code != want {
			t.Errorf("%s: HTTP %d", path, w.Code)
		}
	}
	s.Handle(Route{"/machine", Operate, FromMachine(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if c := CallerOf(r); c.Access != Operate || !c.Machine {
			t.Error("the machine itself may not operate")
		}
	}))})
	if c := CallerOf(httptest.NewRequest(http.MethodGet, "/", nil)); c.Access != Open || c.From.Local {
		t.Errorf("who has passed no guard is %+v", c)
	}
}

func TestEndOfASessionEndsItsWebSocketAndItsStreams(t *testing.T) {
	p := newPorch(t).setUp()
	defer run(t, p.hub)()
	streaming, ended := make(chan bool), make(chan error, 1)
	p.Handle(Route{"GET /stream", Look, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(streaming)
		<-r.Context().Done()
		ended <- context.Cause(r.Context())
	})})
	server := httptest.NewServer(p)
	defer server.Close()
	dial := func(h http.Header) *websocket.Conn {
		conn, _, err := websocket.Dial(t.Context(), server.URL+"/live", &websocket.DialOptions{HTTPHeader: h})
		if err != nil {
			t.Fatal(err)
		}
		conn.SetReadLimit(-1)
		return conn
	}
	closed := func(conn *websocket.Conn) websocket.StatusCode {
		for {
			if _, _, err := conn.Read(t.Context()); err != nil {
				return websocket.CloseStatus(err)
			}
		}
	}
	cookie := http.Header{"Cookie": {"tidegate-gw-7=" + p.session}}
	mine, tokens := dial(cookie), dial(http.Header{"Authorization": {"Bearer " + p.look}})
	r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/stream", nil)
	r.Header = cookie
	go func() {
		if resp, err := http.DefaultClient.Do(r); err == nil {
			resp.Body.Close()
		}
	}()
	<-streaming
	p.gate.SignOut(login.From{}, p.session)
	if code := closed(mine); code != signedOut {
		t.Errorf("close code %v", code)
	}
	if err := <-ended; !errors.Is(err, errSignedOut) {
		t.Errorf("the stream ended with %v", err)
	}
	if _, _, err := tokens.Read(t.Context()); err != nil {
		t.Errorf("somebody else's ended, too: %v", err)
	}
	if err := p.gate.RevokeToken(login.From{}, "look"); err != nil {
		t.Fatal(err)
	}
	if code := closed(tokens); code != signedOut {
		t.Errorf("close code %v", code)
	}
}

package api

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidegate/tidegate/dashboard"
	"github.com/tidegate/tidegate/internal/login"
)

const password = "correct horse battery"

// hall is a gateway that somebody enters by HTTP.
type hall struct {
	t       *testing.T
	gate    *login.Gate
	page    *dashboard.Server
	machine http.Handler
}

func newHall(t *testing.T) *hall {
	h := &hall{t: t}
	log := slog.New(slog.DiscardHandler)
	h.gate = login.Open(login.Config{
		Dir: t.TempDir(), Gateway: "gw-7", Hash: func(p []byte) string { return "hash of " + string(p) },
		Parse: func(s string) (func([]byte) bool, error) {
			return func(p []byte) bool { return "hash of "+string(p) == s }, nil
		},
	}, log)
	none := func() string { return "" }
	h.page = dashboard.NewServer(dashboard.NewHub(dashboard.Config{}, func() dashboard.Status { return dashboard.Status{} }), nil, log)
	h.page.Admit(h.gate, "gw-7")
	h.page.Handle(Login(h.gate)...)
	mux := http.NewServeMux()
	for _, route := range append(Login(h.gate), Machine(h.gate, none)...) {
		mux.Handle(route.Pattern, dashboard.FromMachine(route.Handler))
	}
	h.machine = mux
	return h
}

// visitor is a browser, or a program, somewhere.
type visitor struct {
	*hall
	address string
	cookie  string
	token   string
}

func (h *hall) phone() *visitor { return &visitor{hall: h, address: "192.168.4.20"} }

// ask sends a request and keeps the cookie as a browser does.
func (v *visitor) ask(method, path, body string) *httptest.ResponseRecorder {
	v.t.Helper()
	r := httptest.NewRequest(method, "http://192.168.4.1:8080/api/v1/"+path, strings.NewReader(body))
	r.RemoteAddr = net.JoinHostPort(v.address, "4711")
	r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, net.Addr(&net.TCPAddr{IP: net.IPv4(192, 168, 4, 1), Port: 8080})))
	if v.cookie != "" {
		r.Header.Set("Cookie", v.cookie)
	}
	if v.token != "" {
		r.Header.Set("Authorization", "Bearer "+v.token)
	}
	w := httptest.NewRecorder()
	v.page.ServeHTTP(w, r)
	for _, c := range w.Result().Cookies() {
		v.cookie = c.Name + "=" + c.Value
		if c.MaxAge < 0 {
			v.cookie = ""
		}
	}
	return w
}

// want asks and looks at the status.
func (v *visitor) want(status int, method, path, body string) *httptest.ResponseRecorder {
	v.t.Helper()
	w := v.ask(method, path, body)
	if w.Code != status {
		v.t.Errorf("%s %s %s: HTTP %d, want %d: %s", method, path, body, w.Code, status, w.Body)
	}
	return w
}

func (v *visitor) session() (s dashboard.Session) {
	v.t.Helper()
	if err := json.Unmarshal(v.want(200, "GET", "session", "").Body.Bytes(), &s); err != nil {
		v.t.Fatal(err)
	}
	return s
}

func (h *hall) local(method, path, body string) (status int, answer string) {
	w := httptest.NewRecorder()
	h.machine.ServeHTTP(w, httptest.NewRequest(method, "/api/v1/"+path, strings.NewReader(body)))
	return w.Code, w.Body.String()
}

func TestFromTheCodeToTheFirstTokenAndOut(t *testing.T) {
	h := newHall(t)
	v := h.phone()
	if s := v.session(); s.SignedIn || s.Setup != "needed" || s.Why != "" || s.TLS {
		t.Errorf("%+v", s)
	}
	v.want(401, "GET", "tokens", "")
	v.want(409, "POST", "login", `{"password":"`+password+`"}`)
	v.want(403, "POST", "setup", `{"code":"wrong","password":"`+password+`"}`)
	v.want(400, "POST", "setup", `{"code":"`+h.gate.PrintedCode()+`","password":"short"}`)
	v.want(400, "POST", "setup", `{"code":`)
	v.want(400, "POST", "setup", `{"code":"`+strings.Repeat("x", maxSecrets)+`"}`)
	far := &visitor{hall: h, address: "203.0.113.9"}
	if s := far.session(); !strings.Contains(s.Why, "beside the gateway") {
		t.Errorf("%+v", s)
	}
	far.want(403, "POST", "setup", `{"code":"`+h.gate.PrintedCode()+`","password":"`+password+`"}`)

	w := v.want(200, "POST", "setup", `{"code":"`+h.gate.PrintedCode()+`","password":"`+password+`"}`)
	if got := w.Header().Get("Set-Cookie"); !strings.HasPrefix(got, "tidegate-gw-7=") || !strings.HasSuffix(got, "; Path=/; HttpOnly; SameSite=Strict") {
		t.Errorf("cookie %q", got)
	}
	if s := v.session(); !s.SignedIn || s.Access != login.Operate || s.Setup != "done" {
		t.Errorf("%+v", s)
	}
	v.want(409, "POST", "setup", `{"code":"","password":"`+password+`"}`)

	var made AddToken
	if err := json.Unmarshal(v.want(200, "POST", "tokens", `{"name":"grafana","access":"look"}`).Body.Bytes(), &made); err != nil {
		t.Fatal(err)
	}
	v.want(409, "POST", "tokens", `{"name":"grafana","access":"look"}`)
	v.want(400, "POST", "tokens", `{"name":"a b","access":"look"}`)
	v.want(400, "POST", "tokens", `{"name":"a","access":"none"}`)
	v.want(400, "POST", "tokens", `{"name":"a","access":"root"}`)
	program := &visitor{hall: h, address: "192.168.4.30", token: made.Token}
	if s := program.session(); !s.SignedIn || s.Access != login.Look {
		t.Errorf("%+v", s)
	}
	program.want(403, "GET", "tokens", "")
	if body := v.want(200, "GET", "tokens", "").Body.String(); !strings.Contains(body, `"name":"grafana","access":"look"`) || strings.Contains(body, made.Token) {
		t.Error(body)
	}
	v.want(200, "DELETE", "tokens/grafana", "")
	v.want(404, "DELETE", "tokens/grafana", "")
	program.want(401, "GET", "tokens", "")

	stolen := &visitor{hall: h, address: v.address, cookie: v.cookie}
	v.want(200, "POST", "logout", "")
	if v.cookie != "" {
		t.Error("the cookie stays")
	}
	stolen.want(401, "GET", "tokens", "")
	v.want(200, "POST", "logout", "")
}

// Whoever could put a session into a browser before must not be in it afterwards.
func TestSignInMakesAnotherSession(t *testing.T) {
	h := newHall(t)
	if status, answer := h.local("POST", "operator/password", `{"password":"`+password+`"}`); status != 200 {
		t.Fatal(answer)
	}
	attacker := h.phone()
	attacker.want(200, "POST", "login", `{"password":"`+password+`"}`)
	planted := attacker.cookie
	for _, cookie := range []string{planted, "tidegate-gw-7=made-up"} {
		v := h.phone()
		v.cookie = cookie
		v.want(200, "POST", "login", `{"password":"`+password+`"}`)
		if v.cookie == cookie {
			t.Error("the session that was there before goes on")
		}
		v.want(200, "GET", "tokens", "")
	}
	attacker.cookie = planted
	attacker.want(401, "GET", "tokens", "")
}

func TestChangedPasswordKeepsOneIn(t *testing.T) {
	h := newHall(t)
	h.local("POST", "operator/password", `{"password":"`+password+`"}`)
	mine, other := h.phone(), h.phone()
	for _, v := range []*visitor{mine, other} {
		v.want(200, "POST", "login", `{"password":"`+password+`"}`)
	}
	mine.want(403, "POST", "password", `{"old":"not that","password":"another horse battery"}`)
	mine.want(400, "POST", "password", `{"old":"`+password+`","password":"gw-7"}`)
	mine.want(200, "POST", "password", `{"old":"`+password+`","password":"another horse battery"}`)
	mine.want(200, "GET", "tokens", "")
	other.want(401, "GET", "tokens", "")
	other.want(403, "POST", "login", `{"password":"`+password+`"}`)
	h.phone().want(401, "POST", "password", `{"old":"another horse battery","password":"third horse battery"}`)
}

// A token that was stolen makes no other, and no operator.
func TestATokenDoesNotLiveOn(t *testing.T) {
	h := newHall(t)
	h.local("POST", "operator/password", `{"password":"`+password+`"}`)
	secret, err := h.gate.AddToken(login.From{Local: true}, "scada", login.Operate)
	if err != nil {
		t.Fatal(err)
	}
	program := &visitor{hall: h, address: "192.168.4.30", token: secret}
	program.want(403, "GET", "tokens", "")
	program.want(403, "POST", "tokens", `{"name":"second","access":"operate"}`)
	program.want(403, "DELETE", "tokens/scada", "")
	program.want(403, "POST", "password", `{"old":"`+password+`","password":"another horse battery"}`)
	for _, path := range []string{"setup-code", "operator/reset", "operator/password"} {
		program.want(404, "POST", path, "{}") // on the machine itself only
	}
}

func TestMachineMakesAnOperatorAndForgetsHim(t *testing.T) {
	h := newHall(t)
	status, answer := h.local("POST", "setup-code", "")
	if status != 200 || !strings.Contains(answer, h.gate.PrintedCode()) || !strings.Contains(answer, `"seconds":1800`) {
		t.Errorf("%d %s", status, answer)
	}
	if status, answer = h.local("POST", "operator/password", `{"password":"short"}`); status != 400 {
		t.Errorf("%d %s", status, answer)
	}
	h.local("POST", "operator/password", `{"password":"`+password+`"}`)
	if status, answer = h.local("POST", "setup-code", ""); status != 409 {
		t.Errorf("%d %s", status, answer)
	}
	v := h.phone()
	v.want(200, "POST", "login", `{"password":"`+password+`"}`)
	if status, answer = h.local("POST", "operator/reset", ""); status != 200 || !strings.Contains(answer, h.gate.PrintedCode()) {
		t.Errorf("%d %s", status, answer)
	}
	v.want(401, "GET", "tokens", "")
	v.want(200, "POST", "setup", `{"code":"`+h.gate.PrintedCode()+`","password":"`+password+`"}`)
}

func TestWrongPasswordsAreToldHowLongToWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHall(t)
		h.local("POST", "operator/password", `{"password":"`+password+`"}`)
		v := h.phone()
		for range 5 {
			v.want(403, "POST", "login", `{"password":"wrong"}`)
		}
		w := v.want(429, "POST", "login", `{"password":"`+password+`"}`)
		if w.Header().Get("Retry-After") != "1" || v.session().Wait != 1 {
			t.Errorf("Retry-After %q, session %+v", w.Header().Get("Retry-After"), v.session())
		}
		time.Sleep(time.Second)
		v.want(200, "POST", "login", `{"password":"`+password+`"}`)
	})
}

func TestManySignInsAtOnce(t *testing.T) {
	h := newHall(t)
	h.local("POST", "operator/password", `{"password":"`+password+`"}`)
	var all sync.WaitGroup
	for i := range 4 { // as many as are free: each counts as wrong until it is right
		all.Go(func() {
			v := h.phone()
			for range 25 {
				if i%2 == 0 {
					v.want(200, "POST", "login", `{"password":"`+password+`"}`)
				} else {
					v.want(200, "GET", "session", "")
					v.want(200, "POST", "logout", "")
				}
			}
		})
	}
	all.Wait()
	if n := h.gate.Stats().Sessions; n < 1 || n > 2 {
		t.Errorf("%d sessions of two browsers", n)
	}
}

func TestEverySecretIsReadWithABound(t *testing.T) {
	h := newHall(t)
	for _, route := range append(Login(h.gate), Machine(h.gate, func() string { return "" })...) {
		method, path, _ := strings.Cut(route.Pattern, " ")
		if method != http.MethodPost {
			continue
		}
		body := &io.LimitedReader{R: endless{}, N: 1 << 30}
		r := httptest.NewRequest(method, path, body)
		w := httptest.NewRecorder()
		dashboard.FromMachine(route.Handler).ServeHTTP(w, r)
		if read := 1<<30 - body.N; read > 64<<10 {
			t.Errorf("%s reads %d bytes", path, read)
		}
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = '['
	}
	return len(p), nil
}

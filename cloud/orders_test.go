package cloud

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func openOrders(t *testing.T) *orders {
	t.Helper()
	s, err := Open(StoreConfig{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return newOrders(s)
}

func order(id int) []byte { return fmt.Appendf(nil, `{ "id": "%d", "topic": "t" }`, id) }

func TestOrdersWaitForAnswers(t *testing.T) {
	o, now := openOrders(t), time.Now()
	for i := range 3 {
		if id, again, err := o.enqueue("g", order(i), now); err != nil || again || id != fmt.Sprint(i) {
			t.Fatal(id, again, err)
		}
	}
	if _, again, err := o.enqueue("g", order(1), now); err != nil || !again {
		t.Errorf("the same again: %v, %v", again, err)
	}
	if _, _, err := o.enqueue("g", []byte(`{"id":"1","topic":"u"}`), now); !errors.Is(err, errTaken) {
		t.Errorf("another with the id: %v", err)
	}
	if _, _, err := o.enqueue("h", order(1), now); err != nil {
		t.Errorf("of another gateway: %v", err)
	}
	ids := func(most int, now time.Time) (all string) {
		out, err := o.handOut("g", most, now)
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range out {
			all += h.ID
		}
		return all
	}
	size := len(`{"id":"0","topic":"t"}`)
	if got := ids(2*size, now); got != "01" {
		t.Errorf("handed out %q", got)
	}
	if got := ids(maxHandedBytes, now); got != "2" {
		t.Errorf("handed out %q, and two are on their way", got)
	}
	if err := o.take("g", []json.RawMessage{[]byte(`{"id":"1","state":"accepted"}`), []byte(`{"id":"9"}`)}); err != nil {
		t.Fatal(err)
	}
	if got := ids(maxHandedBytes, now.Add(2*lease)); got != "02" {
		t.Errorf("handed out %q when the gateway has been silent", got)
	}
	o.giveBack("g")
	if got := ids(maxHandedBytes, now); got != "02" {
		t.Errorf("handed out %q to a gateway that has lost them", got)
	}
	o = newOrders(o.store) // after a restart
	if got := ids(maxHandedBytes, now); got != "02" {
		t.Errorf("handed out %q", got)
	}
	all, err := o.list("g")
	if err != nil || len(all) != 3 || len(all[1].Answers) != 1 {
		t.Errorf("%+v, %v", all, err)
	}
}

func TestOrdersAreBounded(t *testing.T) {
	o := openOrders(t)
	for _, bad := range []string{"", "on", `{"topic":"t"}`, `{"id":7}`, `{"id":"` + strings.Repeat("x", 65) + `"}`, `{"command":"on"}`, `{"id":"1","x":"` + strings.Repeat("x", MaxOrder) + `"}`, "{\"id\":\"\xff\"}"} {
		if _, _, err := o.enqueue("g", []byte(bad), time.Now()); !errors.Is(err, ErrOrder) {
			t.Errorf("%.30q: %v", bad, err)
		}
	}
	for range 20 {
		if err := o.take("g", []json.RawMessage{[]byte(`{"id":"1"}`)}); err != nil {
			t.Fatal(err)
		}
	}
	if id, _, err := o.enqueue("g", []byte(`{"command":"{\"id\":\"s\"}","hmac":"00"}`), time.Now()); err != nil || id != "s" {
		t.Errorf("a signed one is %q, %v", id, err)
	}
	for range 20 {
		if err := o.take("g", []json.RawMessage{[]byte(`{"id":"s"}`)}); err != nil {
			t.Fatal(err)
		}
	}
	if all, _ := o.list("g"); len(all) != 1 || len(all[0].Answers) != maxAnswers {
		t.Errorf("%+v", all)
	}
}

func ask(t *testing.T, server *httptest.Server, method, path, token, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, server.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := server.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	said, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(said)
}

func TestWhoMayDoWhatWithOrders(t *testing.T) {
	s, err := Open(StoreConfig{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	r := NewReceiver(ReceiverConfig{Tokens: map[string]string{"north": "n", "south": "s"}, Operator: "op"}, s, slog.New(slog.DiscardHandler))
	routes := Routes(r, s)
	far := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		req.RemoteAddr = "192.0.2.7:1234" // somewhere else
		routes.ServeHTTP(w, req)
	}))
	defer far.Close()
	near := httptest.NewServer(routes)
	defer near.Close()
	const give, wait, answers = "/v1/commands?gateway=north", "/v1/commands?gateway=north&wait=1ms", "/v1/commands/answers"
	for _, c := range []struct {
		server                    *httptest.Server
		method, path, token, body string
		want                      int
	}{
		{far, "POST", give, "", `{"id":"1"}`, 403},
		{far, "POST", give, "n", `{"id":"1"}`, 403}, // a gateway gives no commands
		{far, "POST", give, "op", `{"id":"1"}`, 202},
		{near, "POST", give, "", `{"id":"2"}`, 202},
		{near, "POST", give, "", `{"id":"2"}`, 202},
		{near, "POST", give, "", `{"id":"2","x":1}`, 409},
		{near, "POST", give, "", `on`, 400},
		{near, "POST", "/v1/commands", "", `{"id":"1"}`, 400},
		{near, "POST", "/v1/commands?gateway=east", "", `{"id":"1"}`, 404},
		{far, "GET", wait, "", "", 401},
		{far, "GET", wait, "s", "", 401},
		{far, "GET", wait, "op", "", 401},
		{far, "GET", wait, "n", "", 200},
		{far, "GET", wait, "n", "", 204},
		{far, "GET", wait + "&again=1", "n", "", 200},
		{far, "POST", answers, "s", `{"gateway":"north","answers":[{"id":"1"}]}`, 401},
		{far, "POST", answers, "n", `{"gateway":"north","answers":[{"id":"1"}]}`, 204},
		{far, "POST", answers, "n", `{"gateway":"north","answers":[7]}`, 400},
		{far, "POST", answers, "n", `x`, 400},
		{far, "GET", "/v1/commands/log?gateway=north", "n", "", 403},
		{far, "GET", "/v1/commands/log?gateway=north", "op", "", 200},
	} {
		if got, said := ask(t, c.server, c.method, c.path, c.token, c.body); got != c.want {
			t.Errorf("%s %s %q %s: %d %s, want %d", c.method, c.path, c.token, c.body, got, said, c.want)
		}
	}
}

// A question that is held is answered as soon as there is a command, and when the
// cloud stops.
func TestQuestionsAreHeld(t *testing.T) {
	s, err := Open(StoreConfig{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	r := NewReceiver(ReceiverConfig{}, s, slog.New(slog.DiscardHandler))
	server := httptest.NewServer(Routes(r, s))
	defer server.Close()
	type answer struct {
		status int
		body   string
	}
	for _, release := range []func(){
		func() { ask(t, server, "POST", "/v1/commands?gateway=g", "", `{"id":"1"}`) },
		r.Close,
	} {
		r.orders.tell("g") // nobody has asked yet
		held := make(chan answer, 1)
		go func() {
			status, body := ask(t, server, "GET", "/v1/commands?gateway=g&wait=1m", "", "")
			held <- answer{status, body}
		}()
		for waiting := false; !waiting; { // until the question is there
			r.orders.mu.Lock()
			waiting = r.orders.news["g"] != nil
			r.orders.mu.Unlock()
		}
		release()
		if got := <-held; got.status != 200 && got.status != 204 || got.status == 200 && !strings.Contains(got.body, `"document":{"id":"1"}`) {
			t.Errorf("%+v", got)
		}
	}
}

func FuzzOrderID(f *testing.F) {
	f.Add([]byte(`{"id":"1"}`))
	f.Add([]byte(`{"command":"{\"id\":\"1\"}"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if id, err := orderID(b); err == nil && (id == "" || len(id) > 64) {
			t.Fatalf("%q", id)
		}
	})
}

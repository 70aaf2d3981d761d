package firmwaresim

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// sendAll runs a sender until its count is reached.
func sendAll(t *testing.T, cfg SenderConfig, ledger *Ledger) (SenderStats, error) {
	t.Helper()
	s, err := NewSender(cfg, ledger)
	if err != nil {
		t.Fatal(err)
	}
	err = s.Run(deadline(t))
	return s.Stats(), err
}

// posts is an HTTP server that answers by a script and keeps what it got.
type posts struct {
	mu     sync.Mutex
	script []int // statuses; 201 when it is over; 0 never answers
	got    []string
	when   []time.Time
}

func (p *posts) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	p.mu.Lock()
	p.got = append(p.got, fmt.Sprint(r.Method, " ", r.URL.Path, " ", r.Header.Get("Authorization"), r.Header.Get("Content-Type"), " ", string(body)))
	p.when = append(p.when, time.Now())
	status := http.StatusCreated
	if len(p.script) > 0 {
		status, p.script = p.script[0], p.script[1:]
	}
	p.mu.Unlock()
	switch status {
	case 0:
		<-r.Context().Done()
		return
	case http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", "1")
	}
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"readings":4}`)
}

func (p *posts) all() ([]string, []time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.got, p.when
}

func requestsOf(p *posts) int {
	got, _ := p.all()
	return len(got)
}

func startPosts(t *testing.T, script ...int) (*posts, string) {
	p := &posts{script: script}
	server := httptest.NewServer(p)
	t.Cleanup(server.Close)
	return p, server.URL
}

func TestHTTPSendsTheSameAgainUntilItIsAcknowledged(t *testing.T) {
	for timeout := 3 * time.Second; !sendsTheSameAgain(t, timeout); timeout *= 4 {
	}
}

// mayBeLate says whether this machine was so busy that an answer more than the one
// that never comes may have been awaited for the timeout. With a long one it was not.
func mayBeLate(began time.Time, timeout time.Duration) bool {
	return time.Since(began) >= 2*timeout && timeout < 20*time.Second
}

// sendsTheSameAgain returns false if an answer may have been late.
func sendsTheSameAgain(t *testing.T, timeout time.Duration) (inTime bool) {
	t.Helper()
	p, url := startPosts(t, 503, 429, 500, 0, 201, 400)
	began := time.Now()
	ledger := NewLedger()
	s, err := sendAll(t, SenderConfig{URL: url, Count: 3, Token: "secret", Timeout: timeout}, ledger)
	if err != nil {
		t.Fatal(err)
	}
	if mayBeLate(began, timeout) {
		return false
	}
	if s.Messages != 3 || s.Acked != 2 || s.Refused != 1 || s.Again != 4 || s.Troubles != 5 || !strings.Contains(s.LastTrouble, "400") {
		t.Errorf("%+v", s)
	}
	got, when := p.all()
	if len(got) != 7 || !strings.HasPrefix(got[0], `POST /v1/readings/site/sim/dev/dev-0000/telemetry Bearer secretapplication/json {"ts":`) {
		t.Fatalf("%q", got)
	}
	for _, again := range got[1:5] {
		if again != got[0] {
			t.Errorf("%q was sent as %q again", got[0], again)
		}
	}
	if wait := when[1].Sub(when[0]); wait < time.Second {
		t.Errorf("came again after %v and was asked to wait a second", wait)
	}
	account := ledger.Account("dev-0000")
	if !account.acked.has(1) || account.acked.has(2) || !account.acked.has(3) || account.again[1] != 4 || account.sent.count != 3 {
		t.Errorf("%+v", account)
	}
	return true
}

func TestADeviceThatIsNotWantedStops(t *testing.T) {
	for _, status := range []int{401, 403, 404, 405, 302} {
		_, url := startPosts(t, status)
		s, err := sendAll(t, SenderConfig{URL: url}, nil)
		if !errors.Is(err, ErrUnwanted) || s.Acked != 0 {
			t.Errorf("%d: %v, %+v", status, err, s)
		}
	}
}

func TestManyDevicesOverHTTP(t *testing.T) {
	p, url := startPosts(t)
	ledger := NewLedger()
	s, err := sendAll(t, SenderConfig{URL: url + "/in/{device}/{metric}", Put: true, Devices: 5, Window: 4, Count: 203, Shape: Plain,
		Faults: Faults{Duplicate: .2, Pause: .01, PauseFor: time.Millisecond}}, ledger)
	if err != nil || s.Acked != 203 || s.Again == 0 {
		t.Fatalf("%+v, %v", s, err)
	}
	requests, _ := p.all()
	if uint64(len(requests)) != 203+s.Again {
		t.Errorf("%d requests, want 203 and %d", len(requests), s.Again)
	}
	for i := range 5 {
		want := 40
		if i < 3 {
			want = 41
		}
		prefix := fmt.Sprintf("PUT /in/dev-%04d/seq  ", i)
		distinct := make(map[string]bool)
		for _, got := range requests {
			if value, ok := strings.CutPrefix(got, prefix); ok {
				distinct[value] = true
			}
		}
		if len(distinct) != want || !distinct[fmt.Sprint(want)] {
			t.Errorf("device %d sent %d values, want %d", i, len(distinct), want)
		}
	}
	if acked, again := ledger.Count(); acked != 203 || again != s.Again {
		t.Errorf("%d acknowledged, %d again", acked, again)
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"": 0, "7": 7 * time.Second, "-7": 0, "soon": 0, "86400": time.Hour, "99999999999999999999": 0,
		"Fri, 02 Jan 2026 03:05:05 GMT": time.Minute, "Fri, 02 Jan 2026 03:04:00 GMT": 0,
	} {
		if got := retryAfter(text, now); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

func TestSendersThatMakeNoSense(t *testing.T) {
	for want, cfg := range map[string]SenderConfig{
		"nowhere to send to":      {URL: "mqtt://x"},
		"names no host and port":  {URL: "tcp://host"},
		"a rate of 0":             {URL: "tcp://h:1", Rate: -1},
		"is not one of":           {URL: "http://h", Shape: "xml"},
		"cannot be audited":       {URL: "http://h", Shape: Opaque, Audited: true},
		"a power of two":          {URL: "coap://h", BlockSize: 100},
		"of its own":              {URL: "http://h", Reply: "OK"},
		"no place for":            {URL: "tcp://h:1", Encoding: SLIP, Summed: true},
		"a window of 1":           {URL: "udp://h:1", Reply: "OK", Window: 2},
		"cannot happen over CoAP": {URL: "coap://h", Faults: Faults{Corrupt: 1}},
		"cannot happen over HTTP": {URL: "http://h", Faults: Faults{Drop: 1}},
		"TCP is replied to":       {URL: "tcp://h:1", Reply: "OK", Faults: Faults{Noise: 1}},
		"UDP is replied to":       {URL: "udp://h:1", Reply: "OK", Faults: Faults{Corrupt: 1}},
		"happen over UDP":         {URL: "udp://h:1", Faults: Faults{Split: 1}},
		"invalid port":            {URL: "http://h:port"},
	} {
		if _, err := NewSender(cfg, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestSendThenAuditFromTheCommandLine(t *testing.T) {
	p, url := startPosts(t)
	ledger := filepath.Join(t.TempDir(), "acked.ledger")
	code, out, errs := runMain(t, "send", "-to", url, "-n", "2", "-rate", "0", "-window", "3", "-count", "80", "-ledger", ledger, "-json")
	var summary senderSummary
	if err := json.Unmarshal([]byte(out), &summary); err != nil || code != 0 || summary.Acked != 80 || summary.Sent != 80 || requestsOf(p) != 80 {
		t.Fatalf("exit code %d, %v: %s%s", code, err, out, errs)
	}
	rows := exportOf(2, 40)
	cloud := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, strings.Join(rows, "\n"))
	}))
	t.Cleanup(cloud.Close)
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	if code, out, _ = runMain(t, "audit", "-ledger", ledger, "-cloud", cloud.URL); code != 0 || out != "80 acknowledged, 80 delivered, 0 lost, 0 twice\n" {
		t.Errorf("exit code %d: %s", code, out)
	}
	// A sample that nobody sent is found, because the ledger says what was.
	rows = append(rows, strings.Replace(renumber(rows[0], 1, 9999), `"value":1,`, `"value":4711,`, 1))
	if code, out, _ = runMain(t, "audit", "-ledger", ledger, "-cloud", cloud.URL); code != 1 || out != "80 acknowledged, 80 delivered, 0 lost, 0 twice, 1 invented\n" {
		t.Errorf("exit code %d: %s", code, out)
	}
}

package httpout

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tidegate/tidegate/internal/base/porttest"
	"github.com/tidegate/tidegate/uplink"
)

// TestEveryStatusHasItsClass is the table of what answers mean.
func TestEveryStatusHasItsClass(t *testing.T) {
	const (
		accepted  = "accepted"
		transient = "transient"
		permanent = "permanent"
		tooLarge  = "too large"
	)
	for _, c := range []struct {
		code       int
		body       string
		retryAfter string
		class      string // or the delay, "7s"
	}{
		{200, ack, "", accepted},
		{202, ack, "", accepted},
		{200, "", "", transient},
		{204, "", "", transient},
		{200, "<html>log in</html>", "", transient},
		{302, "", "", transient},
		{304, "", "", transient},
		{400, "", "", permanent},
		{401, "", "", "1m0s"},
		{402, "", "", transient},
		{403, "", "", "1m0s"},
		{404, "", "", "1m0s"},
		{405, "", "", "1m0s"},
		{408, "", "", transient},
		{413, "", "", tooLarge},
		{415, "", "", permanent},
		{418, "", "", transient},
		{422, "", "", permanent},
		{425, "", "", transient},
		{429, "", "", transient},
		{429, "", "7", "7s"},
		{429, "", "soon", transient},
		{500, "", "", transient},
		{503, "", "120", "2m0s"},
		{599, "", "", transient},
	} {
		resp := &http.Response{StatusCode: c.code, Header: http.Header{}}
		if c.retryAfter != "" {
			resp.Header.Set("Retry-After", c.retryAfter)
		}
		err := judge(resp, []byte(c.body), key, false)
		class := transient
		delay, asked := uplink.RetryDelay(err)
		switch {
		case err == nil:
			class = accepted
		case uplink.IsTooLarge(err):
			class = tooLarge
		case uplink.IsPermanent(err):
			class = permanent
		case asked:
			class = delay.String()
		}
		if class != c.class {
			t.Errorf("%d %s Retry-After %q: %s, want %s (%v)", c.code, c.body, c.retryAfter, class, c.class, err)
		}
		if err != nil && !strings.Contains(err.Error(), "hint: ") {
			t.Errorf("%d: no hint in %q", c.code, err)
		}
	}
}

func TestOnlyAnAcknowledgementOfThisMessageCounts(t *testing.T) {
	for _, c := range []struct {
		answer string
		want   bool
	}{
		{ack, true},
		{strings.Replace(ack, `"last":99`, `"last":150`, 1), true}, // more than asked
		{strings.TrimSuffix(ack, "}") + `,"duplicate":true}`, true},
		{strings.Replace(ack, `"last":99`, `"last":98`, 1), false},
		{strings.Replace(ack, `"first":1`, `"first":2`, 1), false},
		{strings.Replace(ack, "normal", "alarm", 1), false},
		{strings.Replace(ack, "4d2", "4d3", 1), false},
		{`{"acked":{}}`, false},
		{`{"acked":null}`, false},
		{`{"ok":true}`, false},
		{ack[:len(ack)-1], false},
		{"OK", false},
	} {
		if got := acknowledges([]byte(c.answer), key); got != c.want {
			t.Errorf("%s: %v, want %v", c.answer, got, c.want)
		}
	}
}

func TestForeignEndpointNeedsOnlyA2xx(t *testing.T) {
	for code, want := range map[int]bool{200: true, 201: true, 204: true, 302: false, 500: false} {
		err := judge(&http.Response{StatusCode: code}, nil, key, true)
		if (err == nil) != want {
			t.Errorf("%d: %v", code, err)
		}
	}
	page := &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"text/html; charset=utf-8"}}}
	if err := judge(page, []byte("<html>log in</html>"), key, true); err == nil || uplink.IsPermanent(err) {
		t.Errorf("a login page: %v, want a transient error", err)
	}
}

func TestAnswersAreQuotedSafely(t *testing.T) {
	hostile := "\x1b[2J\xff\n" + strings.Repeat("a", 5000)
	err := judge(&http.Response{StatusCode: 500}, []byte(hostile), key, false)
	if text := err.Error(); len(text) > 500 || strings.ContainsAny(text, "\x1b\n\xff") {
		t.Errorf("%q", text)
	}
}

func TestTransportErrorsEndInAHint(t *testing.T) {
	secure := httptest.NewUnstartedServer(http.NotFoundHandler())
	secure.Config.ErrorLog = log.New(io.Discard, "", 0) // it complains of our refusal
	secure.StartTLS()
	t.Cleanup(secure.Close)
	plain := serve(t, http.NotFound)
	for _, c := range []struct{ name, url, want string }{
		{"Refused", "http://" + porttest.For(t), "nothing listens"},
		{"NotTLS", strings.Replace(plain, "http:", "https:", 1), "does not speak TLS"},
		{"UnknownAuthority", secure.URL, "install its CA"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := newSink(t, Config{URL: c.url}).Send(t.Context(), message("application/json", []byte("{}")))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want a hint with %q", err, c.want)
			}
			if err != nil && uplink.IsPermanent(err) {
				t.Errorf("permanent: %v", err)
			}
		})
	}
}

// FuzzJudge: no answer makes judge panic, and nothing but an acknowledgement
// is custody.
func FuzzJudge(f *testing.F) {
	f.Add(200, []byte(ack), "")
	f.Add(429, []byte("slow down"), "7")
	f.Add(200, []byte(`{"acked":[]}`), "Mon, 04 May 2026 03:03:01 GMT")
	f.Fuzz(func(t *testing.T, code int, answer []byte, retryAfter string) {
		resp := &http.Response{StatusCode: code, Header: http.Header{"Retry-After": {retryAfter}}}
		err := judge(resp, answer, key, false)
		if err == nil && (code < 200 || code > 299 || !acknowledges(answer, key)) {
			t.Errorf("%d %q was taken for custody", code, answer)
		}
	})
}

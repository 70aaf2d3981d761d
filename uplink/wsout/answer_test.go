package wsout

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/uplink"
)

var key = uplink.Key{Gateway: "north-7", Epoch: 0x4d2, Lane: reading.Normal, First: 1, Last: 99}

// The classes of errors, as the tests name them.
const (
	accepted  = "accepted"
	transient = "transient"
	permanent = "permanent"
	tooLarge  = "too large"
)

// classOf returns the class of an error, or the delay that it asks for.
func classOf(err error) string {
	delay, asked := uplink.RetryDelay(err)
	switch {
	case err == nil:
		return accepted
	case uplink.IsTooLarge(err):
		return tooLarge
	case uplink.IsPermanent(err):
		return permanent
	case asked:
		return delay.String()
	}
	return transient
}

const spanText = `"epoch":"00000000000004d2","lane":"normal","first":1,"last":99`

// TestEveryAnswerHasItsClass is the table of what answers mean to the message that
// waits; "ignored" ones do not speak of it, "foreign" ones are none.
func TestEveryAnswerHasItsClass(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{`{"acked":{` + spanText + `}}`, accepted},
		{`{"acked":{` + spanText + `},"duplicate":true}`, accepted},
		{strings.Replace(`{"acked":{`+spanText+`}}`, `"last":99`, `"last":150`, 1), accepted}, // more than asked
		{strings.Replace(`{"acked":{`+spanText+`}}`, `"last":99`, `"last":98`, 1), "ignored"},
		{strings.Replace(`{"acked":{`+spanText+`}}`, `"first":1`, `"first":2`, 1), "ignored"},
		{strings.Replace(`{"acked":{`+spanText+`}}`, "normal", "alarm", 1), "ignored"},
		{strings.Replace(`{"acked":{`+spanText+`}}`, "4d2", "4d3", 1), "ignored"},
		{`{"acked":{}}`, "ignored"},
		{`{"refused":{` + spanText + `,"class":"permanent","reason":"corrupt"}}`, permanent},
		{`{"refused":{` + spanText + `,"class":"too_large","limit":4096}}`, tooLarge},
		{`{"refused":{` + spanText + `,"class":"retry"}}`, transient},
		{`{"refused":{` + spanText + `,"class":"retry","retry_after":2.5}}`, "2.5s"},
		{`{"refused":{` + spanText + `,"class":"retry","retry_after":-5}}`, transient},
		{`{"refused":{` + spanText + `,"class":"retry","retry_after":1e300}}`, "24h0m0s"},
		{`{"refused":{` + spanText + `,"class":"whatever"}}`, transient},
		{`{"refused":{` + spanText + `}}`, transient},
		{strings.Replace(`{"refused":{`+spanText+`,"class":"permanent"}}`, `"last":99`, `"last":150`, 1), "ignored"}, // another message
		{`{"acked":null}`, "foreign"},
		{`{"acked":{` + spanText + `},"refused":{` + spanText + `}}`, "foreign"},
		{`{"ok":true}`, "foreign"},
		{`{}`, "foreign"},
		{`"OK"`, "foreign"},
		{`<html>log in</html>`, "foreign"},
		{"", "foreign"},
	} {
		a, err := parseAnswer(websocket.MessageText, []byte(c.text))
		got := "ignored"
		switch {
		case err != nil && classOf(err) == transient:
			got = "foreign"
		case err == nil && a.concerns(&waiter{key: key}):
			got, err = classOf(a.err), a.err
		}
		if got != c.want {
			t.Errorf("%s: %s, want %s (%v)", c.text, got, c.want, err)
		}
		if err != nil && !strings.Contains(err.Error(), "hint: ") {
			t.Errorf("%s: no hint in %q", c.text, err)
		}
	}
	if _, err := parseAnswer(websocket.MessageBinary, []byte(`{"acked":{`+spanText+`}}`)); err == nil {
		t.Error("a binary answer was taken")
	}
}

// TestEveryCloseCodeHasItsClass is the table of what the end of a connection means
// to the only message that waits.
func TestEveryCloseCodeHasItsClass(t *testing.T) {
	for code, want := range map[websocket.StatusCode]string{
		1000: transient, 1001: transient, 1002: "1m0s", 1003: permanent, 1005: transient, 1007: permanent, 1008: "1m0s",
		1009: tooLarge, 1010: "1m0s", 1011: transient, 1012: transient, 1013: transient, 1014: transient,
		3000: transient, 4000: transient, 4001: transient, 4200: transient, 4302: transient,
		4400: permanent, 4401: "1m0s", 4403: "1m0s", 4404: "1m0s", 4408: transient, 4413: tooLarge, 4415: permanent, 4422: permanent,
		4429: transient, 4500: transient, 4503: transient, 4999: transient,
	} {
		err := closed(fmt.Errorf("read: %w", websocket.CloseError{Code: code, Reason: "because\x1b"}))
		if got := classOf(err); got != want {
			t.Errorf("%d: %s, want %s (%v)", code, got, want, err)
		}
		if !strings.Contains(err.Error(), "hint: ") || strings.Contains(err.Error(), "\x1b") {
			t.Errorf("%d: %q", code, err)
		}
	}
	if err := closed(io.EOF); classOf(err) != transient || !errors.Is(err, io.EOF) {
		t.Errorf("%v", err)
	}
}

// TestNoHandshakeIsHeldAgainstAMessage is the table of what the status of a
// handshake means. None is Permanent: no message was sent.
func TestNoHandshakeIsHeldAgainstAMessage(t *testing.T) {
	for status, want := range map[int]string{
		200: transient, 204: transient, 301: transient, 302: transient, 307: transient, 400: "1m0s", 401: "1m0s", 403: "1m0s", 404: "1m0s", 405: "1m0s",
		413: "1m0s", 415: "1m0s", 422: "1m0s", 426: "1m0s", 429: transient, 500: transient, 502: transient, 503: "7s",
	} {
		address := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if status == 503 {
				w.Header().Set("Retry-After", "7")
			}
			w.Header().Set("Location", "http://elsewhere.example/")
			w.WriteHeader(status)
			if status != 204 {
				fmt.Fprint(w, "no\x1bway")
			}
		})
		err := newSink(t, Config{URL: "ws://" + address}).Send(within(t), message(1, 10))
		if got := classOf(err); got != want {
			t.Errorf("%d: %s, want %s (%v)", status, got, want, err)
		}
		if text := fmt.Sprint(err); !strings.Contains(text, "hint: ") || strings.Contains(text, "\x1b") || !strings.Contains(text, fmt.Sprint(status)) {
			t.Errorf("%d: %q", status, text)
		}
	}
}

// FuzzAnswer: no answer makes a panic, and nothing but an acknowledgement of this
// message is custody.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte(`{"acked":{` + spanText + `}}`))
	f.Add([]byte(`{"refused":{` + spanText + `,"class":"retry","retry_after":1e300,"reason":"x","hint":"y"}}`))
	f.Add([]byte(`{"acked":[]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		a, err := parseAnswer(websocket.MessageText, text)
		if err != nil {
			return
		}
		if a.err != nil && len(a.err.Error()) > 2000+len(text) {
			t.Errorf("%d bytes of error from %d", len(a.err.Error()), len(text))
		}
		if a.concerns(&waiter{key: key}) && a.err == nil && (a.span.First > key.First || a.span.Last < key.Last || a.span.Lane != "normal" || a.span.Epoch != "00000000000004d2") {
			t.Errorf("%q was taken for custody", text)
		}
	})
}

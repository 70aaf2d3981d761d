package httpout

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/tidegate/tidegate/uplink"
)

// configDelay is how long to wait after an answer that only a person can
// change: wrong token, wrong path.
const configDelay = time.Minute

// maxQuote is how much of an answer is quoted in an error, in bytes.
const maxQuote = 200

// judge turns an answer into the error of Send: nil, Permanent, TooLarge,
// RetryAfter or transient. It is the only place that knows what a status means.
// Wrong credentials and wrong addresses are never held against the readings:
// they wait until somebody has corrected the configuration.
func judge(resp *http.Response, answer []byte, key uplink.Key, trustStatus bool) error {
	code := resp.StatusCode
	switch {
	case code >= 200 && code <= 299:
		if trustStatus && !isPage(resp) || acknowledges(answer, key) {
			return nil
		}
		return says(resp, answer, "the answer is not an acknowledgement of this message; is a login page or a proxy in between? "+
			"For an endpoint that is not a tidegate cloud, say so in the configuration")
	case code == http.StatusRequestEntityTooLarge:
		return uplink.TooLarge(says(resp, answer, "the other side takes smaller messages only; lower max_batch"))
	case code == http.StatusBadRequest, code == http.StatusUnsupportedMediaType, code == http.StatusUnprocessableEntity:
		return uplink.Permanent(says(resp, answer, "the other side does not accept this content; check encoding"))
	case code == http.StatusUnauthorized, code == http.StatusForbidden:
		return uplink.RetryAfter(says(resp, answer, "check the token"), configDelay)
	case code == http.StatusNotFound, code == http.StatusMethodNotAllowed:
		return uplink.RetryAfter(says(resp, answer, "check the path of the url"), configDelay)
	case code >= 300 && code <= 399:
		return says(resp, answer, fmt.Sprintf("redirects are not followed; it points to %s", quote(resp.Header.Get("Location"))))
	}
	err := says(resp, answer, "the other side is busy or out of order; the message will be sent again")
	if delay, ok := retryAfter(resp.Header, time.Now()); ok {
		return uplink.RetryAfter(err, delay)
	}
	return err
}

func says(resp *http.Response, answer []byte, hint string) error {
	text := fmt.Sprintf("%d %s", resp.StatusCode, http.StatusText(resp.StatusCode))
	if len(answer) > 0 {
		text += " " + quote(string(answer))
	}
	return errors.New(text + " — hint: " + hint)
}

// quote makes the head of a foreign text safe for logs and terminals.
func quote(s string) string {
	if len(s) > maxQuote {
		s = s[:maxQuote] + "..."
	}
	return strconv.Quote(strings.ToValidUTF8(strings.TrimSpace(s), "?"))
}

// acknowledgement is the answer of a tidegate cloud.
type acknowledgement struct {
	Acked *struct {
		Epoch string `json:"epoch"`
		Lane  string `json:"lane"`
		First uint64 `json:"first"`
		Last  uint64 `json:"last"`
	} `json:"acked"`
}

// acknowledges reports whether the answer takes custody of all that key names.
func acknowledges(answer []byte, key uplink.Key) bool {
	var a acknowledgement
	if json.Unmarshal(answer, &a) != nil || a.Acked == nil {
		return false
	}
	return a.Acked.Epoch == fmt.Sprintf("%016x", key.Epoch) && a.Acked.Lane == key.Lane.String() &&
		a.Acked.First <= key.First && a.Acked.Last >= key.Last
}

// isPage reports whether the answer is for people: a login page in between says
// 200 to anything, and no endpoint that takes readings answers with HTML.
func isPage(resp *http.Response) bool {
	return strings.HasPrefix(strings.ToLower(resp.Header.Get("Content-Type")), "text/html")
}

// retryAfter reads Retry-After: seconds, or a date.
func retryAfter(h http.Header, now time.Time) (time.Duration, bool) {
	text := h.Get("Retry-After")
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second, true
	}
	if date, err := http.ParseTime(text); err == nil && date.After(now) {
		return date.Sub(now), true
	}
	return 0, false
}

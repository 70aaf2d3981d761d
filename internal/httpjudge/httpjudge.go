// Package httpjudge says what the status of an HTTP answer means to somebody who
// wants to get rid of a message: one table for every door out that speaks HTTP,
// be it for each message or only to open a WebSocket.
package httpjudge

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Class is what an answer means to the message that it answers.
type Class int

// The classes of answers.
const (
	// Accepted is a 2xx: whether that is custody is for the caller to say.
	Accepted Class = iota
	// Transient is an answer that another try may change.
	Transient
	// Configuration is an answer that only a person can change: a wrong token, a
	// wrong path. It is never held against the message.
	Configuration
	// Permanent is a refusal of these bytes, for good.
	Permanent
	// TooLarge is a refusal of a message of this size.
	TooLarge
)

// ConfigDelay is how long to wait after an answer that only a person can change.
const ConfigDelay = time.Minute

// Verdict is what an answer means, and what a technician may do.
type Verdict struct {
	Class Class
	// Delay is how long to wait before the next try, if the answer says so or the
	// class does; 0 leaves it to the caller.
	Delay time.Duration
	// Hint is what a technician may do.
	Hint string
}

// Judge returns what a status and its headers mean at the time now.
func Judge(status int, h http.Header, now time.Time) Verdict {
	switch {
	case status >= 200 && status <= 299:
		return Verdict{Class: Accepted}
	case status == http.StatusRequestEntityTooLarge:
		return Verdict{TooLarge, 0, "the other side takes smaller messages only; lower max_batch"}
	case status == http.StatusBadRequest, status == http.StatusUnsupportedMediaType, status == http.StatusUnprocessableEntity:
		return Verdict{Permanent, 0, "the other side does not accept this content; check encoding"}
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return Verdict{Configuration, ConfigDelay, "check the token"}
	case status == http.StatusNotFound, status == http.StatusMethodNotAllowed:
		return Verdict{Configuration, ConfigDelay, "check the path of the url"}
	case status >= 300 && status <= 399:
		return Verdict{Transient, 0, "redirects are not followed; it points to " + Quote(h.Get("Location"))}
	}
	if status == http.StatusNetworkAuthenticationRequired {
		return Verdict{Transient, 0, "the network itself wants a login first: open any page in a browser there, or ask who runs it"}
	}
	v := Verdict{Class: Transient, Hint: "the other side is busy or out of order; the message will be sent again"}
	if delay, ok := RetryAfter(h, now); ok {
		v.Delay = delay
	}
	return v
}

// RetryAfter reads the header Retry-After: seconds, or a date (RFC 9110, 10.2.3).
func RetryAfter(h http.Header, now time.Time) (time.Duration, bool) {
	text := h.Get("Retry-After")
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second, true
	}
	if date, err := http.ParseTime(text); err == nil && date.After(now) {
		return date.Sub(now), true
	}
	return 0, false
}

// Describe says what was answered, for the text of an error.
func Describe(status int, answer []byte) string {
	text := strings.TrimSpace(fmt.Sprintf("%d %s", status, http.StatusText(status)))
	if len(answer) > 0 {
		text += " " + Quote(string(answer))
	}
	return text
}

// maxQuote is how much of an answer is quoted in an error, in bytes.
const maxQuote = 200

// Quote makes the head of a foreign text safe for logs and terminals.
func Quote(s string) string {
	if len(s) > maxQuote {
		s = s[:maxQuote] + "..."
	}
	return strconv.Quote(strings.ToValidUTF8(strings.TrimSpace(s), "?"))
}

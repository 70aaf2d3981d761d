package httpjudge

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestEveryStatusHasItsClass(t *testing.T) {
	for _, c := range []struct {
		status     int
		retryAfter string
		class      Class
		delay      time.Duration
	}{
		{200, "", Accepted, 0},
		{204, "9", Accepted, 0},
		{101, "", Transient, 0},
		{302, "", Transient, 0},
		{304, "9", Transient, 0},
		{400, "", Permanent, 0},
		{401, "", Configuration, ConfigDelay},
		{402, "", Transient, 0},
		{403, "", Configuration, ConfigDelay},
		{404, "", Configuration, ConfigDelay},
		{405, "", Configuration, ConfigDelay},
		{408, "", Transient, 0},
		{413, "", TooLarge, 0},
		{415, "", Permanent, 0},
		{422, "", Permanent, 0},
		{429, "", Transient, 0},
		{429, "7", Transient, 7 * time.Second},
		{429, "soon", Transient, 0},
		{500, "", Transient, 0},
		{503, "120", Transient, 2 * time.Minute},
		{511, "", Transient, 0},
		{599, "", Transient, 0},
		{0, "", Transient, 0},
	} {
		h := http.Header{}
		if c.retryAfter != "" {
			h.Set("Retry-After", c.retryAfter)
		}
		v := Judge(c.status, h, time.Now())
		if v.Class != c.class || v.Delay != c.delay {
			t.Errorf("%d Retry-After %q: %+v, want class %d and %v", c.status, c.retryAfter, v, c.class, c.delay)
		}
		if v.Class != Accepted && v.Hint == "" {
			t.Errorf("%d has no hint", c.status)
		}
	}
}

func TestRetryAfterMayBeADate(t *testing.T) {
	now := time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"Mon, 04 May 2026 03:03:01 GMT": time.Minute,
		"Mon, 04 May 2026 03:01:01 GMT": 0, // past
		"-5":                            0,
		"1.5":                           0,
		"99999999999999999999":          0,
		"":                              0,
	} {
		got, ok := RetryAfter(http.Header{"Retry-After": {text}}, now)
		if got != want || ok != (want > 0) {
			t.Errorf("%q: %v %v, want %v", text, got, ok, want)
		}
	}
}

func TestAnswersAreQuotedSafely(t *testing.T) {
	hostile := []byte("\x1b[2J\xff\n" + strings.Repeat("a", 5000))
	if text := Describe(500, hostile); len(text) > 500 || strings.ContainsAny(text, "\x1b\n\xff") {
		t.Errorf("%q", text)
	}
	if text := Describe(599, nil); text != "599" {
		t.Errorf("%q", text)
	}
}

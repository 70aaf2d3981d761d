package httpout

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/tidegate/tidegate/internal/httpjudge"
	"github.com/tidegate/tidegate/uplink"
)

// judge turns an answer into the error of Send: nil, Permanent, TooLarge,
// RetryAfter or transient. What a status means stands in package httpjudge, and
// what databases mean by the
// words beside it in words. Wrong
// credentials and wrong addresses are never held against the readings: they wait
// until somebody has corrected the configuration.
func judge(resp *http.Response, answer []byte, key uplink.Key, trustStatus bool) error {
	page := isPage(resp, answer)
	switch {
	case resp.StatusCode == http.StatusBadRequest && page && !trustStatus:
		return between(resp, answer)
	case resp.StatusCode < 200 || resp.StatusCode > 299:
		return verdict(resp, answer)
	case trustStatus && !page, acknowledges(answer, key):
		return nil
	}
	return errors.New(httpjudge.Describe(resp.StatusCode, answer) + " — hint: the answer is not an acknowledgement of this message; " +
		"is a login page or a proxy in between? For an endpoint that is not a tidegate cloud, set ack = \"status\"")
}

// between returns the error of a page from where none can come: it does not speak
// of the readings.
func between(resp *http.Response, answer []byte) error {
	hint, _ := explained(answer)
	hint = cmp.Or(hint, "this page is not from the other side but from something in between; check the url, tls_cert and headers, or is it a login page?")
	return uplink.Misconfigured(errors.New(httpjudge.Describe(resp.StatusCode, answer) + " — hint: " + hint))
}

// verdict returns the error of an answer that is none of success.
func verdict(resp *http.Response, answer []byte) error {
	v := httpjudge.Judge(resp.StatusCode, resp.Header, time.Now())
	hint, mine := explained(answer)
	if mine && v.Class == httpjudge.Permanent {
		v.Class, v.Delay = httpjudge.Configuration, httpjudge.ConfigDelay
	}
	switch {
	case hint != "":
		v.Hint = hint
	case resp.StatusCode == http.StatusUnauthorized, resp.StatusCode == http.StatusForbidden:
		v.Hint = "check the token, or the user and the password, and what they may do"
	}
	err := errors.New(httpjudge.Describe(resp.StatusCode, answer) + " — hint: " + v.Hint)
	switch {
	case v.Class == httpjudge.TooLarge:
		return uplink.TooLarge(err)
	case v.Class == httpjudge.Permanent:
		return uplink.Permanent(err)
	case v.Class == httpjudge.Configuration:
		return uplink.Misconfigured(err)
	case v.Delay > 0:
		return uplink.RetryAfter(err, v.Delay)
	}
	return err
}

// words are what databases and the servers in front of endpoints say, and what may
// be done about it.
var words = []struct {
	begin string // of the message, in lower case
	hint  string
	mine  bool // the configuration is wrong, whatever the status is
}{
	{"database is required", "the url of InfluxDB 1 ends in /write?db=NAME", true},
	{"database not found", "create the database, or check db= in the url", true},
	{"retention policy not found", "create the retention policy, or check rp= in the url", true},
	{"bucket ", "create the bucket, or check bucket= in the url", true},
	{"org", "the url of InfluxDB 2 ends in /api/v2/write?org=NAME&bucket=NAME", true},
	{"invalid precision", "leave precision= out of the url: times are in nanoseconds", true},
	{"unsupported path requested", "check the path of the url: VictoriaMetrics takes line protocol at /write", true},
	{"no required ssl certificate was sent", "the other side wants a client certificate: set tls_cert and tls_key", true},
	{"the ssl certificate error", "the other side does not accept the client certificate in tls_cert; has it expired?", true},
	{"the plain http request was sent to https port", "the url must begin with https://", true},
	{"client sent an http request to an https server", "the url must begin with https://", true},
	{"request header or cookie too large", "the other side does not take so many bytes of headers; shorten headers or the token", true},
	// These have refused some points and taken the others. To bisect is to send
	// the others again, which changes nothing, and finds the block with those
	// that were refused.
	{"partial write: field type conflict", "the field has had values of another kind; kinds_apart gives each kind a field of its own", false},
	{"field type conflict", "the field has had values of another kind; kinds_apart gives each kind a field of its own", false},
	{"partial write: points beyond retention policy", "the readings are older than what the database keeps", false},
	{"partial write", "the database has taken all points but these", false},
}

// explained finds what an answer is about. Only the beginning of its
// message counts: what follows may quote names that devices have given
// themselves.
func explained(answer []byte) (hint string, mine bool) {
	message := strings.ToLower(messageIn(answer))
	if _, behind, ok := strings.Cut(message, "; requesturi: "); ok && strings.HasPrefix(message, "remoteaddr: ") {
		_, message, _ = strings.Cut(behind, "; ") // VictoriaMetrics says first who asked for what
	}
	for _, w := range words {
		if strings.HasPrefix(message, w.begin) {
			return w.hint, w.mine
		}
	}
	return "", false
}

// pageTitle matches the head of a page as nginx writes it, with the status before
// the words.
var pageTitle = regexp.MustCompile(`(?i)^\s*(?:<!doctype html>)?\s*<html>\s*<head>\s*<title>\s*(?:[0-9]{3} )?([^<]{1,200})</title>`)

// messageIn returns what an answer says, in JSON, as the title of a page, or plainly.
func messageIn(answer []byte) string {
	var said struct{ Error, Message string }
	if json.Unmarshal(answer, &said) == nil {
		return strings.TrimSpace(cmp.Or(said.Error, said.Message))
	}
	if title := pageTitle.FindSubmatch(answer); title != nil {
		return string(title[1])
	}
	return strings.TrimSpace(string(answer))
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
// 200 to anything, and no endpoint that takes readings answers with HTML. Some pages
// do not say what they are, but begin as browsers know it.
func isPage(resp *http.Response, answer []byte) bool {
	kind := strings.ToLower(resp.Header.Get("Content-Type"))
	sniffed := http.DetectContentType(bytes.TrimPrefix(answer, []byte("\ufeff")))
	return strings.HasPrefix(kind, "text/html") || strings.HasPrefix(kind, "application/xhtml") || strings.HasPrefix(sniffed, "text/html")
}

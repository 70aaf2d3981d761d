package httpout

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
)

// ours are the headers that configuration cannot set, because a message would
// not be understood, or a secret would stand where everybody reads it.
var ours = []string{
	"Authorization", "Connection", "Content-Encoding", "Content-Length", "Expect", "Host", "Idempotency-Key",
	"Te", "Tidegate-Key", "Trailer", "Transfer-Encoding", "Upgrade", "User-Agent",
}

// CheckHeaders returns what is wrong with Config.Headers; its errors end in a
// hint.
func CheckHeaders(lines []string) error {
	_, err := parseHeaders(lines)
	return err
}

// parseHeaders reads "Name: value".
func parseHeaders(lines []string) (http.Header, error) {
	h := http.Header{}
	for _, line := range lines {
		name, value, found := strings.Cut(line, ":")
		name, value = textproto.CanonicalMIMEHeaderKey(name), strings.TrimSpace(value)
		switch {
		case !found || !isToken(name) || strings.ContainsFunc(value, isControl):
			return nil, fmt.Errorf("%q is no header — hint: write for example \"X-Site: north\"", line)
		case slices.Contains(ours, name):
			return nil, fmt.Errorf("the header %s is not yours to set — hint: secrets have keys of their own, token_header among them; the others are as HTTP wants them", name)
		}
		h[name] = append(h[name], value)
	}
	return h, nil
}

// isToken reports whether s is a token (RFC 9110 §5.6.2).
func isToken(s string) bool {
	for _, c := range []byte(s) {
		letter := c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9'
		if !letter && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return false
		}
	}
	return s != ""
}

func isControl(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }

// request makes the request for a body, without what says who is sending.
func (s *Sink) request(ctx context.Context, key, contentType string, body []byte) (*http.Request, error) {
	body, encoding, err := s.packer.pack(contentType, body)
	if err != nil {
		return nil, fmt.Errorf("compress: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, cmp.Or(s.cfg.Method, http.MethodPost), s.url.String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", contentType)
	for name, values := range s.headers {
		req.Header[name] = values // the content type, too: some endpoints have their own
	}
	req.Header.Set("User-Agent", s.cfg.UserAgent)
	if encoding != "" {
		req.Header.Set("Content-Encoding", encoding)
	}
	if key != "" {
		req.Header.Set(KeyHeader, key)
	}
	// The transport sends a request again that has this header, when it meets a
	// kept connection which the other side has just closed: that is no outage. A
	// header without a value is not sent.
	req.Header["Idempotency-Key"] = []string{}
	if s.cfg.IdempotencyKey && key != "" {
		req.Header.Set("Idempotency-Key", strconv.Quote(key))
	}
	return req, nil
}

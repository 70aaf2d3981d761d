package httpout

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tidegate/tidegate/uplink"
)

// raw is a server that says these words to every request, whatever they are, and
// leaves the connection as it is.
func raw(t *testing.T, words string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				in := bufio.NewReader(conn)
				for {
					req, err := http.ReadRequest(in)
					if err != nil {
						return
					}
					io.Copy(io.Discard, req.Body)
					io.WriteString(conn, words)
				}
			}()
		}
	}()
	return "http://" + l.Addr().String()
}

// TestAnswersBeforeTheAnswer: some say first that they are working on it. Who
// changes the protocol instead has said nothing, and nobody waits for more of it:
// what is read of such a connection does not end with the context.
func TestAnswersBeforeTheAnswer(t *testing.T) {
	const ok = "HTTP/1.1 204 No Content\r\n\r\n"
	for name, c := range map[string]struct {
		words string
		taken bool
	}{
		"Continue":   {"HTTP/1.1 100 Continue\r\n\r\n" + ok, true},
		"Processing": {"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n" + ok, true},
		"Switching":  {"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n", false},
	} {
		t.Run(name, func(t *testing.T) {
			url := raw(t, c.words)
			for _, cfg := range []Config{
				{URL: url, TrustStatus: true},
				{URL: "http://127.0.0.1:1/", Auth: Auth{OAuth: OAuth{TokenURL: url, ClientID: "a", ClientSecretFile: secret(t, "b")}}},
			} {
				sink := newSink(t, cfg)
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				answered := make(chan error)
				go func() { answered <- sink.Send(ctx, message("application/json", []byte("{}"))) }()
				select {
				case err := <-answered:
					if taken := c.taken && cfg.TrustStatus; (err == nil) != taken || uplink.IsPermanent(err) {
						t.Errorf("%v, want custody: %v", err, taken)
					} else if err != nil && !strings.Contains(err.Error(), "hint: ") {
						t.Errorf("no hint in %v", err)
					}
				case <-time.After(patience / 2):
					t.Fatal("nobody answers")
				}
			}
		})
	}
}

// TestPagesAreNeverCustody: a login page may forget to say that it is one.
func TestPagesAreNeverCustody(t *testing.T) {
	for _, c := range []struct {
		kind, answer string
		page         bool
	}{
		{"", "<html>log in</html>", true},
		{"", "\r\n\t<!DOCTYPE html>\n<title>Hotel</title>", true},
		{"text/plain", "<HTML><HEAD>", true},
		{"application/octet-stream", "\ufeff<!doctype html>", true},
		{"application/xhtml+xml", "<?xml version=\"1.0\"?><html>", true},
		{"", "<!-- WISPAccessGatewayParam --><html>", true},
		{"Text/HTML;charset=x", "", true},
		{"application/xml", "<ok/>", false},
		{"application/json", `"<html>"`, false},
		{"", "OK", false},
		{"", "", false},
	} {
		resp := &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {c.kind}}}
		err := judge(resp, []byte(c.answer), key, true)
		if (err != nil) != c.page || uplink.IsPermanent(err) {
			t.Errorf("%q %q: %v, want a page: %v", c.kind, c.answer, err, c.page)
		}
	}
}

// TestWhatStandsInBetweenRefusesNoReadings: a server in front of the endpoint says
// 400 to a client without a certificate, or with one that has expired. No reading is
// at fault, and none is set aside.
func TestWhatStandsInBetweenRefusesNoReadings(t *testing.T) {
	page := func(title string) string {
		return "<html>\r\n<head><title>" + title + "</title></head>\r\n<body>\r\n<center><h1>400 Bad Request</h1></center>\r\n<hr><center>nginx/1.22.1</center>\r\n</body>\r\n</html>\r\n"
	}
	html := http.Header{"Content-Type": {"text/html"}}
	for _, c := range []struct {
		answer string
		header http.Header
		trust  bool // any 2xx
		waits  bool
		hint   string
	}{
		{page("400 No required SSL certificate was sent"), html, true, true, "tls_cert"},
		{page("400 The SSL certificate error"), html, true, true, "tls_cert"},
		{page("400 The plain HTTP request was sent to HTTPS port"), html, true, true, "https://"},
		{page("400 Request Header Or Cookie Too Large"), html, true, true, "headers"},
		{"Client sent an HTTP request to an HTTPS server.\n", nil, true, true, "https://"},
		{page("400 Bad Request"), html, false, true, "in between"}, // a tidegate cloud has no pages
		{page("400 Bad Request"), html, true, false, "encoding"},   // an endpoint may have
		{page("device No required SSL certificate was sent"), html, true, false, "encoding"},
		{`{"error":"corrupt","hint":"h"}`, nil, false, false, "encoding"},
		{strings.Repeat("x", 300) + page("400 No required SSL certificate was sent"), html, true, false, "encoding"},
	} {
		err := judge(&http.Response{StatusCode: 400, Header: c.header}, []byte(c.answer), key, c.trust)
		delay, waits := uplink.RetryDelay(err)
		if waits != c.waits || uplink.IsPermanent(err) == c.waits || waits && delay != time.Minute {
			t.Errorf("%.80q: %v, want it to wait: %v", c.answer, err, c.waits)
		}
		if _, hint, _ := strings.Cut(err.Error(), " — hint: "); !strings.Contains(hint, c.hint) {
			t.Errorf("%.80q: hint %q, want %q", c.answer, hint, c.hint)
		}
	}
}

// TestProbeIsNotContentWithAPage: a login page says 200 to a check, too.
func TestProbeIsNotContentWithAPage(t *testing.T) {
	for _, status := range []int{200, 400} {
		url := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			io.WriteString(w, "<html><body>Welcome to our hotel")
		})
		for _, cfg := range []Config{{URL: url}, {URL: url, TrustStatus: true, Database: true}} {
			if about, err := newSink(t, cfg).Probe(within(t, patience)); err == nil || !strings.Contains(err.Error(), "in between") {
				t.Errorf("%d: %q, %v", status, about, err)
			}
		}
	}
}

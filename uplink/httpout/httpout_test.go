package httpout

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/uplink"
)

var key = uplink.Key{Gateway: "north-7", Epoch: 0x4d2, Lane: reading.Normal, First: 1, Last: 99}

const ack = `{"acked":{"epoch":"00000000000004d2","lane":"normal","first":1,"last":99}}`

func message(contentType string, body []byte) uplink.Message {
	return uplink.Message{Key: key, Count: 99, ContentType: contentType, Body: body}
}

// serve starts a server and returns its URL.
func serve(t *testing.T, handle http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(handle)
	t.Cleanup(s.Close)
	return s.URL
}

func TestRequestIsTheOneInThePackageComment(t *testing.T) {
	var got *http.Request
	var body []byte
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		got = r
		body, _ = io.ReadAll(r.Body)
		io.WriteString(w, ack)
	})
	sink := newSink(t, Config{URL: url + "/v1/ingest", Auth: Auth{TokenFile: secret(t, "s3cret")}, UserAgent: "tidegate/0.1"})
	if err := sink.Send(t.Context(), message("application/vnd.tidegate.chunk", []byte("chunk"))); err != nil {
		t.Fatal(err)
	}
	if got.Method != "POST" || got.URL.Path != "/v1/ingest" || got.ContentLength != 5 || string(body) != "chunk" {
		t.Errorf("%s %s of %d bytes: %q", got.Method, got.URL.Path, got.ContentLength, body)
	}
	for name, want := range map[string]string{
		"Content-Type":     "application/vnd.tidegate.chunk",
		"Tidegate-Key":     "north-7/00000000000004d2/normal/1-99",
		"Authorization":    "Bearer s3cret",
		"User-Agent":       "tidegate/0.1",
		"Content-Encoding": "",
		"Idempotency-Key":  "",
	} {
		if value := got.Header.Get(name); value != want {
			t.Errorf("%s: %q, want %q", name, value, want)
		}
	}
}

// secret returns the path of a file that holds the text.
func secret(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	write(t, path, text)
	return path
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path+"~", []byte(text+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+"~", path); err != nil {
		t.Fatal(err)
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	var elsewhere atomic.Bool
	other := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		elsewhere.Store(true)
		io.WriteString(w, ack)
	})
	for _, code := range []int{301, 302, 303, 307, 308} {
		url := serve(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, other+"/login", code) })
		err := newSink(t, Config{URL: url}).Send(t.Context(), message("application/json", []byte("{}")))
		if err == nil || uplink.IsPermanent(err) || !strings.Contains(err.Error(), other+"/login") {
			t.Errorf("%d: %v, want a transient error that says where it leads", code, err)
		}
	}
	if elsewhere.Load() {
		t.Error("the message, and its token, went to another address")
	}
}

func TestConnectionsAreReused(t *testing.T) {
	addresses := map[string]bool{}
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		addresses[r.RemoteAddr] = true
		io.Copy(io.Discard, r.Body)
		if len(addresses) == 1 {
			io.WriteString(w, ack)
		}
	})
	sink := newSink(t, Config{URL: url})
	for range 10 {
		if err := sink.Send(t.Context(), message("application/json", []byte("{}"))); err != nil {
			t.Fatal(err)
		}
	}
	if len(addresses) != 1 {
		t.Errorf("10 messages took %d connections", len(addresses))
	}
}

// The other side may close a kept connection at the very moment that a message
// goes out on it. That is no outage.
func TestKeptConnectionThatIsClosedCostsNothing(t *testing.T) {
	var requests atomic.Int32
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		if requests.Add(1) == 2 {
			panic(http.ErrAbortHandler) // closes without an answer
		}
		io.WriteString(w, ack)
	})
	sink := newSink(t, Config{URL: url})
	for i := range 2 {
		if err := sink.Send(t.Context(), message("application/json", []byte("{}"))); err != nil {
			t.Errorf("message %d: %v", i+1, err)
		}
	}
	if n := requests.Load(); n != 3 {
		t.Errorf("%d requests, want 3: the second was repeated", n)
	}
}

func TestProxiesOfTheEnvironmentAreNotUsed(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	t.Setenv("http_proxy", "http://127.0.0.1:1")
	if newTransport(Config{}).Proxy != nil {
		t.Error("the transport asks somebody for a proxy")
	}
}

func TestEndlessAnswerIsBounded(t *testing.T) {
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		line := bytes.Repeat([]byte("x"), 32<<10)
		for {
			if _, err := w.Write(line); err != nil {
				return
			}
		}
	})
	err := newSink(t, Config{URL: url}).Send(t.Context(), message("application/json", []byte("{}")))
	if err == nil || len(err.Error()) > 1000 {
		t.Errorf("an error of %d bytes, want a short one", len(err.Error()))
	}
}

func TestNewRefusesWhatCannotWork(t *testing.T) {
	for _, url := range []string{"", "cloud.example", "ftp://cloud.example/", "http://", "https://user:pass@cloud.example/", "ftp://user:pass@x/", "http://user:pass@a b/"} {
		if _, err := New(Config{URL: url}); err == nil {
			t.Errorf("%q was accepted", url)
		} else if strings.Contains(err.Error(), "pass@") {
			t.Errorf("the error shows the password: %v", err)
		}
	}
}

// TestAThinLinkHasItsTime: the answer comes when the body has crawled over the
// link, and no sooner. Only the context says when that is too late.
func TestAThinLinkHasItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := newSink(t, Config{URL: "http://cloud.example/", Dial: func(context.Context, string, string) (net.Conn, error) {
			near, far := net.Pipe()
			go func() {
				defer far.Close()
				r, err := http.ReadRequest(bufio.NewReader(far))
				if err != nil {
					return
				}
				io.Copy(io.Discard, r.Body)
				time.Sleep(3 * time.Minute)
				fmt.Fprintf(far, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", len(ack), ack)
			}()
			return near, nil
		}})
		ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
		defer cancel()
		if err := sink.Send(ctx, message("application/json", []byte("{}"))); err != nil {
			t.Error(err)
		}
	})
}

// What an acknowledgement says beside is for whoever listens; what is none is not.
func TestAcknowledgementsAreShown(t *testing.T) {
	answers := []string{`{"error":"busy"}`, `{"acked":{"epoch":"0000000000000001","lane":"normal","first":1,"last":9},"commands":[1]}`}
	status := []int{http.StatusServiceUnavailable, http.StatusOK}
	n := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status[n])
		io.WriteString(w, answers[n])
		n++
	}))
	defer server.Close()
	var shown []string
	sink, err := New(Config{URL: server.URL, Answered: func(answer []byte) { shown = append(shown, string(answer)) }})
	if err != nil {
		t.Fatal(err)
	}
	defer sink.Close()
	m := uplink.Message{Key: uplink.Key{Gateway: "g", Epoch: 1, Lane: reading.Normal, First: 1, Last: 9}, Count: 9, Body: []byte("x")}
	if err := sink.Send(t.Context(), m); err == nil || len(shown) != 0 {
		t.Errorf("%v, shown %q", err, shown)
	}
	if err := sink.Send(t.Context(), m); err != nil || len(shown) != 1 || shown[0] != answers[1] {
		t.Errorf("%v, shown %q", err, shown)
	}
}

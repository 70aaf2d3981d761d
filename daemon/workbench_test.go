package daemon

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tidegate/tidegate/dashboard"
	"github.com/tidegate/tidegate/dashboard/api"
	"github.com/tidegate/tidegate/internal/base/leaktest"
)

// bench is a gateway on a machine of files, and its API.
type bench struct {
	*portBench
	gateway   *Daemon
	page      http.Handler
	url, text string // of the page, and the configuration
}

// newBench starts a gateway with doors at the machine's ports, which must be plugged in
// already.
func newBench(t *testing.T, b *portBench, doors string) *bench {
	t.Helper()
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() { leaktest.None(t, before) })
	text := fmt.Sprintf("[gateway]\nid = \"bench\"\ndata_dir = %q\n[ingest.mqtt]\nlisten = \"\"\n[dashboard]\nlisten = \"\"\n[buffer]\nprofile = \"speed\"\n%s",
		filepath.Join(b.root, "data"), doors)
	cfg, err := Parse("bench", []byte(text))
	b.must(err)
	d, err := New(cfg, slog.New(slog.DiscardHandler))
	b.must(err)
	file := filepath.Join(b.root, "tidegate.toml")
	b.must(os.WriteFile(file, []byte(text), 0o600))
	d.from(file, []byte(text))
	d.bench.host = b.Host
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	page := dashboard.NewServer(d.hub, nil, d.log)
	for _, r := range d.routes() {
		r.Access = dashboard.Open // who may is the business of others, and the test's ports lie where a page may set none
		r.Handler = dashboard.FromMachine(r.Handler)
		page.Handle(r)
	}
	front := http.NewServeMux()
	front.HandleFunc("GET /api/v1/session", signedIn)
	front.Handle("/", page)
	server := httptest.NewServer(front)
	t.Cleanup(func() {
		server.Close()
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		http.DefaultClient.CloseIdleConnections()
	})
	return &bench{b, d, page, server.URL, text}
}

// stream is an answer that takes its time.
type stream struct {
	t      *testing.T
	end    func()
	status int
	lines  *bufio.Scanner
}

// ask posts what is asked for, and returns the answer, which ends with the test.
func (b *bench) ask(path string, body any) *stream {
	b.Helper()
	text, err := json.Marshal(body)
	b.must(err)
	ctx, cancel := context.WithTimeout(b.Context(), patience)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, b.url+path, bytes.NewReader(text))
	b.must(err)
	resp, err := http.DefaultClient.Do(req)
	b.must(err)
	s := &stream{b.T, sync.OnceFunc(func() { cancel(); resp.Body.Close() }), resp.StatusCode, bufio.NewScanner(resp.Body)}
	s.lines.Buffer(nil, 1<<20)
	b.Cleanup(s.end)
	return s
}

// next decodes the next line; false at the end, with the error that is there.
func next[T any](s *stream) (value T, no string, ok bool) {
	s.t.Helper()
	if !s.lines.Scan() {
		return value, "", false
	}
	if no = api.RefusalOf(bytes.NewReader(s.lines.Bytes())); no != "" {
		return value, no, true
	}
	if err := json.Unmarshal(s.lines.Bytes(), &value); err != nil {
		s.t.Fatalf("%v in %s", err, s.lines.Bytes())
	}
	return value, "", true
}

// until reads lines until one is as wanted.
func until[T any](s *stream, what string, wanted func(T) bool) T {
	s.t.Helper()
	for {
		value, no, ok := next[T](s)
		if !ok || no != "" {
			s.t.Fatalf("%s: the answer ended: %s", what, no)
		}
		if wanted(value) {
			return value
		}
	}
}

// refusal is what is said instead of lines, or at the end of them.
func refusal[T any](s *stream) string {
	s.t.Helper()
	for {
		_, no, ok := next[T](s)
		if no != "" || !ok {
			return no
		}
	}
}

func (b *bench) get(path string, into any) {
	b.Helper()
	resp, err := http.Get(b.url + path)
	b.must(err)
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		b.Fatalf("%s: %s %s", path, resp.Status, api.RefusalOf(resp.Body))
	}
	b.must(json.NewDecoder(resp.Body).Decode(into))
}

// eventually waits until a condition holds.
func (b *bench) eventually(what string, condition func() bool) {
	b.Helper()
	deadline := time.After(patience)
	for !condition() {
		select {
		case <-deadline:
			b.Fatalf("not within %v: %s", patience, what)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// isFree waits until nobody works at a port.
func (b *bench) isFree() {
	b.Helper()
	b.eventually("nobody works at a port", func() bool {
		b.gateway.bench.mu.Lock()
		defer b.gateway.bench.mu.Unlock()
		return len(b.gateway.bench.tasks) == 0
	})
}

// speak writes to a line until the test ends.
func (b *portBench) speak(tty, text string, every time.Duration) {
	end := b.devices[tty]
	stop, stopped := make(chan struct{}), make(chan struct{})
	b.Cleanup(func() { close(stop); end.Close(); <-stopped }) // a line that nobody reads is full
	go func() {
		defer close(stopped)
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				io.WriteString(end, text)
			case <-stop:
				return
			}
		}
	}()
}

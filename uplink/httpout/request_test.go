package httpout

import (
	"bytes"
	"compress/gzip"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/tidegate/tidegate/uplink"
)

func TestBodiesAreCompressedWhereThatHelps(t *testing.T) {
	long := bytes.Repeat([]byte(`{"seq":1}`), 500)
	random := make([]byte, 4000)
	for i := range random {
		random[i] = byte(rand.Uint32())
	}
	for _, c := range []struct {
		name, contentType string
		how               Compression
		body              []byte
		want              string
	}{
		{"Packed", "application/vnd.tidegate.chunk", Gzip, long, ""},
		{"Auto", "application/json", Auto, long, "gzip"},
		{"AutoLines", "text/plain; charset=utf-8", Auto, long, "gzip"},
		{"Gzip", "application/json", Gzip, long, "gzip"},
		{"Zstd", "application/json", Zstd, long, "zstd"},
		{"None", "application/json", None, long, ""},
		{"Unsaid", "application/json", "", long, ""},
		{"Short", "application/json", Gzip, long[:90], ""},
		{"Random", "application/json", Gzip, random, ""},
		{"RandomZstd", "application/json", Zstd, random, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			url := serve(t, func(w http.ResponseWriter, r *http.Request) {
				if encoding := r.Header.Get("Content-Encoding"); encoding != c.want {
					t.Errorf("encoding %q, want %q", encoding, c.want)
				}
				if body := inflated(t, r); !bytes.Equal(body, c.body) {
					t.Errorf("%d bytes arrived, want %d", len(body), len(c.body))
				}
				io.WriteString(w, ack)
			})
			sink := newSink(t, Config{URL: url, Compression: c.how})
			var tasks sync.WaitGroup // compressors are shared
			for range 4 {
				tasks.Go(func() {
					if err := sink.Send(t.Context(), message(c.contentType, c.body)); err != nil {
						t.Error(err)
					}
				})
			}
			tasks.Wait()
		})
	}
}

func inflated(t *testing.T, r *http.Request) []byte {
	t.Helper()
	var from io.Reader = r.Body
	var err error
	switch r.Header.Get("Content-Encoding") {
	case "gzip":
		from, err = gzip.NewReader(r.Body)
	case "zstd":
		from, err = zstd.NewReader(r.Body)
	}
	if err != nil {
		t.Error(err)
		return nil
	}
	body, err := io.ReadAll(from)
	if err != nil {
		t.Error(err)
	}
	return body
}

func TestConfiguredHeadersAreSent(t *testing.T) {
	got := make(chan *http.Request, 1)
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		got <- r
		w.WriteHeader(http.StatusNoContent)
	})
	sink := newSink(t, Config{
		URL: url + "/api/v2/write?org=acme&bucket=tide", Method: http.MethodPut, TrustStatus: true, IdempotencyKey: true,
		Headers: []string{"X-Site: north: 7", "content-type: text/csv", "X-Site:south"},
		Auth:    Auth{TokenFile: secret(t, "s3cret"), TokenScheme: "Token"},
	})
	if err := sink.Send(t.Context(), message("text/plain", []byte("x"))); err != nil {
		t.Fatal(err)
	}
	r := <-got
	if r.Method != "PUT" || r.URL.RequestURI() != "/api/v2/write?org=acme&bucket=tide" {
		t.Errorf("%s %s", r.Method, r.URL)
	}
	for name, want := range map[string]string{
		"X-Site":          "north: 7|south",
		"Content-Type":    "text/csv",
		"Authorization":   "Token s3cret",
		"Idempotency-Key": `"north-7/00000000000004d2/normal/1-99"`,
		"Tidegate-Key":    "north-7/00000000000004d2/normal/1-99",
	} {
		if value := strings.Join(r.Header[name], "|"); value != want {
			t.Errorf("%s: %q, want %q", name, value, want)
		}
	}
}

func TestHeadersThatCannotBeSetAreRefused(t *testing.T) {
	for _, line := range []string{"", "X-Site", "X Site: a", ": a", "X: a\nY: b", "Authorization: Bearer x", "content-length: 5", "Tidegate-Key: a", "host: x"} {
		if _, err := New(Config{URL: "http://localhost/", Headers: []string{line}}); err == nil || !strings.Contains(err.Error(), "hint: ") {
			t.Errorf("%q: %v", line, err)
		}
	}
	if _, err := New(Config{URL: "http://localhost/", Compression: "brotli"}); err == nil || !strings.Contains(err.Error(), "hint: ") {
		t.Errorf("brotli: %v", err)
	}
}

// parted returns a message of n parts of one reading each.
func parted(n int) uplink.Message {
	m := message("application/json", nil)
	m.Last, m.Count = uint64(n), n
	for i := range n {
		m.Body = append(m.Body, 'a'+byte(i%26))
		m.Parts = append(m.Parts, uplink.Part{First: uint64(i + 1), Last: uint64(i + 1), Count: 1, Device: "d"})
	}
	for i := range m.Parts {
		m.Parts[i].Body = m.Body[i : i+1 : i+1]
	}
	return m
}

// TestEveryPieceIsARequest: nil means that all of them are there, and several
// are under way at once.
func TestEveryPieceIsARequest(t *testing.T) {
	const n, connections = 40, 4
	var mu sync.Mutex
	got := map[string]string{}
	here, most, all := 0, 0, make(chan struct{})
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		got[r.Header.Get(KeyHeader)] += string(body)
		here++
		most = max(most, here)
		if here == connections && most == connections {
			select {
			case <-all:
			default:
				close(all)
			}
		}
		mu.Unlock()
		<-all // nobody is answered before as many are here as there are connections
		mu.Lock()
		here--
		mu.Unlock()
		io.WriteString(w, ackFor(r.Header.Get(KeyHeader)))
	})
	sink := newSink(t, Config{URL: url, Connections: connections})
	m := parted(n)
	if err := sink.Send(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	if len(got) != n || most != connections {
		t.Errorf("%d of %d requests, at most %d at once, want %d", len(got), n, most, connections)
	}
	for _, p := range m.Parts {
		if body := got[m.PartKey(p)]; body != string(p.Body) {
			t.Errorf("%s: %q, want %q", m.PartKey(p), body, p.Body)
		}
	}
	if err := sink.Send(t.Context(), uplink.Message{Key: key, Parts: []uplink.Part{}}); err != nil {
		t.Errorf("a message of nothing: %v", err)
	}
}

// TestWorstPieceDecides has one piece fail in each way, beside one that fails for
// now.
func TestWorstPieceDecides(t *testing.T) {
	for status, check := range map[int]func(error) bool{
		http.StatusBadRequest:            uplink.IsPermanent,
		http.StatusRequestEntityTooLarge: uplink.IsTooLarge,
		http.StatusUnauthorized:          func(err error) bool { d, ok := uplink.RetryDelay(err); return ok && d == time.Minute },
	} {
		meet := make(chan struct{})
		url := serve(t, func(w http.ResponseWriter, r *http.Request) {
			switch body, _ := io.ReadAll(r.Body); string(body) {
			case "a":
				meet <- struct{}{}
				w.WriteHeader(status)
			case "b":
				<-meet
				w.WriteHeader(http.StatusServiceUnavailable)
			default:
				w.WriteHeader(http.StatusOK)
			}
		})
		err := newSink(t, Config{URL: url, Connections: 2, TrustStatus: true}).Send(t.Context(), parted(9))
		if !check(err) {
			t.Errorf("%d beside 503: %v", status, err)
		}
	}
}

func TestLimitIsLearnt(t *testing.T) {
	for text, want := range map[string]int{
		"":          50_000,
		"too large": 50_000,
		`{"error":"larger than 32 KiB","hint":"smaller batches"}`:              32 << 10,
		"too big request; it mustn't exceed -maxInsertRequestSize=65536 bytes": 65536,
		"at most 1MiB":   50_000, // larger than what was refused
		"413 2026-11-28": 50_000,
		"<title>413 Request Entity Too Large</title><center>nginx/1.22.1</center>": 50_000,
		"limit: 100 bytes": 50_000, // not believed
		`{"limit":20000}`:  20000,
	} {
		most := 1 << 30
		url := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if body, _ := io.ReadAll(r.Body); len(body) > most {
				w.WriteHeader(http.StatusRequestEntityTooLarge)
				io.WriteString(w, text)
			}
		})
		sink := newSink(t, Config{URL: url, TrustStatus: true})
		send := func(size int) error {
			return sink.Send(t.Context(), message("application/json", make([]byte, size)))
		}
		if err := send(100_000); err != nil || sink.Limit() != 0 {
			t.Fatalf("limit %d before anything was refused, %v", sink.Limit(), err)
		}
		most = 80_000
		if err := send(100_000); !uplink.IsTooLarge(err) || sink.Limit() != want {
			t.Errorf("%q: %v, limit %d, want %d", text, err, sink.Limit(), want)
		}
		if err := send(70_000); err != nil || want == 50_000 && sink.Limit() != 70_000 {
			t.Errorf("%q: %v, limit %d after 70000 went through", text, err, sink.Limit())
		}
		most = 60_000
		if err := send(70_000); !uplink.IsTooLarge(err) || sink.Limit() >= 70_000 {
			t.Errorf("%q: %v, limit %d after 70000 were refused", text, err, sink.Limit())
		}
	}
}

// FuzzSizeIn: a text of the other side names a size of bytes or none.
func FuzzSizeIn(f *testing.F) {
	f.Add([]byte("larger than 8 MiB"))
	f.Add([]byte("exceed 999999999999 mb"))
	f.Fuzz(func(t *testing.T, answer []byte) {
		if n := sizeIn(answer); n < 0 || n > 0 && !bytes.ContainsAny(answer, "0123456789") {
			t.Errorf("%q names %d", answer, n)
		}
	})
}

package httpin

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/ingest/ingesttest"
	"github.com/tidegate/tidegate/reading"
)

// raw says what is given on a connection of its own, and returns it.
func (w *world) raw(t *testing.T, text string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(w.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	return conn
}

// status reads an answer that is due.
func status(t *testing.T, conn net.Conn) int {
	t.Helper()
	code, err := statusOf(conn)
	if err != nil {
		t.Fatal(err)
	}
	return code
}

// statusOf reads an answer that may not come.
func statusOf(conn net.Conn) (int, error) {
	if err := conn.SetReadDeadline(time.Now().Add(ingesttest.Patience)); err != nil {
		return 0, err
	}
	r, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return 0, err
	}
	r.Body.Close()
	return r.StatusCode, nil
}

// stream returns a frame of zstd whose header does not say how much there is.
func stream(t *testing.T, body []byte, options ...zstd.EOption) []byte {
	t.Helper()
	var packed bytes.Buffer
	w, err := zstd.NewWriter(&packed, options...)
	if err != nil {
		t.Fatal(err)
	}
	w.Write(body[:1])
	w.Flush()
	w.Write(body[1:])
	w.Close()
	return packed.Bytes()
}

// Many small frames, none of which says how large it is behind the compression,
// are unpacked no further than one.
func TestABombOfManyFramesIsNotUnpacked(t *testing.T) {
	w := start(t, config(t))
	bomb := bytes.Repeat(stream(t, make([]byte, 7<<20)), 40)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	w.do(t, request{path: "/v1/readings/a", header: map[string]string{"Content-Encoding": "zstd"}, body: string(bomb), status: 413})
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; took > 16<<20 {
		t.Errorf("%d bytes of memory for %d on the wire", took, len(bomb))
	}
}

// A small body is small whatever window its compressor asks for, and a body may
// have exactly the size that is allowed.
func TestZstdTakesBodiesUpToTheLimit(t *testing.T) {
	cfg := config(t)
	cfg.MaxBody = 100_000
	w := start(t, cfg)
	packed := map[string]string{"Content-Encoding": "zstd"}
	w.do(t, request{path: "/v1/readings/a", header: packed, body: string(stream(t, []byte(`{"temp":1}`), zstd.WithWindowSize(128<<20))), status: 201, answer: `{"readings":1}`})
	exact := []byte(`"` + strings.Repeat("x", cfg.MaxBody-2) + `"`)
	w.do(t, request{path: "/v1/readings/a", header: packed, body: string(stream(t, exact)), status: 201})
	w.do(t, request{path: "/v1/readings/a", header: packed, body: string(stream(t, append(exact, ' '))), status: 413})
	two := append(stream(t, exact[:50_000]), stream(t, exact[50_000:])...)
	w.do(t, request{path: "/v1/readings/a", header: packed, body: string(two), status: 201})
	encoder, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	known := encoder.EncodeAll(exact[50_000:], encoder.EncodeAll(exact[:50_000], nil))
	w.do(t, request{path: "/v1/readings/a", header: packed, body: string(known), status: 201})
}

// What is read of a compressed body is bounded, too, even if nothing is behind it.
func TestEndlessNothingIsNotRead(t *testing.T) {
	w := start(t, config(t))
	var empty bytes.Buffer
	gzip.NewWriter(&empty).Close()
	body, out := io.Pipe()
	go func() {
		many := bytes.Repeat(empty.Bytes(), 1000)
		for {
			if _, err := out.Write(many); err != nil {
				return
			}
		}
	}()
	defer body.Close()
	ctx, cancel := context.WithTimeout(t.Context(), ingesttest.Patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url+"/v1/readings/a", body)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Encoding", "gzip")
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("status %d", response.StatusCode)
	}
}

// Devices on slow links, whose bodies have only begun to arrive, hold what has
// arrived and no more, whatever they announce: others find room.
func TestSlowBodiesHoldOnlyWhatHasArrived(t *testing.T) {
	cfg := config(t)
	cfg.MaxInFlight = 2 << 20
	w := start(t, cfg)
	head := "POST /v1/readings/a HTTP/1.1\r\nHost: x\r\n"
	for range 10 {
		w.raw(t, head+"Content-Length: 1000000\r\n\r\n{")
		w.raw(t, head+"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n")
		w.raw(t, head+"Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n\x1f\r\n")
	}
	for w.Stats().Clients < 30 {
		runtime.Gosched()
	}
	w.do(t, request{path: "/v1/readings/b", body: strings.Repeat(" ", 100_000) + "1", status: 201})
}

// stuck is a custody that has no room.
type stuck struct{ *ingesttest.Custody }

func (stuck) Accept(ctx context.Context, _ []reading.Reading, _ ...reading.Note) (ingest.Receipt, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// Readings that wait for room take from the budget what they take of memory,
// which may be much more than their bodies did.
func TestReadingsThatWaitAreInTheBudget(t *testing.T) {
	cfg := config(t)
	cfg.Patience = time.Minute
	w := startOn(t, cfg, stuck{ingesttest.NewCustody()})
	body := strings.Repeat("1\n", maxReadings)
	ctx, cancel := context.WithCancel(t.Context())
	var senders sync.WaitGroup
	defer senders.Wait()
	defer cancel()
	overloaded := make(chan struct{}, 40)
	for range 40 {
		senders.Go(func() {
			r, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url+"/v1/readings/a", strings.NewReader(body))
			if err != nil {
				return
			}
			r.Header.Set("Content-Type", "application/x-ndjson")
			response, err := http.DefaultClient.Do(r)
			if err != nil {
				return
			}
			response.Body.Close()
			if response.StatusCode == http.StatusTooManyRequests && response.Header.Get("Retry-After") != "" {
				overloaded <- struct{}{}
			}
		})
	}
	for range 30 {
		select {
		case <-overloaded:
		case <-time.After(ingesttest.Patience):
			t.Fatal("40 times 16384 readings wait in 8 MiB")
		}
	}
}

// More than custody takes at once is refused as too large, not as something to be
// sent again: it would come again for ever.
func TestMoreTextThanCustodyTakesIsTooLarge(t *testing.T) {
	cfg := config(t)
	cfg.MaxInFlight = 64 << 20
	w := start(t, cfg)
	var line strings.Builder
	fmt.Fprintf(&line, `{"%s":{`, strings.Repeat("k", 240))
	for i := range 4000 {
		fmt.Fprintf(&line, `"abcd%d":1,`, i)
	}
	text := strings.TrimSuffix(line.String(), ",") + "}}\n"
	w.do(t, request{path: "/v1/readings/a", header: map[string]string{"Content-Type": "application/x-ndjson"}, body: strings.Repeat(text, 4), status: 413, answer: `{"error":"readings of more than`})
	if rs := w.custody.Taken(t, 0); len(rs) != 0 {
		t.Errorf("%d readings of a refused request were taken", len(rs))
	}
}

// A body that does not come in time is the link's fault, not the payload's: its
// sender must not throw it away.
func TestASlowBodyIsNotWrong(t *testing.T) {
	// On a machine that is busy, the header may be late, too: that connection just ends.
	for timeout := 100 * time.Millisecond; ; timeout *= 4 {
		cfg := config(t)
		cfg.Timeout = timeout
		conn := start(t, cfg).raw(t, "")
		io.WriteString(conn, "POST /v1/readings/a HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
		got, err := statusOf(conn)
		if err != nil && timeout < ingesttest.Patience {
			continue
		}
		if err != nil || got != http.StatusRequestTimeout {
			t.Errorf("status %d, %v", got, err)
		}
		return
	}
}

// Who asks before sending is answered before sending.
func TestARefusalSparesTheBody(t *testing.T) {
	w := start(t, config(t))
	for _, head := range []string{
		"POST /v1/readings/a HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2000000\r\n\r\n",
		"GET /v1/readings/a HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2000\r\n\r\n",
	} {
		if got := status(t, w.raw(t, head)); got < 400 {
			t.Errorf("%.30q: status %d", head, got)
		}
	}
}

// A client that does not read its answers does not keep its place for ever.
func TestWhoDoesNotReadAnswersIsDropped(t *testing.T) {
	cfg := config(t)
	cfg.Timeout = 300 * time.Millisecond
	w := start(t, cfg)
	conn := w.raw(t, "")
	dropped := make(chan struct{})
	go func() {
		defer close(dropped)
		one := "GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n"
		for many := strings.Repeat(one, 1000); ; {
			if _, err := io.WriteString(conn, many); err != nil {
				return
			}
		}
	}()
	select {
	case <-dropped:
	case <-time.After(ingesttest.Patience):
		t.Fatal("it is still there")
	}
	for late := time.After(ingesttest.Patience); w.Stats().Clients != 0; {
		select {
		case <-late:
			t.Fatal("it has its place still")
		case <-time.After(time.Millisecond):
		}
	}
}

// Topics are taken as they are written: a slash at their beginning, or two in the
// middle, mean to a broker what they mean here.
func TestTopicsAreNotTidiedUp(t *testing.T) {
	w := start(t, config(t))
	for i, topic := range []string{"/hall/temp", "a//b", "a/../b", "a/./b", "a/"} {
		r := bufio.NewReader(w.raw(t, "POST /v1/readings/"+topic+" HTTP/1.1\r\nHost: x\r\nContent-Length: 7\r\n\r\n{\"v\":1}"))
		response, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != http.StatusCreated {
			t.Errorf("%s: status %d", topic, response.StatusCode)
			return
		}
		if got := w.custody.Taken(t, i+1)[i].Device; got != topic {
			t.Errorf("%s became %s", topic, got)
		}
	}
	w.do(t, request{path: "/v1/readings", body: "1", status: 404, answer: `{"error":"\"\" is no topic"`})
}

// lingering is a custody that does not notice that its caller has gone.
type lingering struct {
	*ingesttest.Custody
	entered, leave chan struct{}
}

func (l lingering) Accept(context.Context, []reading.Reading, ...reading.Note) (ingest.Receipt, error) {
	close(l.entered)
	<-l.leave
	return nil, ingest.ErrFull
}

// When Run has returned, nobody uses the intake any more.
func TestRunEndsAfterItsRequests(t *testing.T) {
	custody := lingering{ingesttest.NewCustody(), make(chan struct{}), make(chan struct{})}
	s := New(config(t), discard())
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx, ingest.NewIntake(custody, nil, time.Now)) }()
	w := &world{Source: s, url: "http://" + s.Addr(t.Context()).String()}
	w.raw(t, "POST /v1/readings/a HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n1")
	<-custody.entered
	cancel()
	select {
	case <-ended:
		t.Error("Run ended before its request")
	case <-time.After(grace + 300*time.Millisecond):
	}
	close(custody.leave)
	<-ended
}

// Custody that has no room in time is a matter of time, not a failure.
func TestWhoWaitsTooLongForRoomIsToldToComeAgain(t *testing.T) {
	cfg := config(t)
	cfg.Patience = 50 * time.Millisecond
	w := startOn(t, cfg, stuck{ingesttest.NewCustody()})
	r := w.do(t, request{path: "/v1/readings/a", body: "1", status: 429, answer: `{"error":"there is no room`})
	if r.Header.Get("Retry-After") == "" {
		t.Error("nobody says when")
	}
}

// What comes before a body is bounded, too.
func TestHeadersAreBounded(t *testing.T) {
	w := start(t, config(t))
	conn := w.raw(t, "POST /v1/readings/a HTTP/1.1\r\nHost: x\r\nX: "+strings.Repeat("x", maxHeader+8<<10))
	if got := status(t, conn); got != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("status %d", got)
	}
}

// A connection counts once, however it ends.
func TestConnectionsAreCountedOnce(t *testing.T) {
	w := start(t, config(t))
	for range 5 {
		conn := w.raw(t, "GET /x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		status(t, conn)
		conn.Close()
	}
	near, far := net.Pipe()
	defer far.Close()
	c := &counted{Conn: near, stats: &w.stats}
	w.stats.clients.Add(1)
	c.Close()
	c.Close()
	for late := time.After(ingesttest.Patience); w.Stats().Clients != 0; {
		select {
		case <-late:
			t.Fatalf("%d are left", w.Stats().Clients)
		case <-time.After(time.Millisecond):
		}
	}
}

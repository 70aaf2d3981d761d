package dashboard

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestEventsAreTheFramesOfTheWebSocket(t *testing.T) {
	stageOfPipes(t, func(hub *Hub, pipes *pipes) {
		f := follow(t, pipes, "/events", "")
		if f.header.Get("Content-Type") != "text/event-stream" || f.header.Get("Cache-Control") != "no-store" {
			t.Errorf("header: %v", f.header)
		}
		if e := f.next(); e != "retry: 2000" {
			t.Errorf("first: %q", e)
		}
		page := make(model)
		page.apply(t, f.frame(hub))
		for i := range 240 { // two minutes: no deadline of the server ends it
			hub.Publish(batch("boiler", 2, float64(i)))
			for page["boiler/m1"] != float64(i) {
				page.apply(t, f.frame(hub))
			}
			time.Sleep(500 * time.Millisecond)
		}
	})
}

func TestEventsOfValuesTellNothingElse(t *testing.T) {
	stageOfPipes(t, func(hub *Hub, pipes *pipes) {
		f := follow(t, pipes, "/events?values", "")
		f.next()
		if first := f.frame(hub); first.From != 0 || first.Status != nil {
			t.Errorf("first frame: %+v", first)
		}
		began := time.Now()
		for range 3 {
			if e := f.next(); e != ": ping" {
				t.Errorf("in silence: %q", e)
			}
		}
		if took := time.Since(began); took != 3*sayEvery {
			t.Errorf("three pings in %v", took)
		}
		hub.Publish(batch("boiler", 1, 7))
		if again := f.frame(hub); again.metric("boiler", "m0") == nil || again.Status != nil {
			t.Errorf("after a reading: %+v", again)
		}
	})
}

func TestEventsGoOnWhereTheyWere(t *testing.T) {
	stageOfPipes(t, func(hub *Hub, pipes *pipes) {
		hub.Publish(batch("boiler", 1, 1))
		time.Sleep(time.Second)
		f := follow(t, pipes, "/events", "")
		f.next()
		last := f.frame(hub)
		f.conn.Close()
		hub.Publish(batch("pump", 1, 2))
		time.Sleep(time.Second)
		f = follow(t, pipes, "/events", hub.mark(last.Seq))
		f.next()
		if again := f.frame(hub); again.From != last.Seq || len(again.Devices) != 1 || again.metric("pump", "m0") == nil {
			t.Errorf("from %d after %d: %+v", again.From, last.Seq, again.Devices)
		}
		f = follow(t, pipes, "/events", "0123456789abcdef-3") // of a gateway before its restart
		f.next()
		if again := f.frame(hub); again.From != 0 || len(again.Devices) != 2 {
			t.Errorf("from %d: %+v, want everything", again.From, again.Devices)
		}
	})
}

func TestWhoDoesNotReadEventsIsDismissed(t *testing.T) {
	stageOfPipes(t, func(hub *Hub, pipes *pipes) {
		conn := pipes.dial()
		defer conn.Close()
		if _, err := io.WriteString(conn, "GET /events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		hub.shown.Lock()
		defer hub.shown.Unlock()
		if n := len(hub.viewers); n != 0 {
			t.Errorf("%d viewers after %v without a read, want none", n, writeTimeout)
		}
	})
}

func TestEventsHaveTheSlotsOfTheWebSocket(t *testing.T) {
	g := startGateway(t, Config{Interval: time.Millisecond, MaxViewers: 2})
	g.watch()
	if response, err := http.Head(g.url + "/events"); err != nil || response.StatusCode != http.StatusOK {
		t.Fatal(response, err)
	}
	g.get("/events", nil)
	response := g.get("/events", nil)
	if response.StatusCode != http.StatusServiceUnavailable || response.Header.Get("Retry-After") == "" {
		t.Errorf("viewer 3: HTTP %d, %v", response.StatusCode, response.Header)
	}
	if _, code := g.dial(nil); code != http.StatusServiceUnavailable {
		t.Errorf("viewer 4: HTTP %d", code)
	}
}

// stageOfPipes runs a hub and a server in a bubble.
func stageOfPipes(t *testing.T, f func(*Hub, *pipes)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		hub := NewHub(Config{}, func() Status { return Status{} })
		defer run(t, hub)()
		pipes := newPipes()
		ctx, cancel := context.WithCancel(context.Background())
		served := make(chan error, 1)
		go func() { served <- NewServer(hub, nil, slog.New(slog.DiscardHandler)).Serve(ctx, pipes) }()
		f(hub, pipes)
		for _, conn := range pipes.dialled {
			conn.Close()
		}
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
}

// follower reads a stream of events.
type follower struct {
	t      *testing.T
	conn   net.Conn
	header http.Header
	lines  *bufio.Reader
}

func follow(t *testing.T, pipes *pipes, path, last string) *follower {
	t.Helper()
	conn := pipes.dial()
	if last != "" {
		last = "Last-Event-ID: " + last + "\r\n"
	}
	if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\n%s\r\n", path, last); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatal(response, err)
	}
	return &follower{t, conn, response.Header, bufio.NewReader(response.Body)}
}

// next returns what comes before the next empty line.
func (f *follower) next() (event string) {
	f.t.Helper()
	for {
		line, err := f.lines.ReadString('\n')
		if err != nil {
			f.t.Fatalf("after %q: %v", event, err)
		}
		if line == "\n" {
			return strings.TrimSuffix(event, "\n")
		}
		event += line
	}
}

func (f *follower) frame(hub *Hub) *frame {
	f.t.Helper()
	id, data, ok := strings.Cut(f.next(), "\ndata: ")
	if !ok {
		f.t.Fatalf("an event without data: %q", id)
	}
	got := parse(f.t, []byte(data))
	if id != "id: "+hub.mark(got.Seq) {
		f.t.Errorf("%s of frame %d", id, got.Seq)
	}
	return got
}

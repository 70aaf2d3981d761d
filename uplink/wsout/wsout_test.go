package wsout

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/tidegate/tidegate/internal/conf"
	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/uplink"
)

// patience bounds what must happen soon.
const patience = time.Minute

func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func message(n, size int) uplink.Message {
	return uplink.Message{
		Key:         uplink.Key{Gateway: "north-7", Epoch: 0x4d2, Lane: reading.Normal, First: uint64(n), Last: uint64(n)},
		Count:       1,
		ContentType: "application/vnd.tidegate.chunk",
		Body:        []byte(strings.Repeat("x", size)),
	}
}

// serve starts a server and returns its address.
func serve(t testing.TB, handle http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(handle)
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

func secret(t *testing.T, text string) func() (conf.Secret, error) {
	path := t.TempDir() + "/secret"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return func() (conf.Secret, error) { return conf.ReadSecret(path) }
}

// The handshake says who it is, and each message what it is; the second one does
// not repeat the media type.
func TestHandshakeAndFramesAreThoseOfThePackageComment(t *testing.T) {
	var shaken *http.Request
	frames := make(chan string, 3)
	address := serve(t, func(w http.ResponseWriter, r *http.Request) {
		shaken = r
		c, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{Protocol}})
		if err != nil {
			return
		}
		defer c.CloseNow()
		for {
			kind, text, err := c.Read(context.Background())
			if err != nil {
				return
			}
			if kind != websocket.MessageBinary {
				t.Errorf("a message of kind %v", kind)
			}
			frames <- string(text)
			_, k, _ := strings.Cut(strings.SplitN(string(text), "\n", 2)[0], " ")
			say(t, c, `{"acked":{%s}}`, spanOf(k))
		}
	})
	sink := newSink(t, Config{URL: "ws://" + address + "/v1/ingest?site=7", Token: secret(t, "s3cret\n"), UserAgent: "tidegate/0.1", Header: http.Header{"X-Site": {"north"}}})
	other := message(3, 1)
	other.ContentType = "application/json"
	for i, want := range []string{
		"application/vnd.tidegate.chunk north-7/00000000000004d2/normal/1-1\nxx",
		" north-7/00000000000004d2/normal/2-2\nxx",
		"application/json north-7/00000000000004d2/normal/3-3\nx",
	} {
		m := []uplink.Message{message(1, 2), message(2, 2), other}[i]
		if err := sink.Send(within(t), m); err != nil {
			t.Fatal(err)
		}
		if got := <-frames; got != want {
			t.Errorf("frame %q, want %q", got, want)
		}
	}
	for name, want := range map[string]string{
		"Authorization": "Bearer s3cret", "User-Agent": "tidegate/0.1", "X-Site": "north", "Sec-Websocket-Protocol": Protocol, "Sec-Websocket-Extensions": "", "Accept-Encoding": "",
	} {
		if got := shaken.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if shaken.URL.RequestURI() != "/v1/ingest?site=7" {
		t.Errorf("asked for %s", shaken.URL)
	}
}

func TestWhoIsSending(t *testing.T) {
	var said string
	address := serve(t, func(w http.ResponseWriter, r *http.Request) {
		said = r.Header.Get("Authorization")
		http.Error(w, "no", http.StatusUnauthorized)
	})
	err := newSink(t, Config{URL: "ws://" + address, Username: "north", Password: secret(t, "pass")}).Send(within(t), message(1, 1))
	if said != "Basic bm9ydGg6cGFzcw==" || classOf(err) != "1m0s" || !strings.Contains(err.Error(), "check the token") {
		t.Errorf("said %q: %v", said, err)
	}
	gone := func() (conf.Secret, error) { return conf.ReadSecret("/nowhere/secret") }
	err = newSink(t, Config{URL: "ws://" + address, Token: gone}).Send(within(t), message(1, 1))
	if classOf(err) != "1m0s" || !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "hint: ") {
		t.Errorf("without its secret: %v", err)
	}
}

// Messages are not held up by the answers to those before, and answers come in any
// order.
func TestManyAreOnTheirWayAtOnce(t *testing.T) {
	const n = 50
	arrived, release := make(chan string, n), make(chan struct{})
	var connections atomic.Int32
	sink := newSink(t, Config{URL: "ws://" + peer(t, func(c *websocket.Conn, key string, _ []byte) {
		arrived <- key
		<-release
		say(t, c, `{"acked":{%s}}`, spanOf(key))
	})})
	sink.cfg.Dial = counting(sink.cfg.Dial, &connections)
	var tasks sync.WaitGroup
	for i := range n {
		tasks.Go(func() {
			if err := sink.Send(within(t), message(i, 100)); err != nil {
				t.Error(err)
			}
		})
	}
	var keys []string
	for range n {
		keys = append(keys, <-arrived) // all of them, and none has its answer
	}
	close(release)
	tasks.Wait()
	slices.Sort(keys)
	if len(slices.Compact(keys)) != n || connections.Load() != 1 {
		t.Errorf("%d messages over %d connections", len(keys), connections.Load())
	}
}

func counting(dial uplink.Dial, n *atomic.Int32) uplink.Dial {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		n.Add(1)
		return dial(ctx, network, address)
	}
}

// An acknowledgement may speak of several messages.
func TestOneAnswerForSeveral(t *testing.T) {
	var mu sync.Mutex
	seen := 0
	sink := newSink(t, Config{URL: "ws://" + peer(t, func(c *websocket.Conn, _ string, _ []byte) {
		mu.Lock()
		defer mu.Unlock()
		if seen++; seen == 5 {
			say(t, c, `{"acked":{"epoch":"00000000000004d2","lane":"normal","first":1,"last":5}}`)
		}
	})})
	var tasks sync.WaitGroup
	for i := range 5 {
		tasks.Go(func() {
			if err := sink.Send(within(t), message(i+1, 10)); err != nil {
				t.Error(err)
			}
		})
	}
	tasks.Wait()
}

// A close code says that a message is too large, but not which one: nobody is
// blamed who may be innocent.
func TestRefusalOfNobodyInParticular(t *testing.T) {
	for waiting, want := range map[int]string{1: tooLarge, 2: transient} {
		arrived := make(chan *websocket.Conn, waiting)
		sink := newSink(t, Config{URL: "ws://" + peer(t, func(c *websocket.Conn, _ string, _ []byte) { arrived <- c })})
		errs := make(chan error, waiting)
		for i := range waiting {
			go func() { errs <- sink.Send(within(t), message(i, 10)) }()
		}
		var c *websocket.Conn
		for range waiting {
			c = <-arrived
		}
		go c.Close(websocket.StatusMessageTooBig, "")
		for range waiting {
			if err := <-errs; classOf(err) != want {
				t.Errorf("%d: %v, want %s", waiting, err, want)
			}
		}
	}
}

// A connection that was closed while nothing was sent is no outage.
func TestKeptConnectionThatIsClosedCostsNothing(t *testing.T) {
	for name, end := range map[string]func(c *websocket.Conn){
		"Politely": func(c *websocket.Conn) { c.Close(websocket.StatusGoingAway, "restart") },
		"Rudely":   func(c *websocket.Conn) { c.CloseNow() },
	} {
		t.Run(name, func(t *testing.T) {
			var connections atomic.Int32
			var last *websocket.Conn
			sink := newSink(t, Config{URL: "ws://" + peer(t, func(c *websocket.Conn, key string, _ []byte) {
				last = c
				say(t, c, `{"acked":{%s}}`, spanOf(key))
			})})
			sink.cfg.Dial = counting(sink.cfg.Dial, &connections)
			for i := range 5 {
				if err := sink.Send(within(t), message(i, 10)); err != nil {
					t.Errorf("message %d: %v", i, err)
				}
				end(last)
			}
			if n := connections.Load(); n != 5 {
				t.Errorf("%d connections, want 5", n)
			}
		})
	}
}

func TestOtherSubprotocolsAreForeign(t *testing.T) {
	address := serve(t, func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, nil)
		if err == nil {
			c.Read(context.Background())
		}
	})
	err := newSink(t, Config{URL: "ws://" + address}).Send(within(t), message(1, 10))
	if classOf(err) != "1m0s" || !strings.Contains(err.Error(), "tidegate.v1") {
		t.Errorf("got %v", err)
	}
}

// The limit is learnt from the handshake, and from a refusal.
func TestLimitIsLearnt(t *testing.T) {
	address := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(LimitHeader, "5000")
		w.Header().Set("Server", "cloud/1")
		c, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{Protocol}})
		if err != nil {
			return
		}
		for {
			if _, _, err := c.Read(context.Background()); err != nil {
				return
			}
			say(t, c, `{"refused":{"epoch":"00000000000004d2","lane":"normal","first":1,"last":1,"class":"too_large","limit":3000}}`)
		}
	})
	sink := newSink(t, Config{URL: "ws://" + address})
	if sink.Limit() != 0 {
		t.Errorf("limit %d before anybody has said so", sink.Limit())
	}
	about, err := sink.Probe(within(t))
	if err != nil || sink.Limit() != 5000 || !strings.Contains(about, "cloud/1") || !strings.Contains(about, Protocol) {
		t.Errorf("%q, limit %d, %v", about, sink.Limit(), err)
	}
	if err := sink.Send(within(t), message(1, 4000)); classOf(err) != tooLarge || sink.Limit() != 3000 {
		t.Errorf("limit %d, %v", sink.Limit(), err)
	}
}

func TestNewRefusesWhatCannotWork(t *testing.T) {
	for _, url := range []string{"", "cloud.example", "http://cloud.example/", "ws://", "wss://user:pass@cloud.example/", "ftp://user:pass@x/", "ws://user:pass@a b/"} {
		if _, err := New(Config{URL: url}); err == nil || !strings.Contains(err.Error(), "hint: ") {
			t.Errorf("%q: %v", url, err)
		} else if strings.Contains(err.Error(), "pass@") {
			t.Errorf("the error shows the password: %v", err)
		}
	}
	s := newSink(t, Config{URL: "ws://127.0.0.1:1/"})
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := s.Send(within(t), message(1, 1)); !errors.Is(err, errClosed) {
		t.Errorf("after Close: %v", err)
	}
}

func waitFor(t testing.TB, met func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for !met() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("waited in vain")
		}
	}
}

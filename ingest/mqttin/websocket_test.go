package mqttin

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/ingest/ingesttest"
)

// overHTTP mounts the source on an HTTP server and returns its address.
func overHTTP(t *testing.T, src *Source) (url string) {
	t.Helper()
	src.Addr(t.Context())
	server := httptest.NewServer(src)
	t.Cleanup(server.Close)
	return server.URL
}

// webClient is a client over a WebSocket that has not said anything.
func webClient(t *testing.T, url string) (*client, *websocket.Conn) {
	t.Helper()
	return webClientOver(t, url, new(net.Dialer).DialContext)
}

func webClientOver(t *testing.T, url string, dial func(ctx context.Context, network, address string) (net.Conn, error)) (*client, *websocket.Conn) {
	t.Helper()
	var below net.Conn
	ws, _, err := websocket.Dial(t.Context(), url, &websocket.DialOptions{
		Subprotocols: []string{"mqtt"},
		HTTPClient: &http.Client{Transport: &http.Transport{
			DisableKeepAlives: true,
			DialContext: func(ctx context.Context, network, address string) (_ net.Conn, err error) {
				below, err = dial(ctx, network, address)
				return below, err
			},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ws.CloseNow() })
	ws.SetReadLimit(-1)
	nc := &webSocket{Conn: below, ws: ws}
	return &client{Conn: nc, t: t, in: bufio.NewReader(nc), version: 4}, ws
}

// webInVirtualTime is inVirtualTime with a client over a WebSocket that has said hello,
// on a connection that holds nothing.
func webInVirtualTime(t *testing.T, cfg Config, test func(t *testing.T, src *Source, c *client, ws *websocket.Conn, join func() *client)) {
	t.Helper()
	inVirtualTime(t, cfg, func(t *testing.T, src *Source, join func() *client) {
		come := make(memoryListener)
		server := &http.Server{Handler: src}
		ended := make(chan error, 1)
		go func() { ended <- server.Serve(come) }()
		c, ws := webClientOver(t, "http://gateway/mqtt", func(context.Context, string, string) (net.Conn, error) {
			ours, theirs := net.Pipe()
			come <- theirs
			return ours, nil
		})
		c.hello(packets.Packet{Connect: packets.ConnectParams{ClientIdentifier: "web", Clean: true}})
		test(t, src, c, ws, join)
		ws.CloseNow()
		server.Close()
		<-ended
	})
}

// memoryListener listens to the connections that it is sent.
type memoryListener chan net.Conn

func (l memoryListener) Accept() (net.Conn, error) {
	if nc, ok := <-l; ok {
		return nc, nil
	}
	return nil, net.ErrClosed
}
func (l memoryListener) Close() error { close(l); return nil }
func (memoryListener) Addr() net.Addr { return &net.TCPAddr{} }

func connectWeb(t *testing.T, url, id string) *client {
	t.Helper()
	c, _ := webClient(t, url)
	c.hello(packets.Packet{Connect: packets.ConnectParams{ClientIdentifier: id, Clean: true, Keepalive: 60}})
	return c
}

// The suite that every door passes, over a WebSocket.
func TestDoorOverWebSocket(t *testing.T) {
	var current atomic.Pointer[Source]
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		current.Load().ServeHTTP(w, r)
	}))
	defer server.Close()
	for _, qos := range []byte{1, 2} {
		ingesttest.Run(t, ingesttest.Door{
			New: func(t *testing.T) ingest.Source { return idleSource(t) },
			Speak: func(t *testing.T, source ingest.Source) ingesttest.Peer {
				src := source.(*Source)
				src.Addr(t.Context())
				current.Store(src)
				return peer{connectWeb(t, server.URL, ""), qos}
			},
		})
	}
}

func TestWebSocketMeansNoAckBeforeReceipt(t *testing.T) {
	custody := ingesttest.NewCustody()
	c := connectWeb(t, overHTTP(t, start(t, custody, Config{})), "device")
	c.publish("d", "21.5", 1, 7)
	custody.Taken(t, 1)
	c.silent()
	custody.Commit()
	c.expect(packets.Puback, 7)
}

// What is due is delivered although the reader has been woken to end.
func TestWebSocketDeliversWhatIsDueWhenItEnds(t *testing.T) {
	custody := ingesttest.NewCustody()
	src := start(t, custody, Config{})
	c := connectWeb(t, overHTTP(t, src), "device")
	c.publish("d", "21.5", 1, 7)
	custody.Taken(t, 1)
	takeover := connected(t, src, "device")
	custody.Commit()
	c.expect(packets.Puback, 7)
	if got := c.hungUp(); len(got) > 0 {
		t.Errorf("got %+v behind it", got)
	}
	<-takeover
}

// connected takes a session over; the channel is closed when that has come about.
func connected(t *testing.T, src *Source, id string) <-chan struct{} {
	t.Helper()
	c := dial(t, src)
	c.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Connect},
		Connect: packets.ConnectParams{ProtocolName: []byte("MQTT"), ClientIdentifier: id, Clean: true}})
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.next(ingesttest.Patience)
	}()
	return done
}

func TestWebSocketSaysGoodbye(t *testing.T) {
	src := start(t, instant(), Config{})
	c, ws := webClient(t, overHTTP(t, src))
	c.hello(packets.Packet{Connect: packets.ConnectParams{ClientIdentifier: "c", Clean: true}})
	c.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Disconnect}})
	if _, _, err := ws.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusNormalClosure {
		t.Errorf("the connection ended with %v", err)
	}
}

// Control packets and WebSocket messages are cut independently [MQTT-6.0.0-4].
func TestPacketsAndMessagesAreCutIndependently(t *testing.T) {
	custody := instant()
	url := overHTTP(t, start(t, custody, Config{}))
	for _, size := range []int{1, 7, 3000, 1 << 20} {
		c := connectWeb(t, url, "device")
		stream := slices.Concat(
			c.encode(publishPacket("d", "1", 1, 1)),
			c.encode(publishPacket("d", strings.Repeat("x", 200<<10), 1, 2)),
			c.encode(publishPacket("d", "2", 1, 3)),
		)
		if size < 10 { // so many messages would take long
			stream = slices.Concat(c.encode(publishPacket("d", "1", 1, 1)), c.encode(publishPacket("d", "1", 1, 2)),
				c.encode(publishPacket("d", "2", 1, 3)))
		}
		for piece := range slices.Chunk(stream, size) {
			if _, err := c.Write(piece); err != nil {
				t.Fatal(err)
			}
		}
		for id := range uint16(3) {
			c.expect(packets.Puback, id+1)
		}
	}
}

func TestPacketOverTheLimitEndsWebSocket(t *testing.T) {
	src := start(t, instant(), Config{MaxPacket: 4096})
	c := connectWeb(t, overHTTP(t, src), "device")
	c.publish("d", strings.Repeat("x", 5000), 1, 1)
	c.hungUp()
	if src.Stats().Malformed != 1 {
		t.Errorf("counted %+v", src.Stats())
	}
}

func TestTextInAWebSocketEndsIt(t *testing.T) {
	src := start(t, instant(), Config{})
	c, ws := webClient(t, overHTTP(t, src))
	c.hello(packets.Packet{Connect: packets.ConnectParams{ClientIdentifier: "c", Clean: true}})
	if err := ws.Write(t.Context(), websocket.MessageText, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	c.hungUp()
	if src.Stats().Malformed != 1 {
		t.Errorf("counted %+v", src.Stats())
	}
}

func TestWhoMayOpenAWebSocket(t *testing.T) {
	url := overHTTP(t, start(t, instant(), Config{}))
	host := strings.TrimPrefix(url, "http://")
	for name, tt := range map[string]struct {
		offers []string
		origin string
		want   int
	}{
		"mqtt":             {offers: []string{"mqtt"}, want: http.StatusSwitchingProtocols},
		"mqtt 3.1":         {offers: []string{"mqttv3.1"}, want: http.StatusSwitchingProtocols},
		"one of several":   {offers: []string{"chat", "MQTT"}, want: http.StatusSwitchingProtocols},
		"none":             {want: http.StatusBadRequest},
		"another":          {offers: []string{"chat"}, want: http.StatusBadRequest},
		"a page of ours":   {offers: []string{"mqtt"}, origin: "http://" + host, want: http.StatusSwitchingProtocols},
		"a page elsewhere": {offers: []string{"mqtt"}, origin: "http://evil.example", want: http.StatusForbidden},
		"a file":           {offers: []string{"mqtt"}, origin: "null", want: http.StatusForbidden},
	} {
		header := http.Header{}
		if tt.origin != "" {
			header.Set("Origin", tt.origin)
		}
		ws, response, err := websocket.Dial(t.Context(), url, &websocket.DialOptions{
			HTTPClient: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}},
			HTTPHeader: header, Subprotocols: tt.offers,
		})
		if response == nil {
			t.Fatalf("%s: %v", name, err)
		}
		if response.StatusCode != tt.want {
			t.Errorf("%s: got %s, want %d", name, response.Status, tt.want)
		}
		if ws != nil {
			ws.CloseNow()
		}
	}
}

func TestWebSocketIsRefusedWhileTheBrokerDoesNotRun(t *testing.T) {
	request := httptest.NewRequest(http.MethodGet, "/mqtt", nil)
	request.Header.Set("Sec-WebSocket-Protocol", "mqtt")
	response := httptest.NewRecorder()
	idleSource(t).ServeHTTP(response, request)
	if response.Code != http.StatusServiceUnavailable {
		t.Errorf("got %d", response.Code)
	}
}

func TestWebSocketsCountAmongTheConnections(t *testing.T) {
	src := start(t, instant(), Config{MaxPerHost: 2})
	url := overHTTP(t, src)
	connectWeb(t, url, "a")
	connect(t, src, 4, "b")
	c, _ := webClient(t, url)
	c.hungUp()
	retry(t, func() bool { s := src.Stats(); return s.TurnedAway == 1 && s.Clients == 2 }) // counted after CONNACK
}

func TestWebSocketNeedsAPasswordToo(t *testing.T) {
	src := start(t, instant(), Config{Authorize: passwords("boiler", "secret")})
	url := overHTTP(t, src)
	for password, want := range map[string]byte{"secret": 0, "guess": 5} {
		c, _ := webClient(t, url)
		c.send(loginPacket("c", "boiler", password))
		if ack := c.expect(packets.Connack, 0); ack.ReasonCode != want {
			t.Errorf("password %s: CONNACK says %d, want %d", password, ack.ReasonCode, want)
		}
	}
}

func TestSilentWebSocketEnds(t *testing.T) {
	src := start(t, instant(), Config{ConnectTimeout: 100 * time.Millisecond})
	c, _ := webClient(t, overHTTP(t, src))
	c.hungUp()
}

// A ping is answered although nothing has been sent for longer than a write may
// take.
func TestWebSocketIsPinged(t *testing.T) {
	webInVirtualTime(t, Config{}, func(t *testing.T, _ *Source, c *client, ws *websocket.Conn, _ func() *client) {
		<-time.After(time.Minute) // the deadline of the CONNACK has passed long ago
		read := make(chan error, 1)
		c.SetReadDeadline(time.Time{})
		go func() {
			_, err := c.in.ReadByte()
			read <- err
		}()
		patience, cancel := context.WithTimeout(t.Context(), ingesttest.Patience)
		defer cancel()
		if err := ws.Ping(patience); err != nil {
			t.Fatal(err)
		}
		c.publish("d", "1", 1, 1)
		if err := <-read; err != nil {
			t.Error(err)
		}
	})
}

// A peer that reads nothing is cut off as on any connection.
func TestWebSocketThatNeverReadsIsCutOff(t *testing.T) {
	webInVirtualTime(t, Config{}, func(t *testing.T, src *Source, stuck *client, _ *websocket.Conn, join func() *client) {
		stuck.subscribe(1, 0, "flood")
		flood := join()
		flood.hello(packets.Packet{Connect: packets.ConnectParams{ClientIdentifier: "flood", Clean: true}})
		publishAcked(flood, "flood", "1")
		for began := time.Now(); src.Stats().Clients == 2; <-time.After(time.Second) {
			if time.Since(began) > time.Minute {
				t.Fatal("it is still connected")
			}
			flood.publish("flood", "1", 0, 0)
		}
	})
}

func FuzzWebSocket(f *testing.F) {
	for _, seed := range []string{
		"\x82\x80\x00\x00\x00\x00", "\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00x",
		"\x82\xfe\xff\xff\x00\x00\x00\x00\x10", "\x00\x80\x00\x00\x00\x00", "\x88\x80\x00\x00\x00\x00", "\x89\xff\x00",
		"\xc2\x80\x00\x00\x00\x00", "\x02\x81\x00\x00\x00\x00\x10\x80\x81\x00\x00\x00\x00\x0c",
	} {
		f.Add([]byte(seed))
	}
	src := start(f, instant(), Config{Linger: 10 * time.Millisecond})
	src.Addr(f.Context())
	server := httptest.NewServer(src)
	defer server.Close()
	good := connect(f, src, 4, "good")
	f.Fuzz(func(t *testing.T, b []byte) {
		bad, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer bad.Close()
		io.WriteString(bad, "GET /mqtt HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")
		bad.Write(b)
		bad.(*net.TCPConn).CloseWrite()
		io.Copy(io.Discard, bad)
		good.t = t
		good.publish("d", "1", 1, 1)
		good.expect(packets.Puback, 1)
	})
}

// idleSource returns a source that does not run yet.
func idleSource(t *testing.T) *Source {
	return New(Config{
		Listen: "127.0.0.1:0", Anonymous: true, Routes: testRoutes(t), Linger: 100 * time.Millisecond,
	}, slog.New(slog.DiscardHandler))
}

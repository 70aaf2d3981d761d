package wsout

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/coder/websocket"

	"github.com/tidegate/tidegate/uplink"
	"github.com/tidegate/tidegate/uplink/uplinktest"
)

func TestConformance(t *testing.T) {
	for name, deflate := range map[string]bool{"Plain": false, "Deflate": true} {
		t.Run(name, func(t *testing.T) {
			uplinktest.Run(t, uplinktest.Door{
				New: func(t *testing.T, address string, dial uplink.Dial) uplink.Sink {
					return newSink(t, Config{URL: "ws://" + address + "/v1/ingest", Deflate: deflate, Dial: dial})
				},
				Peer: func(t *testing.T, judge uplinktest.Judge) string {
					return peer(t, func(c *websocket.Conn, key string, body []byte) {
						answerTo(t, c, key, judge(uplinktest.Received{Key: key, Body: body}))
					})
				},
			})
		})
	}
}

func newSink(t testing.TB, cfg Config) *Sink {
	t.Helper()
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// peer is another side of tidegate.v1, and gives each message to take, in a
// goroutine of its own. It returns its address.
func peer(t testing.TB, take func(c *websocket.Conn, key string, body []byte)) string {
	t.Helper()
	var tasks sync.WaitGroup
	ctx, stop := context.WithCancel(context.Background())
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		below := &cut{ResponseWriter: w}
		c, err := websocket.Accept(below, r, &websocket.AcceptOptions{
			Subprotocols: []string{Protocol}, CompressionMode: websocket.CompressionNoContextTakeover,
		})
		if err != nil {
			return
		}
		tasks.Add(1)
		defer tasks.Done()
		defer c.CloseNow()
		c.SetReadLimit(16 << 20)
		for media := ""; ; {
			_, message, err := c.Read(ctx)
			if err != nil || below.ended.Load() {
				return
			}
			head, body, _ := bytes.Cut(message, []byte("\n"))
			kind, key, _ := strings.Cut(string(head), " ")
			if kind != "" {
				media = kind
			}
			if media == "" {
				t.Errorf("a message without a media type: %q", head)
			}
			tasks.Go(func() { take(c, key, body) })
		}
	}))
	t.Cleanup(func() {
		stop()
		server.Close()
		tasks.Wait()
	})
	return strings.TrimPrefix(server.URL, "http://")
}

// cut is a response whose connection notes that it has ended: the library takes a
// compressed message whose connection was cut in the middle for a whole one.
type cut struct {
	http.ResponseWriter
	net.Conn
	ended atomic.Bool
}

func (c *cut) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(c.ResponseWriter).Hijack()
	c.Conn = conn
	return c, rw, err
}

func (c *cut) Write(b []byte) (int, error) {
	if c.Conn == nil { // not a WebSocket yet
		return c.ResponseWriter.Write(b)
	}
	return c.Conn.Write(b)
}

func (c *cut) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err != nil {
		c.ended.Store(true)
	}
	return n, err
}

// answerTo says what the verdict is.
func answerTo(t testing.TB, c *websocket.Conn, key string, v uplinktest.Verdict) {
	switch v {
	case uplinktest.Accept:
		say(t, c, `{"acked":{%s}}`, spanOf(key))
	case uplinktest.Later:
		say(t, c, `{"refused":{%s,"class":"retry","reason":"out of order"}}`, spanOf(key))
	case uplinktest.Busy:
		say(t, c, `{"refused":{%s,"class":"retry","retry_after":%v,"reason":"slow down"}}`, spanOf(key), uplinktest.BusyDelay.Seconds())
	case uplinktest.Never:
		say(t, c, `{"refused":{%s,"class":"permanent","reason":"corrupt"}}`, spanOf(key))
	case uplinktest.Garbage:
		say(t, c, "<html>Welcome! Please log in.</html>")
	}
}

func say(t testing.TB, c *websocket.Conn, format string, args ...any) {
	// An error means that the sink is gone, which is for its test to notice.
	_ = c.Write(context.Background(), websocket.MessageText, fmt.Appendf(nil, format, args...))
}

// spanOf returns the members of an answer about the message with the key
// gateway/epoch/lane/first-last.
func spanOf(key string) string {
	part := strings.Split(key, "/")
	first, last, _ := strings.Cut(part[3], "-")
	return fmt.Sprintf(`"epoch":%q,"lane":%q,"first":%s,"last":%s`, part[1], part[2], first, last)
}

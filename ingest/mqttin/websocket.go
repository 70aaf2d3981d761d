package mqttin

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/coder/websocket"
)

// subprotocols are the names of MQTT over WebSocket, by preference.
var subprotocols = []string{"mqtt", "mqttv3.1"}

// ServeHTTP speaks MQTT over a WebSocket, with the limits, users and rules of
// every other connection, and returns when it has ended. There are no client
// certificates here. A web page may connect only to the host that it came from;
// whether that is a name of ours is for whoever mounts this to check.
func (s *Source) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !offersMQTT(r.Header) {
		http.Error(w, `this is MQTT over WebSocket — hint: connect with the subprotocol "mqtt"`, http.StatusBadRequest)
		return
	}
	if s.running() == nil {
		w.Header().Set("Retry-After", "1")
		http.Error(w, "the broker is not running", http.StatusServiceUnavailable)
		return
	}
	up := &upgrade{ResponseWriter: w, patience: s.cfg.WriteTimeout}
	ws, err := websocket.Accept(up, r, &websocket.AcceptOptions{Subprotocols: subprotocols})
	if err != nil {
		return // Accept has answered
	}
	ws.SetReadLimit(-1) // the guard limits packets; how they are cut does not matter
	s.ServeConn(&webSocket{Conn: up.below, ws: ws, linger: s.cfg.Linger})
}

func offersMQTT(header http.Header) bool {
	for _, line := range header.Values("Sec-WebSocket-Protocol") {
		for name := range strings.SplitSeq(line, ",") {
			if slices.Contains(subprotocols, strings.ToLower(strings.TrimSpace(name))) {
				return true
			}
		}
	}
	return false
}

// upgrade is a response that keeps the connection which becomes a WebSocket.
type upgrade struct {
	http.ResponseWriter
	patience time.Duration
	below    net.Conn
}

// Hijack implements http.Hijacker.
func (u *upgrade) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	nc, rw, err := http.NewResponseController(u.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	u.below = patient{nc, u.patience}
	rw.Writer.Reset(u.below)
	return u.below, rw, nil
}

// patient gives every write its time: the WebSocket writes pongs of its own
// accord, when no deadline of the gate's is current.
type patient struct {
	net.Conn
	patience time.Duration
}

func (p patient) Write(b []byte) (int, error) {
	if err := p.Conn.SetWriteDeadline(time.Now().Add(p.patience)); err != nil {
		return 0, err
	}
	return p.Conn.Write(b)
}

// webSocket is a WebSocket as a stream of bytes: the binary messages that come
// in, one after the other; each Write is one message. Read deadlines are those of
// the connection below, so that one which passes leaves the way out open. (The
// library's own net.Conn closes the connection then, and with it the
// acknowledgements that are due.)
type webSocket struct {
	net.Conn
	ws      *websocket.Conn
	message io.Reader // what is being read; nil between two
	linger  time.Duration
}

var errText = &violation{codeProtocolError, "text in a WebSocket"}

// Read implements net.Conn.
func (c *webSocket) Read(p []byte) (int, error) {
	for {
		if c.message == nil {
			// A context that ends would end the connection.
			kind, message, err := c.ws.Reader(context.Background())
			if err != nil {
				return 0, err
			}
			if kind != websocket.MessageBinary {
				return 0, errText
			}
			c.message = message
		}
		n, err := c.message.Read(p)
		if errors.Is(err, io.EOF) {
			c.message, err = nil, nil
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

// Write implements net.Conn.
func (c *webSocket) Write(p []byte) (int, error) {
	if err := c.ws.Write(context.Background(), websocket.MessageBinary, p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// SetWriteDeadline implements net.Conn and does nothing: see patient.
func (c *webSocket) SetWriteDeadline(time.Time) error { return nil }

// CloseWrite says goodbye, and waits until the peer has read everything and says
// so, or for the linger time.
func (c *webSocket) CloseWrite() error {
	c.SetReadDeadline(time.Now().Add(c.linger))
	return c.ws.Close(websocket.StatusNormalClosure, "")
}

// Close implements net.Conn. It closes the connection without a word.
func (c *webSocket) Close() error { return c.ws.CloseNow() }

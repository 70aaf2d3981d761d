package wsout

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"github.com/tidegate/tidegate/internal/netfault"
	"github.com/tidegate/tidegate/uplink"
)

const (
	dialTimeout = 10 * time.Second
	// shakeTimeout bounds a connection in the making, from the first packet to
	// the answer of the other side.
	shakeTimeout = 30 * time.Second
	// maxAnswer bounds a message from the other side in bytes, and its answer to
	// the handshake. Answers have a hundred.
	maxAnswer = 64 << 10
)

// dial opens a connection.
func (s *Sink) dial(ctx context.Context) (*line, error) {
	ctx, cancel := context.WithTimeout(ctx, shakeTimeout)
	defer cancel()
	header, err := s.header()
	if err != nil {
		return nil, uplink.Misconfigured(fmt.Errorf("%w — hint: the file with the secret must be readable for the user who runs the gateway", err))
	}
	h := &handshake{cfg: s.cfg, url: s.url}
	options := &websocket.DialOptions{
		// Not followed: what a redirect leads to did not promise to keep anything.
		HTTPClient:   &http.Client{Transport: h, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
		HTTPHeader:   header,
		Subprotocols: []string{Protocol},
	}
	if s.cfg.Deflate {
		options.CompressionMode = websocket.CompressionNoContextTakeover
	}
	ws, resp, err := websocket.Dial(ctx, s.url.String(), options)
	if err != nil {
		return nil, refusedHandshake(resp, h.fault(ctx, err))
	}
	if ws.Subprotocol() != Protocol {
		ws.CloseNow()
		return nil, foreign(ws.Subprotocol())
	}
	if limit := limitOf(resp.Header); limit > 0 {
		s.limit.Store(int64(limit))
	}
	ws.SetReadLimit(maxAnswer)
	l := newLine(s, ws, h.conn)
	l.server = text(resp.Header.Get("Server"))
	return l, nil
}

// header returns what goes with the handshake. An error is one of the
// configuration.
func (s *Sink) header() (http.Header, error) {
	h := http.Header{}
	maps.Copy(h, s.cfg.Header)
	if s.cfg.UserAgent != "" {
		h.Set("User-Agent", s.cfg.UserAgent)
	}
	switch {
	case s.cfg.Token != nil:
		token, err := s.cfg.Token()
		if err != nil {
			return nil, err
		}
		h.Set("Authorization", "Bearer "+token.Reveal())
	case s.cfg.Username != "":
		password, err := s.cfg.Password()
		if err != nil {
			return nil, err
		}
		r := http.Request{Header: h}
		r.SetBasicAuth(s.cfg.Username, password.Reveal())
	}
	return h, nil
}

// handshake is the transport of one request, the one that becomes a WebSocket.
// http.Transport would go on dialling after its context has ended, and would not
// tell which connection it has used.
type handshake struct {
	cfg  Config
	url  *url.URL
	conn *meter
	err  error // why there was no answer
}

// RoundTrip implements http.RoundTripper.
func (h *handshake) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := h.roundTrip(req)
	if err != nil && h.conn != nil {
		h.conn.Close()
	}
	h.err = err
	return resp, err
}

func (h *handshake) roundTrip(req *http.Request) (*http.Response, error) {
	ctx := req.Context()
	raw, err := h.cfg.Dial(ctx, "tcp", address(h.url))
	if err != nil {
		return nil, err
	}
	h.conn = &meter{Conn: raw, begun: time.Now()}
	stop := context.AfterFunc(ctx, func() { h.conn.Close() })
	defer stop()
	conn := net.Conn(h.conn)
	if h.url.Scheme == "wss" {
		secure := tls.Client(conn, h.tlsConfig())
		if err := secure.HandshakeContext(ctx); err != nil {
			return nil, err
		}
		conn = secure
	}
	if err := req.Write(conn); err != nil {
		return nil, err
	}
	bounded := &io.LimitedReader{R: conn, N: maxAnswer}
	answer := bufio.NewReader(bounded)
	resp, err := http.ReadResponse(answer, req)
	if err != nil {
		return nil, err
	}
	bounded.N = math.MaxInt64 // what follows has bounds of its own
	if resp.StatusCode == http.StatusSwitchingProtocols {
		resp.Body = upgraded{answer, conn}
		return resp, nil
	}
	resp.Body = refusal{resp.Body, conn}
	return resp, nil
}

func (h *handshake) tlsConfig() *tls.Config {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if h.cfg.TLS != nil {
		c = h.cfg.TLS.Clone()
	}
	if c.ServerName == "" {
		c.ServerName = h.url.Hostname()
	}
	c.NextProtos = []string{"http/1.1"} // a WebSocket begins as HTTP/1.1
	return c
}

// fault returns the error of a handshake without the library's words around it.
func (h *handshake) fault(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return outOfTime(ctx, "the other side has not answered the handshake")
	}
	if h.err != nil {
		err := netfault.Explain(h.err)
		if !strings.Contains(err.Error(), "hint: ") {
			err = fmt.Errorf("%w — hint: is there a web server at the url?", err)
		}
		return err
	}
	if h.conn != nil {
		h.conn.Close()
	}
	return err
}

func address(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"ws": "80", "wss": "443"}[u.Scheme]
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// upgraded is the connection behind an answer, with what was read too far.
type upgraded struct {
	io.Reader
	io.WriteCloser
}

// refusal is the body of an answer that ends its connection, too.
type refusal struct {
	io.ReadCloser
	conn net.Conn
}

// Close implements io.Closer.
func (r refusal) Close() error { return errors.Join(r.ReadCloser.Close(), r.conn.Close()) }

// meter is a connection that notes when something moves on it, on a clock that
// nobody can set.
type meter struct {
	net.Conn
	begun        time.Time
	heard, moved atomic.Int64 // since begun, in nanoseconds
}

// Read implements net.Conn.
func (m *meter) Read(b []byte) (int, error) {
	n, err := m.Conn.Read(b)
	if n > 0 {
		now := m.now()
		m.heard.Store(now)
		m.moved.Store(now)
	}
	return n, err
}

// Write implements net.Conn.
func (m *meter) Write(b []byte) (int, error) {
	n, err := m.Conn.Write(b)
	if n > 0 {
		m.moved.Store(m.now())
	}
	return n, err
}

func (m *meter) now() int64 { return int64(time.Since(m.begun)) }

// quiet is how long nothing has moved.
func (m *meter) quiet() time.Duration { return time.Duration(m.now() - m.moved.Load()) }

func outOfTime(ctx context.Context, what string) error {
	return fmt.Errorf("%s: %w — hint: no answer in time; the link is slow or dead", what, ctx.Err())
}

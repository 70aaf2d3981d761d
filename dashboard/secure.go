package dashboard

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
)

// TLS is how the server is reached in secret.
type TLS struct {
	Config *tls.Config
	// Fingerprint is that of the certificate, in words.
	Fingerprint func() string
	// Vouched says that an authority vouches for the certificate, so that
	// browsers may be told never to come without TLS again.
	Vouched bool
}

// Secure lets the server speak TLS only. Call it before Serve.
func (s *Server) Secure(t TLS) {
	t.Config = t.Config.Clone()
	t.Config.NextProtos = []string{"http/1.1"} // the WebSocket needs no other
	s.tls = &t
}

// secureListener speaks TLS on the connections of a listener. Who comes without is
// told where to go.
type secureListener struct {
	net.Listener
	server *Server
}

func (l secureListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return tls.Server(&firstLook{Conn: conn, server: l.server}, l.server.tls.Config), nil
}

// firstLook is a connection of which it is not known yet what it speaks. The
// handshake reads first, under the deadline of http.Server for it.
type firstLook struct {
	net.Conn
	server *Server
	once   sync.Once
	plain  bool
}

// handshake is the first byte of everything that speaks TLS.
const handshake = 0x16

// errPlain ends a connection that does not speak TLS.
var errPlain = errors.New("the other side does not speak TLS")

// Read implements net.Conn.
func (c *firstLook) Read(p []byte) (n int, err error) {
	n, err = c.Conn.Read(p)
	if n > 0 {
		c.once.Do(func() { c.plain = p[0] != handshake })
	}
	if c.plain {
		c.server.redirect(c.Conn, io.MultiReader(strings.NewReader(string(p[:n])), c.Conn))
		return 0, errPlain
	}
	return n, err
}

// NetConn returns the connection below.
func (c *firstLook) NetConn() net.Conn { return c.Conn }

// redirect answers a request without TLS.
func (s *Server) redirect(w io.Writer, in io.Reader) {
	r, err := http.ReadRequest(bufio.NewReader(io.LimitReader(in, 8<<10)))
	if err != nil {
		return // no HTTP either
	}
	answer := &http.Response{StatusCode: http.StatusBadRequest, ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{}, Close: true, Request: r}
	text := "this address speaks TLS — hint: write https:// before it\n"
	if s.allowed(r.Host) && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
		answer.StatusCode = http.StatusTemporaryRedirect
		answer.Header.Set("Location", "https://"+r.Host+r.URL.RequestURI())
	}
	answer.Header.Set("Content-Type", "text/plain; charset=utf-8")
	answer.ContentLength = int64(len(text))
	answer.Body = io.NopCloser(strings.NewReader(text))
	_ = answer.Write(w) // the other side went away: nobody is left to tell
}

// boundSendBuffer applies sendBuffer to TCP connections, below TLS as well.
func boundSendBuffer(ctx context.Context, conn net.Conn) context.Context {
	for {
		wrapped, ok := conn.(interface{ NetConn() net.Conn })
		if !ok {
			break
		}
		conn = wrapped.NetConn()
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetWriteBuffer(sendBuffer) // a slow viewer costs more memory without it; no reason to refuse him
	}
	return ctx
}

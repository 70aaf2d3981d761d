package daemon

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tidegate/tidegate/internal/base/porttest"
	"github.com/tidegate/tidegate/internal/servertest"
)

// What follows are the other sides.

func serve(t *testing.T, handle func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go handle(c)
		}
	}()
	return l.Addr().String()
}

// mute takes connections and says nothing.
func mute(t *testing.T) string {
	return serve(t, func(c net.Conn) {
		defer c.Close()
		_, _ = io.Copy(io.Discard, c)
	})
}

// hangUp closes each connection when something is said.
func hangUp(t *testing.T) string {
	return serve(t, func(c net.Conn) {
		_, _ = c.Read(make([]byte, 1))
		c.Close()
	})
}

// redirecting answers whatever is said as a portal does.
func redirecting(t *testing.T) string {
	return serve(t, func(c net.Conn) {
		_, _ = c.Read(make([]byte, 1500))
		io.WriteString(c, "HTTP/1.1 302 Found\r\nLocation: https://login.hotel.example/\r\nContent-Length: 0\r\n\r\n")
		c.Close()
	})
}

// closed is an address at which nobody listens as long as the test runs.
func closed(t *testing.T) string { return porttest.For(t) }

// blackHole is a listener whose queue is full: the kernel answers nothing.
func blackHole(t *testing.T) string {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	at, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	address := fmt.Sprintf("127.0.0.1:%d", at.(*syscall.SockaddrInet4).Port)
	for range 4 { // until it is
		c, err := net.DialTimeout("tcp", address, 100*time.Millisecond)
		if err == nil {
			t.Cleanup(func() { c.Close() })
		}
	}
	return address
}

// secure is a web server with TLS; clients must show a certificate of the pool, if
// there is one.
func secure(t *testing.T, p servertest.Pair, clients *x509.CertPool) (url string) {
	t.Helper()
	s := httptest.NewUnstartedServer(answering(200, "", "{}"))
	s.TLS = &tls.Config{Certificates: []tls.Certificate{p.TLS}}
	if clients != nil {
		s.TLS.ClientAuth, s.TLS.ClientCAs = tls.RequireAndVerifyClientCert, clients
	}
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // it will complain of us
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.URL + "/v1"
}

func plainServer(t *testing.T, h http.Handler) (address string) {
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.Start()
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

func answering(status int, retryAfter, text string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if retryAfter != "" {
			w.Header().Set("Retry-After", retryAfter)
		}
		w.WriteHeader(status)
		io.WriteString(w, text)
	})
}

// portal sends everybody to its login, whatever is asked for.
func portal() http.Handler {
	return http.RedirectHandler("https://login.hotel.example/?from=here", http.StatusFound)
}

// portalAsked lets port 80 of any host be the portal.
func portalAsked(t *testing.T) func(*attempt) {
	address := plainServer(t, portal())
	return func(tr *attempt) {
		today(tr)
		ask := tr.ask
		tr.ask = func(ctx context.Context, network, to string) (net.Conn, error) {
			if strings.HasSuffix(to, ":80") {
				to = address
			}
			return ask(ctx, network, to)
		}
	}
}

// nameServerAt is a name server that knows nobody, as the key of a link.
func nameServerAt(t *testing.T) string {
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	go func() {
		buffer := make([]byte, 1500)
		for {
			n, from, err := c.ReadFrom(buffer)
			if err != nil {
				return
			}
			answer := append([]byte(nil), buffer[:n]...)
			answer[2], answer[3] = 0x81, 0x83 // an answer: no such name
			_, _ = c.WriteTo(answer, from)
		}
	}()
	return fmt.Sprintf("dns = [%q]", c.LocalAddr())
}

// rabbitWithAMQP starts sooner than one with everything.
func rabbitWithAMQP(t testing.TB, opts ...servertest.Option) *servertest.Server {
	return servertest.RabbitMQ(t, append(opts, servertest.Only("amqp"))...)
}

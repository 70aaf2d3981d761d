package dashboard

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/tidegate/tidegate/internal/certs"
)

// startSecure serves a page over TLS and returns its address, and a client that
// trusts it.
func startSecure(t *testing.T, vouched bool) (address string, client *http.Client) {
	own, err := certs.OpenOwn(filepath.Join(t.TempDir(), "pem"), []string{"gw-7"}, time.Now, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	p := newPorch(t).setUp()
	p.Secure(TLS{Config: own.Config(), Vouched: vouched})
	p.Handle(Route{"GET /enter", Open, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { CallerOf(r).SetSession(w, p.session) })})
	stop := run(t, p.hub)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- p.Serve(ctx, listener) }()
	trusted := x509.NewCertPool()
	pair, err := own.Config().GetCertificate(&tls.ClientHelloInfo{})
	if err != nil {
		t.Fatal(err)
	}
	trusted.AddCert(pair.Leaf)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trusted}}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
		stop()
	})
	return listener.Addr().String(), &http.Client{Transport: transport}
}

func TestPageOverTLS(t *testing.T) {
	address, client := startSecure(t, false)
	resp, err := client.Get("https://" + address + "/enter")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if got := resp.Header.Get("Set-Cookie"); !strings.HasPrefix(got, "__Host-tidegate-gw-7=") || !strings.HasSuffix(got, "; Path=/; HttpOnly; Secure; SameSite=Strict") {
		t.Errorf("cookie %q", got)
	}
	if got := resp.Header.Get("Strict-Transport-Security"); got != "" {
		t.Errorf("browsers are told never to come back without a certificate that nobody vouches for: %q", got)
	}
	conn, _, err := websocket.Dial(t.Context(), "wss://"+address+"/live", &websocket.DialOptions{HTTPClient: client, HTTPHeader: http.Header{"Cookie": {resp.Header.Get("Set-Cookie")}}})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseNow()
	if _, _, err := conn.Read(t.Context()); err != nil {
		t.Error(err)
	}
	vouched, client := startSecure(t, true)
	if resp, err = client.Get("https://" + vouched + "/"); err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if !strings.HasPrefix(resp.Header.Get("Strict-Transport-Security"), "max-age=") {
		t.Error("no HSTS with a certificate that an authority vouches for")
	}
}

func TestWhoComesWithoutTLSIsToldWhereToGo(t *testing.T) {
	address, client := startSecure(t, false)
	say := func(text string) (*http.Response, error) {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, text); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err == nil {
			_, _ = io.Copy(io.Discard, resp.Body) // all of it is here before the end
		}
		return resp, err
	}
	resp, err := say("GET /assets/app.js?x=1 HTTP/1.1\r\nHost: " + address + "\r\n\r\n")
	if err != nil || resp.StatusCode != http.StatusTemporaryRedirect || resp.Header.Get("Location") != "https://"+address+"/assets/app.js?x=1" {
		t.Errorf("%+v, %v", resp, err)
	}
	for _, text := range []string{
		"POST /api/v1/login HTTP/1.1\r\nHost: " + address + "\r\nContent-Length: 2\r\n\r\n{}",
		"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n",
	} {
		if resp, err = say(text); err != nil || resp.StatusCode != http.StatusBadRequest || resp.Header.Get("Location") != "" {
			t.Errorf("%q: %+v, %v", text, resp, err)
		}
	}
	if resp, err = say("\x00\x01\x02 nothing\r\n\r\n"); err == nil {
		t.Errorf("what speaks nothing is answered %+v", resp)
	}
	if resp, err = client.Get("https://" + address + "/healthz"); err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
}

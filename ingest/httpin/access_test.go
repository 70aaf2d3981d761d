package httpin

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestOnlyThoseWhoAreKnownAreLetIn(t *testing.T) {
	const token, limited = "0123456789abcdef", "fedcba9876543210"
	sum := sha256.Sum256([]byte("a token that is hashed"))
	tokens, err := ParseTokens([]byte("# devices\n\npump " + token + "\nmeter " + limited + " meters/+/power site/#\r\nhashed sha256:" + hex.EncodeToString(sum[:]) + "\n"))
	if err != nil || tokens.Len() != 3 {
		t.Fatal(tokens.Len(), err)
	}
	cfg := config(t)
	cfg.Tokens = func() *Tokens { return tokens }
	cfg.Authorize = func(_ context.Context, user string, password []byte) bool {
		return user == "anna" && string(password) == "secret"
	}
	w := start(t, cfg)
	for _, c := range []struct {
		authorization, path string
		status              int
	}{
		{"", "a", 401},
		{"Bearer " + token, "a", 201},
		{"bearer  " + token, "a", 201},
		{"Token " + token, "a", 201},
		{"Bearer a token that is hashed", "a", 201},
		{"Bearer " + hex.EncodeToString(sum[:]), "a", 401}, // the hash is no token
		{"Bearer ", "a", 401},
		{"Bearer wrong-wrong-wrong", "a", 401},
		{basic("anna", "secret"), "a", 201},
		{basic("anna", "wrong"), "a", 401},
		{basic("whoever", token), "a", 201},
		{"Bearer " + limited, "meters/7/power", 201},
		{"Bearer " + limited, "site/a/b", 201},
		{"Bearer " + limited, "meters/7/voltage", 403},
		{"Bearer " + token, "", 201}, // the topic is the token's name
		{"Bearer " + limited, "", 403},
	} {
		header := map[string]string{}
		if c.authorization != "" {
			header["Authorization"] = c.authorization
		}
		w.do(t, request{path: "/v1/readings/" + c.path, header: header, body: "1", status: c.status})
	}
	if s := w.Stats(); s.BadLogins != 5 || s.Denied != 2 {
		t.Errorf("%+v", s)
	}
}

// basic returns the header of a name and a password.
func basic(user, password string) string {
	r := &http.Request{Header: http.Header{}}
	r.SetBasicAuth(user, password)
	return r.Header.Get("Authorization")
}

func TestWrongTokenFilesAreRefusedWithTheLine(t *testing.T) {
	for text, want := range map[string]string{
		"pump":                                   "line 1: no token",
		"\npump short":                           "line 2: token of 5 bytes, want 16 or more",
		"pump sha256:12":                         `line 1: "sha256:" wants 64 hexadecimal digits`,
		"a 0123456789abcdef topic/#/x":           `line 1: topic template "topic/#/x"`,
		"a 0123456789abcdef\nb 0123456789abcdef": "line 2: b has the token of a",
	} {
		_, err := ParseTokens([]byte(text))
		if err == nil || !strings.HasPrefix(err.Error(), want) || !strings.Contains(err.Error(), " — hint: ") {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

func FuzzTokens(f *testing.F) {
	f.Add([]byte("pump 0123456789abcdef a/+/b\n# x\n"))
	f.Add([]byte("a sha256:" + strings.Repeat("ab", 32)))
	f.Fuzz(func(t *testing.T, text []byte) {
		tokens, err := ParseTokens(text)
		if err == nil && tokens.Len() > len(text)/MinToken {
			t.Fatalf("%d tokens in %d bytes", tokens.Len(), len(text))
		}
	})
}

func TestConnectionsAreBounded(t *testing.T) {
	cfg := config(t)
	cfg.MaxClients = 2
	w := start(t, cfg)
	address := strings.TrimPrefix(w.url, "http://")
	var open []net.Conn
	for range 2 {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, conn)
	}
	third, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := third.Read(make([]byte, 1)); err == nil {
		t.Error("a third connection was served")
	}
	third.Close()
	if s := w.Stats(); s.TurnedAway != 1 || s.Clients != 2 {
		t.Errorf("%+v", s)
	}
	for _, conn := range open {
		conn.Close()
	}
}

// One connection is one request at a time: max_clients would bound nothing if a
// client could have hundreds of them under way on each.
func TestAConnectionHasOneRequestAtATime(t *testing.T) {
	cert := httptest.NewTLSServer(http.NotFoundHandler())
	defer cert.Close()
	cfg := config(t)
	cfg.TLS = &tls.Config{Certificates: cert.TLS.Certificates}
	w := start(t, cfg)
	conn, err := tls.Dial("tcp", strings.TrimPrefix(w.url, "http://"), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2", "http/1.1"}})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if got := conn.ConnectionState().NegotiatedProtocol; got == "h2" {
		t.Errorf("it speaks %s", got)
	}
}

package linein

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/ingest/ingesttest"
)

// serverTLS is a server whose certificate signs itself.
func serverTLS(t testing.TB) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}

// clientTLS believes that server.
func clientTLS(t testing.TB, server *tls.Config) *tls.Config {
	t.Helper()
	cert, err := x509.ParseCertificate(server.Certificates[0].Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(cert)
	return &tls.Config{RootCAs: roots, ServerName: "127.0.0.1"}
}

func TestLinesOverTLS(t *testing.T) {
	cfg := config()
	cfg.TLS, cfg.Reply = serverTLS(t), "+\n"
	w := start(t, cfg)
	conn := tls.Client(dial(t, "tcp", w.Source), clientTLS(t, cfg.TLS))
	w.send(conn, strings.Repeat("1\n", 5000))
	if len(w.values(5000)) != 5000 {
		t.Error("not all came")
	}
	b := make([]byte, 2)
	if _, err := conn.Read(b); err != nil || string(b) != "+\n" {
		t.Errorf("%q, %v", b, err)
	}
}

func TestHandshakesTakeNotForEver(t *testing.T) {
	cfg := config()
	cfg.TLS, cfg.ConnectTimeout = serverTLS(t), 30*time.Millisecond
	w := start(t, cfg)
	mustEnd(t, dial(t, "tcp", w.Source))
	w.until("slow", func(s Stats) bool { return s.Slow == 1 && s.Clients == 0 })
	plain := dial(t, "tcp", w.Source)
	w.send(plain, "1\n2\n3\n4\n5\n6\n7\n8\n9\n")
	w.until("plain", func(s Stats) bool { return s.Clients == 0 && s.Frames.Frames == 0 })
}

func TestDeviceServersAreDialledOverTLS(t *testing.T) {
	secure := serverTLS(t)
	server, err := tls.Listen("tcp", "127.0.0.1:0", secure)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	cfg := config()
	cfg.Transport, cfg.Address, cfg.TLS = Dial, server.Addr().String(), clientTLS(t, secure)
	custody := ingesttest.NewCustody()
	w := startOn(t, cfg, custody)
	w.custody = custody
	conn, err := server.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	w.send(conn, "1\n2\n")
	if got := w.values(2); !slices.Equal(got, []string{"d m=1", "d m=2"}) {
		t.Errorf("%q", got)
	}
	cfg.TLS = &tls.Config{ServerName: "127.0.0.1"} // who does not believe it
	go func() {
		if other, err := server.Accept(); err == nil {
			_ = other.(*tls.Conn).Handshake()
			other.Close()
		}
	}()
	stranger := newSource(t, cfg)
	if err := stranger.Run(t.Context(), ingest.NewIntake(custody, nil, time.Now)); err == nil || !strings.HasPrefix(err.Error(), cfg.Address+": ") || !strings.Contains(err.Error(), "certificate") || !strings.Contains(err.Error(), " — hint: ") {
		t.Errorf("%v", err)
	}
}

// A device server that speaks no TLS, or hangs up before it does, is not one that
// serves somebody else.
func TestDeviceServersWithoutTLSAreToldSo(t *testing.T) {
	for name, says := range map[string]string{"hangs up": "", "speaks plainly": "1\n2\n3\n4\n"} {
		server, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer server.Close()
		go func() {
			if conn, err := server.Accept(); err == nil {
				conn.Write([]byte(says))
				conn.Read(make([]byte, 1000)) // the hello
				conn.Close()
			}
		}()
		cfg := config()
		cfg.Transport, cfg.Address, cfg.TLS = Dial, server.Addr().String(), &tls.Config{ServerName: "127.0.0.1"}
		err = newSource(t, cfg).Run(t.Context(), ingest.NewIntake(ingesttest.NewCustody(), nil, time.Now))
		if err == nil || !strings.HasPrefix(err.Error(), cfg.Address+": no TLS") || !strings.Contains(err.Error(), " — hint: ") || strings.Contains(err.Error(), "one client") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

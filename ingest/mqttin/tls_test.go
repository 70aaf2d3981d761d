package mqttin

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/ingest/ingesttest"
	"github.com/tidegate/tidegate/internal/certs"
)

// authority signs certificates, into files of a folder.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir()}
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: "test authority"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign,
	}
	a.cert, a.key = a.sign("ca", template)
	return a
}

// sign writes name.pem and name.key. The first certificate signs itself.
func (a *authority) sign(name string, template *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	a.write(name+".pem", "CERTIFICATE", der)
	a.write(name+".key", "PRIVATE KEY", secret)
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert, key
}

func (a *authority) write(name, kind string, der []byte) {
	a.t.Helper()
	text := pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	if err := os.WriteFile(a.path(name), text, 0o600); err != nil {
		a.t.Fatal(err)
	}
}

func (a *authority) path(name string) string { return filepath.Join(a.dir, name) }

// server returns the configuration of a broker at 127.0.0.1.
func (a *authority) server(clientCA string, optional bool) *tls.Config {
	a.t.Helper()
	a.sign("server", &x509.Certificate{
		Subject: pkix.Name{CommonName: "broker"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	files := certs.Files{Cert: a.path("server.pem"), Key: a.path("server.key"), ClientCA: clientCA, CertOptional: optional}
	cfg, err := files.Load()
	if err != nil {
		a.t.Fatal(err)
	}
	return cfg
}

// device makes a client's certificate and returns its configuration.
func (a *authority) device(name string, dns ...string) *tls.Config {
	a.t.Helper()
	a.sign("device", &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, DNSNames: dns,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	pair, err := tls.LoadX509KeyPair(a.path("device.pem"), a.path("device.key"))
	if err != nil {
		a.t.Fatal(err)
	}
	cfg := a.trusting()
	// Offered even to a server that does not know who signed it.
	cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	return cfg
}

// trusting is the configuration of a client without a certificate.
func (a *authority) trusting() *tls.Config {
	roots := x509.NewCertPool()
	roots.AddCert(a.cert)
	return &tls.Config{RootCAs: roots, ServerName: "127.0.0.1"}
}

func dialTLS(t *testing.T, src *Source, cfg *tls.Config) *client {
	t.Helper()
	c := dial(t, src)
	c.Conn = tls.Client(c.Conn, cfg)
	c.in = bufio.NewReader(c.Conn)
	c.version = 5
	return c
}

func TestDoorWithTLS(t *testing.T) {
	a := newAuthority(t)
	secure := a.server("", false)
	ingesttest.Run(t, ingesttest.Door{
		New: func(t *testing.T) ingest.Source {
			cfg := Config{Listen: "127.0.0.1:0", Routes: testRoutes(t), Linger: 100 * time.Millisecond, TLS: secure}
			cfg.Authorize = passwords("anna", "a")
			return New(cfg, slog.New(slog.DiscardHandler))
		},
		Speak: func(t *testing.T, source ingest.Source) ingesttest.Peer {
			c := dialTLS(t, source.(*Source), a.trusting())
			c.hello(loginPacket("", "anna", "a"))
			return peer{c, 1}
		},
	})
}

func TestCertificateIsTheUser(t *testing.T) {
	a := newAuthority(t)
	cfg := ruled()
	cfg.Authorize, cfg.TLS, cfg.MatchClientID = nil, a.server(a.path("ca.pem"), false), true
	cfg.Linger = ingesttest.Patience
	src, stop := run(t, instant(), cfg)
	t.Cleanup(stop)
	for _, c := range []struct {
		device *tls.Config
		id     string
		want   byte
	}{
		{a.device("anna"), "anna", 0},
		{a.device("", "anna"), "anna:2", 0},
		{a.device("ben"), "anna", codeClientIDInvalid},
		{a.device("anna:2"), "anna:2", codeNotAuthorized}, // would own what is anna's
		{a.device(""), "x", codeNotAuthorized},
	} {
		conn := dialTLS(t, src, c.device)
		conn.send(loginPacket(c.id, "admin", "not looked at"))
		if got := conn.expect(packets.Connack, 0).ReasonCode; got != c.want {
			t.Errorf("%s: got %#x, want %#x", c.id, got, c.want)
		}
		if c.want != 0 {
			continue
		}
		conn.publish("dev/admin/t", "1", 1, 1)
		if got := conn.expect(packets.Puback, 1).ReasonCode; got != codeNotAuthorized {
			t.Errorf("%s may do what the CONNECT says: %#x", c.id, got)
		}
		conn.publish("dev/anna/t", "1", 1, 2)
		if got := conn.expect(packets.Puback, 2).ReasonCode; got != 0 {
			t.Errorf("%s: got %#x", c.id, got)
		}
	}
}

func TestWithoutCertificateNobodyComesIn(t *testing.T) {
	a, stranger := newAuthority(t), newAuthority(t)
	foreign := stranger.device("anna")
	foreign.RootCAs = a.trusting().RootCAs
	old := a.trusting()
	old.MinVersion, old.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	src, stop := run(t, instant(), Config{TLS: a.server(a.path("ca.pem"), false)})
	defer stop()
	for name, cfg := range map[string]*tls.Config{"none": a.trusting(), "foreign": foreign, "old TLS": old} {
		c := dialTLS(t, src, cfg)
		c.Write(c.encode(loginPacket("c", "anna", "a"))) // an error now, or at the next read
		if pk, err := c.next(ingesttest.Patience); err == nil {
			t.Errorf("%s: got %+v", name, pk)
		}
	}
	retry(t, func() bool { return src.Stats().BadLogins == 3 })
	plain := dial(t, src)
	plain.send(loginPacket("c", "anna", "a"))
	if pk, err := plain.next(ingesttest.Patience); err == nil && pk.FixedHeader.Type == packets.Connack {
		t.Errorf("without TLS: got %+v", pk)
	}
}

func TestPasswordOrCertificate(t *testing.T) {
	a := newAuthority(t)
	cfg := ruled()
	cfg.TLS = a.server(a.path("ca.pem"), true)
	src := start(t, instant(), cfg)
	for _, c := range []struct {
		tls      *tls.Config
		password string
		want     byte
	}{
		{a.trusting(), "a", 0}, {a.trusting(), "b", codeBadLogin}, {a.device("anna"), "b", 0},
	} {
		conn := dialTLS(t, src, c.tls)
		conn.send(loginPacket("", "anna", c.password))
		if got := conn.expect(packets.Connack, 0).ReasonCode; got != c.want {
			t.Errorf("password %s: got %#x, want %#x", c.password, got, c.want)
		}
	}
}

// Whoever connects and says nothing must not stay, handshake or not.
func TestSilentHandshakeEnds(t *testing.T) {
	a := newAuthority(t)
	src := start(t, instant(), Config{TLS: a.server("", false), ConnectTimeout: 200 * time.Millisecond})
	dial(t, src).hungUp()
}

func TestWrongTLSFilesAreRefused(t *testing.T) {
	a := newAuthority(t)
	a.server("", false)
	server, key := a.path("server.pem"), a.path("server.key")
	for name, files := range map[string]certs.Files{
		"no certificate":         {Cert: a.path("none"), Key: key},
		"key of another":         {Cert: server, Key: a.path("ca.key")},
		"no authority":           {Cert: server, Key: key, ClientCA: a.path("none")},
		"authority of no cert":   {Cert: server, Key: key, ClientCA: key},
		"certificate for a key":  {Cert: key, Key: key},
		"key instead of a chain": {Cert: key, Key: server},
	} {
		if _, err := files.Load(); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

func TestRealClientsWithCertificates(t *testing.T) {
	for _, tool := range []string{"mosquitto_pub", "mosquitto_sub"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip(tool + " is not installed")
		}
	}
	a := newAuthority(t)
	cfg := Config{TLS: a.server(a.path("ca.pem"), false), Rules: []Rule{
		{User: "anna", Publish: []string{"dev/{user}/#"}, Subscribe: []string{"dev/{user}/#"}},
	}}
	src, stop := run(t, instant(), cfg)
	defer stop()
	a.device("anna")
	host, port, _ := net.SplitHostPort(src.Addr(t.Context()).String())
	secure := []string{"-h", host, "-p", port, "--cafile", a.path("ca.pem"), "--cert", a.path("device.pem"), "--key", a.path("device.key"), "-q", "1"}
	pub := func(args ...string) (string, error) {
		out, err := exec.CommandContext(t.Context(), "mosquitto_pub", append(args, secure...)...).CombinedOutput()
		return string(out), err
	}
	for _, version := range []string{"mqttv311", "mqttv5"} {
		if out, err := pub("-V", version, "-r", "-t", "dev/anna/t", "-m", "21.5"); err != nil {
			t.Errorf("%s: %v: %s", version, err, out)
		}
		out, err := exec.CommandContext(t.Context(), "mosquitto_sub",
			append([]string{"-V", version, "-C", "1", "-W", "60", "-t", "dev/anna/#"}, secure...)...).CombinedOutput()
		if err != nil || strings.TrimSpace(string(out)) != "21.5" {
			t.Errorf("%s: %v: %s", version, err, out)
		}
	}
	before := src.Stats().Denied
	if out, err := pub("-V", "mqttv5", "-t", "dev/ben/t", "-m", "1"); src.Stats().Denied != before+1 {
		t.Errorf("not refused: %v: %s", err, out)
	}
}

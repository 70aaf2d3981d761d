package tlsclient

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// pair is a self-signed certificate and its files.
type pair struct {
	cert, key string
	tls       tls.Certificate
}

func newPair(t *testing.T, name string, from, to time.Time) pair {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(from.Unix()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: from, NotAfter: to, IsCA: true, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	p := pair{cert: filepath.Join(dir, "cert.pem"), key: filepath.Join(dir, "key.pem"), tls: tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}}
	for path, block := range map[string]*pem.Block{p.cert: {Type: "CERTIFICATE", Bytes: der}, p.key: {Type: "PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

// shake makes a handshake and returns the client's error, and what it showed.
func shake(t *testing.T, client *tls.Config, server pair) (error, []*x509.Certificate) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	near, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	far, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	shown := make(chan []*x509.Certificate, 1)
	go func() {
		defer far.Close()
		c := tls.Server(far, &tls.Config{Certificates: []tls.Certificate{server.tls}, ClientAuth: tls.RequestClientCert})
		c.Handshake()
		shown <- c.ConnectionState().PeerCertificates
	}()
	client = client.Clone()
	client.ServerName = "shore"
	err = tls.Client(near, client).HandshakeContext(t.Context())
	near.Close()
	return err, <-shown
}

func TestOnlyTheGivenAuthoritiesVouch(t *testing.T) {
	now := time.Now()
	server, other := newPair(t, "shore", now.Add(-time.Hour), now.Add(time.Hour)), newPair(t, "shore", now.Add(-2*time.Hour), now.Add(time.Hour))
	for ca, want := range map[string]bool{server.cert: true, other.cert: false, "": false} {
		cfg, err := Config{CA: ca}.Build()
		if err != nil {
			t.Fatal(err)
		}
		if err, _ := shake(t, cfg, server); (err == nil) != want {
			t.Errorf("authorities %q: %v", ca, err)
		}
	}
}

func TestALostClockIsNoReasonToBeCutOff(t *testing.T) {
	future := time.Now().AddDate(1, 0, 0) // what a clock in 1970 makes of today
	server := newPair(t, "shore", future.Add(-time.Hour), future.Add(time.Hour))
	for floor, want := range map[time.Time]bool{{}: false, future: true, future.Add(2 * time.Hour): false} {
		cfg, err := Config{CA: server.cert, Floor: floor}.Build()
		if err != nil {
			t.Fatal(err)
		}
		if err, _ := shake(t, cfg, server); (err == nil) != want {
			t.Errorf("with the floor %v: %v", floor, err)
		}
	}
}

func TestTheGatewaysCertificateIsShown(t *testing.T) {
	now := time.Now()
	server, own := newPair(t, "shore", now.Add(-time.Hour), now.Add(time.Hour)), newPair(t, "gateway", now.Add(-time.Hour), now.Add(time.Hour))
	cfg, err := Config{CA: server.cert, Cert: own.cert, Key: own.key}.Build()
	if err != nil {
		t.Fatal(err)
	}
	if err, shown := shake(t, cfg, server); err != nil || len(shown) != 1 || shown[0].Subject.CommonName != "gateway" {
		t.Errorf("%v, shown %v", err, shown)
	}
}

func TestARenewedCertificateIsUsedAtOnce(t *testing.T) {
	now := time.Now()
	server, old, renewed := newPair(t, "shore", now.Add(-time.Hour), now.Add(time.Hour)), newPair(t, "old", now, now.Add(time.Hour)), newPair(t, "new", now, now.Add(time.Hour))
	complaints := 0
	cfg, err := Config{CA: server.cert, Cert: old.cert, Key: old.key, Unread: func(error) { complaints++ }}.Build()
	if err != nil {
		t.Fatal(err)
	}
	copyFile(t, renewed.cert, old.cert) // the key does not fit yet
	if err, shown := shake(t, cfg, server); err != nil || shown[0].Subject.CommonName != "old" || complaints != 1 {
		t.Errorf("%v, shown %v, %d complaints", err, shown, complaints)
	}
	copyFile(t, renewed.key, old.key)
	if err, shown := shake(t, cfg, server); err != nil || shown[0].Subject.CommonName != "new" || complaints != 1 {
		t.Errorf("%v, shown %v, %d complaints", err, shown, complaints)
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	text, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestFilesThatAreMistakes(t *testing.T) {
	own := newPair(t, "gateway", time.Now(), time.Now().Add(time.Hour))
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []Config{{CA: "/nowhere"}, {CA: empty}, {Cert: own.cert}, {Cert: own.cert, Key: own.cert}, {Key: own.key}} {
		if _, err := c.Build(); err == nil || !strings.Contains(err.Error(), "hint") {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

package servertest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Authority signs certificates for a test.
type Authority struct {
	t      testing.TB
	dir    string
	issued int64
	own    Pair
	cert   *x509.Certificate
	key    *ecdsa.PrivateKey
}

// Certificate says what an Authority is to sign. The zero value is a server's for
// localhost and 127.0.0.1, valid from an hour ago until an hour from now.
type Certificate struct {
	// Hosts are names and addresses; nil for localhost and 127.0.0.1.
	Hosts []string
	// From and Until bound its validity.
	From, Until time.Time
	// Name is the common name; empty for "localhost".
	Name string
}

// Pair is a certificate with its key: two files in PEM, and what TLS wants.
type Pair struct {
	Cert, Key string // paths
	TLS       tls.Certificate
}

// NewAuthority returns an Authority that signs itself. Its files live as long as
// the test.
func NewAuthority(t testing.TB) *Authority {
	t.Helper()
	a := &Authority{t: t, dir: t.TempDir()}
	a.own = a.sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: "tidegate test authority"}, IsCA: true,
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		NotBefore: time.Now().Add(-24 * time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	})
	return a
}

// File is the authority's own certificate in PEM.
func (a *Authority) File() string { return a.own.Cert }

// Pool trusts the authority and no other.
func (a *Authority) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// Issue signs a certificate, for servers and for clients.
func (a *Authority) Issue(c Certificate) Pair {
	a.t.Helper()
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: c.Name}, NotBefore: c.From, NotAfter: c.Until,
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if c.Name == "" {
		template.Subject.CommonName = "localhost"
	}
	if c.From.IsZero() {
		template.NotBefore = time.Now().Add(-time.Hour)
	}
	if c.Until.IsZero() {
		template.NotAfter = time.Now().Add(time.Hour)
	}
	hosts := c.Hosts
	if hosts == nil {
		hosts = []string{"localhost", "127.0.0.1"}
	}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, h)
		}
	}
	return a.sign(template)
}

// Expired signs a certificate for localhost that was valid until a minute ago.
func (a *Authority) Expired() Pair {
	a.t.Helper()
	return a.Issue(Certificate{Until: time.Now().Add(-time.Minute)})
}

// sign writes a certificate and its key. The first one signs itself.
func (a *Authority) sign(template *x509.Certificate) Pair {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	a.issued++
	template.SerialNumber = big.NewInt(a.issued)
	if a.cert == nil {
		a.cert, a.key = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	if template.IsCA {
		a.cert = leaf
	}
	return Pair{
		Cert: a.write("pem", "CERTIFICATE", der), Key: a.write("key", "PRIVATE KEY", secret),
		TLS: tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf},
	}
}

func (a *Authority) write(suffix, kind string, der []byte) string {
	a.t.Helper()
	path := filepath.Join(a.dir, fmt.Sprintf("%d.%s", a.issued, suffix))
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		a.t.Fatal(err)
	}
	return path
}

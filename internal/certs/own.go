package certs

import (
	"bytes"
	"cmp"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tidegate/tidegate/internal/base/whole"
)

const (
	// ownYears is how long a certificate of our own is valid: whoever has
	// compared its fingerprint should not have to do it again.
	ownYears = 10
	// renewBefore is how long before its end it is replaced.
	renewBefore = 30 * 24 * time.Hour
	// maxAddrs bounds the addresses in it.
	maxAddrs = 32
)

// Own is a certificate that a listener makes for itself and signs itself: people
// compare its fingerprint instead of asking an authority. It lies in one file, for
// its owner only, and is replaced, with the same key, before it ends and when
// somebody reaches the listener at an address that is not in it. It is safe for
// use by many goroutines.
type Own struct {
	path  string
	name  string
	names []string
	now   func() time.Time
	log   *slog.Logger

	mu   sync.Mutex
	pair *tls.Certificate // with its leaf
}

// OpenOwn reads the certificate at path, or makes one for a listener that is known
// by the names, the first of which is its own. It fails only if there is no
// randomness: what cannot be written is made again at the next start, and said.
func OpenOwn(path string, names []string, now func() time.Time, log *slog.Logger) (*Own, error) {
	o := &Own{path: path, name: names[0], now: now, log: log}
	for _, name := range append(names, "localhost") {
		if isHostName(name) && !slices.Contains(o.names, name) {
			o.names = append(o.names, name)
		}
	}
	pair, err := readOwn(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		err = errors.Join(err, os.Rename(path, path+".broken")) // who knows what it was
		log.Warn("the certificate has to be made anew: its fingerprint changes", "err", err)
	}
	o.pair = pair
	if pair != nil && o.lasts() && o.knowsNames() {
		return o, nil
	}
	return o, o.renew(nil)
}

// isHostName keeps out of the certificate what it cannot hold.
func isHostName(s string) bool {
	odd := func(r rune) bool { return r <= ' ' || r >= 0x7f }
	return s != "" && len(s) <= 253 && !strings.ContainsFunc(s, odd) && net.ParseIP(s) == nil
}

// readOwn reads a file with a certificate and its key.
func readOwn(path string) (*tls.Certificate, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(text, text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &pair, nil
}

// Config returns the configuration of a listener that shows the certificate.
func (o *Own) Config() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		var at net.IP
		if hello.Conn != nil {
			if tcp, ok := hello.Conn.LocalAddr().(*net.TCPAddr); ok {
				at = tcp.IP
			}
		}
		return o.at(at)
	}}
}

// at returns the certificate for whoever has come to an address of ours.
func (o *Own) at(address net.IP) (*tls.Certificate, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	known := address == nil || address.IsLoopback() || slices.ContainsFunc(o.pair.Leaf.IPAddresses, address.Equal)
	if known && o.lasts() {
		return o.pair, nil
	}
	if err := o.renew(address); err != nil {
		return nil, err
	}
	o.log.Info("the certificate was made anew", "address", address, "fingerprint", Fingerprint(o.pair))
	return o.pair, nil
}

func (o *Own) lasts() bool { return o.pair.Leaf.NotAfter.Sub(o.now()) > renewBefore }

func (o *Own) knowsNames() bool {
	return !slices.ContainsFunc(o.names, func(name string) bool { return !slices.Contains(o.pair.Leaf.DNSNames, name) })
}

// Fingerprint returns that of the certificate that is shown now.
func (o *Own) Fingerprint() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return Fingerprint(o.pair)
}

// OwnFingerprint returns the fingerprint of the certificate at path.
func OwnFingerprint(path string) (string, error) {
	pair, err := readOwn(path)
	if err != nil {
		return "", err
	}
	return Fingerprint(pair), nil
}

// Fingerprint is the SHA-256 of a certificate as browsers show it: AB:CD:…
func Fingerprint(pair *tls.Certificate) string {
	sum := sha256.Sum256(pair.Certificate[0])
	return strings.ReplaceAll(fmt.Sprintf("% X", sum), " ", ":")
}

// renew makes another certificate. The caller holds o.mu, or is alone.
func (o *Own) renew(address net.IP) error {
	key, addresses := crypto.Signer(nil), machineAddresses()
	if o.pair != nil { // who goes to and fro between two networks is known in both
		key, _ = o.pair.PrivateKey.(crypto.Signer)
		addresses = append(addresses, o.pair.Leaf.IPAddresses...)
	}
	if key == nil {
		var err error
		if key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			return fmt.Errorf("make a key: %w", err)
		}
	}
	if address != nil {
		addresses = slices.Insert(addresses, 0, address)
	}
	text, err := o.sign(key, distinct(addresses))
	if err != nil {
		return fmt.Errorf("make a certificate: %w", err)
	}
	pair, err := tls.X509KeyPair(text, text)
	if err != nil {
		return fmt.Errorf("make a certificate: %w", err)
	}
	o.pair = &pair
	if err := whole.Write(o.path, text, whole.Mine(0o600)); err != nil {
		o.log.Warn("the certificate could not be written down: its fingerprint will be another one after a restart", "err", err)
	}
	return nil
}

// sign makes certificate and key, in PEM.
func (o *Own) sign(key crypto.Signer, addresses []net.IP) ([]byte, error) {
	// Neither the clock of the gateway nor that of a client must be right: what
	// makes this certificate good is that somebody has compared it.
	written := time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC)
	now := o.now()
	if now.Before(written) {
		now = written
	}
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: o.name},
		NotBefore:             time.Unix(0, 0),
		NotAfter:              now.AddDate(ownYears, 0, 0),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		DNSNames:              o.names,
		IPAddresses:           addresses,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})
	return append(text, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})...), nil
}

// machineAddresses are those under which this machine may be reached now.
func machineAddresses() []net.IP {
	all := []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}
	interfaces, _ := net.InterfaceAddrs() // without them, addresses come in as they are used
	for _, a := range interfaces {
		if prefix, ok := a.(*net.IPNet); ok && !prefix.IP.IsLoopback() && (prefix.IP.To4() != nil || !prefix.IP.IsLinkLocalUnicast()) {
			all = append(all, prefix.IP)
		}
	}
	return all
}

// distinct drops what is there twice, and what is too much.
func distinct(all []net.IP) []net.IP {
	var kept []net.IP
	for _, ip := range all {
		if len(kept) < maxAddrs && !slices.ContainsFunc(kept, ip.Equal) {
			kept = append(kept, ip)
		}
	}
	slices.SortFunc(kept, func(a, b net.IP) int { return cmp.Or(cmp.Compare(len(a), len(b)), bytes.Compare(a, b)) })
	return kept
}

// Package tlsclient makes the TLS configuration of connections that a gateway
// opens: who vouches for the other side, and what the gateway shows of itself.
package tlsclient

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"sync/atomic"
	"time"
)

// Config names files, in PEM. The zero value trusts the system's authorities and
// shows no certificate.
type Config struct {
	// CA holds the authorities that vouch for the other side, instead of the
	// system's.
	CA string
	// Cert and Key are the gateway's own certificate, with those between it and
	// its authority, and its private key. They are read for every handshake, so
	// that a renewed certificate is used at once.
	Cert, Key string
	// ServerName is the name that the other side's certificate must have; empty
	// stands for the host that is dialled.
	ServerName string
	// Floor is a time that has passed for certain. A clock that shows less was
	// lost, and certificates are judged as of Floor: a gateway without a battery
	// would otherwise be cut off until its clock is set.
	Floor time.Time
	// Unread is told when the certificate cannot be read any more; the one before
	// stays in use. Nil tells nobody.
	Unread func(error)
}

// Build reads the files. The versions of TLS are 1.2 and 1.3. Where
// Config.ServerName is empty, whoever dials sets the name in a clone.
func (c Config) Build() (*tls.Config, error) {
	t := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: c.ServerName, Time: c.now}
	if c.CA != "" {
		text, err := os.ReadFile(c.CA)
		if err != nil {
			return nil, fmt.Errorf("read authorities: %w — hint: tls_ca names a file in PEM", err)
		}
		t.RootCAs = x509.NewCertPool()
		if !t.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("read authorities: %s holds no certificate — hint: tls_ca names a file in PEM, which begins with -----BEGIN CERTIFICATE-----", c.CA)
		}
	}
	if c.Cert == "" && c.Key == "" {
		return t, nil
	}
	last, err := c.load()
	if err != nil {
		return nil, err
	}
	var latest atomic.Pointer[tls.Certificate]
	latest.Store(last)
	t.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		if pair, err := c.load(); err == nil {
			latest.Store(pair)
		} else if c.Unread != nil {
			c.Unread(err)
		}
		return latest.Load(), nil
	}
	return t, nil
}

func (c Config) load() (*tls.Certificate, error) {
	pair, err := tls.LoadX509KeyPair(c.Cert, c.Key)
	if err != nil {
		return nil, fmt.Errorf("read client certificate: %w — hint: tls_cert and tls_key belong together and are in PEM", err)
	}
	return &pair, nil
}

func (c Config) now() time.Time {
	if now := time.Now(); now.After(c.Floor) {
		return now
	}
	return c.Floor
}

// Package certs reads the certificates of listeners that speak TLS.
package certs

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
)

// Files are the files, in PEM, that a listener with TLS is made of.
type Files struct {
	// Cert is the listener's certificate, followed by those between it and its
	// authority; Key is its private key.
	Cert, Key string
	// ClientCA holds the authorities that vouch for clients; empty stands for
	// no client certificates.
	ClientCA string
	// CertOptional lets clients in without a certificate, to show a password
	// instead.
	CertOptional bool
}

// Load reads the files. The versions of TLS are 1.2 and 1.3.
func (f Files) Load() (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(f.Cert, f.Key)
	if err != nil {
		return nil, fmt.Errorf("read certificate and key: %w", err)
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}}
	if f.ClientCA == "" {
		return cfg, nil
	}
	text, err := os.ReadFile(f.ClientCA)
	if err != nil {
		return nil, fmt.Errorf("read client authorities: %w", err)
	}
	cfg.ClientCAs = x509.NewCertPool()
	if !cfg.ClientCAs.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("read client authorities: %s holds no certificate", f.ClientCA)
	}
	cfg.ClientAuth = tls.RequireAndVerifyClientCert
	if f.CertOptional {
		cfg.ClientAuth = tls.VerifyClientCertIfGiven
	}
	return cfg, nil
}

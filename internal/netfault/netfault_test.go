package netfault

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestHints(t *testing.T) {
	for want, err := range map[string]error{
		"DNS":             &net.DNSError{Name: "cloud.example", IsNotFound: true},
		"clock":           x509.CertificateInvalidError{Reason: x509.Expired},
		"another host":    x509.HostnameError{Certificate: &x509.Certificate{}, Host: "cloud.example"},
		"TLS":             tls.RecordHeaderError{},
		"closed":          io.ErrUnexpectedEOF,
		"network address": &net.OpError{Op: "dial", Err: syscall.EADDRNOTAVAIL},
		"in time":         &net.OpError{Op: "read", Err: timeoutError{}},
	} {
		got := Explain(fmt.Errorf("send: %w", err))
		if _, hint, _ := strings.Cut(got.Error(), " — hint: "); !strings.Contains(hint, want) || !errors.Is(got, err) && !strings.Contains(got.Error(), err.Error()) {
			t.Errorf("%v, want %q in its hint", got, want)
		}
	}
	for _, err := range []error{nil, errors.New("whatever"), fmt.Errorf("%w — hint: known already", io.EOF)} {
		if got := Explain(err); got != err {
			t.Errorf("%v became %v", err, got)
		}
	}
}

// A server that wants a certificate says so in an alert, in TLS 1.3 after the
// client's handshake.
func TestHintOfARefusedHandshake(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		near, far := net.Pipe()
		go func() {
			defer far.Close()
			_ = tls.Server(far, &tls.Config{Certificates: []tls.Certificate{certificate(t)}, ClientAuth: tls.RequireAnyClientCert, MaxVersion: version}).Handshake()
		}()
		c := tls.Client(near, &tls.Config{InsecureSkipVerify: true})
		_, err := c.Read(make([]byte, 1))
		if got := Explain(err); !strings.Contains(got.Error(), "does it want a certificate of this gateway") {
			t.Errorf("TLS %x: %v", version, got)
		}
		near.Close()
	}
}

func certificate(t *testing.T) tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

type timeoutError struct{}

func (timeoutError) Error() string   { return "i/o timeout" }
func (timeoutError) Timeout() bool   { return true }
func (timeoutError) Temporary() bool { return true }

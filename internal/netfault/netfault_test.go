package netfault

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
)

func TestHints(t *testing.T) {
	for want, err := range map[string]error{
		"DNS":                         &net.DNSError{Name: "cloud.example", IsNotFound: true},
		"clock":                       x509.CertificateInvalidError{Reason: x509.Expired},
		"another host":                x509.HostnameError{Certificate: &x509.Certificate{}, Host: "cloud.example"},
		"TLS":                         tls.RecordHeaderError{},
		"certificate of this gateway": tls.AlertError(42),
		"closed":                      io.ErrUnexpectedEOF,
		"network address":             &net.OpError{Op: "dial", Err: syscall.EADDRNOTAVAIL},
		"in time":                     &net.OpError{Op: "read", Err: timeoutError{}},
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

type timeoutError struct{}

func (timeoutError) Error() string   { return "i/o timeout" }
func (timeoutError) Timeout() bool   { return true }
func (timeoutError) Temporary() bool { return true }

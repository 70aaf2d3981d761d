package httpout

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"syscall"
)

// withHint adds what a technician may do about a transport's error.
func withHint(err error) error {
	if hint := hintFor(err); hint != "" {
		return fmt.Errorf("%w — hint: %s", err, hint)
	}
	return err
}

func hintFor(err error) string {
	var (
		dns       *net.DNSError
		authority x509.UnknownAuthorityError
		invalid   x509.CertificateInvalidError
		hostname  x509.HostnameError
		record    tls.RecordHeaderError
		timeout   net.Error
	)
	switch {
	case errors.As(err, &dns):
		return "the name was not found; check the url, and the DNS server of this link"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "the host is there but nothing listens on that port"
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		return "there is no route; is the link up?"
	case errors.As(err, &authority):
		return "the certificate is of an unknown authority; install its CA on this gateway"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "the certificate is not valid now; is the clock of this gateway right?"
	case errors.As(err, &hostname):
		return "the certificate is for another host; check the url"
	case errors.As(err, &record):
		return "the other side does not speak TLS; http:// instead of https://?"
	case errors.As(err, &timeout) && timeout.Timeout():
		return "no answer in time; the link is slow or dead"
	}
	return ""
}

// Package netfault says what may be done about errors of networks and of TLS.
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
)

// Explain adds to an error what a technician may do about it, if that is known:
// " — hint: …". Nil stays nil, and what has a hint keeps its own.
func Explain(err error) error {
	if err == nil || strings.Contains(err.Error(), "hint: ") {
		return err
	}
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
		remote    *net.OpError
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
		return "the other side does not speak TLS; is it the port and the scheme of the url without TLS?"
	case errors.As(err, &remote) && remote.Op == "remote error": // a TLS alert, whose type crypto/tls keeps to itself
		return "the other side refused the TLS handshake; does it want a certificate of this gateway, or another one?"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return "this machine does not have that network address now"
	case errors.As(err, &timeout) && timeout.Timeout():
		return "no answer in time; the link is slow or dead"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "the other side, or something in between, closed the connection"
	}
	return ""
}

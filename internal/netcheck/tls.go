package netcheck

import (
	"bytes"
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"time"
)

// Handshake is what is known of a handshake that failed.
type Handshake struct {
	// Address was connected to, Name is what the certificate should be for.
	Address, Name string
	Clock         Clock
	// Theirs is what the other side's clock says; zero if that is not known.
	Theirs time.Time
	// OwnCA says that the configuration names who vouches for the other side.
	OwnCA bool
	// Own is the gateway's certificate, nil for none.
	Own *x509.Certificate
	// Login is where a page of the network wants everybody to go first; empty for
	// nowhere.
	Login string
	// Received counts the bytes that came back, Head is their beginning.
	Received int64
	Head     []byte
}

// IsOfTLS reports whether an error is about TLS, whatever it is wrapped in.
func IsOfTLS(err error) bool {
	if isA[*tls.CertificateVerificationError](err) || isA[tls.RecordHeaderError](err) || isAlert(err) {
		return true
	}
	return err != nil && strings.Contains(err.Error(), "tls: ")
}

func isA[T error](err error) bool {
	return errors.As(err, new(T))
}

// isAlert reports whether the other side has refused: the type of its alerts
// crypto/tls keeps to itself.
func isAlert(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "remote error"
}

// NeedsTheirClock reports whether only the other side's clock can tell who is wrong
// about a certificate that is out of date.
func (h Handshake) NeedsTheirClock(err error) bool {
	_, dated := h.dated(chainOf(err), err)
	return dated && !h.Clock.Synced && !h.Clock.IsWrong()
}

// Judge says why a handshake failed, and which step is to blame: the clock, or TLS
// itself.
func (h Handshake) Judge(err error) (f Finding, blamed string) {
	chain := chainOf(err)
	if cert, ok := h.dated(chain, err); ok && h.Login == "" {
		return h.Clock.outOfDate(cert, h.Theirs)
	}
	var record tls.RecordHeaderError
	plain := errors.As(err, &record)
	switch {
	case h.Login != "":
		return OfLogin(h.Address, h.Login), Connect
	case plain || bytes.HasPrefix(h.Head, []byte("HTTP/")):
		return h.notTLS(cmp.Or(string(h.Head), string(record.RecordHeader[:]))), Secure
	case isA[x509.HostnameError](err):
		return h.otherName(chain), Secure
	case isA[x509.UnknownAuthorityError](err):
		return h.unknown(chain, err), Secure
	case isAlert(err):
		return h.refused(err), Secure
	case isAny(err, io.EOF, io.ErrUnexpectedEOF, syscall.ECONNRESET, syscall.EPIPE), isTimeout(err):
		return h.cut(err), Secure
	}
	what, hint := Cut(err)
	return Wrong(cmp.Or(hint, "the other side may be too old for TLS 1.2; ask who runs it"), "no encryption with %s: %s", h.Address, what), Secure
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

// chainOf returns the certificates that the other side has shown.
func chainOf(err error) []*x509.Certificate {
	if e, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return e.UnverifiedCertificates
	}
	return nil
}

// dated finds the certificate that is not valid now. The library says that of a
// server's own, and hides it behind another error for those above.
func (h Handshake) dated(chain []*x509.Certificate, err error) (*x509.Certificate, bool) {
	var e x509.CertificateInvalidError
	if errors.As(err, &e) && e.Reason == x509.Expired {
		return e.Cert, true
	}
	if !isA[x509.UnknownAuthorityError](err) {
		return nil, false
	}
	for _, c := range chain {
		if h.Clock.Now.Before(c.NotBefore) || h.Clock.Now.After(c.NotAfter) {
			return c, true
		}
	}
	return nil, false
}

// whose says what a certificate is.
func whose(c *x509.Certificate) string {
	if c.IsCA && c.Subject.String() != c.Issuer.String() || c.IsCA && len(c.DNSNames) == 0 {
		return fmt.Sprintf("the certificate of the authority %q", subject(c))
	}
	return "the other side's certificate"
}

func subject(c *x509.Certificate) string {
	return quoted(cmp.Or(c.Subject.CommonName, c.Subject.String()))
}

// quoted makes the head of a foreign text safe.
func quoted(s string) string {
	if len(s) > 100 {
		s = s[:100] + "..."
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}

// names are those that a certificate is for.
func names(c *x509.Certificate) string {
	all := append([]string(nil), c.DNSNames...)
	for _, ip := range c.IPAddresses {
		all = append(all, ip.String())
	}
	if len(all) == 0 {
		return "no name at all"
	}
	if len(all) > 5 {
		all = append(all[:5], "...")
	}
	return quoted(strings.Join(all, ", "))
}

func (h Handshake) notTLS(head string) Finding {
	if strings.HasPrefix(head, "HTTP/") {
		return Wrong("check the port and the beginning of the url; or does this network want a login first? Open any page in a browser there",
			"%s answers as a web server without encryption", h.Address)
	}
	return Wrong("check the port, or use the url without TLS if that is meant", "%s does not speak TLS", h.Address)
}

func (h Handshake) otherName(chain []*x509.Certificate) Finding {
	if len(chain) == 0 {
		return Wrong("check the url", "the certificate of %s is for another name than %s", h.Address, h.Name)
	}
	return Wrong("write one of these names into the url, or into tls_server_name; if they mean nothing to you, something else answers here",
		"the certificate of %s is for %s, and not for %s", h.Address, names(chain[0]), h.Name)
}

func (h Handshake) unknown(chain []*x509.Certificate, err error) Finding {
	signer := "somebody unknown"
	if len(chain) > 0 {
		last := chain[len(chain)-1]
		signer = fmt.Sprintf("%q", quoted(cmp.Or(last.Issuer.CommonName, last.Issuer.String())))
		if len(chain) == 1 && last.Issuer.String() == last.Subject.String() {
			signer = "itself, as " + signer
		}
	}
	switch {
	case strings.Contains(err.Error(), "has expired or is not yet valid"):
		return Wrong("put a new one into tls_ca, and look at the clock", "an authority that should vouch for %s is not valid now", h.Address)
	case h.OwnCA:
		return Wrong("put the authority that has signed it into tls_ca; or does a firewall on the way open the encryption?",
			"the certificate of %s is signed by %s, and nobody in tls_ca vouches for that", h.Address, signer)
	}
	return Wrong("if that is right, name its authority's file in tls_ca; if not, does a firewall on the way open the encryption?",
		"the certificate of %s is signed by %s, which this machine does not know", h.Address, signer)
}

// refused is about an alert.
func (h Handshake) refused(err error) Finding {
	_, alert, _ := strings.Cut(err.Error(), "remote error: ")
	alert, _, _ = strings.Cut(alert, " — hint: ")
	alert = strings.TrimPrefix(alert, "tls: ")
	switch own := h.Own; {
	case own == nil && strings.Contains(alert, "certificate"):
		return Wrong("set tls_cert and tls_key", "%s wants a certificate of this gateway, and it has none (%s)", h.Address, alert)
	case own != nil && h.Clock.Now.After(own.NotAfter):
		return Wrong("have it renewed: tls_cert", "this gateway's own certificate ended on %s, so %s refuses it (%s)", day(own.NotAfter), h.Address, alert)
	case own != nil && strings.Contains(alert, "certificate") || strings.Contains(alert, "unknown certificate authority"):
		return Wrong("ask who runs the other side whether it knows who has signed tls_cert", "%s does not accept this gateway's certificate (%s)", h.Address, alert)
	}
	return Wrong("check the name in the url; the other side may want other versions or ciphers: see its log", "%s refuses the encryption (%s)", h.Address, alert)
}

// cut is about a handshake in the middle of which nothing comes any more.
func (h Handshake) cut(err error) Finding {
	switch {
	case isTimeout(err) && h.Received == 0:
		return Wrong("is it the right port? A firewall that lets only the connection through does that as well", "%s takes the connection and then says nothing", h.Address)
	case isTimeout(err):
		return Wrong("small packets pass and large ones do not: lower the MTU of the interface, for example \"ip link set dev wwan0 mtu 1280\"", "%s answers, and the rest of its answer does not arrive", h.Address)
	}
	return Wrong("is it the right port? A firewall that forbids this name does that as well", "%s, or something in between, cuts the connection when encryption begins", h.Address)
}

// OfHandshake is about one that went well.
func OfHandshake(s tls.ConnectionState, now time.Time) Finding {
	if len(s.PeerCertificates) == 0 {
		return Fine("%s", tls.VersionName(s.Version))
	}
	leaf := s.PeerCertificates[0]
	f := OfCertificate("the certificate", leaf.NotBefore, leaf.NotAfter, now)
	f.Text = fmt.Sprintf("%s with %s, signed by %q; %s", tls.VersionName(s.Version), names(leaf), quoted(cmp.Or(leaf.Issuer.CommonName, leaf.Issuer.String())), f.Text)
	return f
}

package daemon

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"time"

	"github.com/tidegate/tidegate/dashboard"
	"github.com/tidegate/tidegate/dashboard/api"
	"github.com/tidegate/tidegate/internal/certs"
	"github.com/tidegate/tidegate/internal/fresh"
	"github.com/tidegate/tidegate/internal/login"
	"github.com/tidegate/tidegate/internal/passwd"
)

// entrance is who gets in where the dashboard listens, and whether in secret.
type entrance struct {
	*login.Gate
	tls *dashboard.TLS // nil for none
	// fingerprint is that of the certificate, "" for none.
	fingerprint func() string
}

// openGate reads who may do what. Without a dashboard there is none.
func (d *Daemon) openGate(cfg Config) error {
	page, g := cfg.Dashboard, &entrance{fingerprint: func() string { return "" }}
	if page.Listen == "" {
		return nil
	}
	if page.secure() {
		if err := page.openTLS(g, cfg.Gateway.DataDir, d.gateway, d.log); err != nil {
			return fmt.Errorf("dashboard: %w", err)
		}
	}
	g.Gate = login.Open(login.Config{Dir: cfg.Gateway.DataDir, Gateway: d.gateway, Hash: passwd.Hash, Parse: passwd.ParseHash}, d.log)
	d.entrance = g
	return nil
}

// ownCertificate is the file, in data_dir, of the certificate that the dashboard
// makes for itself.
const ownCertificate = "dashboard.pem"

// openTLS reads the certificate that is configured, or makes one.
func (p Dashboard) openTLS(g *entrance, dir, gateway string, log *slog.Logger) error {
	if p.TLSGenerate {
		own, err := certs.OpenOwn(filepath.Join(dir, ownCertificate), append([]string{gateway}, p.Hosts...), time.Now, log)
		if err != nil {
			return err
		}
		g.tls, g.fingerprint = &dashboard.TLS{Config: own.Config(), Fingerprint: own.Fingerprint}, own.Fingerprint
		return nil
	}
	failed := func(err error) { log.Warn("the dashboard's certificate that was read before stays valid", "err", err) }
	secure, err := fresh.Open(p.tlsFiles().Load, failed, p.TLSCert, p.TLSKey)
	if err != nil {
		return err
	}
	g.tls = &dashboard.TLS{Vouched: true, Config: &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &secure.Get().Certificates[0], nil },
	}}
	g.fingerprint = func() string { return certs.Fingerprint(&secure.Get().Certificates[0]) }
	g.tls.Fingerprint = g.fingerprint
	return nil
}

func (p Dashboard) tlsFiles() certs.Files { return certs.Files{Cert: p.TLSCert, Key: p.TLSKey} }

// newPage is what is served where the dashboard listens, behind its entrance.
func (d *Daemon) newPage(routes []dashboard.Route) *dashboard.Server {
	page := dashboard.NewServer(d.hub, d.current().cfg.Dashboard.Hosts, d.log)
	page.Admit(d.entrance.Gate, d.gateway)
	if d.entrance.tls != nil {
		page.Secure(*d.entrance.tls)
	}
	page.Bound(d.current().cfg.pageConnections(descriptors()))
	page.Handle(routes...)
	// The broker asks for passwords of its own.
	page.Handle(dashboard.Route{Pattern: "GET /mqtt", Access: dashboard.Open, Handler: http.HandlerFunc(d.serveMQTT)})
	return page
}

// routes are those of the page and of the admin socket; of neither without a gate.
func (g *entrance) routes() []dashboard.Route {
	if g == nil {
		return nil
	}
	return api.Login(g.Gate)
}

// machineRoutes are those of the admin socket alone.
func (g *entrance) machineRoutes() []dashboard.Route {
	if g == nil {
		return nil
	}
	return api.Machine(g.Gate, g.fingerprint)
}

// pageURL is where somebody else on the network finds the page that listens at an
// address.
func pageURL(listen string, secure bool) string {
	scheme := "http://"
	if secure {
		scheme = "https://"
	}
	host, port, err := net.SplitHostPort(listen)
	if err != nil || !isWildcard(host) {
		return scheme + listen + "/"
	}
	host = "localhost"
	addresses, _ := net.InterfaceAddrs() // without them, the gateway itself finds it at least
	for _, a := range addresses {
		if prefix, ok := a.(*net.IPNet); ok && prefix.IP.To4() != nil && !prefix.IP.IsLoopback() {
			host = prefix.IP.String()
			break
		}
	}
	return scheme + net.JoinHostPort(host, port) + "/"
}

// invitation is what follows the page's address on its line of the journal: what
// it takes to become the operator, and to know that it is this gateway.
func (g *entrance) invitation() string {
	text := ""
	if code := g.PrintedCode(); code != "" {
		text = "  set-up code " + code
	}
	if g.tls != nil {
		text += "  certificate SHA-256 " + g.fingerprint()
	}
	return text
}

func (g *entrance) status() *dashboard.Gatehouse {
	if g == nil {
		return nil
	}
	s := g.Stats()
	events := make(map[string]uint64, len(s.Events))
	for event, n := range s.Events {
		events[string(event)] = n
	}
	return &dashboard.Gatehouse{SetUp: s.SetUp, TLS: g.tls != nil, Sessions: s.Sessions, Tokens: s.Tokens, Events: events}
}

// problems says what is wrong with the gate.
func (g *entrance) problems() []string {
	if g == nil {
		return nil
	}
	if err := g.Stats().Spoiled; err != nil {
		return []string{"nobody can sign in on the page: " + err.Error()}
	}
	return nil
}

// abroad is what helps who has the code and cannot reach the page.
const abroad = "from another machine: sudo tidegate init -lan"

// homely says that nobody but the machine itself reaches the page.
func (p Dashboard) homely() bool {
	host, _, err := net.SplitHostPort(p.Listen)
	return err == nil && isLoopback(host)
}

// secure says whether the page is reached over TLS.
func (p Dashboard) secure() bool { return p.TLSGenerate || p.TLSCert+p.TLSKey != "" }

// validateAccess checks who can read along, and the two ways to a certificate.
func (p Dashboard) validateAccess(r refuse) {
	r.keyPair("dashboard", p.TLSCert, p.TLSKey)
	if p.TLSGenerate && p.TLSCert != "" {
		r("dashboard.tls_generate", "write false, or take tls_cert and tls_key out", "there is a certificate already, in tls_cert")
	}
	host, port, ok := r.listener("dashboard.listen", p.Listen)
	if ok && !isLoopback(host) && !p.secure() && !p.InsecureIKnow {
		r("dashboard.listen", fmt.Sprintf(`write "127.0.0.1:%s", or set tls_generate = true, or tls_cert and tls_key, %s`, port, insecure),
			"%q lets everybody on the network read the operator's password", p.Listen)
	}
}

// dashboard looks at the page: whether it can listen, and who can sign in.
func (k *checklist) dashboard(p Dashboard, dir string, adminSocket string) {
	k.listener("dashboard", p.Listen, adminSocket)
	if p.Listen == "" {
		return
	}
	if host, _, err := net.SplitHostPort(p.Listen); err == nil && !isLoopback(host) && !p.secure() {
		k.warn("set tls_generate = true", "dashboard: everybody on the network can read the operator's password, because there is no TLS")
	}
	switch operated, err := login.Peek(dir, passwd.ParseHash); {
	case err != nil:
		k.warn("set a password with \"tidegate operator passwd\" while the gateway runs", "dashboard: nobody can sign in: %v", err)
	case operated:
		k.ok("dashboard: it has an operator")
	default:
		k.ok("dashboard: it has no operator yet; \"tidegate setup-code\" tells how to become that")
	}
}

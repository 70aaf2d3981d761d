package daemon

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/url"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/tidegate/tidegate/internal/conf"
)

// reachTimeout bounds the look at one uplink, name service included.
const reachTimeout = 10 * time.Second

// listener checks that an address can be bound. If it is taken, the admin
// socket tells whether by our own daemon.
func (k *checklist) listener(key, listen, adminSocket string) {
	if listen == "" {
		k.ok("%s is off", key)
		return
	}
	l, err := net.Listen("tcp", listen)
	if err == nil {
		l.Close()
		k.ok("%s can listen on %s", key, listen)
		return
	}
	k.cannotListen(err, key, listen, adminSocket, tcpPort)
}

// portKind is what a port is called, and how ss lists those of its kind.
type portKind struct{ name, flags string }

var (
	tcpPort = portKind{"port", "-ltnp"}
	udpPort = portKind{"UDP port", "-lunp"}
)

// cannotListen says why an address could not be bound.
func (k *checklist) cannotListen(err error, key, listen, adminSocket string, kind portKind) {
	switch {
	case errors.Is(err, syscall.EADDRINUSE) && answers(adminSocket):
		k.ok("%s listens on %s already: the gateway is running", key, listen)
	case errors.Is(err, syscall.EADDRINUSE):
		_, port, _ := net.SplitHostPort(listen)
		k.fail(`see who has it with "ss `+kind.flags+` sport = :`+port+`", or choose another port`, "%s cannot listen on %s: the %s is taken", key, listen, kind.name)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		k.fail("write an address of this machine, or 0.0.0.0 for all of them", "%s cannot listen on %s: no interface has that address now", key, listen)
	case errors.Is(err, syscall.EACCES):
		k.fail("choose a port from 1024 up", "%s cannot listen on %s: not permitted", key, listen)
	default:
		k.fail("check the address", "%s cannot listen: %v", key, err)
	}
}

func answers(socket string) bool {
	conn, err := net.DialTimeout("unix", socket, time.Second)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

// uplinks looks at all uplinks at once, because those that are out of reach
// take their time.
func (k *checklist) uplinks(ctx context.Context, u Uplink) {
	if len(u.HTTP) == 0 {
		k.warn("add an [[uplink.http]]", "there is no uplink: readings are kept until the buffer is full")
		return
	}
	parts := make([]checklist, len(u.HTTP))
	var all sync.WaitGroup
	for i, h := range u.HTTP {
		all.Go(func() {
			parts[i].tokenFile(h)
			parts[i].reach(ctx, h)
		})
	}
	all.Wait()
	for _, part := range parts {
		k.findings = append(k.findings, part.findings...)
	}
}

func (k *checklist) tokenFile(h HTTPUplink) {
	if h.TokenFile == "" {
		return
	}
	if _, err := conf.ReadSecret(h.TokenFile); err != nil {
		k.fail("put the token, alone, into the file, readable for the user who runs the gateway", "uplink %s: %v", h.Name, err)
		return
	}
	if info, err := os.Stat(h.TokenFile); err == nil && isOpen(info) {
		k.warn("chmod o-rwx "+h.TokenFile, "uplink %s: everybody on this machine can use %s", h.Name, h.TokenFile)
		return
	}
	k.ok("uplink %s: the token is readable", h.Name)
}

// reach connects as the uplink would, and no further. An uplink that is out of
// reach is no failure: waiting for it is what the gateway is for.
func (k *checklist) reach(ctx context.Context, h HTTPUplink) {
	const wait = "check the link and the name; readings are kept until it answers"
	ctx, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	u, err := url.Parse(h.URL)
	if err != nil {
		k.fail("correct the url", "uplink %s: %v", h.Name, err)
		return
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", hostPort(u))
	if err != nil {
		k.warn(wait, "uplink %s is out of reach: %v", h.Name, err)
		return
	}
	defer conn.Close()
	if u.Scheme == "http" {
		k.ok("uplink %s: %s answers, without encryption", h.Name, u.Host)
		return
	}
	secure := tls.Client(conn, &tls.Config{ServerName: u.Hostname()})
	if err := secure.HandshakeContext(ctx); err != nil {
		k.warn("check the server's certificate, and this machine's clock and ca-certificates", "uplink %s: %s answers, but not safely: %v", h.Name, u.Host, err)
		return
	}
	k.certificate(h.Name, u.Host, secure.ConnectionState().PeerCertificates[0].NotAfter, time.Now())
}

// certificate warns of a certificate that ends soon: a gateway in the field
// then stops delivering without anybody having changed anything.
func (k *checklist) certificate(name, host string, ends, now time.Time) {
	date := ends.UTC().Format(time.DateOnly)
	if ends.Sub(now) < 14*24*time.Hour {
		k.warn("have it renewed", "uplink %s: the certificate of %s ends on %s", name, host, date)
		return
	}
	k.ok("uplink %s: %s answers, certificate valid until %s", name, host, date)
}

func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = u.Scheme // "http" and "https" are names of their ports
	}
	return net.JoinHostPort(u.Hostname(), port)
}

package daemon

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/tidegate/tidegate/internal/conf"
	"github.com/tidegate/tidegate/internal/netcheck"
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
	if k.offline {
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
func (k *checklist) uplinks(ctx context.Context, c Config) {
	all := c.Uplink.all()
	if len(all) == 0 {
		k.warn("add an [[uplink.http]]", "there is no uplink: readings are kept until the buffer is full")
		return
	}
	network := k.network(c)
	parts := k.parts(len(all))
	var looking sync.WaitGroup
	for i, u := range all {
		looking.Go(func() {
			switch readable := parts[i].secrets(u); {
			case parts[i].offline:
				parts[i].tlsFiles(u)
			case readable:
				parts[i].reach(ctx, c.Gateway, network, u)
			}
		})
	}
	looking.Wait()
	for _, part := range parts {
		k.findings = append(k.findings, part.findings...)
	}
}

// tlsFiles looks at the files that TLS needs on the gateway's side.
func (k *checklist) tlsFiles(u upstream) {
	if _, err := u.settings().tlsClient(time.Time{}, slog.New(slog.DiscardHandler)); err != nil {
		k.fault(Fail, u.settings().Name, err)
	}
}

// secrets looks at the files with the uplink's secrets, and reports whether all
// of them can be read.
func (k *checklist) secrets(u upstream) bool {
	keeper, ok := u.doorOut.(secretKeeper)
	if !ok {
		return true
	}
	readable := true
	for _, path := range keeper.secretFiles() {
		if path != "" {
			readable = k.secret(u.settings().Name, path) && readable
		}
	}
	return readable
}

func (k *checklist) secret(name, path string) bool {
	if _, err := conf.ReadSecret(path); err != nil {
		k.fail("put the secret, alone, into the file, readable for the user who runs the gateway", "uplink %s: %v", name, err)
		return false
	}
	if k.openToAll("uplink "+name, path) {
		return true
	}
	k.ok("uplink %s: the secret in %s is readable", name, path)
	return true
}

// reach connects and logs in as the uplink would, and sends nothing. An uplink
// that is out of reach is no failure: waiting for it is what the gateway is for.
func (k *checklist) reach(ctx context.Context, g Gateway, n network, u upstream) {
	name := u.settings().Name
	ctx, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	gateway, err := g.Identity()
	if err != nil {
		return // said already
	}
	path := n.path(u.settings().Links, nil, slog.New(slog.DiscardHandler))
	report := netcheck.NewReport(netcheck.LinkQuestions(), func(netcheck.Line) {})
	t := newAttempt(gateway, u, path, time.Time{}, report)
	about, err := t.run(ctx)
	if err != nil {
		k.wrong(name, report, err)
		return
	}
	about, cautions, _ := strings.Cut(about, "\n")
	about = cmp.Or(about, u.target())
	if len(u.settings().Links) > 0 {
		about += ", over " + path.Stats().Present
	}
	k.ok("uplink %s: %s", name, about)
	k.cautions(name, cautions)
	if s, ok := t.trace.Verified(); ok {
		k.certificate(name, s.PeerCertificates[0], time.Now())
	}
}

// wrong notes the step of a trial that failed.
func (k *checklist) wrong(name string, report *netcheck.Report, err error) {
	for _, q := range netcheck.LinkQuestions() {
		if f := report.Found(q.Step); f.State == netcheck.Bad {
			k.found(Warn, name, f)
			return
		}
	}
	k.fault(Warn, name, err)
}

// found notes a finding about an uplink.
func (k *checklist) found(level Level, name string, f netcheck.Finding) {
	hint := cmp.Or(f.Hint, "check the link and the name; readings are kept until it answers")
	if f.State == netcheck.OK {
		hint = ""
	}
	k.findings = append(k.findings, Finding{level, "uplink " + name + ": " + f.Text, hint})
}

// cautions notes what a sink that works warns of, a line each.
func (k *checklist) cautions(name, lines string) {
	for line := range strings.Lines(lines) {
		k.fault(Warn, name, errors.New(strings.TrimSpace(line)))
	}
}

// fault notes an error of an uplink, with its hint if it has one.
func (k *checklist) fault(level Level, name string, err error) {
	what, hint := netcheck.Cut(err)
	k.found(level, name, netcheck.Wrong(hint, "%s", what))
}

// certificate warns of a certificate of the other side that ends soon.
func (k *checklist) certificate(name string, leaf *x509.Certificate, now time.Time) {
	f := netcheck.OfCertificate("the other side's certificate", leaf.NotBefore, leaf.NotAfter, now)
	level := OK
	if f.State != netcheck.OK {
		level = Warn
	}
	k.found(level, name, f)
}

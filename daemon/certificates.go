package daemon

import (
	"cmp"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tidegate/tidegate/dashboard"
	"github.com/tidegate/tidegate/internal/certs"
	"github.com/tidegate/tidegate/internal/fresh"
	"github.com/tidegate/tidegate/internal/inorder"
	"github.com/tidegate/tidegate/internal/netcheck"
)

// certificate is one that the gateway shows to others, and where it does.
type certificate struct {
	where string
	files certs.Files
	// out says that it is shown on the other side of a link.
	out bool
}

// certificates are all that the gateway shows out of files. The one that the page makes
// for itself is none of them: it is replaced by itself before it ends.
func (c Config) certificates() []certificate {
	var all []certificate
	door := func(where, listen string, files certs.Files) {
		if listen != "" && files.Cert != "" {
			all = append(all, certificate{where: where, files: files})
		}
	}
	door("ingest.mqtt", c.Ingest.MQTT.Listen, c.Ingest.MQTT.tlsFiles())
	door("ingest.http", c.Ingest.HTTP.Listen, c.Ingest.HTTP.tlsFiles())
	for _, l := range c.Ingest.Line {
		door("ingest."+l.doorName(), l.Listen, l.tlsFiles())
	}
	door("dashboard", c.Dashboard.Listen, c.Dashboard.tlsFiles())
	for _, u := range c.Uplink.all() {
		if s := u.settings(); s.TLSCert != "" {
			all = append(all, certificate{"uplink " + s.Name, certs.Files{Cert: s.TLSCert, Key: s.TLSKey}, true})
		}
	}
	if len(c.Command.Allow) == 0 {
		return all // nobody is asked for commands
	}
	for _, d := range c.Command.all() {
		if b := d.below(); b.TLSCert != "" {
			all = append(all, certificate{"commands from " + b.Name, certs.Files{Cert: b.TLSCert, Key: b.TLSKey}, true})
		}
	}
	return all
}

// leaf reads the certificate itself.
func (s certificate) leaf() (*x509.Certificate, error) {
	cfg, err := s.files.Load()
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(cfg.Certificates[0].Certificate[0])
}

// ends says how a certificate stands: nobody looks at it until all devices, or this
// gateway, stay away.
func (s certificate) ends(from, until, now time.Time) Finding {
	f := netcheck.OfCertificate("the certificate", from, until, now)
	switch {
	case now.After(until):
		return Finding{Fail, fmt.Sprintf("%s: the certificate ended on %s: who looks at it refuses it", s.where, until.UTC().Format(time.DateOnly)), f.Hint}
	case f.State != netcheck.OK:
		return Finding{Warn, s.where + ": " + f.Text, f.Hint}
	}
	return Finding{OK, s.where + ": " + f.Text, ""}
}

// certificates looks at those that the gateway shows.
func (k *checklist) certificates(all []certificate, now time.Time) {
	for _, s := range all {
		if _, err := s.files.Load(); err != nil && s.out {
			continue // what would use them tells
		}
		k.shows(s, now)
	}
}

// shows checks that the files belong together, and warns of a certificate that ends soon.
func (k *checklist) shows(s certificate, now time.Time) {
	leaf, err := s.leaf()
	if err != nil {
		k.fail("check the paths, that the key is the certificate's, and that the user who runs the gateway may read them", "%s: %v", s.where, err)
		return
	}
	k.openToAll(s.where, s.files.Key)
	k.findings = append(k.findings, s.ends(leaf.NotBefore, leaf.NotAfter, now))
}

// watched is a certificate of a gateway that runs. Its files are read again when they
// change, as those do who show it.
type watched struct {
	certificate
	leaf *fresh.Value[*x509.Certificate]
}

// watchCertificates keeps an eye on those of the configuration. What the generation before
// has read stays valid as long as its files cannot be read, as it does where it is shown.
func (b *builder) watchCertificates() {
	for _, s := range b.cfg.certificates() {
		if at := slices.IndexFunc(b.old.certificates, func(w watched) bool { return w.certificate == s }); at >= 0 {
			b.certificates = append(b.certificates, b.old.certificates[at])
			continue
		}
		told := func(error) {} // by who shows it
		if leaf, err := fresh.Open(s.leaf, told, s.files.Cert, s.files.Key, s.files.ClientCA); err == nil {
			b.certificates = append(b.certificates, watched{s, leaf})
		}
	}
}

func (g *generation) certificateStatus() (all []dashboard.Certificate) {
	for _, w := range g.certificates {
		leaf := w.leaf.Get()
		all = append(all, dashboard.Certificate{Where: w.where, NotBefore: leaf.NotBefore.UnixMilli(), NotAfter: leaf.NotAfter.UnixMilli()})
	}
	return all
}

// certificateProblems puts into sentences which certificates end soon, or have ended.
func certificateProblems(s dashboard.Status) (all []string) {
	for _, c := range s.Certificates {
		f := certificate{where: c.Where}.ends(time.UnixMilli(c.NotBefore), time.UnixMilli(c.NotAfter), time.UnixMilli(s.Now))
		if f.Level != OK {
			all = append(all, f.What+" — hint: "+f.Hint)
		}
	}
	return all
}

// writeCertificates prints until when each is good, the first to end first.
func writeCertificates(b *strings.Builder, all []dashboard.Certificate) {
	if len(all) == 0 {
		return
	}
	all = inorder.Sorted(slices.Values(all), func(x, y dashboard.Certificate) int { return cmp.Compare(x.NotAfter, y.NotAfter) })
	var ends []string
	for _, c := range all {
		ends = append(ends, c.Where+" until "+time.UnixMilli(c.NotAfter).UTC().Format(time.DateOnly))
	}
	fmt.Fprintf(b, "\ncertificates: %s\n", strings.Join(ends, ", "))
}

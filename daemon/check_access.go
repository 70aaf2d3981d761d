package daemon

import (
	"crypto/x509"
	"time"

	"github.com/tidegate/tidegate/internal/certs"
	"github.com/tidegate/tidegate/internal/netcheck"
	"github.com/tidegate/tidegate/internal/passwd"
)

// access looks at the files that say who may connect to the broker.
func (k *checklist) access(m MQTT, now time.Time) {
	if m.Listen == "" {
		return
	}
	if !m.hasUsers() {
		k.ok("ingest.mqtt lets everybody in who reaches it")
	}
	if m.PasswordFile != "" {
		k.passwordFile("ingest.mqtt", m.PasswordFile)
	}
	if m.TLSCert != "" {
		k.tlsFiles("ingest.mqtt", m.tlsFiles(), now)
	}
}

func (k *checklist) passwordFile(table, path string) {
	users, err := passwd.Read(path)
	k.list(guests{
		table: table, path: path, of: "users",
		unread: `set passwords with "tidegate passwd", and let the user who runs the gateway read the file`,
		add:    `add users with "tidegate passwd"`,
	}, users, err)
}

// tlsFiles checks that the files belong together, and warns of a certificate
// that ends soon: nobody looks at it until all devices stay away.
func (k *checklist) tlsFiles(table string, files certs.Files, now time.Time) {
	cfg, err := files.Load()
	if err != nil {
		k.fail("check the paths, that the key is the certificate's, and that the user who runs the gateway may read them", "%s: %v", table, err)
		return
	}
	k.openToAll(table, files.Key)
	leaf, err := x509.ParseCertificate(cfg.Certificates[0].Certificate[0])
	if err != nil {
		k.fail("make a new certificate", "%s: %v", table, err)
		return
	}
	f := netcheck.OfCertificate("the certificate", leaf.NotAfter, now)
	if now.After(leaf.NotAfter) {
		k.fail(f.Hint, "%s: the certificate ended on %s: who looks at it refuses it", table, leaf.NotAfter.Format(time.DateOnly))
		return
	}
	if f.State != netcheck.OK {
		k.warn(f.Hint, "%s: %s", table, f.Text)
		return
	}
	k.ok("%s: %s", table, f.Text)
}

package daemon

import (
	"crypto/x509"
	"os"
	"strings"
	"time"

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
		k.passwordFile(m.PasswordFile)
	}
	if m.TLSCert != "" {
		k.tlsFiles(m, now)
	}
}

func (k *checklist) passwordFile(path string) {
	users, err := passwd.Read(path)
	if err != nil {
		what, hint, told := strings.Cut(err.Error(), " — hint: ")
		if !told {
			hint = "set passwords with \"tidegate passwd\", and let the user who runs the gateway read the file"
		}
		k.fail(hint, "ingest.mqtt: %s", what)
		return
	}
	if info, err := os.Stat(path); err == nil && isOpen(info) {
		k.warn("chmod o-rwx "+path, "ingest.mqtt: everybody on this machine can read %s", path)
		return
	}
	if users.Len() == 0 {
		k.warn("add users with \"tidegate passwd\"", "ingest.mqtt: %s has no users", path)
		return
	}
	k.ok("ingest.mqtt: users in %s: %d", path, users.Len())
}

// tlsFiles checks that the files belong together, and warns of a certificate
// that ends soon: nobody looks at it until all devices stay away.
func (k *checklist) tlsFiles(m MQTT, now time.Time) {
	cfg, err := m.tlsFiles().Load()
	if err != nil {
		k.fail("check the paths, that the key is the certificate's, and that the user who runs the gateway may read them", "ingest.mqtt: %v", err)
		return
	}
	if info, err := os.Stat(m.TLSKey); err == nil && isOpen(info) {
		k.warn("chmod o-rwx "+m.TLSKey, "ingest.mqtt: everybody on this machine can read the key %s", m.TLSKey)
	}
	leaf, err := x509.ParseCertificate(cfg.Certificates[0].Certificate[0])
	if err != nil {
		k.fail("make a new certificate", "ingest.mqtt: %v", err)
		return
	}
	ends := leaf.NotAfter.UTC().Format(time.DateOnly)
	if leaf.NotAfter.Sub(now) < 14*24*time.Hour {
		k.warn("have it renewed", "ingest.mqtt: the certificate ends on %s", ends)
		return
	}
	k.ok("ingest.mqtt: the certificate is valid until %s", ends)
}

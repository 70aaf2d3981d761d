package daemon

import (
	"context"
	"crypto/tls"
	"log/slog"
	"time"

	"github.com/tidegate/tidegate/ingest/mqttin"
	"github.com/tidegate/tidegate/internal/certs"
	"github.com/tidegate/tidegate/internal/fresh"
	"github.com/tidegate/tidegate/internal/passwd"
)

// admit tells a broker who may connect. The files are read now, and again when
// they change.
func (m MQTT) admit(door *mqttin.Config, log *slog.Logger) error {
	failed := func(err error) { log.Warn("what was read before stays valid", "err", err) }
	door.Anonymous = !m.hasUsers()
	if m.PasswordFile != "" {
		read := func() (*passwd.Users, error) { return passwd.Read(m.PasswordFile) }
		users, err := fresh.Open(read, failed, m.PasswordFile)
		if err != nil {
			return err
		}
		door.Authorize = func(ctx context.Context, user string, password []byte) bool {
			return users.Get().Check(ctx, user, password)
		}
	}
	if m.TLSCert != "" {
		var err error
		door.TLS, err = openTLS(m.tlsFiles(), failed)
		return err
	}
	return nil
}

// openTLS returns a configuration of files that are read now, and again when
// they change; failed is told when that does not work.
func openTLS(files certs.Files, failed func(error)) (*tls.Config, error) {
	secure, err := fresh.Open(files.Load, failed, files.Cert, files.Key, files.ClientCA)
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return secure.Get(), nil },
	}, nil
}

func (m MQTT) tlsFiles() certs.Files {
	return certs.Files{Cert: m.TLSCert, Key: m.TLSKey, ClientCA: m.ClientCA, CertOptional: m.PasswordFile != ""}
}

// sysInterval is negative for never: a door's zero stands for its default.
func (m MQTT) sysInterval() time.Duration {
	if m.SysInterval == 0 {
		return -1
	}
	return time.Duration(m.SysInterval)
}

func (m MQTT) rules() []mqttin.Rule {
	var rules []mqttin.Rule
	for _, a := range m.ACL {
		rules = append(rules, mqttin.Rule{User: a.User, Publish: a.Publish, Subscribe: a.Subscribe})
	}
	return rules
}

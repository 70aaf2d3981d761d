package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"os"

	"github.com/tidegate/tidegate/ingest/httpin"
	"github.com/tidegate/tidegate/internal/certs"
	"github.com/tidegate/tidegate/internal/conf"
	"github.com/tidegate/tidegate/internal/fresh"
	"github.com/tidegate/tidegate/internal/passwd"
)

// HTTP is [ingest.http]: where devices POST their readings.
type HTTP struct {
	Listen     string    `toml:"listen"`
	MaxBody    conf.Size `toml:"max_body"`
	MaxClients int       `toml:"max_clients"`
	// TLSCert and TLSKey are PEM files; empty ones stand for no TLS.
	TLSCert string `toml:"tls_cert"`
	TLSKey  string `toml:"tls_key"`
	// PasswordFile is as the broker's; TokenFile has lines of a name, a token
	// and topics. Without either, everybody may post.
	PasswordFile string `toml:"password_file"`
	TokenFile    string `toml:"token_file"`
	// InsecureIKnow allows listening beyond loopback without TLS, or without
	// users.
	InsecureIKnow bool    `toml:"insecure_i_know"`
	Routes        []Route `toml:"route"`
}

func (h HTTP) hasUsers() bool { return h.PasswordFile != "" || h.TokenFile != "" }

func (h HTTP) validate(r refuse, w words) {
	between(r, "ingest.http.max_body", h.MaxBody, conf.KiB, 2*conf.MiB)
	between(r, "ingest.http.max_clients", h.MaxClients, 1, 100_000)
	r.keyPair("ingest.http", h.TLSCert, h.TLSKey)
	r.exposure("ingest.http", h.Listen, h.TLSCert != "", h.hasUsers(), h.InsecureIKnow, "password_file or token_file")
	validateRoutes(r, "ingest.http.route", h.Routes, w)
}

// keyPair refuses half of a certificate.
func (r refuse) keyPair(table, cert, key string) {
	switch {
	case cert != "" && key == "":
		r(table+".tls_cert", "name the certificate's private key in tls_key", "has no tls_key")
	case key != "" && cert == "":
		r(table+".tls_key", "name the key's certificate in tls_cert", "has no tls_cert")
	}
}

// exposure refuses to listen beyond loopback without TLS and users, unless that
// is meant. users are the keys that tell who they are.
func (r refuse) exposure(table, listen string, secure, known, meant bool, users string) {
	host, port, ok := r.listener(table+".listen", listen)
	if !ok || isLoopback(host) || meant {
		return
	}
	switch key := table + ".listen"; {
	case !secure && !known:
		r(key, fmt.Sprintf(`write "127.0.0.1:%s", or set tls_cert, tls_key and %s, %s`, port, users, insecure), exposed, listen)
	case !secure:
		r(key, "set tls_cert and tls_key, "+insecure, "%q lets everybody on the network read the passwords", listen)
	case !known:
		r(key, "set "+users+", "+insecure, "%q lets everybody on the network in, without password", listen)
	}
}

// admit tells a door who may post. The files are read now, and again when they
// change.
func (h HTTP) admit(door *httpin.Config, log *slog.Logger) error {
	failed := func(err error) { log.Warn("what was read before stays valid", "err", err) }
	if h.PasswordFile != "" {
		users, err := fresh.Open(func() (*passwd.Users, error) { return passwd.Read(h.PasswordFile) }, failed, h.PasswordFile)
		if err != nil {
			return err
		}
		door.Authorize = func(ctx context.Context, user string, password []byte) bool {
			return users.Get().Check(ctx, user, password)
		}
	}
	if h.TokenFile != "" {
		tokens, err := fresh.Open(h.tokens, failed, h.TokenFile)
		if err != nil {
			return err
		}
		door.Tokens = tokens.Get
	}
	if h.TLSCert != "" {
		var err error
		door.TLS, err = openTLS(h.tlsFiles(), failed)
		return err
	}
	return nil
}

func (h HTTP) tlsFiles() certs.Files { return certs.Files{Cert: h.TLSCert, Key: h.TLSKey} }

func (h HTTP) tokens() (*httpin.Tokens, error) {
	text, err := os.ReadFile(h.TokenFile)
	if err != nil {
		return nil, err
	}
	tokens, err := httpin.ParseTokens(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", h.TokenFile, err)
	}
	return tokens, nil
}

package daemon

import (
	"fmt"
	"net/url"
	"time"

	"github.com/tidegate/tidegate/internal/conf"
	"github.com/tidegate/tidegate/uplink"
	"github.com/tidegate/tidegate/uplink/encode"
	"github.com/tidegate/tidegate/uplink/natsout"
)

// NATSUplink is [[uplink.nats]]: a stream of NATS JetStream.
type NATSUplink struct {
	Upstream
	// URLs are the servers, tried in their order.
	URLs         []string `toml:"urls"`
	Username     string   `toml:"username"`
	PasswordFile string   `toml:"password_file"`
	// TokenFile, NkeyFile and CredsFile are other ways to log in: a token, the seed
	// of a user, a JWT with its seed. The last two are read for each connection.
	TokenFile string `toml:"token_file"`
	NkeyFile  string `toml:"nkey_file"`
	CredsFile string `toml:"creds_file"`
	// Subject is a template.
	Subject string `toml:"subject"`
	// Stream is the one that must take the messages; empty takes any.
	Stream string `toml:"stream"`
	// InboxPrefix is what the subjects of answers begin with.
	InboxPrefix string `toml:"inbox_prefix"`
	// TLSFirst shakes hands before the server has said anything.
	TLSFirst bool `toml:"tls_first"`
	// Keepalive is how often an idle connection is tried.
	Keepalive conf.Duration `toml:"keepalive"`
}

// SetDefaults makes n what an empty [[uplink.nats]] would be.
func (n *NATSUplink) SetDefaults() {
	*n = NATSUplink{
		Upstream:    defaultUpstream(),
		Subject:     "tidegate.{gateway}",
		InboxPrefix: "_INBOX",
		Keepalive:   conf.Duration(natsout.DefaultKeepalive),
	}
}

func (n NATSUplink) target() string {
	if len(n.URLs) == 0 {
		return ""
	}
	return n.URLs[0]
}

func (n NATSUplink) secretFiles() []string { return []string{n.PasswordFile, n.TokenFile} }

// piecewise says that parts of a message travel by themselves.
func (NATSUplink) piecewise() {}

func (n NATSUplink) validate(r refuse, key string) {
	n.validateSettings(r, key, encode.Encodings()...)
	if len(n.URLs) == 0 {
		r(key+".urls", `write for example ["tls://nats.example"]`, "is missing")
	}
	for i, text := range n.URLs {
		at := fmt.Sprintf("%s.urls[%d]", key, i)
		n.validateURL(r, at, text, "tls://nats.example", "nats", "tls")
		validateBare(r, at, text, "write host and port only")
	}
	n.validateLogin(r, key)
	if err := natsout.CheckSubject(n.Subject); err != nil {
		r.because(key+".subject", err)
	} else {
		n.validateTemplate(r, key+".subject", n.Subject)
	}
	if err := natsout.CheckSubject(n.InboxPrefix); err != nil {
		r.because(key+".inbox_prefix", err)
	}
	if n.TLSFirst && !n.secure() {
		r(key+".tls_first", "use tls://", "there is no TLS to begin with: no url begins with tls://")
	}
	between(r, key+".keepalive", n.Keepalive, conf.Duration(5*time.Second), conf.Duration(time.Hour))
}

func (n NATSUplink) validateLogin(r refuse, key string) {
	if (n.PasswordFile != "") != (n.Username != "") {
		r(key+".username", "write both username and password_file, or neither", "a user and a password belong together")
	}
	ways := 0
	for _, way := range []string{n.Username, n.TokenFile, n.NkeyFile, n.CredsFile} {
		if way != "" {
			ways++
		}
	}
	if ways > 1 {
		r(key+".username", "keep one of username, token_file, nkey_file and creds_file", "there is more than one way to log in")
	}
}

// secure reports whether a server without TLS is refused: one url that demands it
// demands it of all.
func (n NATSUplink) secure() bool {
	for _, text := range n.URLs {
		if at, err := url.Parse(text); err == nil && at.Scheme == "tls" {
			return true
		}
	}
	return false
}

func (n NATSUplink) sink(w way) (uplink.Sink, error) {
	subject, err := uplink.ParseTemplate(n.Subject)
	if err != nil {
		return nil, fmt.Errorf("subject: %w", err)
	}
	cfg := natsout.Config{
		TLS: w.tls, Secure: n.secure(), TLSFirst: n.TLSFirst, Dial: w.dial,
		Username: n.Username, NkeyFile: n.NkeyFile, CredsFile: n.CredsFile,
		Subject: subject, Stream: n.Stream, InboxPrefix: n.InboxPrefix,
		Keepalive: time.Duration(n.Keepalive), Name: w.gateway + "-" + n.Name,
	}
	for _, text := range n.URLs {
		at, err := url.Parse(text)
		if err != nil {
			return nil, err
		}
		cfg.Servers = append(cfg.Servers, hostPort(at, "4222"))
	}
	if cfg.Password, err = conf.ReadSecretIf(n.PasswordFile); err != nil {
		return nil, err
	}
	if cfg.Token, err = conf.ReadSecretIf(n.TokenFile); err != nil {
		return nil, err
	}
	return natsout.New(cfg)
}

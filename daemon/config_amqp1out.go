package daemon

import (
	"crypto/tls"
	"fmt"
	"net/url"
	"time"

	"github.com/tidegate/tidegate/internal/conf"
	"github.com/tidegate/tidegate/uplink"
	"github.com/tidegate/tidegate/uplink/amqp1out"
	"github.com/tidegate/tidegate/uplink/encode"
)

// AMQP1Uplink is [[uplink.amqp1]]: a server of AMQP 1.0.
type AMQP1Uplink struct {
	Upstream
	URL string `toml:"url"`
	// VHost is a virtual host of RabbitMQ; empty leaves it to the server.
	VHost        string `toml:"vhost"`
	Username     string `toml:"username"`
	PasswordFile string `toml:"password_file"`
	// External logs in with TLSCert instead of a password.
	External bool `toml:"external"`
	// Address and Subject are templates.
	Address string `toml:"address"`
	Subject string `toml:"subject"`
	// TrustRouting takes the word of a RabbitMQ before 4.0 for it that somebody has
	// a message.
	TrustRouting bool `toml:"trust_routing"`
	// Headers say whose readings a message has, and how many.
	Headers bool `toml:"headers"`
	// IdleTimeout is how long a connection may be silent.
	IdleTimeout conf.Duration `toml:"idle_timeout"`
}

// SetDefaults makes a what an empty [[uplink.amqp1]] would be.
func (a *AMQP1Uplink) SetDefaults() {
	*a = AMQP1Uplink{Upstream: defaultUpstream(), Address: "tidegate", Headers: true, IdleTimeout: conf.Duration(amqp1out.DefaultIdle)}
}

func (a AMQP1Uplink) target() string { return a.URL }

func (a AMQP1Uplink) secretFiles() []string { return []string{a.PasswordFile} }

// piecewise says that parts of a message travel by themselves.
func (AMQP1Uplink) piecewise() {}

func (a AMQP1Uplink) validate(r refuse, key string) {
	a.validateSettings(r, key, encode.Encodings()...)
	a.validateAMQP(r, key, a.URL, a.Username, a.PasswordFile, a.External)
	if a.Address == "" {
		r(key+".address", `write for example "/amq/queue/telemetry" for RabbitMQ, "telemetry" for others`, "is empty")
	}
	if address, err := uplink.ParseTemplate(a.Address); err != nil {
		r.because(key+".address", err)
	} else if needs := address.Needs(); needs != "" {
		r(key+".address", "leave {device} and {metric} to subject", "%q differs from %s to %s, and each address takes a round trip to be made known", a.Address, needs, needs)
	}
	a.validateTemplate(r, key+".subject", a.Subject)
	between(r, key+".idle_timeout", a.IdleTimeout, conf.Duration(5*time.Second), conf.Duration(time.Hour))
}

func (a AMQP1Uplink) sink(w way) (uplink.Sink, error) {
	address, err := uplink.ParseTemplate(a.Address)
	if err != nil {
		return nil, fmt.Errorf("address: %w", err)
	}
	subject, err := uplink.ParseTemplate(a.Subject)
	if err != nil {
		return nil, fmt.Errorf("subject: %w", err)
	}
	cfg := amqp1out.Config{
		Username: a.Username, External: a.External, Target: address, Subject: subject, TrustRouting: a.TrustRouting,
		Bare: !a.Headers, Idle: time.Duration(a.IdleTimeout), Product: "tidegate/" + Version, Dial: w.dial,
	}
	if a.VHost != "" {
		cfg.Hostname = "vhost:" + a.VHost
	}
	if cfg.Address, cfg.TLS, err = w.toAMQP(a.URL); err != nil {
		return nil, err
	}
	if cfg.Password, err = conf.ReadSecretIf(a.PasswordFile); err != nil {
		return nil, err
	}
	return amqp1out.New(cfg)
}

// toAMQP returns what to dial for a URL of either version of AMQP.
func (w way) toAMQP(text string) (address string, secure *tls.Config, err error) {
	at, err := url.Parse(text)
	if err != nil {
		return "", nil, err
	}
	usual := "5672"
	if at.Scheme == "amqps" {
		usual = "5671"
	}
	return hostPort(at, usual), w.tlsFor(at, "amqps"), nil
}

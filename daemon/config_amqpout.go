package daemon

import (
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/tidegate/tidegate/internal/conf"
	"github.com/tidegate/tidegate/uplink"
	"github.com/tidegate/tidegate/uplink/amqpout"
	"github.com/tidegate/tidegate/uplink/encode"
)

// AMQPUplink is [[uplink.amqp]]: an exchange or a queue of RabbitMQ.
type AMQPUplink struct {
	Upstream
	URL          string `toml:"url"`
	VHost        string `toml:"vhost"`
	Username     string `toml:"username"`
	PasswordFile string `toml:"password_file"`
	// External logs in with TLSCert instead of a password.
	External bool `toml:"external"`
	// Exchange and RoutingKey are templates. An empty exchange is the default one,
	// which takes the routing key for the name of a queue.
	Exchange   string `toml:"exchange"`
	RoutingKey string `toml:"routing_key"`
	// Declare is what is made when it is missing: none, exchange or queue.
	Declare      string `toml:"declare"`
	ExchangeType string `toml:"exchange_type"`
	Queue        string `toml:"queue"`
	// Headers say whose readings a message has, and how many.
	Headers bool `toml:"headers"`
	// Heartbeat is how often an idle connection shows life.
	Heartbeat conf.Duration `toml:"heartbeat"`
}

// SetDefaults makes a what an empty [[uplink.amqp]] would be.
func (a *AMQPUplink) SetDefaults() {
	*a = AMQPUplink{
		Upstream: defaultUpstream(), VHost: "/", RoutingKey: "tidegate", Declare: amqpout.DeclareNone,
		ExchangeType: "topic", Headers: true, Heartbeat: conf.Duration(amqpout.DefaultHeartbeat),
	}
}

func (a AMQPUplink) target() string { return a.URL }

func (a AMQPUplink) secretFiles() []string { return []string{a.PasswordFile} }

// piecewise says that parts of a message travel by themselves.
func (AMQPUplink) piecewise() {}

func (a AMQPUplink) validate(r refuse, key string) {
	a.validateSettings(r, key, encode.Encodings()...)
	a.validateAMQP(r, key, a.URL, a.Username, a.PasswordFile, a.External)
	a.validateTemplate(r, key+".exchange", a.Exchange)
	a.validateTemplate(r, key+".routing_key", a.RoutingKey)
	if a.VHost == "" {
		r(key+".vhost", `write "/" for the one that every server has`, "is empty")
	}
	r.oneOf(key+".declare", a.Declare, amqpout.DeclareNone, amqpout.DeclareExchange, amqpout.DeclareQueue)
	r.oneOf(key+".exchange_type", a.ExchangeType, "topic", "direct", "fanout", "headers")
	between(r, key+".heartbeat", a.Heartbeat, conf.Duration(5*time.Second), conf.Duration(time.Hour))
	if cfg, err := a.config(); err == nil {
		if err := cfg.Check(); err != nil {
			r.because(key+".declare", err)
		}
	}
}

// validateAMQP checks what both versions of AMQP have.
func (u Upstream) validateAMQP(r refuse, key, text, username, passwordFile string, external bool) {
	u.validateURL(r, key+".url", text, "amqps://broker.example", "amqp", "amqps")
	at, err := url.Parse(text)
	if err != nil {
		return
	}
	if strings.Trim(at.Path, "/") != "" || at.RawQuery != "" {
		r(key+".url", "write the virtual host into vhost", "%q has more than host and port", text)
	}
	switch {
	case (username == "") != (passwordFile == ""):
		r(key+".password_file", "say who logs in and name the file that holds the password", "username and password_file belong together")
	case external && username != "":
		r(key+".external", "take out username and password_file", "a login is by certificate or by password, not by both")
	case external && (at.Scheme != "amqps" || u.TLSCert == ""):
		r(key+".external", "use amqps:// and name tls_cert and tls_key", "there is no certificate to log in with")
	}
}

// config is the door's, without what is in files.
func (a AMQPUplink) config() (amqpout.Config, error) {
	exchange, err := uplink.ParseTemplate(a.Exchange)
	if err != nil {
		return amqpout.Config{}, fmt.Errorf("exchange: %w", err)
	}
	routing, err := uplink.ParseTemplate(a.RoutingKey)
	if err != nil {
		return amqpout.Config{}, fmt.Errorf("routing_key: %w", err)
	}
	return amqpout.Config{
		Vhost: a.VHost, Username: a.Username, External: a.External,
		Exchange: exchange, RoutingKey: routing, Declare: a.Declare, ExchangeType: a.ExchangeType, Queue: a.Queue,
		Bare: !a.Headers, Heartbeat: time.Duration(a.Heartbeat), Product: "tidegate/" + Version,
	}, nil
}

func (a AMQPUplink) sink(w way) (uplink.Sink, error) {
	cfg, err := a.config()
	if err != nil {
		return nil, err
	}
	if cfg.Address, cfg.TLS, err = w.toAMQP(a.URL); err != nil {
		return nil, err
	}
	if cfg.Password, err = conf.ReadSecretIf(a.PasswordFile); err != nil {
		return nil, err
	}
	cfg.Dial = w.dial
	return amqpout.New(cfg)
}

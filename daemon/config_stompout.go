package daemon

import (
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/tidegate/tidegate/internal/conf"
	"github.com/tidegate/tidegate/uplink"
	"github.com/tidegate/tidegate/uplink/encode"
	"github.com/tidegate/tidegate/uplink/stompout"
)

// STOMPUplink is [[uplink.stomp]]: ActiveMQ, RabbitMQ or Artemis.
type STOMPUplink struct {
	Upstream
	URL          string `toml:"url"`
	Username     string `toml:"username"`
	PasswordFile string `toml:"password_file"`
	// Vhost is RabbitMQ's virtual host.
	Vhost string `toml:"vhost"`
	// Destination is a template.
	Destination string `toml:"destination"`
	// Text lets JMS clients of ActiveMQ get texts instead of bytes.
	Text bool `toml:"text"`
	// Heartbeat is how often an idle connection shows life, on both sides.
	Heartbeat conf.Duration `toml:"heartbeat"`
}

// SetDefaults makes s what an empty [[uplink.stomp]] would be.
func (s *STOMPUplink) SetDefaults() {
	*s = STOMPUplink{
		Upstream:    defaultUpstream(),
		Vhost:       "/",
		Destination: "/queue/tidegate",
		Heartbeat:   conf.Duration(stompout.DefaultHeartbeat),
	}
}

func (s STOMPUplink) target() string { return s.URL }

func (s STOMPUplink) secretFiles() []string { return []string{s.PasswordFile} }

// piecewise says that parts of a message travel by themselves.
func (STOMPUplink) piecewise() {}

func (s STOMPUplink) validate(r refuse, key string) {
	s.validateSettings(r, key, encode.Encodings()...)
	s.validateURL(r, key+".url", s.URL, "stomp+ssl://activemq.example", "stomp", "stomp+ssl")
	validateBare(r, key+".url", s.URL, "write the virtual host into vhost")
	if s.PasswordFile != "" && s.Username == "" {
		r(key+".username", "say whose password it is", "is missing, and there is a password_file")
	}
	if s.Destination == "" {
		r(key+".destination", `write for example "/queue/telemetry"`, "is empty")
	}
	s.validateTemplate(r, key+".destination", s.Destination)
	if s.Text && (s.Encoding == "packed" || s.Encoding == "senml+cbor") {
		r(key+".text", "take it out, or choose another encoding", "messages of encoding %s are not text", s.Encoding)
	}
	between(r, key+".heartbeat", s.Heartbeat, conf.Duration(time.Second), conf.Duration(time.Hour))
}

// validateBare refuses a URL with more in it than host and port.
func validateBare(r refuse, key, text, hint string) {
	if at, err := url.Parse(text); err == nil && (strings.Trim(at.Path, "/") != "" || at.RawQuery != "") {
		r(key, hint, "%q has more than host and port", text)
	}
}

func (s STOMPUplink) sink(w way) (uplink.Sink, error) {
	destination, err := uplink.ParseTemplate(s.Destination)
	if err != nil {
		return nil, fmt.Errorf("destination: %w", err)
	}
	at, err := url.Parse(s.URL)
	if err != nil {
		return nil, err
	}
	usual := "61613"
	if at.Scheme == "stomp+ssl" {
		usual = "61614"
	}
	cfg := stompout.Config{
		Address: hostPort(at, usual), TLS: w.tlsFor(at, "stomp+ssl"), Dial: w.dial,
		Vhost: s.Vhost, Username: s.Username, Destination: destination, Text: s.Text, Heartbeat: time.Duration(s.Heartbeat),
	}
	if cfg.Password, err = conf.ReadSecretIf(s.PasswordFile); err != nil {
		return nil, err
	}
	return stompout.New(cfg)
}

package daemon

import (
	"cmp"
	"net/url"
	"strings"
	"time"

	"github.com/tidegate/tidegate/command"
	"github.com/tidegate/tidegate/command/overmqtt"
	"github.com/tidegate/tidegate/internal/conf"
)

// MQTTCommands is [[command.mqtt]]: commands from a broker somewhere else.
type MQTTCommands struct {
	Downstream
	URL string `toml:"url"`
	// Protocol is auto, 5 or 3.1.1.
	Protocol string `toml:"protocol"`
	// ClientID names the gateway, and its session, to the broker. Empty stands for
	// the gateway's name with -commands.
	ClientID     string `toml:"client_id"`
	Username     string `toml:"username"`
	PasswordFile string `toml:"password_file"`
	// Topic is subscribed to, and Answers published to; {gateway} in them is the
	// gateway's name. Empty Answers stand for none.
	Topic   string `toml:"topic"`
	Answers string `toml:"answers"`
	// SessionExpiry is for how long a broker of MQTT 5 keeps commands for a gateway
	// that is away.
	SessionExpiry conf.Duration `toml:"session_expiry"`
	KeepAlive     conf.Duration `toml:"keepalive"`
}

// SetDefaults makes m what an empty [[command.mqtt]] would be.
func (m *MQTTCommands) SetDefaults() {
	*m = MQTTCommands{
		Downstream: defaultDownstream(), Protocol: string(overmqtt.Auto),
		Topic: "tidegate/{gateway}/commands", Answers: "tidegate/{gateway}/answers",
		SessionExpiry: conf.Duration(7 * 24 * time.Hour), KeepAlive: conf.Duration(time.Minute),
	}
}

func (m MQTTCommands) target() string { return m.URL }

func (m MQTTCommands) secretFiles() []string { return []string{m.PasswordFile} }

func (m MQTTCommands) validate(r refuse, key string) {
	m.upstream().validateURL(r, key+".url", m.URL, "mqtts://broker.example", "mqtt", "mqtts")
	r.oneOf(key+".protocol", m.Protocol, string(overmqtt.Auto), string(overmqtt.V5), string(overmqtt.V311))
	if m.PasswordFile != "" && m.Username == "" {
		r(key+".username", "say whose password it is", "is missing, and there is a password_file")
	}
	if command.CheckFilter(m.Topic) != nil && !strings.HasPrefix(m.Topic, "$share/") {
		r(key+".topic", `write for example "tidegate/{gateway}/commands"`, "%q is no topic filter", m.Topic)
	}
	if m.Answers != "" && (command.CheckFilter(m.Answers) != nil || strings.ContainsAny(m.Answers, "+#")) {
		r(key+".answers", `write for example "tidegate/{gateway}/answers", or "" for no answers`, "%q cannot be published to", m.Answers)
	}
	between(r, key+".session_expiry", m.SessionExpiry, conf.Duration(time.Minute), conf.Duration(366*24*time.Hour))
	between(r, key+".keepalive", m.KeepAlive, conf.Duration(5*time.Second), conf.Duration(65535*time.Second))
}

func (m MQTTCommands) courier(w way) (command.Courier, error) {
	password, err := conf.ReadSecretIf(m.PasswordFile)
	if err != nil {
		return nil, err
	}
	at, err := url.Parse(m.URL)
	if err != nil {
		return nil, err
	}
	usual := "1883"
	if at.Scheme == "mqtts" {
		usual = "8883"
	}
	named := func(topic string) string { return strings.ReplaceAll(topic, "{gateway}", w.gateway) }
	return overmqtt.New(overmqtt.Config{
		Address: hostPort(at, usual), TLS: w.tlsFor(at, "mqtts"), Dial: onelinkDial(w.dial), Protocol: overmqtt.Protocol(m.Protocol),
		ClientID: cmp.Or(m.ClientID, w.gateway+"-commands"), Username: m.Username, Password: password,
		Topic: named(m.Topic), Answers: named(m.Answers),
		SessionExpiry: time.Duration(m.SessionExpiry), KeepAlive: time.Duration(m.KeepAlive),
	}, w.log), nil
}

package daemon

import (
	"cmp"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/tidegate/tidegate/internal/conf"
	"github.com/tidegate/tidegate/uplink"
	"github.com/tidegate/tidegate/uplink/encode"
	"github.com/tidegate/tidegate/uplink/mqttout"
)

// MQTTUplink is [[uplink.mqtt]]: a broker somewhere else.
type MQTTUplink struct {
	Upstream
	URL string `toml:"url"`
	// Protocol is auto, 5 or 3.1.1.
	Protocol string `toml:"protocol"`
	// ClientID names the gateway to the broker. Empty stands for the gateway's
	// and the uplink's names.
	ClientID     string `toml:"client_id"`
	Username     string `toml:"username"`
	PasswordFile string `toml:"password_file"`
	// Topic is a template.
	Topic string `toml:"topic"`
	// StripPrefix and Prefix change the topics of encoding raw, which has its own.
	StripPrefix string `toml:"strip_prefix"`
	Prefix      string `toml:"prefix"`
	// QoS is 1 or 2, or 0 with AcceptLoss.
	QoS        int  `toml:"qos"`
	AcceptLoss bool `toml:"accept_loss"`
	Retain     bool `toml:"retain"`
	// Expiry is for how long the broker tries to deliver a message; 0 for ever.
	Expiry conf.Duration `toml:"expiry"`
	// Properties say what a message is, in MQTT 5.
	Properties bool `toml:"properties"`
	// KeepAlive is after how long without traffic the broker is asked for a sign
	// of life, IdleClose after how long without work the connection is closed. 0
	// is never.
	KeepAlive   conf.Duration `toml:"keepalive"`
	IdleClose   conf.Duration `toml:"idle_close"`
	MaxInflight int           `toml:"max_inflight"`
	// StateTopic is a template for the retained message that says how the gateway
	// is, with one of the three texts; empty for none. WillDelay is how long the
	// broker waits before it says so for a gateway that is gone.
	StateTopic   string        `toml:"state_topic"`
	StateOnline  string        `toml:"state_online"`
	StateIdle    string        `toml:"state_idle"`
	StateOffline string        `toml:"state_offline"`
	WillDelay    conf.Duration `toml:"will_delay"`
}

// SetDefaults makes m what an empty [[uplink.mqtt]] would be.
func (m *MQTTUplink) SetDefaults() {
	*m = MQTTUplink{
		Upstream:     defaultUpstream(),
		Protocol:     string(mqttout.Auto),
		Topic:        "tidegate/{gateway}/{lane}",
		QoS:          1,
		Properties:   true,
		KeepAlive:    conf.Duration(time.Minute),
		MaxInflight:  128,
		StateTopic:   "tidegate/{gateway}/state",
		StateOnline:  `{"state":"online"}`,
		StateIdle:    `{"state":"idle"}`,
		StateOffline: `{"state":"offline"}`,
		WillDelay:    conf.Duration(30 * time.Second),
	}
}

func (m MQTTUplink) target() string { return m.URL }

func (m MQTTUplink) secretFiles() []string { return []string{m.PasswordFile} }

// piecewise says that parts of a message travel by themselves.
func (MQTTUplink) piecewise() {}

func (m MQTTUplink) validate(r refuse, key string) {
	m.validateSettings(r, key, encode.Encodings()...)
	m.validateAddress(r, key+".url")
	r.oneOf(key+".protocol", m.Protocol, string(mqttout.Auto), string(mqttout.V5), string(mqttout.V311))
	if m.PasswordFile != "" && m.Username == "" {
		r(key+".username", "say whose password it is", "is missing, and there is a password_file")
	}
	m.validateTopics(r, key)
	between(r, key+".qos", m.QoS, 0, 2)
	if m.QoS == 0 && !m.AcceptLoss {
		r(key+".qos", "set qos = 1; or accept_loss = true if readings may be lost whenever the connection breaks",
			"0 is no receipt: what was on its way is gone and nobody knows")
	}
	between(r, key+".expiry", m.Expiry, 0, conf.Duration(10*365*24*time.Hour))
	between(r, key+".idle_close", m.IdleClose, 0, conf.Duration(24*time.Hour))
	if m.KeepAlive != 0 {
		between(r, key+".keepalive", m.KeepAlive, conf.Duration(5*time.Second), conf.Duration(65535*time.Second))
	} else if m.IdleClose == 0 {
		r(key+".keepalive", `set keepalive = "1m"; or idle_close = "30s" to have no connection while there is nothing to send`,
			"a connection that is idle would be kept, and nobody would notice that it is dead")
	}
	between(r, key+".max_inflight", m.MaxInflight, 1, 65535)
	between(r, key+".will_delay", m.WillDelay, 0, conf.Duration(24*time.Hour))
}

// validateAddress checks the URL: of MQTT, or of a WebSocket that carries it.
func (m MQTTUplink) validateAddress(r refuse, key string) {
	if strings.HasPrefix(m.URL, "ws") {
		m.validateURL(r, key, m.URL, "wss://broker.example/mqtt", "ws", "wss")
		return
	}
	m.validateURL(r, key, m.URL, "mqtts://broker.example", "mqtt", "mqtts")
	if at, err := url.Parse(m.URL); err == nil && strings.Trim(at.Path, "/") != "" {
		r(key, "leave the path out, or write wss:// for MQTT over WebSocket", "%q has a path, which is never sent", m.URL)
	}
}

// validateTopics checks what says where messages go.
func (m MQTTUplink) validateTopics(r refuse, key string) {
	switch {
	case m.isRaw(): // has topics of its own
	case m.Topic == "":
		r(key+".topic", `write for example "tidegate/{gateway}/{lane}"`, "is empty")
	default:
		m.validateTemplate(r, key+".topic", m.Topic)
	}
	for name, topic := range map[string]string{"topic": m.Topic, "state_topic": m.StateTopic, "prefix": m.Prefix} {
		if strings.ContainsAny(topic, "+#\x00") || strings.HasPrefix(topic, "$") {
			r(key+"."+name, "topics of messages have no wildcards and do not begin with $", "%q cannot be published to", topic)
		}
	}
	if strings.ContainsAny(strings.ReplaceAll(m.StateTopic, "{gateway}", ""), "{}") {
		r(key+".state_topic", "the only name that it may have is {gateway}", "%q is about more than the gateway", m.StateTopic)
	}
	if m.StateTopic != "" && m.StateOffline == "" {
		r(key+".state_offline", `write for example '{"state":"offline"}'`, "is empty, which makes brokers forget the state")
	}
}

func (m MQTTUplink) isRaw() bool { return m.Encoding == "raw" }

func (m MQTTUplink) sink(w way) (uplink.Sink, error) {
	password, err := conf.ReadSecretIf(m.PasswordFile)
	if err != nil {
		return nil, err
	}
	at, err := url.Parse(m.URL)
	if err != nil {
		return nil, err
	}
	topic, err := uplink.ParseTemplate(m.Topic)
	if err != nil {
		return nil, fmt.Errorf("topic: %w", err)
	}
	usual, path := map[string]string{"mqtt": "1883", "mqtts": "8883", "ws": "80", "wss": "443"}[at.Scheme], ""
	if strings.HasPrefix(at.Scheme, "ws") {
		path = cmp.Or(at.EscapedPath(), "/")
	}
	return mqttout.New(mqttout.Config{
		Address: hostPort(at, usual), Path: path, TLS: w.tlsFor(at, "mqtts", "wss"), Dial: w.dial, Protocol: mqttout.Protocol(m.Protocol),
		ClientID: cmp.Or(m.ClientID, w.gateway+"-"+m.Name), Username: m.Username, Password: password,
		Topic: topic, Raw: m.isRaw(), StripPrefix: m.StripPrefix, Prefix: m.Prefix,
		QoS: byte(m.QoS), AcceptLoss: m.AcceptLoss, Retain: m.Retain, Expiry: time.Duration(m.Expiry), Bare: !m.Properties,
		KeepAlive: time.Duration(m.KeepAlive), IdleClose: time.Duration(m.IdleClose), MaxInflight: m.MaxInflight,
		State: m.state(w.gateway),
	})
}

func (m MQTTUplink) state(gateway string) *mqttout.State {
	if m.StateTopic == "" {
		return nil
	}
	return &mqttout.State{
		Topic:  strings.ReplaceAll(m.StateTopic, "{gateway}", gateway),
		Online: m.StateOnline, Idle: m.StateIdle, Offline: m.StateOffline, Delay: time.Duration(m.WillDelay),
	}
}

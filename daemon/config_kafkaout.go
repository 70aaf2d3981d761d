package daemon

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"time"

	"github.com/tidegate/tidegate/internal/conf"
	"github.com/tidegate/tidegate/uplink"
	"github.com/tidegate/tidegate/uplink/encode"
	"github.com/tidegate/tidegate/uplink/kafkaout"
)

// KafkaUplink is [[uplink.kafka]]: a cluster whose topics readings go to.
type KafkaUplink struct {
	Upstream
	// Brokers are the first to be asked for the others, host:port.
	Brokers []string `toml:"brokers"`
	// TLS encrypts all connections.
	TLS bool `toml:"tls"`
	// ClientID names the gateway to the brokers. Empty stands for the gateway's
	// and the uplink's names.
	ClientID string `toml:"client_id"`
	// SASL is the mechanism of the login; empty for none.
	SASL         string `toml:"sasl"`
	Username     string `toml:"username"`
	PasswordFile string `toml:"password_file"`
	// TokenFile holds the token of oauthbearer. It is read for each connection.
	TokenFile string `toml:"token_file"`
	// Topic and Key are templates.
	Topic string `toml:"topic"`
	Key   string `toml:"key"`
	// Compression is auto, none, gzip, snappy, lz4 or zstd.
	Compression string `toml:"compression"`
	// Timestamp is what a record's time is: reading or sent.
	Timestamp string `toml:"timestamp"`
	// CreateTopics lets brokers create topics that are not there.
	CreateTopics bool `toml:"create_topics"`
	// IdleClose is after how long without work connections are closed.
	IdleClose conf.Duration `toml:"idle_close"`
}

// The values of KafkaUplink.Timestamp and the first of Compression.
const (
	timeOfReading   = "reading"
	timeOfSending   = "sent"
	autoCompression = "auto"
)

// SetDefaults makes k what an empty [[uplink.kafka]] would be.
func (k *KafkaUplink) SetDefaults() {
	*k = KafkaUplink{
		Upstream:    defaultUpstream(),
		TLS:         true,
		Topic:       "tidegate",
		Key:         "{gateway}",
		Compression: autoCompression,
		Timestamp:   timeOfReading,
		IdleClose:   conf.Duration(3 * time.Minute),
	}
}

func (k KafkaUplink) target() string {
	if len(k.Brokers) == 0 {
		return ""
	}
	return k.Brokers[0]
}

func (k KafkaUplink) secretFiles() []string { return []string{k.PasswordFile, k.TokenFile} }

// piecewise says that parts of a message travel by themselves.
func (KafkaUplink) piecewise() {}

func (k KafkaUplink) validate(r refuse, key string) {
	if !kafkaout.Built {
		r(key+".name", "take out [[uplink.kafka]], or use a program that was built without the tag nokafka", "this program was built without Kafka")
		return
	}
	k.validateSettings(r, key, encode.Encodings()...)
	k.validateBrokers(r, key+".brokers")
	k.validateLogin(r, key)
	if k.Topic == "" {
		r(key+".topic", `write for example "telemetry"`, "is empty")
	}
	k.validateTemplate(r, key+".topic", k.Topic)
	k.validateTemplate(r, key+".key", k.Key)
	r.oneOf(key+".compression", k.Compression, append([]string{autoCompression}, kafkaout.Compressions()...)...)
	if k.Encoding == "packed" && k.Compression != autoCompression && k.Compression != "none" {
		r(key+".compression", `write "auto", or choose another encoding`, "packed messages are compressed already, so %q would only cost time", k.Compression)
	}
	r.oneOf(key+".timestamp", k.Timestamp, timeOfReading, timeOfSending)
	between(r, key+".idle_close", k.IdleClose, conf.Duration(time.Second), conf.Duration(15*time.Minute))
}

func (k KafkaUplink) validateBrokers(r refuse, key string) {
	if len(k.Brokers) == 0 {
		r(key, `write for example ["kafka.example:9093"]`, "is missing")
	}
	for i, b := range k.Brokers {
		at := fmt.Sprintf("%s[%d]", key, i)
		if err := kafkaout.CheckBroker(b); err != nil {
			r.because(at, err)
			continue
		}
		host, _, err := net.SplitHostPort(b)
		if err != nil {
			host = b
		}
		if !k.TLS && !isLoopback(host) && !k.InsecureIKnow {
			r(at, "set tls = true, "+insecure, "%q leaves this machine without encryption", b)
		}
	}
}

func (k KafkaUplink) validateLogin(r refuse, key string) {
	if k.SASL != "" {
		r.oneOf(key+".sasl", k.SASL, kafkaout.Mechanisms()...)
	}
	token := k.SASL == "oauthbearer"
	switch {
	case k.SASL == "" && (k.Username != "" || k.PasswordFile != "" || k.TokenFile != ""):
		r(key+".sasl", `write for example "scram-sha-512"`, "is empty, so nobody logs in")
	case token && k.TokenFile == "":
		r(key+".token_file", "name the file that holds the token", "is missing, and sasl is oauthbearer")
	case k.SASL != "" && !token && (k.Username == "" || k.PasswordFile == ""):
		r(key+".username", "say who logs in, and name the file with the password in password_file", "%q needs a username and a password_file", k.SASL)
	}
}

func (k KafkaUplink) sink(w way) (uplink.Sink, error) {
	topic, err := uplink.ParseTemplate(k.Topic)
	if err != nil {
		return nil, fmt.Errorf("topic: %w", err)
	}
	by, err := uplink.ParseTemplate(k.Key)
	if err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	login, err := k.login()
	if err != nil {
		return nil, err
	}
	cfg := kafkaout.Config{
		Brokers: k.Brokers, Topic: topic, Key: by, Compression: k.compression(),
		CreateTopics: k.CreateTopics, SendTime: k.Timestamp == timeOfSending,
		ClientID: cmp.Or(k.ClientID, w.gateway+"-"+k.Name), IdleTimeout: time.Duration(k.IdleClose),
		SASL: login, Dial: w.dial,
	}
	if k.TLS {
		cfg.TLS = w.tls.Clone()
	}
	return kafkaout.New(cfg)
}

func (k KafkaUplink) login() (kafkaout.SASL, error) {
	password, err := conf.ReadSecretIf(k.PasswordFile)
	login := kafkaout.SASL{Mechanism: k.SASL, Username: k.Username, Password: password}
	if k.TokenFile != "" {
		login.Token = func(context.Context) (string, error) {
			token, err := conf.ReadSecret(k.TokenFile)
			return token.Reveal(), err
		}
	}
	return login, err
}

func (k KafkaUplink) compression() string {
	switch {
	case k.Compression != autoCompression:
		return k.Compression
	case k.Encoding == "packed":
		return "none"
	}
	return "zstd"
}

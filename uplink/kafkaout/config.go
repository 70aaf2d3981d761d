// Package kafkaout is the door out to Apache Kafka, and to what speaks its
// protocol: one record a piece of a message.
//
//	topic      telemetry
//	key        north-7
//	timestamp  of the newest reading, where the piece tells it
//	headers    Tidegate-Key: north-7/00000000000004d2/normal/1-99
//	           content-type: application/vnd.tidegate.chunk
//	value      the body
//
// The producer is idempotent and asks for the acknowledgement of all replicas in
// sync; nothing less is custody. What Kafka means by that is memory on several
// machines, not flash on one: Probe says so where a topic has one replica only.
//
// A batch is never given the number of another one: see numbers.go, which is where
// a mistake would lose readings. A Send that fails is tried again by the Forwarder;
// in here only what is cheaper to try at once (remedy). A record may arrive twice,
// with the same key.
//
// What every error means is in one place, the function judge. With the build tag
// nokafka the package is empty but for this configuration: Built says which it is.
package kafkaout

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/tidegate/tidegate/internal/conf"
	"github.com/tidegate/tidegate/uplink"
)

// KeyHeader is the record header that carries uplink.Message.PartKey.
const KeyHeader = "Tidegate-Key"

// typeHeader is the record header that carries the media type.
const typeHeader = "content-type"

// Bounds of what Config leaves open.
const (
	// defaultIdle is how long connections are kept that nothing needs: shorter
	// than the four minutes of Event Hubs and the five of many mobile networks,
	// which forget a connection without telling anybody.
	defaultIdle = 3 * time.Minute
	minIdle     = 100 * time.Millisecond
	maxIdle     = 15 * time.Minute
	dialTimeout = 10 * time.Second
)

// Config says which cluster takes the messages, and as whom.
type Config struct {
	// Brokers are the first to be asked for the others: host:port, with port
	// 9092 if it is left out.
	Brokers []string
	// Topic names the topic of a piece. Letters that topics may not have become
	// underscores.
	Topic uplink.Template
	// Key is the key of a record: those with the same key keep their order. The
	// zero Template stands for {gateway}.
	Key uplink.Template
	// Compression is none, gzip, snappy, lz4 or zstd; empty stands for none.
	Compression string
	// CreateTopics asks the brokers to create a topic that is not there, if
	// they are set up to do so.
	CreateTopics bool
	// SendTime makes the time of sending a record's timestamp, instead of that
	// of its newest reading.
	SendTime bool
	// ClientID names the gateway in the brokers' logs and quotas.
	ClientID string
	// IdleTimeout is how long connections are kept without a Send; 0 stands for
	// three minutes.
	IdleTimeout time.Duration
	// TLS encrypts the connections, unless it is nil. An empty ServerName
	// stands for the host of each broker.
	TLS *tls.Config
	// SASL says who we are, unless its Mechanism is empty.
	SASL SASL
	// Dial reaches the network; nil stands for a net.Dialer.
	Dial uplink.Dial
}

// SASL is how the gateway logs in.
type SASL struct {
	// Mechanism is plain, scram-sha-256, scram-sha-512 or oauthbearer.
	Mechanism string
	// Username and Password are for the first three.
	Username string
	Password conf.Secret
	// Token returns the token of oauthbearer. It is called for every connection.
	Token func(context.Context) (string, error)
}

// Compressions returns the words that Config.Compression knows.
func Compressions() []string { return []string{"none", "gzip", "snappy", "lz4", "zstd"} }

// Mechanisms returns the words that SASL.Mechanism knows.
func Mechanisms() []string {
	return []string{"plain", "scram-sha-256", "scram-sha-512", "oauthbearer"}
}

// CheckBroker returns what is wrong with an address of Config.Brokers, or nil.
func CheckBroker(address string) error {
	host, port := address, "9092"
	if h, p, err := net.SplitHostPort(address); err == nil {
		host, port = h, p
	}
	n, err := strconv.ParseUint(port, 10, 16)
	switch {
	case host == "" || err != nil || n == 0:
		return fmt.Errorf("broker %q is no address — hint: write host:port, for example kafka.example:9092", address)
	case net.ParseIP(host) == nil && !plainName(host):
		return fmt.Errorf("broker %q is no address — hint: write host:port without a scheme; IPv6 addresses stand in brackets", address)
	}
	return nil
}

func plainName(host string) bool {
	for _, c := range host {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letter && c != '-' && c != '.' && c != '_' {
			return false
		}
	}
	return true
}

// complete returns the configuration with what it leaves open filled in, or what
// is wrong with it.
func (c Config) complete() (Config, error) {
	if len(c.Brokers) == 0 {
		return c, errors.New("kafka uplink: no broker — hint: name at least one, host:port")
	}
	for _, b := range c.Brokers {
		if err := CheckBroker(b); err != nil {
			return c, fmt.Errorf("kafka uplink: %w", err)
		}
	}
	if c.Topic.String() == "" {
		return c, errors.New("kafka uplink: no topic — hint: write for example topic = \"telemetry\"")
	}
	if c.Key.String() == "" {
		key, err := uplink.ParseTemplate("{gateway}")
		if err != nil {
			return c, fmt.Errorf("kafka uplink: %w", err)
		}
		c.Key = key
	}
	if !slices.Contains(Compressions(), cmp.Or(c.Compression, "none")) {
		return c, fmt.Errorf("kafka uplink: no compression is called %q — hint: none, gzip, snappy, lz4 or zstd", c.Compression)
	}
	if !slices.Contains(Mechanisms(), cmp.Or(c.SASL.Mechanism, "plain")) {
		return c, fmt.Errorf("kafka uplink: no SASL mechanism is called %q — hint: plain, scram-sha-256, scram-sha-512 or oauthbearer", c.SASL.Mechanism)
	}
	c.IdleTimeout = min(max(cmp.Or(c.IdleTimeout, defaultIdle), minIdle), maxIdle)
	if c.Dial == nil {
		c.Dial = (&net.Dialer{Timeout: dialTimeout}).DialContext
	}
	return c, nil
}

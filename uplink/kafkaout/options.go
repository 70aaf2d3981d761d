//go:build !nokafka

package kafkaout

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/oauth"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/tidegate/tidegate/internal/netfault"
)

// What the library is told. It would try again for ever; here the Forwarder
// decides, so it gets no retries of its own, but for walking along the brokers
// that it was given.
const (
	// together is how long a record waits for the other pieces of its message,
	// to travel with them.
	together = 2 * time.Millisecond
	// ackTimeout is how long a broker may wait for its replicas.
	ackTimeout = 10 * time.Second
	// metadata is asked for again when a broker says that it is stale. Asking
	// without a reason costs bytes.
	metadataMaxAge = time.Hour
	metadataMinAge = 10 * time.Second
	// requestTimeout bounds one request and its answer, as long as the library
	// allows: the context of Send is shorter, and a slow link may need all of it.
	requestTimeout = 15 * time.Minute
	// handshakeTimeout bounds the handshake of TLS.
	handshakeTimeout = 20 * time.Second
	// maxAnswer bounds an answer, in bytes. The longest is the list of a topic's
	// partitions.
	maxAnswer = 4 << 20
	// createTries is how often a topic that was just created is looked for.
	createTries = 4
	// maxRecords bounds what the library has of all Sends. It is never reached
	// by messages of readings: 64 Sends of 16,384 pieces.
	maxRecords = maxSends << 14
)

func (c Config) options(batchBytes func(topic string) int32) ([]kgo.Opt, error) {
	codecs, err := c.codecs()
	if err != nil {
		return nil, err
	}
	options := []kgo.Opt{
		kgo.SeedBrokers(c.Brokers...),
		kgo.ClientID(c.ClientID),
		kgo.SoftwareNameAndVersion("tidegate", kgoVersion),
		kgo.Dialer(c.dialer()),
		kgo.DisableClientMetrics(),

		kgo.RequiredAcks(kgo.AllISRAcks()), // idempotent, unless that is switched off
		kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)),
		kgo.ProducerBatchCompression(codecs...),
		kgo.ProducerBatchMaxBytesFn(batchBytes),
		kgo.ProducerLinger(together),
		kgo.ProduceRequestTimeout(ackTimeout),
		kgo.MaxBufferedRecords(maxRecords),

		kgo.RecordRetries(0),
		kgo.RequestRetries(len(c.Brokers)),
		kgo.RetryTimeout(requestTimeout),
		kgo.RequestTimeoutOverhead(requestTimeout),
		kgo.RetryBackoffFn(func(int) time.Duration { return 100 * time.Millisecond }),
		kgo.UnknownTopicRetries(0),
		kgo.MetadataMaxAge(metadataMaxAge),
		kgo.MetadataMinAge(metadataMinAge),
		kgo.ConnIdleTimeout(c.IdleTimeout),
		kgo.FetchMaxBytes(maxAnswer), // never fetched; it must be below the next
		kgo.BrokerMaxReadBytes(maxAnswer),
	}
	if c.CreateTopics {
		options = append(options, kgo.AllowAutoTopicCreation(),
			kgo.UnknownTopicRetries(createTries), kgo.RecordRetries(createTries), kgo.MetadataMinAge(time.Second))
	}
	if c.SASL.Mechanism != "" {
		mechanism, err := c.SASL.mechanism()
		if err != nil {
			return nil, err
		}
		options = append(options, kgo.SASL(mechanism))
	}
	return options, nil
}

// kgoVersion stands in the brokers' statistics of client software, where it must
// not be empty.
const kgoVersion = "1"

// codecs returns the compression that is wanted, and what stands in for it with
// brokers that are older than it.
func (c Config) codecs() ([]kgo.CompressionCodec, error) {
	switch c.Compression {
	case "", "none":
		return []kgo.CompressionCodec{kgo.NoCompression()}, nil
	case "gzip":
		return []kgo.CompressionCodec{kgo.GzipCompression()}, nil
	case "snappy":
		return []kgo.CompressionCodec{kgo.SnappyCompression()}, nil
	case "lz4":
		return []kgo.CompressionCodec{kgo.Lz4Compression()}, nil
	case "zstd":
		return []kgo.CompressionCodec{kgo.ZstdCompression(), kgo.GzipCompression()}, nil
	}
	return nil, fmt.Errorf("kafka uplink: no compression is called %q — hint: none, gzip, snappy, lz4 or zstd", c.Compression)
}

func (s SASL) mechanism() (sasl.Mechanism, error) {
	user, password := s.Username, s.Password.Reveal()
	switch s.Mechanism {
	case "plain":
		return plain.Auth{User: user, Pass: password}.AsMechanism(), nil
	case "scram-sha-256":
		return scram.Auth{User: user, Pass: password}.AsSha256Mechanism(), nil
	case "scram-sha-512":
		return scram.Auth{User: user, Pass: password}.AsSha512Mechanism(), nil
	case "oauthbearer":
		return oauth.Oauth(func(ctx context.Context) (oauth.Auth, error) {
			token, err := s.Token(ctx)
			return oauth.Auth{Token: token}, err
		}), nil
	}
	return nil, fmt.Errorf("kafka uplink: no SASL mechanism is called %q — hint: plain, scram-sha-256, scram-sha-512 or oauthbearer", s.Mechanism)
}

// dialer returns how the library reaches a broker. Its connections are several
// to each, so the TLS sessions of those before are resumed: that spares the
// certificates.
func (c Config) dialer() func(ctx context.Context, network, address string) (net.Conn, error) {
	if c.TLS == nil {
		return c.Dial
	}
	base := c.TLS.Clone()
	if base.ClientSessionCache == nil {
		base.ClientSessionCache = tls.NewLRUClientSessionCache(0)
	}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		plain, err := c.Dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		settings := base
		if settings.ServerName == "" {
			settings = base.Clone()
			settings.ServerName, _, _ = net.SplitHostPort(address)
		}
		conn := tls.Client(plain, settings)
		ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
		defer cancel()
		if err := conn.HandshakeContext(ctx); err != nil {
			plain.Close()
			if errors.Is(err, context.DeadlineExceeded) {
				err = fmt.Errorf("the handshake: %w — hint: does that port of the broker speak TLS?", err)
			}
			return nil, &net.OpError{Op: "dial", Net: "tls", Err: netfault.Explain(err)}
		}
		return conn, nil
	}
}

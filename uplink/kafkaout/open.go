//go:build !nokafka

package kafkaout

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/tidegate/tidegate/internal/kafka"
	"github.com/tidegate/tidegate/internal/netfault"
	"github.com/tidegate/tidegate/uplink"
)

// helloTimeout bounds the handshake of TLS, and then everything up to the end of
// the login. It is for brokers that are connected to and never heard of: the next
// one is tried then.
const helloTimeout = 20 * time.Second

// dialer returns how brokers are reached. The TLS sessions of earlier connections
// are resumed: that spares the certificates.
func (c Config) dialer() uplink.Dial {
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
		ctx, cancel := context.WithTimeout(ctx, helloTimeout)
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

// withPort returns an address of Config.Brokers with the port that is meant.
func withPort(address string) string {
	if _, _, err := net.SplitHostPort(address); err == nil {
		return address
	}
	return net.JoinHostPort(address, "9092")
}

// open connects to a broker, learns what it speaks, and logs in.
func (s *Sink) open(ctx context.Context, address string) (*link, error) {
	raw, err := s.dial(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("broker %s: %w", address, err)
	}
	l := newLink(raw, address, s.cfg.ClientID)
	ctx, cancel := context.WithTimeout(ctx, helloTimeout)
	defer cancel()
	err = l.greet(ctx)
	if err == nil && s.cfg.SASL.Mechanism != "" {
		err = l.login(ctx, s.cfg.SASL)
	}
	if err != nil {
		l.Close()
		if _, gaveUp := errors.AsType[*givenUpError](err); gaveUp {
			err = fmt.Errorf("broker %s does not answer: %w", address, err)
		}
		return nil, err
	}
	version, _ := l.versions.Best(kafka.Produce)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.produce, s.opened[address] = min(s.produce, version), l
	return l, nil
}

// greet learns the versions, and returns an error if there is nothing to talk
// about.
func (l *link) greet(ctx context.Context) error {
	answer, err := l.ask(ctx, kafka.APIVersions, 0, func(dst []byte) []byte { return dst })
	if err != nil {
		return err
	}
	if l.versions, err = kafka.ParseVersions(answer); err != nil {
		return fmt.Errorf("broker %s: %w", l.address, err)
	}
	for _, k := range []kafka.Key{kafka.Produce, kafka.Metadata, kafka.InitProducerID} {
		if _, ok := l.versions.Best(k); !ok {
			return fmt.Errorf("broker %s, %v: %w", l.address, k, kafka.UnsupportedVersion)
		}
	}
	return nil
}

// login says who we are. A broker that hangs up meanwhile does not want us: older
// ones have no other word for it.
func (l *link) login(ctx context.Context, who SASL) error {
	err := l.introduce(ctx, who)
	if lost, ok := errors.AsType[*lostError](err); ok && (hungUp(lost) || errors.Is(lost, errNoWord)) {
		return fmt.Errorf("broker %s: %w", l.address, errHungUp)
	}
	if err != nil {
		return fmt.Errorf("broker %s: %w", l.address, err)
	}
	return nil
}

func (l *link) introduce(ctx context.Context, who SASL) error {
	answer, err := l.ask(ctx, kafka.SASLHandshake, 1, func(dst []byte) []byte { return kafka.AppendSASLHandshake(dst, saslName(who.Mechanism)) })
	if err != nil {
		return err
	}
	if there, err := kafka.ParseSASLHandshake(answer); err != nil {
		if len(there) > 0 {
			return fmt.Errorf("%w: there is %.100q", err, there)
		}
		return err
	}
	switch who.Mechanism {
	case "plain":
		_, err = l.step(ctx, kafka.Plain(who.Username, who.Password.Reveal()))
	case "scram-sha-256":
		err = l.scram(ctx, kafka.NewSCRAM256(who.Username, who.Password.Reveal(), rand.Text()))
	case "scram-sha-512":
		err = l.scram(ctx, kafka.NewSCRAM512(who.Username, who.Password.Reveal(), rand.Text()))
	default:
		err = l.bearer(ctx, who)
	}
	return err
}

// saslName is how Kafka spells a mechanism of Config.
func saslName(mechanism string) string {
	switch mechanism {
	case "plain":
		return "PLAIN"
	case "scram-sha-256":
		return "SCRAM-SHA-256"
	case "scram-sha-512":
		return "SCRAM-SHA-512"
	}
	return "OAUTHBEARER"
}

// step says something within the login, and returns what the broker says to it.
func (l *link) step(ctx context.Context, said []byte) ([]byte, error) {
	version, ok := l.versions.Best(kafka.SASLAuthenticate)
	if !ok {
		return nil, kafka.UnsupportedVersion
	}
	answer, err := l.ask(ctx, kafka.SASLAuthenticate, version, func(dst []byte) []byte { return kafka.AppendSASLAuthenticate(dst, said) })
	if err != nil {
		return nil, err
	}
	heard, life, err := kafka.ParseSASLAuthenticate(answer, version)
	if life > 0 { // KIP-368: afterwards the broker hangs up
		l.mu.Lock()
		l.expires = time.Now().Add(life * 4 / 5)
		l.mu.Unlock()
	}
	return heard, err
}

func (l *link) scram(ctx context.Context, s *kafka.SCRAM) error {
	heard, err := l.step(ctx, s.First())
	if err != nil {
		return err
	}
	said, err := s.Answer(heard)
	if err != nil {
		return fmt.Errorf("%w: %w", err, kafka.SASLAuthenticationFailed)
	}
	if heard, err = l.step(ctx, said); err != nil {
		return err
	}
	if err := s.Verify(heard); err != nil {
		return fmt.Errorf("%w: %w", err, kafka.SASLAuthenticationFailed)
	}
	return nil
}

// bearer logs in with a token. A broker that does not take it may say why in a
// step of its own, which is no error yet (RFC 7628, 3.2.2).
func (l *link) bearer(ctx context.Context, who SASL) error {
	token, err := who.Token(ctx)
	if err != nil {
		return fmt.Errorf("the token: %w", err)
	}
	said, err := kafka.OAuthBearer(token)
	if err != nil {
		return fmt.Errorf("%w: %w", err, kafka.SASLAuthenticationFailed)
	}
	heard, err := l.step(ctx, said)
	if err == nil && len(heard) > 0 {
		return fmt.Errorf("the broker says %.100q: %w", heard, kafka.SASLAuthenticationFailed)
	}
	return err
}

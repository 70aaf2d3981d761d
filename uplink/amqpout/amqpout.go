// Package amqpout is the door out over AMQP 0-9-1, as RabbitMQ and LavinMQ speak
// it: a publish for each message, or for each part of one, over one channel with
// publisher confirms.
//
//	basic.publish exchange=telemetry routing-key=north-7.normal mandatory
//	message-id:    north-7/00000000000004d2/normal/1-99
//	content-type:  application/json
//	app-id:        tidegate
//	delivery-mode: 2
//	timestamp:     of the latest reading, of the sending for a whole message
//	headers:       gateway, lane, count
//
// Custody is a confirm (basic.ack) without a return before it: what matches no
// queue comes back and is confirmed all the same. RabbitMQ confirms a persistent
// message when every durable queue has it on disk. Queues that are not durable
// confirm and forget at the next restart; nothing in the protocol tells.
//
// What every other answer means is in one place, the function judge.
package amqpout

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"github.com/tidegate/tidegate/internal/conf"
	"github.com/tidegate/tidegate/internal/netfault"
	"github.com/tidegate/tidegate/uplink"
	"github.com/tidegate/tidegate/uplink/onelink"
)

// KeyHeader is the header that carries the key where it does not fit into the
// message-id, which takes 255 bytes.
const KeyHeader = "tidegate-key"

// DefaultHeartbeat is small on a metered link, some hundred kilobytes a day, and
// ends a dead connection within a minute and a half.
const DefaultHeartbeat = time.Minute

// What may be declared when connecting.
const (
	DeclareNone     = "none"
	DeclareExchange = "exchange"
	DeclareQueue    = "queue"
)

// Config says where to publish and as whom.
type Config struct {
	// Address is host:port.
	Address string
	// TLS is nil for a connection without.
	TLS *tls.Config
	// Dial is how the network is reached; nil is a net.Dialer.
	Dial uplink.Dial
	// Vhost is the virtual host, "/" if empty.
	Vhost string
	// Username and Password log in with PLAIN.
	Username string
	Password conf.Secret
	// External logs in with the certificate that TLS shows, instead.
	External bool
	// Exchange is what is published to; empty is the default exchange, which
	// takes the routing key for the name of a queue.
	Exchange uplink.Template
	// RoutingKey is what the exchange routes by, 255 bytes at the most. Values
	// have their slashes and dots exchanged, as RabbitMQ does with MQTT's topics.
	RoutingKey uplink.Template
	// Declare makes what is missing when connecting: DeclareNone if empty.
	Declare string
	// ExchangeType is that of an exchange that is declared, "topic" if empty.
	ExchangeType string
	// Queue is the queue that is declared, the routing key if empty.
	Queue string
	// Bare leaves the headers out: some fifty bytes a message.
	Bare bool
	// Heartbeat is how often an idle connection shows life, DefaultHeartbeat if
	// zero. One that is silent for one and a half of it is given up.
	Heartbeat time.Duration
	// Product names the sender, for example "tidegate/0.3".
	Product string
}

// Sink publishes messages. It is safe for concurrent use.
type Sink struct {
	cfg   Config
	seat  *onelink.Seat[*link]
	limit atomic.Int64 // the largest body in bytes, as the server said; 0: not yet
}

// New returns a Sink. It does not connect yet.
func New(cfg Config) (*Sink, error) {
	cfg = cfg.withDefaults()
	_, _, err := net.SplitHostPort(cfg.Address)
	switch {
	case err != nil:
		err = fmt.Errorf("address: %w — hint: write host:port", err)
	case cfg.External && cfg.TLS == nil:
		err = errors.New("a login by certificate goes over TLS only — hint: use amqps://")
	default:
		err = cfg.Check()
	}
	if err != nil {
		return nil, fmt.Errorf("amqp uplink: %w", err)
	}
	return &Sink{cfg: cfg, seat: onelink.NewSeat[*link]()}, nil
}

func (c Config) withDefaults() Config {
	c.Vhost = cmp.Or(c.Vhost, "/")
	c.Declare = cmp.Or(c.Declare, DeclareNone)
	c.ExchangeType = cmp.Or(c.ExchangeType, "topic")
	c.Heartbeat = cmp.Or(c.Heartbeat, DefaultHeartbeat)
	return c
}

// Check returns what is wrong with exchange, routing key and queue together. The
// error has a hint.
func (c Config) Check() error {
	c = c.withDefaults()
	for _, name := range []string{c.Exchange.String(), c.RoutingKey.String(), c.Queue, c.Vhost} {
		if constant(name) && len(name) > maxShort {
			return fmt.Errorf("a name of %d bytes for exchange, routing key, queue or vhost — hint: AMQP takes %d", len(name), maxShort)
		}
	}
	if c.Exchange.String() == "" && c.RoutingKey.String() == "" {
		return errors.New("neither exchange nor routing key — hint: the default exchange takes the routing key for the name of a queue")
	}
	switch c.Declare {
	case DeclareNone:
		return nil
	case DeclareExchange:
		if exchange := c.Exchange.String(); exchange == "" || !constant(exchange) {
			return fmt.Errorf("the exchange %q cannot be declared — hint: only one with a name, and without braces in it, can", exchange)
		}
		return nil
	case DeclareQueue:
		return c.checkQueue()
	}
	return fmt.Errorf("declare = %q — hint: write none, exchange or queue", c.Declare)
}

func (c Config) checkQueue() error {
	if queue := c.queue(); queue == "" || !constant(queue) || !constant(c.Exchange.String()) {
		return errors.New("the queue cannot be declared — hint: name it, without braces; and the exchange must have none in its name either")
	}
	if c.Exchange.String() != "" && c.ExchangeType == "direct" && !constant(c.RoutingKey.String()) {
		return errors.New("a queue cannot be bound to a direct exchange by a routing key with braces — hint: use a topic exchange")
	}
	if c.Exchange.String() == "" && c.queue() != c.RoutingKey.String() {
		return fmt.Errorf("the queue %q would get nothing — hint: the default exchange delivers to the queue that the routing key names", c.queue())
	}
	return nil
}

// queue is the queue to declare.
func (c Config) queue() string { return cmp.Or(c.Queue, c.RoutingKey.String()) }

// constant reports whether a template's text is the same for all messages.
func constant(text string) bool { return !strings.Contains(text, "{") }

// Send publishes all pieces of the message and waits for their confirms; see the
// package comment.
func (s *Sink) Send(ctx context.Context, m uplink.Message) error {
	if len(m.Pieces()) == 0 {
		return nil
	}
	if err := s.checkAddresses(m); err != nil {
		return s.named(err)
	}
	l, err := s.seat.Get(ctx, func(ctx context.Context) (*link, error) { return s.open(ctx, m.Gateway) })
	if err == nil {
		err = l.send(ctx, m, s.publishing)
	}
	return s.named(s.learn(err))
}

// Close logs out and closes the connection.
func (s *Sink) Close() error { return s.seat.Close() }

// Limit returns the largest body that the server takes, once it has refused a
// larger one: AMQP 0-9-1 does not tell before.
func (s *Sink) Limit() int { return int(s.limit.Load()) }

// named adds the server's address to an error, and keeps its class.
func (s *Sink) named(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("publish to %s: %w", s.cfg.Address, netfault.Explain(err))
}

// learn keeps the limit that an error names.
func (s *Sink) learn(err error) error {
	if n := limitIn(err); n > 0 {
		s.limit.Store(n)
	}
	return err
}

// Package amqp1out is the door out over AMQP 1.0 (ISO/IEC 19464), as Artemis,
// Azure Service Bus and Event Hubs, Qpid and RabbitMQ speak it: a transfer for
// each message, or for each part of one.
//
//	header:                 durable
//	properties:             message-id  north-7/00000000000004d2/normal/1-99
//	                        content-type, creation-time, subject
//	application-properties: gateway, lane, count
//	data:                   the body
//
// Custody is the outcome "accepted". What every other outcome and condition means
// is in one place, the function judge.
//
// RabbitMQ before 4.0 accepts what it then throws away because no queue is bound.
// For a queue it is asked afterwards whether the queue is there, see lookout.go;
// exchanges are refused, unless Config.TrustRouting says that one of them always
// has a queue.
package amqp1out

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

// KeyProperty is the application-property that carries the key where it is too long
// for a message-id.
const KeyProperty = "tidegate-key"

// DefaultIdle ends a silent connection after a minute; the server is asked to
// show life every half of it.
const DefaultIdle = time.Minute

// Config says where to send and as whom.
type Config struct {
	// Address is host:port.
	Address string
	// TLS is nil for a connection without.
	TLS *tls.Config
	// Dial is how the network is reached; nil is a net.Dialer.
	Dial uplink.Dial
	// Hostname is what the server is told that it is called, the host of Address
	// if empty. RabbitMQ takes "vhost:NAME" for the virtual host.
	Hostname string
	// Username and Password log in with PLAIN. Without a name it is ANONYMOUS.
	Username string
	Password conf.Secret
	// External logs in with the certificate that TLS shows, instead.
	External bool
	// Target is the address of the node: "/amq/queue/NAME" (RabbitMQ), "NAME"
	// (Artemis, Azure). Each costs a round trip when it is first used, so it
	// knows neither {device} nor {metric}; Subject does.
	Target uplink.Template
	// Subject is the message's subject: on RabbitMQ the routing key of an
	// exchange. Values have slashes and dots exchanged there, and only there.
	Subject uplink.Template
	// TrustRouting takes "accepted" for custody where RabbitMQ before 4.0 says it
	// of what no queue gets.
	TrustRouting bool
	// Bare leaves application-properties out: some sixty bytes a message.
	Bare bool
	// Idle is how long a connection may be silent, DefaultIdle if zero.
	Idle time.Duration
	// Product names the sender, for example "tidegate/0.3".
	Product string
}

// Sink sends messages. It is safe for concurrent use.
type Sink struct {
	cfg   Config
	seat  *onelink.Seat[*link]
	limit atomic.Int64 // the largest body in bytes, as the server said; 0: not yet, or none
}

// New returns a Sink. It does not connect yet.
func New(cfg Config) (*Sink, error) {
	host, _, err := net.SplitHostPort(cfg.Address)
	switch {
	case err != nil:
		err = fmt.Errorf("address: %w — hint: write host:port", err)
	case cfg.External && cfg.TLS == nil:
		err = errors.New("a login by certificate goes over TLS only — hint: use amqps://")
	case cfg.Target.String() == "":
		err = errors.New("no address — hint: write /amq/queue/NAME for RabbitMQ, NAME for Artemis and Azure")
	case cfg.Target.Needs() != "":
		err = fmt.Errorf("the address %q differs from device to device — hint: leave that to subject", cfg.Target)
	}
	if err != nil {
		return nil, fmt.Errorf("amqp1 uplink: %w", err)
	}
	cfg.Hostname = cmp.Or(cfg.Hostname, host)
	cfg.Idle = cmp.Or(cfg.Idle, DefaultIdle)
	return &Sink{cfg: cfg, seat: onelink.NewSeat[*link]()}, nil
}

// Send sends all pieces of the message and waits for their outcomes; see the
// package comment.
func (s *Sink) Send(ctx context.Context, m uplink.Message) error {
	if len(m.Pieces()) == 0 {
		return nil
	}
	l, err := s.seat.Get(ctx, func(ctx context.Context) (*link, error) { return s.open(ctx, m.Gateway) })
	if err == nil {
		err = l.send(ctx, m, s.cfg.Target.Expand(m, uplink.Part{}, nil))
	}
	if n := limitIn(err); n > 0 {
		s.limit.Store(n)
	}
	return s.named(err)
}

// Close ends the connection.
func (s *Sink) Close() error { return s.seat.Close() }

// Limit returns the largest body that the server takes, as it said when the link
// was made, or when it refused a larger one.
func (s *Sink) Limit() int { return int(s.limit.Load()) }

// named adds the server's address to an error, and keeps its class.
func (s *Sink) named(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("send to %s: %w", s.cfg.Address, netfault.Explain(err))
}

// Probe connects and logs in over a connection of its own, and attaches to the
// target if that is the same for all messages.
func (s *Sink) Probe(ctx context.Context) (string, error) {
	l, err := s.open(ctx, "")
	if err != nil {
		return "", s.named(err)
	}
	defer l.Close()
	about, target := l.peer.String(), s.cfg.Target.String()
	if strings.Contains(target, "{") {
		return about + ", addresses " + target, nil
	}
	release := context.AfterFunc(ctx, l.wire.Drop)
	defer release()
	_, err = l.sender(ctx, target)
	if err == nil {
		err = l.lookFor(ctx, target)
	}
	if err != nil {
		return "", s.named(err)
	}
	if n := s.Limit(); n > 0 {
		return fmt.Sprintf("%s, address %s, messages up to %d bytes", about, target, n), nil
	}
	return about + ", address " + target, nil
}

// Package stompout is the door out over STOMP 1.2, as ActiveMQ, RabbitMQ and
// Artemis speak it: a SEND with a receipt for each message, or for each part of
// one.
//
//	SEND
//	destination:/queue/telemetry
//	content-type:application/json
//	content-length:4711
//	persistent:true
//	receipt:17
//	Tidegate-Key:north-7/00000000000004d2/normal/1-99
//
// Custody is the RECEIPT for it. ActiveMQ sends it when a persistent message of a
// queue is on disk, RabbitMQ when the queue has confirmed it. What a receipt is
// worth depends on the destination: a topic keeps nothing for those who have not
// subscribed, and RabbitMQ sends receipts for what its exchanges route to no
// queue at all, nor to one that was deleted under the connection. Caution says so.
//
// What an ERROR means is in one place, the function judge.
package stompout

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
	"github.com/tidegate/tidegate/uplink"
	"github.com/tidegate/tidegate/uplink/onelink"
)

// KeyHeader is the header that carries uplink.Message.PartKey.
const KeyHeader = "Tidegate-Key"

// DefaultHeartbeat costs some three hundred kilobytes a day on an idle link. A
// connection that is dead is given up after two of them and five seconds.
const DefaultHeartbeat = time.Minute

// Config says where to send and as whom.
type Config struct {
	// Address is host:port.
	Address string
	// TLS is nil for a connection without.
	TLS *tls.Config
	// Dial is how the network is reached; nil is a net.Dialer.
	Dial uplink.Dial
	// Vhost is the header host of CONNECT, "/" if empty. RabbitMQ takes it for
	// its virtual host, ActiveMQ does not look at it.
	Vhost string
	// Username and Password are the headers login and passcode; both may be empty.
	Username string
	Password conf.Secret
	// Destination is where messages go: "/queue/telemetry". What stands for a
	// name in it is escaped, see Escape.
	Destination uplink.Template
	// Text marks bodies as text (amq-msg-type), so that JMS clients of ActiveMQ
	// get a TextMessage; without it they get a BytesMessage.
	Text bool
	// Heartbeat is how often an idle connection shows life, in both directions,
	// DefaultHeartbeat if zero.
	Heartbeat time.Duration
}

// Sink sends messages. It is safe for concurrent use.
type Sink struct {
	cfg   Config
	seat  *onelink.Seat[*link]
	limit atomic.Int64 // the largest piece in bytes that may pass; 0: not known
}

// New returns a Sink. It does not connect yet.
func New(cfg Config) (*Sink, error) {
	cfg.Vhost = cmp.Or(cfg.Vhost, "/")
	cfg.Heartbeat = cmp.Or(cfg.Heartbeat, DefaultHeartbeat)
	if err := cfg.check(); err != nil {
		return nil, fmt.Errorf("stomp uplink: %w", err)
	}
	return &Sink{cfg: cfg, seat: onelink.NewSeat[*link]()}, nil
}

func (c Config) check() error {
	if _, _, err := net.SplitHostPort(c.Address); err != nil {
		return fmt.Errorf("address: %w — hint: write host:port", err)
	}
	if c.Destination.String() == "" {
		return errors.New(`no destination — hint: write for example "/queue/telemetry"`)
	}
	for _, text := range []string{c.Destination.String(), c.Vhost, c.Username, c.Password.Reveal()} {
		if strings.ContainsAny(text, "\r\n\x00") {
			return errors.New("a line end or a zero byte in destination, vhost, username or password — hint: CONNECT has no way to send them")
		}
	}
	return nil
}

// Send sends all pieces of the message and waits for their receipts; see the
// package comment.
func (s *Sink) Send(ctx context.Context, m uplink.Message) error {
	if len(m.Pieces()) == 0 {
		return nil
	}
	l, err := s.seat.Get(ctx, s.open)
	if err == nil {
		err = l.send(ctx, m)
	}
	return s.named(s.learn(err))
}

// Close says goodbye and closes the connection.
func (s *Sink) Close() error { return s.seat.Close() }

// Limit returns the largest piece that the server may take, in bytes, once it has
// refused a larger one: STOMP does not tell before.
func (s *Sink) Limit() int { return int(s.limit.Load()) }

// named adds the server's address to an error, and keeps its class.
func (s *Sink) named(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("send to %s: %w", s.cfg.Address, err)
}

// learn keeps the limit that an error tells.
func (s *Sink) learn(err error) error {
	var e sized
	ok := errors.As(err, &e)
	if !ok || e.limit <= 0 {
		return err
	}
	for {
		known := s.limit.Load()
		if known > 0 && known <= e.limit || s.limit.CompareAndSwap(known, e.limit) {
			return err
		}
	}
}

// Caution says what a receipt for the destination is not worth at the server, which
// has said its name in CONNECTED; "" for a queue of ActiveMQ.
func Caution(server, destination string) string {
	kind, _, _ := strings.Cut(strings.TrimPrefix(destination, "/"), "/")
	switch {
	case (!strings.HasPrefix(destination, "/") || kind == "queue") && !strings.HasPrefix(server, "RabbitMQ"):
		return ""
	case kind == "queue":
		return "over STOMP, RabbitMQ makes a queue once for a connection: if somebody deletes it then, what comes is confirmed and thrown away — hint: let nobody delete it, or use an amqp uplink, which is told"
	case kind == "topic":
		return "a topic keeps nothing for those who have not subscribed: readings are confirmed and lost — hint: use /queue/, or see that there is always a durable subscriber"
	case kind == "exchange" || kind == "amq":
		return "over STOMP, RabbitMQ confirms what no queue is bound for, and throws it away — hint: use /queue/, or an amqp uplink, which is told"
	case strings.HasPrefix(kind, "temp-"):
		return "a temporary queue goes with the connection — hint: use /queue/"
	}
	return ""
}

// Escape makes a name of a message fit for a destination: what is neither a
// letter of ASCII, a digit, "-" nor "_" becomes % and two hexadecimal digits.
// ActiveMQ would take a dot for a level, a comma for a second destination and a
// question mark for options; RabbitMQ ends the name of a queue at a slash, and
// turns the escapes back. An empty name becomes "_": neither has a queue without a
// name.
func Escape(name string) string {
	const digits = "0123456789ABCDEF"
	if name == "" {
		return "_"
	}
	var b strings.Builder
	for i := range len(name) {
		c := name[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' {
			b.WriteByte(c)
			continue
		}
		b.WriteByte('%')
		b.WriteByte(digits[c>>4])
		b.WriteByte(digits[c&15])
	}
	return b.String()
}

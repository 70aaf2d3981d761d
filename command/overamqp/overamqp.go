// Package overamqp brings commands from a queue of RabbitMQ, over AMQP 0-9-1.
//
// A delivery is acknowledged when the command is decided and on flash and the server
// has confirmed the answer. Answers go where reply_to says, if that is a queue which
// the server has made for its sender, with the command's correlation id; otherwise
// to a routing key of their own.
package overamqp

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/tidegate/tidegate/command"
	"github.com/tidegate/tidegate/internal/conf"
	"github.com/tidegate/tidegate/internal/netfault"
	"github.com/tidegate/tidegate/uplink/onelink"
)

// Config says which server, as whom, and which queue.
type Config struct {
	// Address is host:port.
	Address string
	// TLS is nil for a connection without.
	TLS *tls.Config
	// Dial reaches the network; nil stands for a net.Dialer with 10 s.
	Dial     onelink.Dial
	VHost    string
	Username string
	Password conf.Secret
	// External logs in with the certificate of TLS instead.
	External bool
	// Queue is consumed. Declare makes it, durable, if it is missing.
	Queue   string
	Declare bool
	// Exchange and RoutingKey are where answers go; an empty RoutingKey is nowhere.
	// An empty Exchange takes it for the name of a queue.
	Exchange, RoutingKey string
	// Heartbeat is how often an idle connection shows life, a minute by default. One
	// that is dead is given up after two of them.
	Heartbeat time.Duration
	// Name is the connection's, for people who look at the server.
	Name string
}

const (
	loginTimeout = 30 * time.Second
	// confirmTimeout is how long the server may take to confirm an answer.
	confirmTimeout = 30 * time.Second
	// farewell is how long the end of a connection may take.
	farewell = 2 * time.Second
	// atOnce is how many commands the server sends ahead.
	atOnce = 8
	// maxFrame is what frames are asked to be at the most.
	maxFrame = 128 << 10
)

// replyQueues are the beginnings of reply_to that name a queue of the sender's own.
// Any other could be anybody's, and the gateway may publish where the sender may not.
var replyQueues = []string{"amq.rabbitmq.reply-to.", "amq.gen-"}

// Courier brings commands over AMQP. Run it in one goroutine at a time.
type Courier struct {
	cfg Config
	log *slog.Logger
}

// New returns a Courier. It does not connect yet.
func New(cfg Config, log *slog.Logger) *Courier {
	if cfg.Heartbeat == 0 {
		cfg.Heartbeat = time.Minute
	}
	if cfg.VHost == "" {
		cfg.VHost = "/"
	}
	return &Courier{cfg: cfg, log: log}
}

// Run implements command.Courier.
func (c *Courier) Run(ctx context.Context, clerk *command.Clerk) error {
	err := c.run(ctx, clerk)
	if ctx.Err() != nil {
		return nil
	}
	return c.about(err)
}

func (c *Courier) about(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("commands from %s: %w", c.cfg.Address, explain(err))
}

// link is a connection that is logged in, with its one channel.
type link struct {
	wire *onelink.Conn
	conn *amqp.Connection
	ch   *amqp.Channel
}

func (c *Courier) run(ctx context.Context, clerk *command.Clerk) error {
	l, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer l.conn.Close()
	stop := context.AfterFunc(ctx, func() { l.wire.SetDeadline(time.Now().Add(farewell)) }) // acknowledgements may be on their way
	defer stop()
	closed := l.conn.NotifyClose(make(chan *amqp.Error, 1))
	gone := l.ch.NotifyClose(make(chan *amqp.Error, 1))
	returns := l.ch.NotifyReturn(make(chan amqp.Return, 1024))
	deliveries, err := c.consume(l)
	if err != nil {
		return l.fault(err)
	}
	clerk.Up("AMQP, queue " + c.cfg.Queue)
	if err := c.tell(ctx, l, clerk); err != nil {
		return l.fault(err)
	}
	for {
		var err error
		select {
		case <-ctx.Done():
			return nil
		case e := <-closed:
			return l.fault(lost(e))
		case e := <-gone:
			return l.fault(lost(e))
		case r := <-returns:
			c.log.Warn("an answer reaches no queue — hint: bind one to its routing key, or check answers", "exchange", r.Exchange, "key", r.RoutingKey)
		case d, ok := <-deliveries:
			if !ok {
				return l.fault(errors.New("the server ended the consumer — hint: was the queue deleted?"))
			}
			err = c.decide(ctx, l, clerk, d)
		case <-clerk.More():
			err = c.tell(ctx, l, clerk)
		}
		if err != nil {
			return l.fault(err)
		}
	}
}

// lost is why a connection or a channel has ended.
func lost(e *amqp.Error) error {
	if e == nil {
		return amqp.ErrClosed
	}
	return e
}

// fault prefers what broke the connection to what the library makes of it.
func (l *link) fault(err error) error {
	if e, ok := errors.AsType[*amqp.Error](err); ok && e.Server {
		return err
	}
	if fault := l.wire.Fault(); fault != nil {
		return fault
	}
	return err
}

// consume asks for deliveries.
func (c *Courier) consume(l *link) (<-chan amqp.Delivery, error) {
	if c.cfg.Declare {
		if _, err := l.ch.QueueDeclare(c.cfg.Queue, true, false, false, false, nil); err != nil {
			return nil, err
		}
	}
	if err := l.ch.Qos(atOnce, 0, false); err != nil {
		return nil, err
	}
	return l.ch.Consume(c.cfg.Queue, c.cfg.Name, false, false, false, false, nil)
}

// decide has a command decided, and acknowledges it behind its answer.
func (c *Courier) decide(ctx context.Context, l *link, clerk *command.Clerk, d amqp.Delivery) error {
	letter := command.Letter{Body: d.Body, Queued: d.Timestamp}
	for _, own := range replyQueues {
		if strings.HasPrefix(d.ReplyTo, own) && len(d.ReplyTo)+len(d.CorrelationId)+1 <= command.MaxReplyTo {
			letter.ReplyTo = d.ReplyTo + "\n" + d.CorrelationId
		}
	}
	a, err := clerk.Decide(ctx, letter)
	if err != nil {
		return fmt.Errorf("a command is not decided: %w", err) // the server queues it again when the connection ends
	}
	if a.Wanted {
		if err := c.publish(ctx, l, []command.Answer{a}); err != nil {
			return err
		}
	}
	return d.Ack(false)
}

// tell publishes what is in the outbox.
func (c *Courier) tell(ctx context.Context, l *link, clerk *command.Clerk) error {
	answers, last := clerk.Outbox()
	if err := c.publish(ctx, l, answers); err != nil {
		return err
	}
	clerk.Told(last)
	return nil
}

// publish publishes answers and waits until the server has confirmed them. One for
// which there is no queue is confirmed, too: whoever asked has gone.
func (c *Courier) publish(ctx context.Context, l *link, answers []command.Answer) error {
	ctx, cancel := context.WithTimeout(ctx, confirmTimeout)
	defer cancel()
	var confirmations []*amqp.DeferredConfirmation
	for _, a := range answers {
		body, err := json.Marshal(a)
		if err != nil {
			return err
		}
		exchange, key := c.cfg.Exchange, c.cfg.RoutingKey
		to, correlation, own := strings.Cut(a.ReplyTo, "\n")
		if own {
			exchange, key = "", to
		}
		if key == "" && exchange == "" {
			continue
		}
		m := amqp.Publishing{ContentType: "application/json", DeliveryMode: amqp.Persistent, CorrelationId: correlation, MessageId: a.ID, Timestamp: a.At, Body: body}
		confirmation, err := l.ch.PublishWithDeferredConfirmWithContext(ctx, exchange, key, !own, false, m)
		if err != nil {
			return err
		}
		confirmations = append(confirmations, confirmation)
	}
	for _, confirmation := range confirmations {
		acked, err := confirmation.WaitContext(ctx)
		if err != nil {
			return err
		}
		if !acked {
			return errors.New("the server does not take answers now — hint: is it out of disk or memory?")
		}
	}
	return nil
}

// Probe logs in and looks at the queue.
func (c *Courier) Probe(ctx context.Context) (string, error) {
	l, err := c.open(ctx)
	if err != nil {
		return "", c.about(err)
	}
	defer l.conn.Close()
	stop := context.AfterFunc(ctx, func() { l.wire.Close() })
	defer stop()
	about := fmt.Sprintf("%v %v, queue %s", l.conn.Properties["product"], l.conn.Properties["version"], c.cfg.Queue)
	if c.cfg.Declare {
		return about, nil
	}
	_, err = l.ch.QueueDeclarePassive(c.cfg.Queue, true, false, false, false, nil)
	if err != nil {
		err = l.fault(err)
	}
	return about, c.about(err)
}

// open connects, logs in and opens the channel.
func (c *Courier) open(ctx context.Context) (*link, error) {
	ctx, cancel := context.WithTimeout(ctx, loginTimeout)
	defer cancel()
	wire, err := onelink.Open(ctx, c.cfg.Dial, c.cfg.Address, c.cfg.TLS)
	if err != nil {
		return nil, err
	}
	// The library's calls know no context; they end with the connection.
	release := context.AfterFunc(ctx, func() { wire.Close() })
	l, err := c.logIn(wire)
	if !release() && err == nil {
		l.conn.Close()
		err = ctx.Err()
	}
	if err != nil {
		wire.Close()
		return nil, fmt.Errorf("log in: %w", err)
	}
	return l, nil
}

func (c *Courier) logIn(wire *onelink.Conn) (*link, error) {
	var login amqp.Authentication = &amqp.PlainAuth{Username: c.cfg.Username, Password: c.cfg.Password.Reveal()}
	switch {
	case c.cfg.External:
		login = &amqp.ExternalAuth{}
	case c.cfg.Username == "":
		login = &amqp.PlainAuth{Username: "guest", Password: "guest"} // whom a fresh server knows, on its own machine
	}
	conn, err := amqp.Open(wire, amqp.Config{
		SASL: []amqp.Authentication{login}, Properties: amqp.Table{"connection_name": c.cfg.Name, "product": "tidegate"},
		Vhost: c.cfg.VHost, Heartbeat: c.cfg.Heartbeat, Locale: "en_US", FrameSize: maxFrame,
	})
	if err != nil {
		return nil, err
	}
	l := &link{wire: wire, conn: conn}
	if l.ch, err = conn.Channel(); err == nil {
		err = l.ch.Confirm(false)
	}
	if err != nil {
		err = l.fault(err)
		conn.Close()
		return nil, err
	}
	return l, nil
}

// explain adds what may be done about an error.
func explain(err error) error {
	e, _ := errors.AsType[*amqp.Error](err)
	hint := ""
	switch {
	case strings.Contains(err.Error(), "hint: "):
		return err
	case errors.Is(err, amqp.ErrCredentials), errors.Is(err, amqp.ErrSASL), e != nil && e.Code == amqp.AccessRefused && strings.Contains(e.Reason, "login"):
		hint = "check username and password_file"
	case errors.Is(err, amqp.ErrVhost), e != nil && e.Code == amqp.NotAllowed:
		hint = "check vhost, and whether this user may use it"
	case e != nil && e.Code == amqp.AccessRefused:
		hint = "let this user read the queue and write answers"
	case e != nil && e.Code == amqp.NotFound:
		hint = "make the queue or the exchange, or set declare = true"
	case e != nil && e.Code == amqp.PreconditionFailed:
		hint = "the queue is there with other properties; set declare = false"
	case e != nil && e.Code == amqp.ResourceLocked:
		hint = "somebody else has the queue for himself"
	}
	if hint == "" {
		return netfault.Explain(err)
	}
	return fmt.Errorf("%w — hint: %s", err, hint)
}

// Package overnats brings commands from a stream of NATS JetStream, through a
// durable consumer that the gateway pulls from, and publishes answers to a subject
// of their own.
//
// A message is acknowledged, and the server has confirmed that, when the command is
// decided and on flash and the server has the answer. One that could not be decided
// is given back at once.
package overnats

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tidegate/tidegate/command"
	"github.com/tidegate/tidegate/internal/conf"
	"github.com/tidegate/tidegate/internal/netfault"
	"github.com/tidegate/tidegate/uplink/onelink"
)

// Config says which servers, as whom, and where commands and answers are.
type Config struct {
	// Servers are tried in their order, each host:port.
	Servers []string
	// TLS is used if the server wants it. Secure refuses a server without, and
	// TLSFirst shakes hands before the server has said anything.
	TLS              *tls.Config
	Secure, TLSFirst bool
	// Dial reaches the network; nil stands for a net.Dialer with 10 s.
	Dial onelink.Dial
	// Username and Password, Token, NkeyFile or CredsFile: one of them, or none.
	Username            string
	Password, Token     conf.Secret
	NkeyFile, CredsFile string
	// Stream holds the commands, of which those on Subject are for this gateway.
	// Durable names its consumer, which is made if it is missing.
	Stream, Subject, Durable string
	// Answers is where answers are published, empty for nowhere.
	Answers string
	// InboxPrefix is what the subjects of the server's replies begin with.
	InboxPrefix string
	// AckWait is after how long the server hands out a command again that was not
	// acknowledged, 30 s by default; it counts when the consumer is made.
	AckWait time.Duration
	// Keepalive is how often an idle connection is tried, a minute by default. A
	// connection that is dead is given up after two of them.
	Keepalive time.Duration
	// Name is the connection's, for people who look at the server.
	Name string
}

const (
	loginTimeout = 30 * time.Second
	// replyTimeout is how long the server may take for a reply.
	replyTimeout = 20 * time.Second
	// hold is for how long the server is asked to wait for a command.
	hold = time.Minute
	// atOnce is how many commands are under way.
	atOnce = 16
)

// Courier brings commands over NATS. Run it in one goroutine at a time.
type Courier struct {
	cfg Config
	log *slog.Logger
}

// New returns a Courier. It does not connect yet.
func New(cfg Config, log *slog.Logger) *Courier {
	if cfg.InboxPrefix == "" {
		cfg.InboxPrefix = "_INBOX"
	}
	if cfg.AckWait == 0 {
		cfg.AckWait = 30 * time.Second
	}
	if cfg.Keepalive == 0 {
		cfg.Keepalive = time.Minute
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
	return fmt.Errorf("commands from %s: %w", strings.Join(c.cfg.Servers, ", "), explain(err))
}

func (c *Courier) run(ctx context.Context, clerk *command.Clerk) error {
	closed := make(chan error, 1)
	nc, done, err := c.open(ctx, closed)
	if err != nil {
		return err
	}
	defer done()
	js, err := nc.JetStream(nats.MaxWait(replyTimeout))
	if err != nil {
		return err
	}
	sub, err := js.PullSubscribe(c.cfg.Subject, c.cfg.Durable, nats.BindStream(c.cfg.Stream), nats.ManualAck(), nats.AckWait(c.cfg.AckWait), nats.MaxAckPending(atOnce))
	if err != nil {
		return err
	}
	clerk.Up("NATS " + nc.ConnectedServerVersion() + ", stream " + c.cfg.Stream)
	inner, cancel := context.WithCancel(ctx)
	messages, broken := make(chan *nats.Msg), make(chan error, 1)
	var pulling sync.WaitGroup
	pulling.Go(func() { broken <- c.pull(inner, sub, messages) })
	defer pulling.Wait()
	defer cancel()
	if err := c.tell(ctx, nc, clerk); err != nil {
		return err
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case err = <-broken:
		case err = <-closed:
		case m := <-messages:
			err = c.decide(ctx, nc, clerk, m)
		case <-clerk.More():
			err = c.tell(ctx, nc, clerk)
		}
		if err != nil {
			return err
		}
	}
}

// pull asks for commands, again and again.
func (c *Courier) pull(ctx context.Context, sub *nats.Subscription, messages chan<- *nats.Msg) error {
	for {
		// One at a time: what was handed out and waits here would be handed out again.
		all, err := c.fetch(ctx, sub)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, nats.ErrTimeout), errors.Is(err, context.DeadlineExceeded):
			continue // there was none
		case err != nil:
			return err
		}
		for _, m := range all {
			select {
			case messages <- m:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
}

func (c *Courier) fetch(ctx context.Context, sub *nats.Subscription) ([]*nats.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, hold)
	defer cancel()
	return sub.Fetch(1, nats.Context(ctx))
}

// decide has a command decided, and acknowledges it behind its answer.
func (c *Courier) decide(ctx context.Context, nc *nats.Conn, clerk *command.Clerk, m *nats.Msg) error {
	letter := command.Letter{Body: m.Data}
	if about, err := m.Metadata(); err == nil {
		letter.Queued = about.Timestamp
	}
	a, err := clerk.Decide(ctx, letter)
	if err != nil {
		if ctx.Err() == nil {
			_ = m.Nak() // otherwise it comes when AckWait is over
			_ = nc.FlushTimeout(replyTimeout)
		}
		return fmt.Errorf("a command is not decided: %w", err)
	}
	if c.cfg.Answers != "" && a.Wanted {
		if err := c.publish(nc, a); err != nil {
			return err
		}
	}
	within, cancel := context.WithTimeout(ctx, replyTimeout)
	defer cancel()
	return m.AckSync(nats.Context(within)) // behind the answer, on the same connection
}

func (c *Courier) publish(nc *nats.Conn, a command.Answer) error {
	body, err := json.Marshal(a)
	if err != nil {
		return err
	}
	return nc.Publish(c.cfg.Answers, body)
}

// tell publishes what is in the outbox.
func (c *Courier) tell(ctx context.Context, nc *nats.Conn, clerk *command.Clerk) error {
	answers, last := clerk.Outbox()
	if c.cfg.Answers != "" && len(answers) > 0 {
		for _, a := range answers {
			if err := c.publish(nc, a); err != nil {
				return err
			}
		}
		within, cancel := context.WithTimeout(ctx, replyTimeout)
		defer cancel()
		if err := nc.FlushWithContext(within); err != nil {
			return err
		}
	}
	clerk.Told(last)
	return nil
}

// Probe logs in and looks for the stream.
func (c *Courier) Probe(ctx context.Context) (string, error) {
	nc, done, err := c.open(ctx, make(chan error, 1))
	if err != nil {
		return "", c.about(err)
	}
	defer done()
	js, err := nc.JetStream(nats.MaxWait(replyTimeout))
	if err == nil {
		_, err = js.StreamInfo(c.cfg.Stream)
	}
	if err != nil {
		return "", c.about(err)
	}
	return "NATS " + nc.ConnectedServerVersion() + ", stream " + c.cfg.Stream, nil
}

// dialer is a nats.CustomDialer.
type dialer func(address string) (net.Conn, error)

// Dial dials.
func (d dialer) Dial(_, address string) (net.Conn, error) { return d(address) }

// open connects and logs in. The connection ends with ctx, or by done, which returns
// when nothing of it is left. closed receives why it has ended by itself.
func (c *Courier) open(ctx context.Context, closed chan<- error) (nc *nats.Conn, done func(), err error) {
	login, cancel := context.WithTimeout(ctx, loginTimeout)
	defer cancel()
	var wire *onelink.Conn
	var missed error // the library forgets why nobody could be reached
	o, err := c.options()
	if err != nil {
		return nil, nil, err
	}
	o.CustomDialer = dialer(func(address string) (net.Conn, error) {
		if wire, missed = onelink.Open(login, c.cfg.Dial, address, nil); missed != nil {
			return nil, missed
		}
		return wire, nil
	})
	shut := make(chan struct{})
	o.ClosedCB = func(nc *nats.Conn) {
		err := nc.LastError()
		if fault := wire.Fault(); fault != nil && (err == nil || !strings.HasPrefix(err.Error(), "nats:")) {
			err = fault
		}
		if err == nil {
			err = errors.New("the server closed the connection")
		}
		closed <- err
		close(shut)
	}
	if nc, err = o.Connect(); err != nil {
		if errors.Is(err, nats.ErrNoServers) && missed != nil {
			err = missed
		}
		return nil, nil, fmt.Errorf("log in: %w", err)
	}
	stop := context.AfterFunc(ctx, nc.Close)
	return nc, func() { stop(); nc.Close(); <-shut }, nil
}

func (c *Courier) options() (nats.Options, error) {
	o := nats.GetDefaultOptions()
	for _, server := range c.cfg.Servers {
		o.Servers = append(o.Servers, "nats://"+server)
	}
	o.Name, o.InboxPrefix, o.Timeout = c.cfg.Name, c.cfg.InboxPrefix, loginTimeout
	o.NoRandomize, o.IgnoreDiscoveredServers, o.SkipHostLookup = true, true, true
	o.AllowReconnect, o.MaxReconnect = false, 0 // whoever runs the courier paces the tries
	o.PingInterval, o.MaxPingsOut = c.cfg.Keepalive, 1
	o.TLSConfig, o.Secure, o.TLSHandshakeFirst = c.cfg.TLS, c.cfg.Secure, c.cfg.TLSFirst
	o.User, o.Password, o.Token = c.cfg.Username, c.cfg.Password.Reveal(), c.cfg.Token.Reveal()
	o.AsyncErrorCB = func(_ *nats.Conn, _ *nats.Subscription, err error) {
		c.log.Warn("the server complains", "err", explain(err))
	}
	var login nats.Option
	var err error
	switch {
	case c.cfg.NkeyFile != "":
		if login, err = nats.NkeyOptionFromSeed(c.cfg.NkeyFile); err != nil {
			return o, fmt.Errorf("nkey file: %w — hint: it holds the seed of a user", err)
		}
	case c.cfg.CredsFile != "":
		login = nats.UserCredentials(c.cfg.CredsFile)
	}
	if login == nil {
		return o, nil
	}
	return o, login(&o)
}

// explain adds what may be done about an error.
func explain(err error) error {
	hint := ""
	switch {
	case strings.Contains(err.Error(), "hint: "):
		return err
	case errors.Is(err, nats.ErrAuthorization), errors.Is(err, nats.ErrAuthExpired), errors.Is(err, nats.ErrAuthRevoked):
		hint = "check username and password_file, or the token, nkey or creds file"
	case strings.Contains(strings.ToLower(err.Error()), "permissions violation"):
		hint = "let this user pull from the consumer, acknowledge, and publish to the subject of answers"
	case errors.Is(err, nats.ErrStreamNotFound):
		hint = "make the stream, or check stream"
	case errors.Is(err, nats.ErrJetStreamNotEnabled), errors.Is(err, nats.ErrNoResponders):
		hint = "turn on JetStream over there, for this account"
	case errors.Is(err, nats.ErrSecureConnRequired):
		hint = "the server wants TLS; use tls://"
	case errors.Is(err, nats.ErrSecureConnWanted):
		hint = "the server has no TLS; use nats://, or turn it on over there"
	case errors.Is(err, nats.ErrStaleConnection), errors.Is(err, nats.ErrTimeout):
		hint = "the server does not answer; the link is slow or dead"
	case strings.Contains(err.Error(), "subject does not match consumer"), strings.Contains(err.Error(), "configuration requests"):
		hint = "the consumer was made with other settings; remove it over there, or choose another durable"
	}
	if hint == "" {
		return netfault.Explain(err)
	}
	return fmt.Errorf("%w — hint: %s", err, hint)
}

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
	"strconv"
	"strings"
	"time"

	"github.com/tidegate/tidegate/command"
	"github.com/tidegate/tidegate/internal/conf"
	"github.com/tidegate/tidegate/internal/netfault"
	"github.com/tidegate/tidegate/uplink/natsline"
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
	l, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer l.close()
	if err := c.makeConsumer(ctx, l); err != nil {
		return err
	}
	clerk.Up("NATS " + l.Info.Version + ", stream " + c.cfg.Stream)
	if err := c.tell(ctx, l, clerk); err != nil {
		return err
	}
	if err := c.pull(l); err != nil {
		return err
	}
	alive := time.NewTicker(c.cfg.Keepalive)
	defer alive.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-l.gone:
			return l.err
		case m := <-l.commands:
			err = c.take(ctx, l, clerk, m)
		case <-clerk.More():
			err = c.tell(ctx, l, clerk)
		case <-alive.C:
			if err = l.ping(); l.Ear.Silence() > 2*c.cfg.Keepalive {
				err = errSilent
			}
		}
		if err != nil {
			return err
		}
	}
}

// errSilent says that the server does not answer.
var errSilent = errors.New("the server has gone silent — hint: the link is slow or dead")

// api asks JetStream for something.
func (c *Courier) api(ctx context.Context, l *link, subject string, question, into any) error {
	var body []byte
	var err error
	if question != nil {
		if body, err = json.Marshal(question); err != nil {
			return err
		}
	}
	m, err := l.ask(ctx, "$JS.API."+subject, body)
	switch {
	case err != nil:
		return err
	case m.status == noResponders:
		return errNoJetStream
	}
	var said struct {
		Error *apiError `json:"error"`
	}
	if err := json.Unmarshal(m.body, &said); err != nil {
		return fmt.Errorf("%w: JetStream says %s", natsline.ErrNotNATS, onelink.Quote(string(m.body)))
	}
	if said.Error != nil {
		return said.Error
	}
	return json.Unmarshal(m.body, into)
}

// apiError is why JetStream does not do what it is asked for.
type apiError struct {
	Code        int    `json:"code"`
	ErrCode     int    `json:"err_code"`
	Description string `json:"description"`
}

func (e *apiError) Error() string {
	return fmt.Sprintf("JetStream says %s (%d)", onelink.Quote(e.Description), e.ErrCode)
}

// The codes of errors that are known here (nats-server, errors.json).
const (
	errCodeNoStream   = 10059
	errCodeNoConsumer = 10014
	noResponders      = "503"
)

var errNoJetStream = errors.New("nobody answers for JetStream — hint: turn it on over there, for this account")

// consumer is the part of a consumer's configuration that matters here.
type consumer struct {
	Durable     string        `json:"durable_name"`
	Ack         string        `json:"ack_policy"`
	AckWait     time.Duration `json:"ack_wait"`
	Deliver     string        `json:"deliver_policy"`
	Replay      string        `json:"replay_policy"`
	Filter      string        `json:"filter_subject"`
	MaxPending  int           `json:"max_ack_pending"`
	MaxDeliver  int           `json:"max_deliver"`
	Description string        `json:"description"`
}

// makeConsumer makes the consumer, unless it is there and fits.
func (c *Courier) makeConsumer(ctx context.Context, l *link) error {
	var have struct {
		Config consumer `json:"config"`
	}
	place := c.cfg.Stream + "." + c.cfg.Durable
	err := c.api(ctx, l, "CONSUMER.INFO."+place, nil, &have)
	if e, ok := errors.AsType[*apiError](err); ok && e.ErrCode == errCodeNoConsumer {
		wanted := map[string]any{"stream_name": c.cfg.Stream, "config": consumer{
			Durable: c.cfg.Durable, Ack: "explicit", AckWait: c.cfg.AckWait, Deliver: "all", Replay: "instant", Filter: c.cfg.Subject,
			MaxPending: atOnce, MaxDeliver: -1, Description: "commands for a gateway",
		}}
		return c.api(ctx, l, "CONSUMER.DURABLE.CREATE."+place, wanted, &have)
	}
	if err == nil && (have.Config.Filter != c.cfg.Subject || have.Config.Ack != "explicit") {
		err = fmt.Errorf("the consumer %s is for %s, not for %s — hint: remove it over there, or choose another durable", onelink.Quote(c.cfg.Durable), onelink.Quote(have.Config.Filter), c.cfg.Subject)
	}
	return err
}

// pull asks for the next command. One at a time: what was handed out and waits here
// would be handed out again when AckWait is over.
func (c *Courier) pull(l *link) error {
	body, err := json.Marshal(map[string]any{"batch": 1, "expires": hold})
	if err != nil {
		return err
	}
	return l.publish("$JS.API.CONSUMER.MSG.NEXT."+c.cfg.Stream+"."+c.cfg.Durable, l.inbox+commandsTo, body)
}

// take takes what comes when a command was asked for: that, or that there was none.
func (c *Courier) take(ctx context.Context, l *link, clerk *command.Clerk, m message) error {
	switch {
	case m.status == "":
	case m.status == "404" || m.status == "408": // there was none
		return c.pull(l)
	case strings.HasPrefix(m.status, "1"): // a sign of life
		return nil
	case m.status == noResponders:
		return errNoJetStream
	default:
		return fmt.Errorf("JetStream says %s %s — hint: was the consumer, or the stream, removed?", m.status, onelink.Quote(m.reason))
	}
	a, err := clerk.Decide(ctx, command.Letter{Body: m.body, Queued: queued(m.reply)})
	if err != nil {
		if ctx.Err() == nil { // otherwise it comes when AckWait is over
			_, _ = l.ask(ctx, m.reply, []byte("-NAK"))
		}
		return fmt.Errorf("a command is not decided: %w", err)
	}
	if c.cfg.Answers != "" && a.Wanted {
		if err := c.answer(l, a); err != nil {
			return err
		}
	}
	if _, err := l.ask(ctx, m.reply, []byte("+ACK")); err != nil { // behind the answer, on the same connection
		return fmt.Errorf("acknowledge: %w", err)
	}
	return c.pull(l)
}

// queued is when the stream took a message in, as the subject of its acknowledgement
// tells:
//
//	$JS.ACK.<stream>.<consumer>.<delivered>.<number>.<number>.<time in ns>.<pending>
//
// with a domain and an account behind ACK, and one more at the end, from some servers.
func queued(reply string) time.Time {
	words := strings.Split(reply, ".")
	at := 7
	if len(words) >= 11 {
		at = 9
	}
	if len(words) < 9 || words[1] != "ACK" {
		return time.Time{}
	}
	ns, err := strconv.ParseInt(words[at], 10, 64)
	if err != nil || ns <= 0 {
		return time.Time{}
	}
	return time.Unix(0, ns)
}

func (c *Courier) answer(l *link, a command.Answer) error {
	body, err := json.Marshal(a)
	if err != nil {
		return err
	}
	return l.publish(c.cfg.Answers, "", body)
}

// tell publishes what is in the outbox.
func (c *Courier) tell(ctx context.Context, l *link, clerk *command.Clerk) error {
	answers, last := clerk.Outbox()
	if c.cfg.Answers != "" && len(answers) > 0 {
		for _, a := range answers {
			if err := c.answer(l, a); err != nil {
				return err
			}
		}
		if err := l.flush(ctx); err != nil {
			return err
		}
	}
	clerk.Told(last)
	return nil
}

// Probe logs in and looks for the stream.
func (c *Courier) Probe(ctx context.Context) (string, error) {
	l, err := c.open(ctx)
	if err != nil {
		return "", c.about(err)
	}
	defer l.close()
	var there struct{}
	if err := c.api(ctx, l, "STREAM.INFO."+c.cfg.Stream, nil, &there); err != nil {
		return "", c.about(err)
	}
	return "NATS " + l.Info.Version + ", stream " + c.cfg.Stream, nil
}

// explain adds what may be done about an error.
func explain(err error) error {
	text, hint := strings.ToLower(err.Error()), ""
	e, _ := errors.AsType[*apiError](err)
	var refused natsline.Refused
	errors.As(err, &refused)
	switch {
	case strings.Contains(text, "hint: "):
		return err
	case refused.Credentials:
		hint = "check the path, and who may read the file"
	case strings.Contains(text, natsline.SaysNoTLS):
		hint = "use nats://, or turn it on over there"
	case strings.Contains(text, natsline.SaysNoNkeys):
		hint = "log in otherwise"
	case strings.Contains(text, natsline.SaysNoHeaders):
		hint = "the server is older than JetStream; update it"
	case errors.Is(err, natsline.ErrNotNATS), strings.Contains(text, natsline.SaysNoInfo):
		hint = "does something else listen on that port?"
	case strings.Contains(text, "authorization violation"), strings.Contains(text, "authentication"):
		hint = "check username and password_file, token_file, nkey_file or creds_file"
	case strings.Contains(text, "permissions violation"):
		hint = "let this user pull from the consumer, acknowledge, and publish to the subject of answers"
	case e != nil && e.ErrCode == errCodeNoStream:
		hint = "make the stream, or check stream"
	case e != nil:
		hint = "see what the server's log says"
	}
	if hint == "" {
		return netfault.Explain(err)
	}
	return fmt.Errorf("%w — hint: %s", err, hint)
}

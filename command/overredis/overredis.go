// Package overredis brings commands from a stream of Redis, or of what speaks its
// protocol (Dragonfly, Valkey), as a consumer of a group:
//
//	XADD tidegate:north-7:commands * command '{"id":"7",…}'
//
// An entry is acknowledged in the same transaction that adds its answer to another
// stream, when the command is decided and on flash. What was handed out before and
// not acknowledged is asked for first.
package overredis

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/tidegate/tidegate/command"
	"github.com/tidegate/tidegate/internal/conf"
	"github.com/tidegate/tidegate/internal/netfault"
	"github.com/tidegate/tidegate/uplink/onelink"
)

// Config says which server, as whom, and which streams.
type Config struct {
	// Address is host:port.
	Address string
	// TLS is nil for a connection without.
	TLS *tls.Config
	// Dial reaches the network; nil stands for a net.Dialer with 10 s.
	Dial     onelink.Dial
	Username string // "" for the default user
	Password conf.Secret
	DB       int
	// Stream is read by Group; Consumer names this gateway in it.
	Stream, Group, Consumer string
	// Answers is the stream of answers, empty for none. It has about MaxAnswers
	// entries at the most, 10,000 if zero.
	Answers    string
	MaxAnswers int
	// Block is how long the server is asked to wait for a command, a minute by
	// default. A dead connection is noticed a little later.
	Block time.Duration
}

const (
	loginTimeout = 30 * time.Second
	// replyTimeout is how long a reply may take that the server does not hold back.
	replyTimeout = 20 * time.Second
	// atOnce is how many commands are read ahead.
	atOnce = 16
	// field holds the command in an entry.
	field = "command"
	// answerField holds the answer.
	answerField = "answer"
)

// Courier brings commands over Redis. Run it in one goroutine at a time.
type Courier struct {
	cfg Config
	log *slog.Logger
}

// New returns a Courier. It does not connect yet.
func New(cfg Config, log *slog.Logger) *Courier {
	if cfg.Block == 0 {
		cfg.Block = time.Minute
	}
	if cfg.MaxAnswers == 0 {
		cfg.MaxAnswers = 10_000
	}
	return &Courier{cfg: cfg, log: log}
}

// entry is one entry of the stream.
type entry struct {
	id   string
	body string
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
	return fmt.Errorf("commands from %s: %w", c.cfg.Address, netfault.Explain(err))
}

func (c *Courier) run(ctx context.Context, clerk *command.Clerk) error {
	// Two connections: the one that waits for commands cannot say anything else.
	in, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer out.Close()
	if _, err := in.ask(replyTimeout, "XGROUP", "CREATE", c.cfg.Stream, c.cfg.Group, "0", "MKSTREAM"); err != nil && !strings.HasPrefix(err.Error(), "BUSYGROUP") {
		return explain(err)
	}
	clerk.Up("Redis, group " + c.cfg.Group)
	inner, cancel := context.WithCancel(ctx)
	entries, broken := make(chan entry), make(chan error, 1)
	var reading sync.WaitGroup
	reading.Go(func() { broken <- c.read(inner, in, entries) })
	defer reading.Wait()
	defer in.Close() // which ends a read
	defer cancel()
	if err := c.tell(out, clerk); err != nil {
		return err
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case err = <-broken:
		case e := <-entries:
			err = c.decide(inner, out, clerk, e)
		case <-clerk.More():
			err = c.tell(out, clerk)
		}
		if err != nil {
			return err
		}
	}
}

// read reads entries: first those that were handed out before.
func (c *Courier) read(ctx context.Context, in *conn, entries chan<- entry) error {
	from := "0"
	for {
		args := []string{"XREADGROUP", "GROUP", c.cfg.Group, c.cfg.Consumer, "COUNT", strconv.Itoa(atOnce)}
		if from == ">" {
			args = append(args, "BLOCK", strconv.FormatInt(c.cfg.Block.Milliseconds(), 10))
		}
		reply, err := in.ask(c.cfg.Block+replyTimeout, append(args, "STREAMS", c.cfg.Stream, from)...)
		if err != nil {
			return explain(err)
		}
		all, err := entriesOf(reply)
		if err != nil {
			return err
		}
		for _, e := range all {
			select {
			case entries <- e:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		switch {
		case from == ">":
		case len(all) == 0:
			from = ">"
		default:
			from = all[len(all)-1].id
		}
	}
}

// entriesOf takes the reply of XREADGROUP apart: [[stream, [[id, [field, value, …]], …]]].
func entriesOf(reply any) (all []entry, err error) {
	if reply == nil {
		return nil, nil // the time was over
	}
	streams, ok := reply.([]any)
	if !ok || len(streams) != 1 {
		return nil, errReply
	}
	stream, _ := streams[0].([]any)
	if len(stream) != 2 {
		return nil, errReply
	}
	list, _ := stream[1].([]any)
	for _, one := range list {
		pair, _ := one.([]any)
		if len(pair) != 2 {
			return nil, errReply
		}
		id, ok := pair[0].(string)
		if !ok {
			return nil, errReply
		}
		e := entry{id: id}
		fields, _ := pair[1].([]any) // none if the entry was deleted meanwhile
		for i := 0; i+1 < len(fields); i += 2 {
			if name, _ := fields[i].(string); name == field {
				e.body, _ = fields[i+1].(string)
			}
		}
		all = append(all, e)
	}
	return all, nil
}

// queued is when the server took an entry in: its ID begins with milliseconds, if
// nobody has chosen another one.
func (e entry) queued() time.Time {
	text, _, _ := strings.Cut(e.id, "-")
	ms, err := strconv.ParseInt(text, 10, 64)
	if err != nil || ms < 1e12 || ms > 1e14 {
		return time.Time{}
	}
	return time.UnixMilli(ms)
}

// decide has a command decided, and acknowledges it with its answer.
func (c *Courier) decide(ctx context.Context, out *conn, clerk *command.Clerk, e entry) error {
	a, err := clerk.Decide(ctx, command.Letter{Body: []byte(e.body), Queued: e.queued()})
	if err != nil {
		return fmt.Errorf("a command is not decided: %w", err)
	}
	requests := [][]string{{"MULTI"}}
	if c.cfg.Answers != "" && a.Wanted {
		add, err := c.add(a)
		if err != nil {
			return err
		}
		requests = append(requests, add)
	}
	requests = append(requests, []string{"XACK", c.cfg.Stream, c.cfg.Group, e.id}, []string{"EXEC"})
	return explain(out.all(requests))
}

// add is the request that adds an answer.
func (c *Courier) add(a command.Answer) ([]string, error) {
	body, err := json.Marshal(a)
	if err != nil {
		return nil, err
	}
	return []string{"XADD", c.cfg.Answers, "MAXLEN", "~", strconv.Itoa(c.cfg.MaxAnswers), "*", answerField, string(body)}, nil
}

// tell adds what is in the outbox.
func (c *Courier) tell(out *conn, clerk *command.Clerk) error {
	answers, last := clerk.Outbox()
	if c.cfg.Answers != "" {
		var requests [][]string
		for _, a := range answers {
			add, err := c.add(a)
			if err != nil {
				return err
			}
			requests = append(requests, add)
		}
		if err := out.all(requests); err != nil {
			return explain(err)
		}
	}
	clerk.Told(last)
	return nil
}

// Probe logs in, and reads nothing.
func (c *Courier) Probe(ctx context.Context) (string, error) {
	l, err := c.open(ctx)
	if err != nil {
		return "", c.about(err)
	}
	defer l.Close()
	n, err := l.ask(replyTimeout, "XLEN", c.cfg.Stream)
	if err != nil {
		return "", c.about(explain(err))
	}
	return fmt.Sprintf("Redis, %v entries in %s", n, c.cfg.Stream), nil
}

// conn is a connection that is logged in, for one goroutine at a time.
type conn struct {
	*onelink.Conn
	in reader
}

func (c *Courier) open(ctx context.Context) (*conn, error) {
	login, cancel := context.WithTimeout(ctx, loginTimeout)
	defer cancel()
	wire, err := onelink.Open(login, c.cfg.Dial, c.cfg.Address, c.cfg.TLS)
	if err != nil {
		return nil, err
	}
	l := &conn{Conn: wire, in: reader{in: bufio.NewReaderSize(wire, 4<<10)}}
	stop := context.AfterFunc(ctx, func() { wire.Close() }) // for as long as it lives
	var requests [][]string
	switch {
	case !c.cfg.Password.IsZero() && c.cfg.Username != "":
		requests = append(requests, []string{"AUTH", c.cfg.Username, c.cfg.Password.Reveal()})
	case !c.cfg.Password.IsZero():
		requests = append(requests, []string{"AUTH", c.cfg.Password.Reveal()})
	}
	if c.cfg.DB != 0 {
		requests = append(requests, []string{"SELECT", strconv.Itoa(c.cfg.DB)})
	}
	requests = append(requests, []string{"PING"})
	if err := l.all(requests); err != nil {
		stop()
		wire.Close()
		return nil, fmt.Errorf("log in: %w", explain(err))
	}
	return l, nil
}

// ask sends one request and returns its reply.
func (l *conn) ask(within time.Duration, args ...string) (any, error) {
	if err := l.SetDeadline(time.Now().Add(within)); err != nil {
		return nil, err
	}
	if _, err := l.Write(appendRequest(nil, args...)); err != nil {
		return nil, err
	}
	return l.next()
}

// all sends requests in one go, and returns the first error among the replies.
func (l *conn) all(requests [][]string) error {
	if err := l.SetDeadline(time.Now().Add(replyTimeout)); err != nil {
		return err
	}
	var text []byte
	for _, r := range requests {
		text = appendRequest(text, r...)
	}
	if _, err := l.Write(text); err != nil {
		return err
	}
	var first error
	for range requests {
		if _, err := l.next(); err != nil {
			if !errors.As(err, new(refusal)) {
				return err
			}
			if first == nil {
				first = err
			}
		}
	}
	return first
}

func (l *conn) next() (any, error) {
	reply, err := l.in.reply()
	if err != nil {
		return nil, err
	}
	if r, refused := reply.(refusal); refused {
		return nil, r
	}
	list, _ := reply.([]any) // of EXEC, which has an error of its own for each
	for _, one := range list {
		if r, refused := one.(refusal); refused {
			return nil, r
		}
	}
	return reply, nil
}

// explain adds what may be done about an error.
func explain(err error) error {
	var r refusal
	refused := errors.As(err, &r)
	if !refused {
		return err
	}
	hint := "see what the server's log says"
	switch word, _, _ := strings.Cut(string(r), " "); word {
	case "NOAUTH", "WRONGPASS":
		hint = "check username and password_file"
	case "NOPERM":
		hint = "let this user read and acknowledge the stream, and add to that of the answers"
	case "NOGROUP":
		hint = "somebody has deleted the stream; it is made anew"
	case "WRONGTYPE":
		hint = "the key holds something else; choose another stream"
	case "ERR":
		if strings.Contains(string(r), "AUTH") || strings.Contains(string(r), "password") {
			hint = "check username and password_file"
		}
	}
	return fmt.Errorf("%s — hint: %s", onelink.Quote(string(r)), hint)
}

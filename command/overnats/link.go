package overnats

import (
	"bufio"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidegate/tidegate/internal/nkey"
	"github.com/tidegate/tidegate/uplink/onelink"
)

// Two subscriptions: replies come to the inbox with the number of their question
// behind it, commands to another subject. They keep their own on the way, so only
// the subscription tells what they are.
const (
	repliesTo  = "r."
	commandsTo = "c"
	repliesID  = "1"
	commandsID = "2"
)

// link is a connection that is logged in. One goroutine uses it, and another one
// listens.
type link struct {
	wire   *onelink.Conn
	in     *bufio.Reader
	server info
	inbox  string

	commands chan message  // what comes when commands were asked for
	replies  chan message  // and to the questions
	gone     chan struct{} // closed when the link is; err is set before
	err      error
	began    time.Time
	heard    atomic.Int64 // how long after began something came last, in ns
	number   uint64       // of the last question
	pinged   uint64       // PINGs of ours, since the login
	ponged   atomic.Uint64
	pongs    chan struct{} // holds one: ponged has grown
	listens  sync.WaitGroup
	stop     func() bool

	mu sync.Mutex // held while the wire is written to
}

// login is what CONNECT says of us.
type login struct {
	Verbose      bool   `json:"verbose"`
	Pedantic     bool   `json:"pedantic"`
	JWT          string `json:"jwt,omitempty"`
	Nkey         string `json:"nkey,omitempty"`
	Signature    string `json:"sig,omitempty"`
	User         string `json:"user,omitempty"`
	Password     string `json:"pass,omitempty"`
	Token        string `json:"auth_token,omitempty"`
	TLS          bool   `json:"tls_required"`
	Name         string `json:"name"`
	Language     string `json:"lang"`
	Version      string `json:"version"`
	Protocol     int    `json:"protocol"`
	Headers      bool   `json:"headers"`
	NoResponders bool   `json:"no_responders"`
}

// open connects and logs in to the first server that lets us. The link ends with
// ctx.
func (c *Courier) open(ctx context.Context) (*link, error) {
	id, err := nkey.Read(c.cfg.NkeyFile, c.cfg.CredsFile)
	if err != nil {
		return nil, fmt.Errorf("log in: %w — hint: check the path, and who may read the file", err)
	}
	defer clear(id.Key)
	var unreachable, refused error
	for _, address := range c.cfg.Servers {
		share, cancel := context.WithTimeout(ctx, loginTimeout/time.Duration(len(c.cfg.Servers)))
		l, err := c.enter(share, address, id)
		cancel()
		if err == nil {
			l.stop = context.AfterFunc(ctx, func() { l.wire.Close() })
			l.listens.Go(l.listen)
			return l, nil
		}
		if l == nil {
			unreachable = err
			continue
		}
		refused = fmt.Errorf("log in: %w", err)
	}
	return nil, cmp.Or(refused, unreachable)
}

// enter makes a connection and logs in. The link that comes with an error is closed;
// there is none if nobody could be reached.
func (c *Courier) enter(ctx context.Context, address string, id nkey.Identity) (*link, error) {
	var first *tls.Config
	if c.cfg.TLSFirst {
		first = c.tls()
	}
	wire, err := onelink.Open(ctx, c.cfg.Dial, address, first)
	if err != nil {
		return nil, err
	}
	l := &link{
		inbox: c.cfg.InboxPrefix + "." + rand.Text()[:16] + ".", began: time.Now(),
		commands: make(chan message, 4), replies: make(chan message, 4), gone: make(chan struct{}), pongs: make(chan struct{}, 1),
	}
	l.over(wire)
	release := context.AfterFunc(ctx, func() { wire.Close() })
	if err = c.greet(ctx, l, address); err == nil {
		err = c.logIn(l, id)
	}
	if !release() && err == nil {
		err = context.Cause(ctx)
	}
	if err == nil {
		return l, nil
	}
	l.wire.Close()
	if ctx.Err() != nil {
		err = fmt.Errorf("%w — hint: the other side does not answer; does it speak NATS, and TLS where that is expected?", context.Cause(ctx))
	}
	return l, err
}

func (l *link) over(wire *onelink.Conn) { l.wire, l.in = wire, bufio.NewReaderSize(wire, 8<<10) }

func (c *Courier) tls() *tls.Config { return cmp.Or(c.cfg.TLS, &tls.Config{}) }

// greet hears what the server is, and makes the connection a secure one if it or we
// want that.
func (c *Courier) greet(ctx context.Context, l *link, address string) error {
	e, err := readEvent(l.in)
	switch {
	case err != nil:
		return err
	case e.op == opError:
		return complaint(e.text)
	case e.op != opInfo:
		return errNotNATS
	}
	if l.server, err = parseInfo(e.text); err != nil {
		return err
	}
	switch {
	case c.cfg.TLSFirst || !c.cfg.Secure && !l.server.TLSRequired:
		return nil
	case !l.server.TLSRequired && !l.server.TLSAvailable:
		return errors.New("the server has no TLS — hint: use nats://, or turn it on over there")
	case l.in.Buffered() > 0: // whoever put it there is not the one whom TLS will prove
		return errNotNATS
	}
	wire, err := onelink.Secure(ctx, l.wire.Conn, address, c.tls())
	if err == nil {
		l.over(wire)
	}
	return err
}

// maxPreludes is how much a server may say before the PONG that ends a login.
const maxPreludes = 100

// logIn says who we are, subscribes, and waits for the PONG that shows that both
// were welcome.
func (c *Courier) logIn(l *link, id nkey.Identity) error {
	if !l.server.Headers {
		return errors.New("the server knows no headers — hint: it is older than JetStream; update it")
	}
	who := login{
		TLS: c.cfg.Secure || c.cfg.TLSFirst || l.server.TLSRequired, Name: c.cfg.Name, Language: "go", Version: "tidegate", Protocol: 1,
		Headers: true, NoResponders: true, User: c.cfg.Username, Password: c.cfg.Password.Reveal(), Token: c.cfg.Token.Reveal(),
	}
	if id.Key != nil {
		who.JWT, who.Signature = id.JWT, id.Sign(l.server.Nonce)
		if id.JWT == "" {
			who.Nkey = id.Public()
		}
	}
	text, err := json.Marshal(who)
	if err != nil {
		return err
	}
	if err := l.put("CONNECT " + string(text) + "\r\nSUB " + l.inbox + repliesTo + "* " + repliesID + "\r\nSUB " + l.inbox + commandsTo + " " + commandsID + "\r\nPING\r\n"); err != nil {
		return err
	}
	for range maxPreludes {
		e, err := readEvent(l.in)
		switch {
		case err != nil:
			return err
		case e.op == opPong:
			return nil
		case e.op == opError:
			return complaint(e.text)
		}
	}
	return errNotNATS
}

// close ends the link, and returns when nothing of it is left.
func (l *link) close() {
	l.stop()
	l.wire.Close()
	l.listens.Wait()
}

// listen reads what the server says until the connection breaks.
func (l *link) listen() {
	defer close(l.gone)
	for {
		e, err := readEvent(l.in)
		if err != nil {
			l.err = cmp.Or(l.wire.Fault(), err)
			return
		}
		l.heard.Store(int64(time.Since(l.began)))
		switch e.op {
		case opPing:
			err = l.put("PONG\r\n")
		case opPong:
			l.ponged.Add(1)
			offer(l.pongs, struct{}{})
		case opError:
			err = complaint(e.text)
		case opMessage:
			// More than fit here were never asked for; what they are comes again.
			if e.message.sid == commandsID {
				offer(l.commands, e.message)
			} else {
				offer(l.replies, e.message)
			}
		}
		if err != nil {
			l.err = err
			return
		}
	}
}

func offer[T any](to chan<- T, v T) {
	select {
	case to <- v:
	default:
	}
}

// silence is how long nothing has come.
func (l *link) silence() time.Duration {
	return time.Since(l.began) - time.Duration(l.heard.Load())
}

// put writes a text.
func (l *link) put(text string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.wire.SetWriteDeadline(time.Now().Add(replyTimeout)); err != nil {
		return err
	}
	_, err := l.wire.Write([]byte(text))
	return err
}

// publish publishes, with a subject for the reply if that is not empty.
func (l *link) publish(subject, reply string, body []byte) error {
	if reply != "" {
		reply += " "
	}
	return l.put("PUB " + subject + " " + reply + strconv.Itoa(len(body)) + "\r\n" + string(body) + "\r\n")
}

// ask publishes a question and waits for its reply.
func (l *link) ask(ctx context.Context, subject string, body []byte) (message, error) {
	l.number++
	to := l.inbox + repliesTo + strconv.FormatUint(l.number, 10)
	if err := l.publish(subject, to, body); err != nil {
		return message{}, err
	}
	over := time.NewTimer(replyTimeout)
	defer over.Stop()
	for {
		select {
		case m := <-l.replies:
			if m.subject == to { // others come too late
				return m, nil
			}
		case <-l.gone:
			return message{}, l.err
		case <-over.C:
			return message{}, errSilent
		case <-ctx.Done():
			return message{}, ctx.Err()
		}
	}
}

// ping asks for a PONG.
func (l *link) ping() error {
	l.pinged++
	return l.put("PING\r\n")
}

// flush waits until the server has read everything that was written.
func (l *link) flush(ctx context.Context) error {
	if err := l.ping(); err != nil {
		return err
	}
	over := time.NewTimer(replyTimeout)
	defer over.Stop()
	for l.ponged.Load() < l.pinged {
		select {
		case <-l.pongs:
		case <-l.gone:
			return l.err
		case <-over.C:
			return errSilent
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

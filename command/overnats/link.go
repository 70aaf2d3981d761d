package overnats

import (
	"bytes"
	"context"
	"crypto/rand"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidegate/tidegate/command"
	"github.com/tidegate/tidegate/uplink/natsline"
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

// Bounds of messages: of all of one, as the largest that any server allows, and of
// its body, of which no more is kept.
const (
	maxMessage = 64 << 20
	maxBody    = command.MaxBody + 1
)

// message is one that was subscribed to, see natsline.Event.
type message struct {
	subject, reply, status, reason string
	body                           []byte // of one that is too large the beginning, larger than a command may be
}

// link is a connection that is logged in. One goroutine uses it, and another one
// listens.
type link struct {
	*natsline.Session
	inbox string

	commands chan message  // what comes when commands were asked for
	replies  chan message  // and to the questions
	gone     chan struct{} // closed when the link is; err is set before
	err      error
	number   uint64 // of the last question
	pinged   uint64 // PINGs of ours, since the login
	ponged   atomic.Uint64
	pongs    chan struct{} // holds one: ponged has grown
	listens  sync.WaitGroup
	stop     func() bool

	mu sync.Mutex // held while the wire is written to
}

// open connects and logs in to the first server that lets us. The link ends with
// ctx.
func (c *Courier) open(ctx context.Context) (*link, error) {
	inbox := c.cfg.InboxPrefix + "." + rand.Text()[:16] + "."
	session, err := natsline.Open(ctx, &natsline.Config{
		Servers: c.cfg.Servers, TLS: c.cfg.TLS, Secure: c.cfg.Secure, TLSFirst: c.cfg.TLSFirst, Dial: c.cfg.Dial,
		Username: c.cfg.Username, Password: c.cfg.Password, Token: c.cfg.Token, NkeyFile: c.cfg.NkeyFile, CredsFile: c.cfg.CredsFile,
		Name: c.cfg.Name, Bounds: natsline.Bounds{Most: maxMessage, Keep: maxBody},
	}, "SUB "+inbox+repliesTo+"* "+repliesID+"\r\nSUB "+inbox+commandsTo+" "+commandsID+"\r\n")
	if err != nil {
		return nil, err
	}
	l := &link{
		Session: session, inbox: inbox,
		commands: make(chan message, 4), replies: make(chan message, 4), gone: make(chan struct{}), pongs: make(chan struct{}, 1),
	}
	l.stop = context.AfterFunc(ctx, func() { l.Wire.Close() })
	l.listens.Go(l.listen)
	return l, nil
}

// close ends the link, and returns when nothing of it is left.
func (l *link) close() {
	l.stop()
	l.Wire.Close()
	l.listens.Wait()
}

// listen reads what the server says until the connection breaks.
func (l *link) listen() {
	defer close(l.gone)
	for {
		e, err := l.Ear.Next()
		if err != nil {
			l.err = l.Lost(err)
			return
		}
		switch e.Op {
		case natsline.OpPing:
			err = l.put("PONG\r\n")
		case natsline.OpPong:
			l.ponged.Add(1)
			offer(l.pongs, struct{}{})
		case natsline.OpError:
			err = natsline.NewComplaint(e.Text)
		case natsline.OpMessage:
			// More than fit here were never asked for; what they are comes again.
			m := message{string(e.Subject), e.Reply, e.Status, e.Reason, bytes.Clone(e.Body)}
			if e.SID == commandsID {
				offer(l.commands, m)
			} else {
				offer(l.replies, m)
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

// put writes a text.
func (l *link) put(text string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.Wire.SetWriteDeadline(time.Now().Add(replyTimeout)); err != nil {
		return err
	}
	_, err := l.Wire.Write([]byte(text))
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

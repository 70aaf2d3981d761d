package natsout

import (
	"bufio"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"time"

	"github.com/tidegate/tidegate/internal/netfault"
	"github.com/tidegate/tidegate/internal/nkey"
	"github.com/tidegate/tidegate/uplink/onelink"
)

// loginTimeout bounds everything from the dial to the server's first PONG, of all
// servers together.
const loginTimeout = 30 * time.Second

// joined is how much small pieces share a write, in bytes.
const joined = 32 << 10

// maxPreludes is how much a server may say before the PONG that ends a login.
const maxPreludes = 100

// open connects and logs in to the first server that lets us. Each has its share of
// the time that is left, or one that hangs would take it all. The error is that of
// the last one that could be reached.
func (s *Sink) open(ctx context.Context) (*link, error) {
	ctx, cancel := context.WithTimeout(ctx, loginTimeout)
	defer cancel()
	id, err := nkey.Read(s.cfg.NkeyFile, s.cfg.CredsFile)
	if err != nil {
		return nil, unreadable(fmt.Errorf("log in: %w", err))
	}
	defer clear(id.Key)
	var unreachable, refused error
	for i, address := range s.cfg.Servers {
		deadline, _ := ctx.Deadline() // of the timeout above, or an earlier one
		share, cancel := context.WithTimeout(ctx, time.Until(deadline)/time.Duration(len(s.cfg.Servers)-i))
		wire, err := s.dial(share, address)
		if err != nil {
			unreachable = err
			cancel()
			continue
		}
		l, err := s.enter(share, wire, address, id)
		cancel()
		if err == nil {
			return l, nil
		}
		refused = err
	}
	return nil, cmp.Or(refused, unreachable)
}

func (s *Sink) dial(ctx context.Context, address string) (*onelink.Conn, error) {
	if s.cfg.TLSFirst {
		return onelink.Open(ctx, onelink.Dial(s.cfg.Dial), address, s.cfg.tls())
	}
	return onelink.Open(ctx, onelink.Dial(s.cfg.Dial), address, nil)
}

func (c *Config) tls() *tls.Config { return cmp.Or(c.TLS, &tls.Config{}) }

// enter logs in over a connection, which it closes if that fails.
func (s *Sink) enter(ctx context.Context, wire *onelink.Conn, address string, id nkey.Identity) (*link, error) {
	release := context.AfterFunc(ctx, func() { wire.Close() })
	l := &link{
		cfg: &s.cfg, payload: &s.payload, wire: wire, ear: newEar(wire), inbox: s.cfg.InboxPrefix + "." + rand.Text()[:16] + ".",
		turn: make(chan struct{}, 1), pinged: make(chan struct{}, 1), gone: make(chan struct{}),
		due: make(map[uint64]answer), flying: make(map[*flight]struct{}),
	}
	err := l.greet(ctx, address)
	if err == nil {
		err = l.logIn(id)
	}
	if !release() && (err == nil || l.wire.Fault() != nil) {
		l.wire.Close()
		return nil, fmt.Errorf("log in: %w — hint: the other side does not answer; does it speak NATS, and TLS where that is expected?", context.Cause(ctx))
	}
	if err != nil {
		l.wire.Close()
		return nil, l.explain(err)
	}
	s.payload.Store(l.server.MaxPayload)
	l.out = bufio.NewWriterSize(l.wire, joined)
	l.begin()
	return l, nil
}

// greet hears what the server is, and makes the connection a secure one if it or we
// want that.
func (l *link) greet(ctx context.Context, address string) error {
	v, err := l.ear.next()
	switch {
	case errors.Is(err, errNotNATS):
		return fmt.Errorf("%s: %w", saysNoInfo, err)
	case err != nil:
		return err
	case v.op == opError:
		return newComplaint(v.text)
	case v.op != opInfo:
		return errors.New(saysNoInfo)
	}
	if l.server, err = parseInfo(v.text); err != nil {
		return fmt.Errorf("%s: %w", saysNoInfo, err)
	}
	wanted, offered := l.cfg.Secure || l.server.TLSRequired, l.server.TLSRequired || l.server.TLSAvailable
	switch {
	case l.cfg.TLSFirst || !wanted:
		return nil
	case !offered:
		return errors.New(saysNoTLS)
	case l.ear.in.Buffered() > 0: // whoever put it there is not the one whom TLS will prove
		return fmt.Errorf("%w: the server goes on in plain text where TLS must begin", errNotNATS)
	}
	wire, err := onelink.Secure(ctx, l.wire.Conn, address, l.cfg.tls())
	if err != nil {
		return err
	}
	l.wire, l.ear = wire, newEar(wire)
	return nil
}

// logIn says who we are, subscribes to the answers, and waits for the PONG that
// shows that both were welcome.
func (l *link) logIn(id nkey.Identity) error {
	if !l.server.Headers {
		return errors.New(saysNoHeaders)
	}
	who := login{
		TLS: l.cfg.Secure || l.cfg.TLSFirst || l.server.TLSRequired, Name: l.cfg.Name, Language: "go", Version: "tidegate",
		Protocol: 1, Echo: l.server.Protocol < 1, Headers: true, NoResponders: true,
		User: l.cfg.Username, Password: l.cfg.Password.Reveal(), Token: l.cfg.Token.Reveal(),
	}
	switch {
	case id.Key == nil:
	case id.JWT != "":
		who.JWT, who.Signature = id.JWT, id.Sign(l.server.Nonce)
	case l.server.Nonce == "":
		return errors.New(saysNoNkeys)
	default:
		who.Nkey, who.Signature = id.Public(), id.Sign(l.server.Nonce)
	}
	text, err := appendLogin(nil, who, l.inbox)
	if err != nil {
		return err
	}
	_, unwritten := l.wire.Write(text) // whoever has closed may have said why
	for range maxPreludes {
		v, err := l.ear.next()
		switch {
		case err != nil:
			return cmp.Or(unwritten, err)
		case v.op == opPong:
			return nil
		case v.op == opError:
			return newComplaint(v.text)
		case v.op == opInfo: // what the user may do, now that it is known who that is
			l.server.update(v.text)
		case v.op == opMessage:
			return fmt.Errorf("%w: a message before the login was answered", errNotNATS)
		}
	}
	return fmt.Errorf("%w: no PONG among %d lines", errNotNATS, maxPreludes)
}

// lost is why there is no connection any more.
func (l *link) lost(err error) error {
	if fault := l.wire.Fault(); isOfNetwork(err) && fault != nil {
		err = fault
	}
	return fmt.Errorf("connection lost: %w", judge(err, 0))
}

// explain judges why there is no connection.
func (l *link) explain(err error) error {
	if fault := l.wire.Fault(); isOfNetwork(err) && fault != nil {
		err = fault
	}
	return fmt.Errorf("log in: %w", judge(netfault.Explain(err), 0))
}

// complaint is what a server says in -ERR.
type complaint struct{ text string }

func newComplaint(text []byte) complaint { return complaint{string(text)} }

// Error quotes the server.
func (c complaint) Error() string { return "the server says " + onelink.Quote(c.text) }

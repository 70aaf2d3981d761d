// Package natsline speaks the protocol of NATS as a client: it reads what a server
// says, and logs in. What is asked and sent is the business of who uses it.
package natsline

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/tidegate/tidegate/internal/conf"
	"github.com/tidegate/tidegate/internal/nkey"
	"github.com/tidegate/tidegate/uplink/onelink"
)

// loginTimeout bounds everything from the dial to the server's first PONG, of all
// servers together.
const loginTimeout = 30 * time.Second

// maxPreludes is how much a server may say before the PONG that ends a login.
const maxPreludes = 100

// Config says which servers, and as whom.
type Config struct {
	// Servers are tried in their order, each host:port. What a server tells of
	// others is not used.
	Servers []string
	// TLS is used if the server wants it; nil is Go's own configuration then.
	TLS *tls.Config
	// Secure refuses a server without TLS.
	Secure bool
	// TLSFirst shakes hands before the server has said anything, as its
	// handshake_first demands.
	TLSFirst bool
	// Dial is how the network is reached; nil stands for a net.Dialer.
	Dial onelink.Dial
	// Username and Password, Token, the NkeyFile with the seed of a user, or the
	// CredsFile with a JWT and its seed: one of them, or none. The files are read
	// again for every connection.
	Username            string
	Password, Token     conf.Secret
	NkeyFile, CredsFile string
	// Name is the connection's, for people who look at the server.
	Name string
	// Bounds are those of the messages that come.
	Bounds Bounds
}

// Session is a connection that is logged in.
type Session struct {
	Wire *onelink.Conn
	Ear  *Ear
	Info Info
}

// Refused is a login that did not work, of a server that could be reached.
type Refused struct {
	Err error
	// Credentials says that it is about the files with them.
	Credentials bool
}

// Error says so.
func (r Refused) Error() string { return "log in: " + r.Err.Error() }

// Unwrap returns the reason.
func (r Refused) Unwrap() error { return r.Err }

// What is said of a server in its place.
const (
	SaysNoTLS     = "secure connection not available"
	SaysNoNkeys   = "nkeys not supported"
	SaysNoHeaders = "headers not supported"
	SaysNoInfo    = "info not received"
)

// Complaint is what a server says in -ERR.
type Complaint struct{ Text string }

// NewComplaint keeps the text of an event.
func NewComplaint(text []byte) Complaint { return Complaint{string(text)} }

// Error quotes the server.
func (c Complaint) Error() string { return "the server says " + onelink.Quote(c.Text) }

// Open connects and logs in to the first server that lets us, and makes the
// subscriptions, lines of the protocol, on the way: that one is not allowed is heard
// before it returns. Each server has its share of the time that is left, or one that
// hangs would take it all. The error is that of the last one that could be reached,
// a [Refused], else that of the network.
func Open(ctx context.Context, c *Config, subscriptions string) (*Session, error) {
	ctx, cancel := context.WithTimeout(ctx, loginTimeout)
	defer cancel()
	id, err := nkey.Read(c.NkeyFile, c.CredsFile)
	if err != nil {
		return nil, Refused{err, true}
	}
	defer clear(id.Key)
	var unreachable, refused error
	for i, address := range c.Servers {
		deadline, _ := ctx.Deadline() // of the timeout above, or an earlier one
		share, cancel := context.WithTimeout(ctx, time.Until(deadline)/time.Duration(len(c.Servers)-i))
		wire, err := c.dial(share, address)
		if err != nil {
			unreachable = err
			cancel()
			continue
		}
		s, err := c.enter(share, wire, address, id, subscriptions)
		cancel()
		if err == nil {
			return s, nil
		}
		refused = Refused{err, false}
	}
	return nil, cmp.Or(refused, unreachable)
}

func (c *Config) dial(ctx context.Context, address string) (*onelink.Conn, error) {
	if c.TLSFirst {
		return onelink.Open(ctx, c.Dial, address, c.tls())
	}
	return onelink.Open(ctx, c.Dial, address, nil)
}

func (c *Config) tls() *tls.Config { return cmp.Or(c.TLS, &tls.Config{}) }

// enter logs in over a connection, which it closes if that fails.
func (c *Config) enter(ctx context.Context, wire *onelink.Conn, address string, id nkey.Identity, subscriptions string) (*Session, error) {
	release := context.AfterFunc(ctx, func() { wire.Close() })
	s := &Session{Wire: wire, Ear: NewEar(wire, c.Bounds)}
	err := s.greet(ctx, c, address)
	if err == nil {
		err = s.logIn(c, id, subscriptions)
	}
	if !release() && (err == nil || s.Wire.Fault() != nil) {
		s.Wire.Close()
		return nil, fmt.Errorf("%w — hint: the other side does not answer; does it speak NATS, and TLS where that is expected?", context.Cause(ctx))
	}
	if err != nil {
		s.Wire.Close()
		return nil, s.Lost(err)
	}
	return s, nil
}

// Lost is why the connection broke, which it knows better than who only finds it
// broken.
func (s *Session) Lost(err error) error {
	ofNetwork := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed)
	if fault := s.Wire.Fault(); ofNetwork && fault != nil {
		return fault
	}
	return err
}

// greet hears what the server is, and makes the connection a secure one if it or we
// want that.
func (s *Session) greet(ctx context.Context, c *Config, address string) error {
	v, err := s.Ear.Next()
	switch {
	case errors.Is(err, ErrNotNATS):
		return fmt.Errorf("%s: %w", SaysNoInfo, err)
	case err != nil:
		return err
	case v.Op == OpError:
		return NewComplaint(v.Text)
	case v.Op != OpInfo:
		return errors.New(SaysNoInfo)
	}
	if s.Info, err = ParseInfo(v.Text); err != nil {
		return fmt.Errorf("%s: %w", SaysNoInfo, err)
	}
	wanted, offered := c.Secure || s.Info.TLSRequired, s.Info.TLSRequired || s.Info.TLSAvailable
	switch {
	case c.TLSFirst || !wanted:
		return nil
	case !offered:
		return errors.New(SaysNoTLS)
	case s.Ear.in.Buffered() > 0: // whoever put it there is not the one whom TLS will prove
		return fmt.Errorf("%w: the server goes on in plain text where TLS must begin", ErrNotNATS)
	}
	wire, err := onelink.Secure(ctx, s.Wire.Conn, address, c.tls())
	if err != nil {
		return err
	}
	s.Wire, s.Ear = wire, NewEar(wire, c.Bounds)
	return nil
}

// Login is what CONNECT says of us.
type Login struct {
	Verbose      bool   `json:"verbose"`
	Pedantic     bool   `json:"pedantic"`
	JWT          string `json:"jwt,omitempty"`
	Nkey         string `json:"nkey,omitempty"`
	Signature    string `json:"sig,omitempty"` // of the nonce
	User         string `json:"user,omitempty"`
	Password     string `json:"pass,omitempty"`
	Token        string `json:"auth_token,omitempty"`
	TLS          bool   `json:"tls_required"`
	Name         string `json:"name"`
	Language     string `json:"lang"`
	Version      string `json:"version"`
	Protocol     int    `json:"protocol"` // 1: INFO may come again
	Echo         bool   `json:"echo"`
	Headers      bool   `json:"headers"`
	NoResponders bool   `json:"no_responders"` // say 503 at once
}

// AppendLogin appends what is said to a server first. Subscriptions ride along.
func AppendLogin(dst []byte, who Login, subscriptions string) ([]byte, error) {
	text, err := json.Marshal(who)
	if err != nil {
		return nil, err
	}
	dst = append(append(dst, "CONNECT "...), text...)
	dst = append(append(dst, "\r\n"...), subscriptions...)
	return append(dst, "PING\r\n"...), nil
}

// logIn says who we are, subscribes, and waits for the PONG that shows that both
// were welcome.
func (s *Session) logIn(c *Config, id nkey.Identity, subscriptions string) error {
	if !s.Info.Headers {
		return errors.New(SaysNoHeaders)
	}
	who := Login{
		TLS: c.Secure || c.TLSFirst || s.Info.TLSRequired, Name: c.Name, Language: "go", Version: "tidegate",
		Protocol: 1, Echo: s.Info.Protocol < 1, Headers: true, NoResponders: true,
		User: c.Username, Password: c.Password.Reveal(), Token: c.Token.Reveal(),
	}
	switch {
	case id.Key == nil:
	case id.JWT != "":
		who.JWT, who.Signature = id.JWT, id.Sign(s.Info.Nonce)
	case s.Info.Nonce == "":
		return errors.New(SaysNoNkeys)
	default:
		who.Nkey, who.Signature = id.Public(), id.Sign(s.Info.Nonce)
	}
	text, err := AppendLogin(nil, who, subscriptions)
	if err != nil {
		return err
	}
	_, unwritten := s.Wire.Write(text) // whoever has closed may have said why
	for range maxPreludes {
		v, err := s.Ear.Next()
		switch {
		case err != nil:
			return cmp.Or(unwritten, err)
		case v.Op == OpPong:
			return nil
		case v.Op == OpError:
			return NewComplaint(v.Text)
		case v.Op == OpInfo: // what the user may do, now that it is known who that is
			s.Info.Update(v.Text)
		case v.Op == OpMessage:
			return fmt.Errorf("%w: a message before the login was answered", ErrNotNATS)
		}
	}
	return fmt.Errorf("%w: no PONG among %d lines", ErrNotNATS, maxPreludes)
}

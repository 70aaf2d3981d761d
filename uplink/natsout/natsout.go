// Package natsout is the door out to NATS JetStream: a publish with a reply
// subject for each message, or for each part of one.
//
//	subject:              telemetry.north-7.normal
//	Nats-Msg-Id:          north-7/00000000000004d2/normal/1-99
//	Tidegate-Key:         north-7/00000000000004d2/normal/1-99
//	Content-Type:         application/json
//	Nats-Expected-Stream: TELEMETRY (if configured)
//
// Custody is the stream's answer, which names the stream and the message's number
// in it:
//
//	{"stream":"TELEMETRY","seq":4711}
//
// An answer with "duplicate":true is custody as well: the stream has the message
// under this Nats-Msg-Id. Whatever else answers on the subject is no stream. What
// the stream's word is worth on flash is the server's business: unless it has
// sync_interval: always, it syncs every two minutes.
//
// What every answer and every error means is in one place, judge.go.
package natsout

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

// Headers of messages.
const (
	// KeyHeader is the header that carries uplink.Message.PartKey.
	KeyHeader    = "Tidegate-Key"
	idHeader     = "Nats-Msg-Id" // the same, for the stream
	typeHeader   = "Content-Type"
	streamHeader = "Nats-Expected-Stream"
)

// DefaultKeepalive costs some three hundred kilobytes a day on an idle link. A
// connection that is dead is given up after two of them.
const DefaultKeepalive = time.Minute

// maxSubject is the longest subject in bytes: a server takes lines of 4096, with
// the reply subject and two numbers in them.
const maxSubject = 2048

// headRoom is what the headers may take of the server's largest message, in bytes.
const headRoom = 512

// Config says where to publish and as whom.
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
	// Dial is how the network is reached; nil is a net.Dialer.
	Dial uplink.Dial
	// Username and Password, Token, the NkeyFile with the seed of a user, or the
	// CredsFile with a JWT and its seed: one of them, or none. The files are read
	// again for every connection.
	Username            string
	Password            conf.Secret
	Token               conf.Secret
	NkeyFile, CredsFile string
	// Subject is where messages go: "telemetry.{gateway}". What stands for a name
	// in it is escaped, see Escape.
	Subject uplink.Template
	// Stream is the one that must take the messages; empty takes any.
	Stream string
	// InboxPrefix is what the subjects of answers begin with, for users who may not
	// subscribe to all of _INBOX, which is the default.
	InboxPrefix string
	// Keepalive is how often an idle connection is tried, DefaultKeepalive if zero.
	Keepalive time.Duration
	// Name is the connection's, for people who look at the server.
	Name string
}

// Sink publishes messages. It is safe for concurrent use.
type Sink struct {
	cfg     Config
	seat    *onelink.Seat[*link]
	payload atomic.Int64 // the server's largest message with its headers, in bytes; 0: not known
	limit   atomic.Int64 // what the stream may take of it, once it has refused more; 0: not known
}

// New returns a Sink. It does not connect yet.
func New(cfg Config) (*Sink, error) {
	cfg.Keepalive = cmp.Or(cfg.Keepalive, DefaultKeepalive)
	cfg.InboxPrefix = cmp.Or(cfg.InboxPrefix, "_INBOX")
	if err := cfg.check(); err != nil {
		return nil, fmt.Errorf("nats uplink: %w", err)
	}
	return &Sink{cfg: cfg, seat: onelink.NewSeat[*link]()}, nil
}

func (c Config) check() error {
	if len(c.Servers) == 0 {
		return errors.New("no server — hint: write host:port")
	}
	for _, s := range c.Servers {
		if _, _, err := net.SplitHostPort(s); err != nil {
			return fmt.Errorf("server: %w — hint: write host:port", err)
		}
	}
	logins := 0
	for _, given := range []bool{c.Username != "", !c.Token.IsZero(), c.NkeyFile != "", c.CredsFile != ""} {
		if given {
			logins++
		}
	}
	if logins > 1 {
		return errors.New("more than one way to log in — hint: keep one of username, token_file, nkey_file and creds_file")
	}
	if err := CheckSubject(c.Subject.String()); err != nil {
		return err
	}
	if err := CheckSubject(c.InboxPrefix); err != nil {
		return fmt.Errorf("prefix of answers: %w", err)
	}
	if strings.ContainsAny(c.Stream, " .*>/\\\r\n\t") {
		return fmt.Errorf("stream %q — hint: the name of a stream has no spaces, dots, stars or slashes", c.Stream)
	}
	return nil
}

// CheckSubject refuses what is no subject to publish to. Names in braces stand
// for one token, or for a piece of one.
func CheckSubject(text string) error {
	const hint = `hint: write tokens between dots: "telemetry.{gateway}"`
	if text == "" {
		return errors.New("no subject — " + hint)
	}
	for token := range strings.SplitSeq(text, ".") {
		if token == "" || strings.ContainsAny(token, "*> \t\r\n\x00") {
			return fmt.Errorf("%q is no subject to publish to — %s, none of them empty, and without spaces and wildcards", text, hint)
		}
	}
	if strings.HasPrefix(text, "$") || len(text) > maxSubject {
		return fmt.Errorf("%q is no subject for readings — %s; those that begin with $ are the server's own", text, hint)
	}
	return nil
}

// Send publishes all pieces of the message and waits for the stream's answers; see
// the package comment.
func (s *Sink) Send(ctx context.Context, m uplink.Message) error {
	if len(m.Pieces()) == 0 {
		return nil
	}
	l, err := s.seat.Get(ctx, s.open)
	if err == nil {
		err = l.send(ctx, m)
	}
	return s.named(s.learn(err, m))
}

// Close closes the connection.
func (s *Sink) Close() error { return s.seat.Close() }

// Limit returns the largest piece that may pass, in bytes: the server tells its own
// limit when connecting, that of a stream is learnt when it refuses.
func (s *Sink) Limit() int {
	most := s.payload.Load()
	if stream := s.limit.Load(); most == 0 || stream > 0 && stream < most {
		most = stream
	}
	return int(max(most-headRoom, most/2))
}

// named adds the servers to an error, and keeps its class.
func (s *Sink) named(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("publish to %s: %w", strings.Join(s.cfg.Servers, ", "), err)
}

// learn keeps what a refusal tells: servers count the headers, so it is less than the
// piece had with them.
func (s *Sink) learn(err error, m uplink.Message) error {
	var e sized
	ok := errors.As(err, &e)
	if !ok {
		return err
	}
	most := int64(0)
	for _, p := range m.Pieces() {
		if len(p.Body) == e.size {
			most = max(most, int64(e.size+headOf(m, p)-1))
		}
	}
	for most > 0 {
		known := s.limit.Load()
		if known > 0 && known <= most || s.limit.CompareAndSwap(known, most) {
			break
		}
	}
	return err
}

// headOf is how many bytes the headers of a piece have, but for the name of a stream.
func headOf(m uplink.Message, p uplink.Part) int {
	const frame = len("NATS/1.0\r\n") + len(idHeader+KeyHeader+typeHeader) + 3*len(": \r\n") + len("\r\n")
	return frame + 2*len(m.PartKey(p)) + len(m.ContentType)
}

// Escape makes a name of a message one token of a subject. Blanks and control
// characters, dots, the wildcards * and >, and the $ of the server's own subjects
// become % and two hexadecimal digits, as does % itself; an empty name becomes
// "%". Everything else stays, beyond ASCII as well.
func Escape(name string) string {
	const digits = "0123456789ABCDEF"
	if name == "" {
		return "%"
	}
	var b strings.Builder
	for i := range len(name) {
		c := name[i]
		if c > ' ' && c != 0x7f && !strings.ContainsRune(".*>$%", rune(c)) {
			b.WriteByte(c)
			continue
		}
		b.WriteByte('%')
		b.WriteByte(digits[c>>4])
		b.WriteByte(digits[c&15])
	}
	return b.String()
}

// Package wsout is the door out over a WebSocket: one connection that stays, and
// on it a message after the other, without waiting for each answer.
//
//	GET /v1/ingest HTTP/1.1
//	Upgrade: websocket
//	Sec-WebSocket-Protocol: tidegate.v1
//	Authorization: Bearer ...
//
// A message is one binary message of the WebSocket (RFC 6455). Its first line
// names the media type and the key, the rest is the body; a media type that is
// that of the message before is left out:
//
//	application/vnd.tidegate.chunk north-7/00000000000004d2/normal/1-99
//	<body>
//	 north-7/00000000000004d2/normal/100-180
//	<body>
//
// The other side answers with text, in any order, when it has custody, or when it
// will not take the message:
//
//	{"acked":{"epoch":"00000000000004d2","lane":"normal","first":1,"last":99}}
//	{"refused":{"epoch":"00000000000004d2","lane":"normal","first":1,"last":99,
//	  "class":"retry","retry_after":30,"reason":"the store is full"}}
//
// docs/connect/websocket-uplink.md has all of it, for whoever writes the other
// side. What answers, close codes and the status of the handshake mean is in one
// file, answer.go.
package wsout

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidegate/tidegate/internal/conf"
	"github.com/tidegate/tidegate/uplink"
)

// Protocol is the WebSocket subprotocol of the messages and answers.
const Protocol = "tidegate.v1"

// LimitHeader is the header of an answer to the handshake that names the largest
// body in bytes that the other side takes.
const LimitHeader = "Tidegate-Max-Body"

// Config says where to connect and as whom.
type Config struct {
	// URL is the endpoint, ws or wss. Credentials in it are refused: they would
	// show up in logs.
	URL string
	// Token is asked for each connection, and sent as "Authorization: Bearer"; nil
	// stands for none.
	Token func() (conf.Secret, error)
	// Username and Password are sent as "Authorization: Basic", if Username is
	// not empty and there is no Token.
	Username string
	Password func() (conf.Secret, error)
	// Header is sent with the handshake, too.
	Header http.Header
	// UserAgent names the sender, for example "tidegate/0.3".
	UserAgent string
	// TLS is for wss; nil stands for the system's authorities.
	TLS *tls.Config
	// Dial reaches the network; nil stands for a dialer of ten seconds.
	Dial uplink.Dial
	// Deflate compresses messages where the other side agrees (RFC 7692, each by
	// itself). Packed ones are compressed already.
	Deflate bool
	// Ping is after how much silence an idle connection is tried out. Five
	// minutes if zero; negative for never.
	Ping time.Duration
}

// Sink sends messages over a WebSocket. It is safe for concurrent use.
type Sink struct {
	cfg   Config
	url   *url.URL
	limit atomic.Int64
	times times

	turn chan struct{} // held by whoever connects

	mu     sync.Mutex
	line   *line // nil before the first connection
	closed bool
}

// times bound what may take for ever.
type times struct {
	silence  time.Duration // without a word before a peer that owes an answer is pinged
	pong     time.Duration // for the pong
	slowest  int           // bytes a second that a link carries at the least
	farewell time.Duration // for the closing handshake
}

func usualTimes() times {
	return times{silence: 10 * time.Second, pong: 10 * time.Second, slowest: 1 << 10, farewell: time.Second}
}

// New returns a Sink. It does not connect yet.
func New(cfg Config) (*Sink, error) {
	u, err := url.Parse(cfg.URL)
	switch {
	case err != nil: // without its text, which quotes the url
		return nil, errors.New("websocket uplink: the url cannot be read — hint: write wss://host/path")
	case u.User != nil:
		return nil, fmt.Errorf("websocket uplink: credentials in the url of %s — hint: put the token into a file of its own", u.Host)
	case u.Scheme != "ws" && u.Scheme != "wss" || u.Host == "":
		return nil, fmt.Errorf("websocket uplink: url %q — hint: write wss://host/path", cfg.URL)
	}
	if cfg.Dial == nil {
		cfg.Dial = (&net.Dialer{Timeout: dialTimeout}).DialContext
	}
	if cfg.Ping == 0 {
		cfg.Ping = 5 * time.Minute
	}
	return &Sink{cfg: cfg, url: u, times: usualTimes(), turn: make(chan struct{}, 1)}, nil
}

// Send delivers the message. It returns nil when the other side has acknowledged
// it; see answer.go for everything else.
func (s *Sink) Send(ctx context.Context, m uplink.Message) error {
	if len(m.Pieces()) == 0 {
		return nil // no reading in it can be said
	}
	err := s.send(ctx, m)
	if err != nil {
		return fmt.Errorf("websocket to %s: %w", s.url.Host, err)
	}
	return nil
}

// send tries once more when a connection that was there already turns out to
// have been cut while nobody looked. That is no outage.
func (s *Sink) send(ctx context.Context, m uplink.Message) error {
	l, kept, err := s.connect(ctx)
	if err != nil {
		return err
	}
	err = l.deliver(ctx, m)
	if !kept || ctx.Err() != nil || !errors.Is(err, errUnheard) {
		return err
	}
	if l, _, err = s.connect(ctx); err != nil {
		return err
	}
	return l.deliver(ctx, m)
}

// connect returns the connection, a new one if there is none that works. kept
// says that it was there before.
func (s *Sink) connect(ctx context.Context) (l *line, kept bool, err error) {
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return nil, false, outOfTime(ctx, "the connection is not open yet")
	}
	s.mu.Lock()
	l, closed := s.line, s.closed
	s.mu.Unlock()
	switch {
	case closed:
		return nil, false, errClosed
	case l != nil && l.works():
		return l, true, nil
	case l != nil:
		l.end() // what is left of it
	}
	if l, err = s.dial(ctx); err != nil {
		return nil, false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		l.end()
		return nil, false, errClosed
	}
	s.line = l
	return l, false, nil
}

// Probe connects and logs in, if there is no connection, and sends a ping.
func (s *Sink) Probe(ctx context.Context) (string, error) {
	l, _, err := s.connect(ctx)
	if err == nil {
		err = l.pinged(ctx)
	}
	if err != nil {
		return "", fmt.Errorf("websocket to %s: %w", s.url.Host, err)
	}
	about := "WebSocket " + Protocol
	if l.server != "" {
		about += ", " + l.server
	}
	if limit := s.Limit(); limit > 0 {
		about += ", messages up to " + conf.Size(limit).Approx()
	}
	return about, nil
}

// Limit returns the largest body that the other side takes, as it has said in
// its answer to the handshake or to a message; 0 if it has not.
func (s *Sink) Limit() int { return int(s.limit.Load()) }

// Close says goodbye and closes the connection.
func (s *Sink) Close() error {
	s.mu.Lock()
	s.closed = true
	l := s.line
	s.mu.Unlock()
	if l != nil {
		l.leave()
	}
	return nil
}

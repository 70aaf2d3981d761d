// Package mqttout is the door out over MQTT, 5 and 3.1.1: to a broker, as one of
// its clients.
//
//	PUBLISH tidegate/north-7/normal  QoS 1
//	  content type    application/json
//	  user property   tidegate-key = north-7/00000000000004d2/normal/1-99
//	  {"gateway":"north-7", ...}
//
// PUBACK is custody, with QoS 2 PUBCOMP is; see judgeAnswer for what the reason
// codes in them mean. With QoS 0 there is no custody: nil says that the bytes
// have left this process. Many publications are under way at once, as many as
// the server's Receive Maximum allows; answers are matched by packet identifier,
// in any order.
//
// MQTT 3.1.1 has no properties and no reason codes: the key is in the body or
// nowhere, and a server that does not want a message either hangs up or takes it
// and throws it away.
//
// With Config.Raw the parts of messages are publications that the gateway's own
// broker took, and leave as they came: topic, payload, retain flag and QoS.
//
// Nothing is subscribed to. One connection serves all Sends; it is made when one
// needs it. A connection that breaks fails what is under way, and the next Send
// makes another.
package mqttout

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/tidegate/tidegate/internal/conf"
	"github.com/tidegate/tidegate/uplink"
)

// keyProperty is the user property that carries the key of a publication.
const keyProperty = "tidegate-key"

// Protocol is a version of MQTT, or the choice among them.
type Protocol string

// The values of Protocol. Auto tries 5, and 3.1.1 with a server that does not
// know it.
const (
	Auto Protocol = "auto"
	V5   Protocol = "5"
	V311 Protocol = "3.1.1"
)

// Config says which broker, as whom, and what is published how.
type Config struct {
	// Address is host:port.
	Address string
	// TLS is nil for a connection without.
	TLS *tls.Config
	// Path is that of a WebSocket, "/mqtt"; empty for none.
	Path string
	// Dial reaches the network; nil stands for a net.Dialer with 10 s.
	Dial uplink.Dial
	// Protocol is Auto if empty.
	Protocol Protocol
	// ClientID names this client to the server. Two clients with one name throw
	// each other out.
	ClientID string
	Username string // "" for none
	Password conf.Secret

	// Topic is what a message, or a part of one, is published to.
	Topic uplink.Template
	// Raw publishes each part to the topic that is its device's name, with the
	// flags that it came with: see topicOf. Topic is not used then.
	Raw bool
	// StripPrefix is taken off the beginning of such topics, Prefix is put before
	// them.
	StripPrefix, Prefix string
	// QoS is 1 or 2; with Raw it is the least. 0 takes no custody and needs
	// AcceptLoss.
	QoS        byte
	AcceptLoss bool
	// Retain asks the server to keep the latest message of each topic.
	Retain bool
	// Expiry is for how long the server shall try to deliver a message; 0 for
	// ever. MQTT 5 only.
	Expiry time.Duration
	// Bare leaves out the properties that say what a message is: its key, its
	// content type, that it is text. MQTT 5 only; there are none in 3.1.1.
	Bare bool

	// KeepAlive is after how long without traffic the server is asked for a sign
	// of life, in whole seconds up to 65535; 0 for never. A server of MQTT 5 may
	// want it otherwise. One that is gone is noticed within one and a half times
	// that long while nothing is under way; otherwise by the timeout of a Send.
	KeepAlive time.Duration
	// IdleClose is after how long without work the connection is closed; 0 for
	// never.
	IdleClose time.Duration
	// MaxInflight bounds the publications under way, 128 if zero.
	MaxInflight int
	// MaxAliases bounds the topic aliases, 256 if zero; negative for none.
	MaxAliases int
	// State says how the server is told whether the gateway is there; nil for
	// not at all.
	State *State
}

const (
	defaultInflight = 128
	defaultAliases  = 256
	dialTimeout     = 10 * time.Second
)

// Sink publishes messages. It is safe for concurrent use.
type Sink struct {
	cfg     Config
	learned learned
	closes  closes
	partly  partly

	turn    chan struct{} // has room for whoever makes a link
	mu      sync.Mutex
	current *link // nil before the first, and after Close
	closed  bool

	// These belong to whoever has the turn.
	left  kept // what the last link has left
	begun bool // there was a link, and what the session knows is in left
}

// New returns a Sink. It does not connect yet.
func New(cfg Config) (*Sink, error) {
	switch {
	case cfg.ClientID == "":
		return nil, errors.New("mqtt uplink: no client id — hint: set client_id")
	case cfg.QoS > 2:
		return nil, fmt.Errorf("mqtt uplink: QoS %d — hint: set qos to 1 or 2", cfg.QoS)
	case cfg.QoS == 0 && !cfg.AcceptLoss:
		return nil, errors.New("mqtt uplink: QoS 0 loses what is on its way when a connection breaks — hint: set qos = 1, or accept_loss = true")
	case cfg.KeepAlive < 0 || cfg.KeepAlive > 65535*time.Second:
		return nil, fmt.Errorf("mqtt uplink: keep-alive of %v — hint: set keepalive to 18h or less", cfg.KeepAlive)
	}
	host, _, err := net.SplitHostPort(cfg.Address)
	if err != nil {
		return nil, fmt.Errorf("mqtt uplink: address %q — hint: write host:port", cfg.Address)
	}
	if cfg.Dial == nil {
		cfg.Dial = (&net.Dialer{Timeout: dialTimeout}).DialContext
	}
	if cfg.TLS != nil {
		cfg.TLS = cfg.TLS.Clone()
		cfg.TLS.ServerName = cmp.Or(cfg.TLS.ServerName, host)
		if cfg.TLS.ClientSessionCache == nil {
			// A resumed session needs no certificates: two kilobytes and more that
			// a connection does not cost.
			cfg.TLS.ClientSessionCache = tls.NewLRUClientSessionCache(1)
		}
	}
	cfg.Protocol = cmp.Or(cfg.Protocol, Auto)
	cfg.MaxInflight = min(cmp.Or(cfg.MaxInflight, defaultInflight), maxExchanges)
	cfg.MaxAliases = max(cmp.Or(cfg.MaxAliases, defaultAliases), 0)
	return &Sink{cfg: cfg, turn: make(chan struct{}, 1)}, nil
}

// Close says that the gateway is going, and ends the connection. Sends that are
// under way fail.
func (s *Sink) Close() error {
	s.mu.Lock()
	l := s.current
	s.current, s.closed = nil, true
	s.mu.Unlock()
	if l != nil {
		l.leave(s.cfg.State.offline())
	}
	return nil
}

// Send publishes the message, or its parts one by one, and returns when the
// server has them all.
func (s *Sink) Send(ctx context.Context, m uplink.Message) error {
	pubs, err := s.publications(m)
	if err == nil && len(pubs) == 0 { // all have arrived, one by one
		s.partly.forget(m)
		return nil
	}
	for again := false; err == nil; again = true {
		var l *link
		var fresh bool
		if l, fresh, err = s.link(ctx); err != nil {
			break
		}
		if err = l.terms.fit(pubs, s.cfg.AcceptLoss); err != nil {
			break
		}
		if err = l.publish(ctx, pubs); err == nil {
			s.closes.forget()
			s.partly.forget(m)
			return nil
		}
		if pubs = s.partly.note(m, pubs); len(pubs) == 0 { // the last answer and the end came together
			s.partly.forget(m)
			return nil
		}
		// A connection that has been idle may have been closed long ago, by
		// either side, and nobody noticed. That is not an outage.
		if fresh || again || !errors.Is(err, errClosed) && !errors.Is(err, errRetired) {
			err = s.closes.note(m.Key.String(), pubs, err)
			break
		}
		err = nil
	}
	return fmt.Errorf("publish to %s: %w", s.cfg.Address, err)
}

// Limit returns the largest payload that fits into a packet of the server; 0 as
// long as that is not known, which it never is with MQTT 3.1.1.
func (s *Sink) Limit() int { return s.learned.limit() }

// Probe logs in as Send would, under a name of its own if the server does not
// mind: a gateway that runs is not thrown out. It publishes nothing.
func (s *Sink) Probe(ctx context.Context) (string, error) {
	s.mu.Lock()
	l := s.current
	s.mu.Unlock()
	if l != nil && l.alive() {
		return s.describe(l), nil
	}
	l, err := s.connect(ctx, login{clientID: s.cfg.ClientID + ":check", clean: true})
	if _, refused := uplink.RetryDelay(err); refused {
		l, err = s.connect(ctx, login{clientID: s.cfg.ClientID, clean: true})
	}
	if err != nil {
		return "", fmt.Errorf("log in to %s: %w", s.cfg.Address, err)
	}
	l.start()
	l.leave(nil)
	if err := l.terms.fit([]publication{{topic: "-", qos: s.cfg.QoS}}, s.cfg.AcceptLoss); err != nil {
		return "", err
	}
	return s.describe(l), nil
}

func (s *Sink) describe(l *link) string {
	about := l.terms.String()
	if s.cfg.TLS != nil {
		about += ", TLS"
	}
	return about
}

// link returns the connection, and whether it was made for this call. Whoever has no
// time left gets none: publish would take that for a server without answers.
func (s *Sink) link(ctx context.Context) (*link, bool, error) {
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
	}
	if ctx.Err() != nil {
		return nil, false, fmt.Errorf("waiting for the connection: %w", ctx.Err())
	}
	s.mu.Lock()
	l := s.current
	s.mu.Unlock()
	if l != nil && l.alive() {
		return l, false, nil
	}
	if l != nil {
		select {
		case <-l.dead: // a retired one will be within the linger
			s.left = l.leftovers()
		case <-ctx.Done():
			return nil, false, fmt.Errorf("closing an idle connection: %w", ctx.Err())
		}
	}
	l, err := s.open(ctx)
	if err != nil {
		return nil, false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		l.fail(errRetired)
		return nil, false, errRetired
	}
	s.current = l
	return l, true, nil
}

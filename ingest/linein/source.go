package linein

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/ingest/frame"
	"github.com/tidegate/tidegate/ingest/route"
	"github.com/tidegate/tidegate/internal/listening"
)

// Transport is how peers and this door find each other.
type Transport uint8

// The transports. Listen waits for TCP connections, Dial makes one to a device
// server, Datagrams takes UDP.
const (
	Listen Transport = iota
	Dial
	Datagrams
)

// Config says where the door is, what comes in and how much it bears. Zero values
// mean the defaults.
type Config struct {
	Transport Transport
	// Address is where to listen, or whom to dial: host and port.
	Address string
	// TLS, if not nil, is spoken over TCP: as a server, or when dialling as a
	// client, which needs a ServerName.
	TLS *tls.Config
	// Framing tells frames apart. Over UDP, frames end with their datagram at
	// the latest, and a line needs no other end.
	Framing frame.Config
	// Target is what frames mean. "{peer}" in its Device is the IP address of
	// the peer.
	Target route.Target
	// Reply, if not empty, is sent for each frame when its readings are on
	// flash.
	Reply string
	// MaxClients is how many connections may be open, 1024 by default, and
	// MaxPerHost how many of them may come from one address, MaxClients by
	// default.
	MaxClients, MaxPerHost int
	// MaxRate is how many frames a second are read from one connection; zero
	// stands for as many as come.
	MaxRate int
	// IdleTimeout is how long a connection may say nothing, 1 h by default, and
	// FrameTimeout how long a frame that has begun may take, 30 s by default.
	IdleTimeout, FrameTimeout time.Duration
	// Silence is what ends a frame over TCP where the framing wants silence
	// (gap, or DropHalf), 100 ms by default.
	Silence time.Duration
	// WriteTimeout is how long a peer may read nothing of the replies, 5 s by
	// default; ConnectTimeout bounds dialling and TLS handshakes, 10 s by
	// default.
	WriteTimeout, ConnectTimeout time.Duration
	// Queue is how many bytes of datagrams may wait for custody, 4 MiB by
	// default, and ReceiveBuffer how many the kernel is asked to hold, 4 MiB by
	// default.
	Queue, ReceiveBuffer int
}

func (c Config) withDefaults() Config {
	c.MaxClients = cmp.Or(c.MaxClients, 1024)
	c.MaxPerHost = cmp.Or(c.MaxPerHost, c.MaxClients)
	c.IdleTimeout = cmp.Or(c.IdleTimeout, time.Hour)
	c.FrameTimeout = cmp.Or(c.FrameTimeout, 30*time.Second)
	c.Silence = cmp.Or(c.Silence, 100*time.Millisecond)
	c.WriteTimeout = cmp.Or(c.WriteTimeout, 5*time.Second)
	c.ConnectTimeout = cmp.Or(c.ConnectTimeout, 10*time.Second)
	c.Queue = cmp.Or(c.Queue, 4<<20)
	c.ReceiveBuffer = cmp.Or(c.ReceiveBuffer, 4<<20)
	if c.Transport == Datagrams {
		c.Framing.DropHalf = true
	}
	return c
}

// MaxReply is the longest Config.Reply in bytes.
const MaxReply = 256

func (c Config) check() error {
	switch {
	case c.Target.Decoder == nil:
		return errors.New("there is no decoder — hint: say what frames mean")
	case len(c.Reply) > MaxReply:
		return fmt.Errorf("a reply of %d bytes — hint: %d at the most", len(c.Reply), MaxReply)
	case c.TLS != nil && c.Transport == Datagrams:
		return errors.New("TLS over UDP — hint: use TCP, or leave TLS out")
	}
	return c.Framing.Check()
}

// Source is the door. See the package comment.
type Source struct {
	cfg   Config
	log   *slog.Logger
	stats counters
	// replies are as many as are sent at once.
	replies []byte

	places *listening.Places
}

// New returns a Source that does nothing yet. Its error says what is wrong with
// the configuration.
func New(cfg Config, log *slog.Logger) (*Source, error) {
	cfg = cfg.withDefaults()
	if err := cfg.check(); err != nil {
		return nil, err
	}
	return &Source{
		cfg: cfg, log: log, places: listening.New(),
		replies: []byte(strings.Repeat(cfg.Reply, repliesAtOnce)),
	}, nil
}

// repliesAtOnce is how many replies are one write.
const repliesAtOnce = 64

// Run serves until ctx ends or the listener, or the connection that it has
// dialled, breaks.
func (s *Source) Run(ctx context.Context, intake *ingest.Intake) error {
	d := newDoor(s, intake)
	var err error
	switch s.cfg.Transport {
	case Dial:
		err = d.dial(ctx)
	case Datagrams:
		err = d.takeDatagrams(ctx)
	default:
		err = d.listen(ctx)
	}
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// Addr waits until Run listens, or is connected, and returns the address; nil
// when ctx ends first.
func (s *Source) Addr(ctx context.Context) net.Addr { return s.places.First(ctx) }

// Address returns the address that was configured, and whether it is dialled.
func (s *Source) Address() (address string, dialled bool) {
	return s.cfg.Address, s.cfg.Transport == Dial
}

func (s *Source) open(what string, addr net.Addr) {
	s.log.Info(what, "addr", addr.String())
	s.places.Open(addr)
}

// peerVariable stands for the peer's address in the name of a device.
const peerVariable = "{peer}"

// target returns what the frames of a peer mean.
func (s *Source) target(peer netip.Addr) route.Target {
	t := s.cfg.Target
	if strings.Contains(t.Device, peerVariable) {
		t.Device = strings.ReplaceAll(t.Device, peerVariable, peer.String())
	}
	return t
}

// hostOf returns a peer's address without what it may choose anew each time.
func hostOf(addr net.Addr) netip.Addr {
	with, ok := addr.(interface{ AddrPort() netip.AddrPort })
	if !ok {
		return netip.Addr{}
	}
	return with.AddrPort().Addr().Unmap().WithZone("")
}

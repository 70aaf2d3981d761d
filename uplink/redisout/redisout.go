// Package redisout is the door out to Redis streams, and to what speaks its
// protocol (Valkey, Dragonfly, KeyDB): one entry a piece of a message.
//
//	XADD telemetry * key north-7/00000000000004d2/normal/1-99 gateway north-7
//	     lane normal first 1 last 99 count 99 type application/json body …
//
// Custody is the id of the entry. What that is worth is the server's choice: with
// appendfsync always it is on disk, with everysec the last second may be lost, and
// without appendonly everything since the last snapshot. Probe reads the settings
// and says so. Config.Replicas and Config.Disk ask for more before an entry counts.
//
// All pieces of a message, and all messages in flight, are pipelined over one
// connection. Only a single server is spoken to: Sentinel and Cluster are not.
//
// What every error means is in one place, the function judge.
package redisout

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/tidegate/tidegate/internal/conf"
	"github.com/tidegate/tidegate/uplink"
	"github.com/tidegate/tidegate/uplink/onelink"
)

// Config says which server takes the messages, and as whom.
type Config struct {
	// Address is host:port.
	Address string
	// Username is a user of ACL; empty stands for the default user. Password is
	// sent unless it is zero.
	Username string
	Password conf.Secret
	// DB is the database.
	DB int
	// Stream names the stream of a piece.
	Stream uplink.Template
	// MaxLen, if not 0, lets the server trim a stream to about as many entries.
	// What is trimmed is gone, read or not.
	MaxLen int64
	// MaxAge, if not 0, lets the server trim entries that are older, by its own
	// clock. It is not to be combined with MaxLen.
	MaxAge time.Duration
	// Replicas is how many replicas must have an entry before it counts.
	Replicas int
	// Disk asks the server to have an entry on disk before it counts, whatever
	// its appendfsync: Redis 7.2 and later.
	Disk bool
	// TLS encrypts the connection, unless it is nil.
	TLS *tls.Config
	// Dial reaches the network; nil stands for a net.Dialer.
	Dial uplink.Dial
}

// Sink adds entries. It is safe for concurrent use.
type Sink struct {
	cfg  Config
	seat *onelink.Seat[*link]
	size learnt
}

// New returns a Sink. It does not connect yet.
func New(cfg Config) (*Sink, error) {
	_, port, err := net.SplitHostPort(cfg.Address)
	number, notNumber := strconv.ParseUint(port, 10, 16)
	switch {
	case err != nil, notNumber != nil, number == 0:
		return nil, fmt.Errorf("redis uplink: address %q — hint: write host:port", cfg.Address)
	case cfg.Stream.String() == "":
		return nil, errors.New("redis uplink: no stream — hint: write for example stream = \"telemetry\"")
	case cfg.MaxLen > 0 && cfg.MaxAge > 0:
		return nil, errors.New("redis uplink: max_len and max_age — hint: a stream is trimmed by one of them")
	case cfg.MaxLen < 0, cfg.MaxAge < 0, cfg.DB < 0, cfg.Replicas < 0:
		return nil, errors.New("redis uplink: a negative number — hint: leave out what is not wanted")
	}
	return &Sink{cfg: cfg, seat: onelink.NewSeat[*link]()}, nil
}

// Limit returns how long a string may be that the server reads, or 0.
func (s *Sink) Limit() int { return s.size.get() }

// Close ends the connection, and every Send that is under way.
func (s *Sink) Close() error { return s.seat.Close() }

// Send adds every piece of the message, and returns nil when the server has
// answered each with its id, and with what else Config asks for.
func (s *Sink) Send(ctx context.Context, m uplink.Message) error {
	if len(m.Pieces()) == 0 {
		return nil // a pipeline of nothing has no reply
	}
	l, err := s.seat.Get(ctx, s.open)
	if err == nil {
		err = s.size.check(m)
	}
	if err == nil {
		err = l.send(ctx, m)
	}
	if err != nil {
		return fmt.Errorf("add to redis at %s: %w", s.cfg.Address, err)
	}
	return nil
}

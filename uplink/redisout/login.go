package redisout

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/gomodule/redigo/redis"

	"github.com/tidegate/tidegate/uplink"
	"github.com/tidegate/tidegate/uplink/onelink"
)

// bulkLimit is the setting that says how long a string may be.
const bulkLimit = "proto-max-bulk-len"

// learnt is a limit that the server has told; 0 for none.
type learnt struct{ bytes atomic.Int64 }

func (l *learnt) get() int { return int(l.bytes.Load()) }

// check refuses a message that the server would hang up on.
func (l *learnt) check(m uplink.Message) error {
	limit := l.get()
	if limit == 0 {
		return nil
	}
	for _, p := range m.Pieces() {
		if len(p.Body) > limit {
			return uplink.TooLarge(fmt.Errorf("a body of %d bytes, and the server takes %d — hint: raise its %s, or lower max_batch", len(p.Body), limit, bulkLimit))
		}
	}
	return nil
}

// open connects and logs in: one round trip, beside those of TCP and TLS.
func (s *Sink) open(ctx context.Context) (*link, error) {
	wire, err := onelink.Open(ctx, onelink.Dial(s.cfg.Dial), s.cfg.Address, s.cfg.TLS)
	if err != nil {
		return nil, s.unreached(err)
	}
	l := newLink(s.cfg, wire, redis.NewConn(&guarded{Conn: wire}, 0, 0))
	if err := s.login(ctx, l); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// unreached adds to an error of connecting what onelink cannot know: Redis without
// TLS takes a handshake for a command that is not complete yet, and waits.
func (s *Sink) unreached(err error) error {
	var network *net.OpError
	if s.cfg.TLS != nil && errors.Is(err, context.DeadlineExceeded) && !errors.As(err, &network) {
		return fmt.Errorf("handshake: %w — hint: does that port speak TLS? Without it the url begins with redis://", context.DeadlineExceeded)
	}
	return err
}

func (s *Sink) login(ctx context.Context, l *link) error {
	var commands []command
	if !s.cfg.Password.IsZero() && s.cfg.Username != "" {
		commands = append(commands, command{"AUTH", []any{s.cfg.Username, s.cfg.Password.Reveal()}})
	} else if !s.cfg.Password.IsZero() {
		commands = append(commands, command{"AUTH", []any{s.cfg.Password.Reveal()}})
	}
	if s.cfg.DB != 0 {
		commands = append(commands, command{"SELECT", []any{s.cfg.DB}})
	}
	needed := len(commands)
	commands = append(commands, command{"CONFIG", []any{"GET", bulkLimit}})
	err := l.ask(ctx, commands, func(reply any, err error) error {
		needed--
		if needed >= 0 {
			return l.judged(err)
		}
		s.size.bytes.Store(number(reply))
		if mute(err) {
			return nil
		}
		return l.judged(err)
	})
	if err != nil {
		return fmt.Errorf("log in: %w", err)
	}
	return nil
}

// mute says that a server does not want to tell, which is its right: managed ones
// have no CONFIG.
func mute(err error) bool {
	var refused redis.Error
	return errors.As(err, &refused) && (strings.HasPrefix(string(refused), "NOPERM ") || strings.HasPrefix(string(refused), "ERR unknown "))
}

// number reads the value in an answer of CONFIG GET, or 0.
func number(reply any) int64 {
	n, err := strconv.ParseInt(setting(reply), 10, 64)
	if err != nil || n < 0 {
		return 0
	}
	return n
}

// setting reads the value in an answer of CONFIG GET, "" if there is none.
func setting(reply any) string {
	pair, ok := reply.([]any)
	if !ok || len(pair) != 2 {
		return ""
	}
	value, _ := pair[1].([]byte)
	return string(value)
}

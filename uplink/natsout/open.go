package natsout

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/tidegate/tidegate/internal/netfault"
	"github.com/tidegate/tidegate/uplink/natsline"
	"github.com/tidegate/tidegate/uplink/onelink"
)

// joined is how much small pieces share a write, in bytes.
const joined = 32 << 10

// maxAnswer is the longest message that is read: what JetStream says of a stream.
const maxAnswer = 1 << 20

// subscription is the number of the only one, to the answers.
const subscription = "1"

// open connects and logs in to the first server that lets us.
func (s *Sink) open(ctx context.Context) (*link, error) {
	inbox := s.cfg.InboxPrefix + "." + rand.Text()[:16] + "."
	session, err := natsline.Open(ctx, &natsline.Config{
		Servers: s.cfg.Servers, TLS: s.cfg.TLS, Secure: s.cfg.Secure, TLSFirst: s.cfg.TLSFirst, Dial: onelink.Dial(s.cfg.Dial),
		Username: s.cfg.Username, Password: s.cfg.Password, Token: s.cfg.Token, NkeyFile: s.cfg.NkeyFile, CredsFile: s.cfg.CredsFile,
		Name: s.cfg.Name, Bounds: natsline.Bounds{Most: maxAnswer},
	}, subscribe(inbox))
	if err != nil {
		return nil, judgeLogin(err)
	}
	l := &link{
		cfg: &s.cfg, payload: &s.payload, Session: session, inbox: inbox,
		turn: make(chan struct{}, 1), pinged: make(chan struct{}, 1), gone: make(chan struct{}),
		due: make(map[uint64]answer), flying: make(map[*flight]struct{}),
	}
	s.payload.Store(l.Info.MaxPayload)
	l.out = bufio.NewWriterSize(l.Wire, joined)
	l.begin()
	return l, nil
}

// subscribe asks for the answers.
func subscribe(inbox string) string { return "SUB " + inbox + "* " + subscription + "\r\n" }

// judgeLogin judges why there is no connection.
func judgeLogin(err error) error {
	var refused natsline.Refused
	ok := errors.As(err, &refused)
	switch {
	case !ok:
		return err
	case refused.Credentials:
		return unreadable(err)
	}
	return fmt.Errorf("log in: %w", judge(netfault.Explain(refused.Err), 0))
}

// lost is why there is no connection any more.
func (l *link) lost(err error) error {
	return fmt.Errorf("connection lost: %w", judge(l.Lost(err), 0))
}

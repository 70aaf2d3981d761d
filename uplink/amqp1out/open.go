package amqp1out

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/Azure/go-amqp"

	"github.com/tidegate/tidegate/uplink/onelink"
)

// loginTimeout bounds everything from the dial to the session.
const loginTimeout = 30 * time.Second

// peer is what a server says of itself.
type peer struct {
	product, version string
}

// String is for people.
func (p peer) String() string {
	if p.product == "" {
		return "a server that does not say its name"
	}
	return strings.TrimSpace(p.product + " " + p.version)
}

// isRabbit reports whether it is RabbitMQ, of whatever version.
func (p peer) isRabbit() bool { return p.product == "RabbitMQ" }

// losesQuietly reports whether the server accepts what no queue gets: RabbitMQ,
// before it knew AMQP 1.0 by itself.
func (p peer) losesQuietly() bool {
	if !p.isRabbit() {
		return false
	}
	major, _, _ := strings.Cut(p.version, ".")
	n, err := strconv.Atoi(major)
	return err != nil || n < 4
}

// open connects, logs in and begins a session.
func (s *Sink) open(ctx context.Context, gateway string) (*link, error) {
	ctx, cancel := context.WithTimeout(ctx, loginTimeout)
	defer cancel()
	wire, err := onelink.Open(ctx, onelink.Dial(s.cfg.Dial), s.cfg.Address, s.cfg.TLS)
	if err != nil {
		return nil, err
	}
	wire.Conn = &guard{Conn: wire.Conn} // before anybody else may close it
	// The library writes without a bound where its contexts have no deadline.
	release := context.AfterFunc(ctx, wire.Drop)
	defer release()
	conn, err := amqp.NewConn(ctx, wire, s.options(gateway))
	if err != nil {
		wire.Close()
		return nil, failure(ctx, wire, err)
	}
	l := newLink(s, wire, conn)
	if l.session, err = conn.NewSession(ctx, nil); err != nil {
		err = failure(ctx, wire, err)
		l.Close()
		return nil, err
	}
	if !release() {
		wire.Drop() // now, or the next Send would find it alive
		l.Close()
		return nil, failure(ctx, wire, ctx.Err())
	}
	return l, nil
}

func (s *Sink) options(gateway string) *amqp.ConnOptions {
	if gateway == "" {
		gateway = "tidegate check"
	}
	login := amqp.SASLTypeAnonymous()
	switch {
	case s.cfg.External:
		login = amqp.SASLTypeExternal("")
	case s.cfg.Username != "":
		login = amqp.SASLTypePlain(s.cfg.Username, s.cfg.Password.Reveal())
	}
	return &amqp.ConnOptions{
		// Not the gateway alone: some servers let only one connection in under
		// an id, and a dead one of ours may still be there.
		ContainerID:  gateway + "/" + strconv.FormatInt(time.Now().UnixNano(), 36),
		HostName:     s.cfg.Hostname,
		IdleTimeout:  s.cfg.Idle,
		MaxFrameSize: maxFrame,
		Properties:   map[string]any{"product": s.cfg.Product},
		SASLType:     login,
	}
}

package amqpout

import (
	"context"
	"errors"
	"fmt"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/tidegate/tidegate/internal/netfault"
	"github.com/tidegate/tidegate/uplink"
	"github.com/tidegate/tidegate/uplink/onelink"
)

// loginTimeout bounds everything from the dial to the channel that is ready.
const loginTimeout = 30 * time.Second

// open connects, logs in, opens the channel and declares what is to be declared.
func (s *Sink) open(ctx context.Context, gateway string) (*link, error) {
	ctx, cancel := context.WithTimeout(ctx, loginTimeout)
	defer cancel()
	wire, err := onelink.Open(ctx, onelink.Dial(s.cfg.Dial), s.cfg.Address, s.cfg.TLS)
	if err != nil {
		return nil, err
	}
	// The library's calls know no context; they end with the connection.
	release := context.AfterFunc(ctx, wire.Drop)
	l, err := s.logIn(wire, gateway)
	if release() && err == nil {
		return l, nil
	}
	wire.Close()
	if l != nil {
		l.Close()
	}
	if ctx.Err() != nil { // that is why it has failed
		return nil, fmt.Errorf("log in: %w", netfault.Explain(ctx.Err()))
	}
	return nil, err
}

func (s *Sink) logIn(wire *onelink.Conn, gateway string) (*link, error) {
	as := newLogin(s.cfg, gateway)
	conn, err := amqp.Open(wire, amqp.Config{
		SASL: []amqp.Authentication{as}, Properties: as.properties,
		Vhost: s.cfg.Vhost, Heartbeat: s.cfg.Heartbeat, Locale: "en_US", FrameSize: maxFrame,
	})
	if err != nil {
		return nil, loginError(conn, wire, s.cfg.External, err)
	}
	ch, err := conn.Channel()
	if err != nil {
		return nil, callError(wire, err)
	}
	l := newLink(wire, conn, ch)
	if err := ch.Confirm(false); err != nil {
		return nil, s.giveUp(l, err)
	}
	if err := s.declare(ch); err != nil {
		return nil, s.giveUp(l, err)
	}
	return l, nil
}

// maxFrame is what frames are asked to be at the most. Messages may be longer:
// they take several.
const maxFrame = 128 << 10

func (s *Sink) giveUp(l *link, err error) error {
	err = callError(l.wire, err)
	l.Close()
	return err
}

// loginError judges why there is no connection. When the connection breaks during
// the login the library guesses that the password or the vhost was wrong. That is
// so only with servers that cannot say it in words.
func loginError(conn *amqp.Connection, wire *onelink.Conn, external bool, err error) error {
	var e *amqp.Error
	guessed := errors.Is(err, amqp.ErrCredentials) || errors.Is(err, amqp.ErrVhost)
	switch fault := wire.Fault(); {
	case errors.Is(err, amqp.ErrSASL):
		hint := "see auth_mechanisms there; some servers want TLS for a password, or a certificate (external)"
		if external {
			hint = "enable rabbitmq_auth_mechanism_ssl over there, and EXTERNAL in auth_mechanisms"
		}
		return uplink.Misconfigured(fmt.Errorf("the server does not offer this login — hint: %s", hint))
	case guessed && fault != nil && !speaks(conn):
		return uplink.Misconfigured(errors.New("the server closed the connection during the login — hint: check username, password_file and vhost"))
	case errors.As(err, &e) && !e.Server && fault == nil:
		return errors.New("log in: the answer cannot be read — hint: the other side does not speak AMQP 0-9-1; check the port")
	}
	return callError(wire, err)
}

// speaks reports whether the server says why it refuses a login.
func speaks(conn *amqp.Connection) bool {
	all, _ := conn.Properties["capabilities"].(amqp.Table)
	able, _ := all["authentication_failure_close"].(bool)
	return able
}

// callError judges the error of a call of the library.
func callError(wire *onelink.Conn, err error) error {
	var e *amqp.Error
	switch fault := wire.Fault(); {
	case errors.As(err, &e) && e.Server:
		return judge(e.Code, e.Reason)
	case fault != nil:
		return fmt.Errorf("log in: %w", fault)
	case e != nil:
		return judge(e.Code, e.Reason)
	}
	return fmt.Errorf("log in: %w", err)
}

// declare makes what Config.Declare says, if it is not there.
func (s *Sink) declare(ch *amqp.Channel) error {
	exchange := s.cfg.Exchange.String()
	if s.cfg.Declare == DeclareNone {
		return nil
	}
	if exchange != "" {
		if err := ch.ExchangeDeclare(exchange, s.cfg.ExchangeType, true, false, false, false, nil); err != nil {
			return err
		}
	}
	if s.cfg.Declare != DeclareQueue {
		return nil
	}
	if _, err := ch.QueueDeclare(s.cfg.queue(), true, false, false, false, nil); err != nil || exchange == "" {
		return err
	}
	key := s.cfg.RoutingKey.String()
	if s.cfg.ExchangeType == "topic" {
		key = "#" // everything that this exchange gets
	}
	return ch.QueueBind(s.cfg.queue(), key, exchange, false, nil)
}

package amqpout

import (
	"context"
	"errors"
	"fmt"
	"strings"

	amqp "github.com/rabbitmq/amqp091-go"
)

// Probe connects and logs in over a connection of its own, declares what Send
// would, and looks whether exchange and queue are there.
func (s *Sink) Probe(ctx context.Context) (string, error) {
	l, err := s.open(ctx, "")
	if err != nil {
		return "", s.named(err)
	}
	defer l.Close()
	release := context.AfterFunc(ctx, l.wire.Drop)
	defer release()
	about := fmt.Sprintf("%s, vhost %s", server(l.conn.Properties), s.cfg.Vhost)
	place, err := s.look(l.conn)
	if err != nil {
		return "", s.named(callError(l.wire, err))
	}
	return about + ", " + place, nil
}

// server says what a server says of itself.
func server(p amqp.Table) string {
	product, _ := p["product"].(string)
	version, _ := p["version"].(string)
	if product == "" {
		product = "a server that does not say its name"
	}
	return strings.TrimSpace(product + " " + version)
}

// look finds the exchange, or the queue of the default exchange. What has braces
// in its name is not known before there is a message.
func (s *Sink) look(conn *amqp.Connection) (string, error) {
	exchange, queue := s.cfg.Exchange.String(), s.cfg.RoutingKey.String()
	switch {
	case exchange == "" && constant(queue):
		return lookAtQueue(conn, queue)
	case exchange == "":
		return "queues " + queue, nil
	case !constant(exchange):
		return "exchanges " + exchange, nil
	}
	ch, err := conn.Channel()
	if err != nil {
		return "", err
	}
	defer ch.Close()
	err = ch.ExchangeDeclarePassive(exchange, amqp.ExchangeTopic, true, false, false, false, nil)
	if refused(err) {
		return "exchange " + exchange + " (not allowed to look at it)", nil
	}
	return "exchange " + exchange, err
}

// lookAtQueue also tells whether the queue outlives a restart of its server.
// The protocol has no question for that: declaring it durable is refused when it
// is not.
func lookAtQueue(conn *amqp.Connection, queue string) (string, error) {
	ch, err := conn.Channel()
	if err != nil {
		return "", err
	}
	defer func() { ch.Close() }()
	if _, err := ch.QueueDeclarePassive(queue, true, false, false, false, nil); err != nil {
		if refused(err) {
			return "queue " + queue + " (not allowed to look at it)", nil
		}
		return "", err
	}
	_, err = ch.QueueDeclare(queue, true, false, false, false, nil)
	var e *amqp.Error
	if errors.As(err, &e) && e.Code == amqp.PreconditionFailed && strings.Contains(e.Reason, "'durable'") {
		return "queue " + queue + ", which is NOT durable: what it holds is lost when the server restarts", nil
	}
	if errors.As(err, &e) && e.Server { // made otherwise in another way, or not ours to declare
		return "queue " + queue, nil
	}
	return "queue " + queue, err
}

func refused(err error) bool {
	var e *amqp.Error
	return errors.As(err, &e) && e.Server && e.Code == amqp.AccessRefused
}

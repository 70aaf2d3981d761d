package amqpout

import (
	"errors"
	"fmt"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/tidegate/tidegate/uplink"
	"github.com/tidegate/tidegate/uplink/onelink"
)

// Delays after answers that do not change by themselves.
const (
	// alarmDelay is for a server that is out of memory or disk. While it says so
	// nothing is sent, so asking again costs nothing.
	alarmDelay = 10 * time.Second
)

type class int

const (
	transient  class = iota // the Forwarder backs off
	configured              // uplink.Misconfigured: a person must do something
	alarmed                 // uplink.RetryAfter(alarmDelay)
	tooLarge                // uplink.TooLarge
)

// Replies that the library has no names for.
const (
	noRoute   = 312 // basic.return: no queue
	nacked    = -1  // basic.nack has no code
	outOfRoom = -2  // connection.blocked has none either
)

// replies is what servers say, and what it means here. The first row that fits
// counts. Nothing that a person must put right is held against the readings.
var replies = []struct {
	code  int
	words string // that must stand in the text; empty fits every text
	class class
	hint  string
}{
	{amqp.PreconditionFailed, "message size", tooLarge, "the server takes smaller messages only (max_message_size); smaller ones are made from now on"},
	{amqp.ContentTooLarge, "", tooLarge, "the server takes smaller messages only; smaller ones are made from now on"},
	{noRoute, "", configured, "no queue is bound for this routing key, so the server would throw it away: bind a queue, correct exchange and routing_key, or set declare"},
	{nacked, "", transient, "the server could not keep it: a queue is full and rejects (x-overflow), or its disk fails; it will be sent again"},
	{outOfRoom, "", alarmed, "the server takes nothing until it has memory and disk again; see rabbitmqctl status"},
	{amqp.AccessRefused, "Login was refused", configured, "check username and password_file; for a login by certificate, the user that the server makes of it"},
	{amqp.AccessRefused, "access to", configured, "the user may not do that; see rabbitmqctl set_permissions"},
	{amqp.AccessRefused, "", configured, "the user may not do that; see the server's log"},
	{amqp.NotFound, "no exchange", configured, `create the exchange, correct its name, or set declare = "exchange"`},
	{amqp.NotFound, "no queue", configured, `create the queue, correct its name, or set declare = "queue"`},
	{amqp.NotFound, "", configured, "it is not there; correct exchange and queue, or set declare"},
	{amqp.ResourceLocked, "", configured, "the queue belongs to another connection alone; use another one"},
	{amqp.PreconditionFailed, "inequivalent arg", configured, `it exists and is made otherwise; set declare = "none"`},
	{amqp.PreconditionFailed, "", configured, "what the server has does not fit what is asked for; see its log"},
	{amqp.InvalidPath, "", configured, "check vhost"},
	{amqp.NotAllowed, "vhost", configured, "check vhost, and that the user may use it: rabbitmqctl set_permissions -p VHOST"},
	{amqp.NotAllowed, "limit", configured, "the server allows no more connections; see its limits"},
	{amqp.NotAllowed, "", configured, "the server's policy forbids it; see its log"},
	{amqp.ConnectionForced, "", transient, "the server is being stopped, or somebody closed the connection there"},
	{amqp.ResourceError, "", transient, "the server is short of something; see its log"},
	{amqp.InternalError, "", transient, "the server is out of order; see its log"},
	{amqp.NotImplemented, "", configured, "the server does not know publisher confirms; tidegate needs them"},
}

// judge turns a reply into the error of Send. It is the only place that knows
// what a reply means.
func judge(code int, text string) error {
	for _, row := range replies {
		if row.code != code || !strings.Contains(text, row.words) {
			continue
		}
		err := fmt.Errorf("%s — hint: %s", reply(code, text), row.hint)
		switch row.class {
		case configured:
			return uplink.Misconfigured(err)
		case alarmed:
			return uplink.RetryAfter(err, alarmDelay)
		case tooLarge:
			return uplink.TooLarge(sized{err, onelink.StatedLimit(text)})
		}
		return err
	}
	return fmt.Errorf("%s — hint: does the server speak AMQP 0-9-1? See its log", reply(code, text))
}

// reply is what the server said, as an error has it.
func reply(code int, text string) string {
	text = onelink.Quote(text)
	switch code {
	case nacked:
		return "refused (nack)"
	case outOfRoom:
		return "the server has an alarm: " + text
	case noRoute:
		return fmt.Sprintf("returned: %d %s", code, text)
	}
	return fmt.Sprintf("%d %s", code, text)
}

// sized is a refusal that may name what the server takes, in bytes.
type sized struct {
	error
	limit int64
}

// limitIn returns the limit that an error names, 0 if it names none.
func limitIn(err error) int64 {
	var e sized
	if errors.As(err, &e) {
		return e.limit
	}
	return 0
}

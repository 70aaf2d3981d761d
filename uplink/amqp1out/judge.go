package amqp1out

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/Azure/go-amqp"

	"github.com/tidegate/tidegate/internal/netfault"
	"github.com/tidegate/tidegate/uplink"
	"github.com/tidegate/tidegate/uplink/onelink"
)

// Delays after answers that do not change by themselves.
const (
	// busyDelay is for a server that is full or has too much to do.
	busyDelay = 10 * time.Second
)

type class int

const (
	transient  class = iota // the Forwarder backs off
	configured              // uplink.Misconfigured: a person must do something
	busy                    // uplink.RetryAfter(busyDelay)
	tooLarge                // uplink.TooLarge
	poison                  // uplink.Permanent
)

// Conditions that are not the server's.
const (
	noOutcome   amqp.ErrCond = "tidegate:rejected-without-a-reason"
	givenBack   amqp.ErrCond = "tidegate:released"
	noCredit    amqp.ErrCond = "tidegate:no-credit"
	badLogin    amqp.ErrCond = "tidegate:login-refused"
	thrownAway  amqp.ErrCond = "tidegate:accepted-without-a-queue"
	notThisOne  amqp.ErrCond = "tidegate:cannot-be-trusted"
	unknownness amqp.ErrCond = ""
)

// conditions is what servers say, and what it means here. The first row that fits
// counts. The names that begin with amqp: are those of the specification (part 2,
// section 2.8, and part 3), those with com.microsoft: are of Azure, whose servers
// were not at hand for tests.
var conditions = []struct {
	condition amqp.ErrCond
	words     string // that must stand in the description; empty fits every one
	class     class
	hint      string
}{
	{amqp.ErrCondMessageSizeExceeded, "", tooLarge, "the server takes smaller messages only; smaller ones are made from now on"},
	{amqp.ErrCondPreconditionFailed, "message size", tooLarge, "the server takes smaller messages only (max_message_size); smaller ones are made from now on"},
	{amqp.ErrCondPreconditionFailed, "inequivalent arg", configured, "the queue exists and is made otherwise; on RabbitMQ write /amq/queue/NAME, which takes it as it is"},
	{amqp.ErrCondNotFound, "", configured, "the address is not there; create it, or correct it"},
	{amqp.ErrCondUnauthorizedAccess, "", configured, "check username, password_file and vhost, and what the user may do"},
	{amqp.ErrCondNotAllowed, "", configured, "the server's policy forbids it; see its log"},
	{amqp.ErrCondNotImplemented, "", configured, "the server cannot do that; see its log"},
	{amqp.ErrCondPreconditionFailed, "", configured, "what the server has does not fit what is asked for; see its log"},
	{amqp.ErrCondResourceLocked, "", configured, "the address belongs to somebody else alone; use another one"},
	{amqp.ErrCondResourceDeleted, "", configured, "the address was deleted; create it again"},
	{amqp.ErrCondConnectionRedirect, "", configured, "the server is elsewhere now; correct the url"},
	{amqp.ErrCondLinkRedirect, "", configured, "the address is on another server now; correct the url"},
	{amqp.ErrCondResourceLimitExceeded, "", busy, "the queue or the server is full, or a quota is used up"},
	{"com.microsoft:server-busy", "", busy, "the server asks for less"},
	{"com.microsoft:entity-disabled", "", configured, "the address is switched off over there"},
	{"com.microsoft:auth-failed", "", configured, "check username and password_file"},
	{noCredit, "", busy, "the server gives no credit: it is full, or stopped by an alarm"},
	{badLogin, "", configured, "check username and password_file; the server may want another kind of login, or a certificate"},
	{thrownAway, "", configured, "RabbitMQ before 4.0 accepts what it throws away: create the queue, or correct address"},
	{notThisOne, "", configured, "RabbitMQ before 4.0 accepts over AMQP 1.0 what no queue gets: use [[uplink.amqp]] for this server, or an address /amq/queue/NAME; or say trust_routing = true if a queue is always bound"},
	{noOutcome, "", transient, "a queue is full and rejects; or whoever reads it refuses the message and does not say why"},
	{givenBack, "", transient, "no queue takes it now: is one bound? It will be sent again"},
	{amqp.ErrCondConnectionForced, "", transient, "the server is being stopped, or somebody closed the connection there"},
	{amqp.ErrCondDetachForced, "", transient, "somebody closed the link over there, or it was idle for long"},
	{amqp.ErrCondInternalError, "", transient, "the server is out of order; see its log"},
}

// judge turns a condition into the error of Send. It is the only place that knows
// what a condition means. A message that was rejected for a reason that is not in
// the table is bad by itself: that is what AMQP means by rejected.
func judge(condition amqp.ErrCond, description string, rejected bool) error {
	for _, row := range conditions {
		if row.condition == condition && strings.Contains(description, row.words) {
			return classed(row.class, row.hint, condition, description)
		}
	}
	if rejected {
		return classed(poison, "the server does not accept this content; check encoding", condition, description)
	}
	return classed(transient, "does the server speak AMQP 1.0? See its log", condition, description)
}

func classed(c class, hint string, condition amqp.ErrCond, description string) error {
	text := onelink.Quote(string(condition))
	if own, ok := strings.CutPrefix(string(condition), "tidegate:"); ok {
		text = strings.ReplaceAll(own, "-", " ")
	}
	if description != "" {
		text += " " + onelink.Quote(description)
	}
	err := fmt.Errorf("%s — hint: %s", text, hint)
	switch c {
	case configured:
		return uplink.Misconfigured(err)
	case busy:
		return uplink.RetryAfter(err, busyDelay)
	case tooLarge:
		return uplink.TooLarge(sized{err, onelink.StatedLimit(description)})
	case poison:
		return uplink.Permanent(err)
	}
	return err
}

// outcome judges how a delivery ended; nil is custody.
func outcome(state amqp.DeliveryState) error {
	switch s := state.(type) {
	case *amqp.StateAccepted:
		return nil
	case *amqp.StateRejected:
		if s.Error == nil || s.Error.Condition == unknownness {
			return judge(noOutcome, "", true)
		}
		return judge(s.Error.Condition, s.Error.Description, true)
	}
	return judge(givenBack, "", false)
}

// failure judges an error of the library, in which breaks of the network have lost
// what they were.
func failure(ctx context.Context, wire *onelink.Conn, err error) error {
	var said *amqp.Error
	var link *amqp.LinkError
	var session *amqp.SessionError
	var conn *amqp.ConnError
	switch fault := wire.Fault(); {
	case err == nil:
		return nil
	case errors.As(err, &said):
		return judge(said.Condition, said.Description, false)
	case ctx.Err() != nil:
		return fmt.Errorf("no outcome: %w", netfault.Explain(ctx.Err()))
	case errors.Is(fault, net.ErrClosed):
		return errors.New("the connection was given up — hint: nothing was heard of the other side in time")
	case fault != nil:
		return fmt.Errorf("connection lost: %w", fault) // or what guard has found
	case strings.Contains(err.Error(), "auth failed with code"), strings.Contains(err.Error(), "no supported auth mechanism"):
		return judge(badLogin, err.Error(), false)
	case errors.As(err, &link), errors.As(err, &session), errors.As(err, &conn):
		return fmt.Errorf("the server closed it without a reason: %w — hint: see its log", err)
	}
	return fmt.Errorf("%w — hint: does the server speak AMQP 1.0? Check the port; RabbitMQ before 4.0 needs its plugin rabbitmq_amqp1_0", err)
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

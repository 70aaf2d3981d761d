// Package command is the way down: what somebody upstream wants a device to be
// told. It has its own room because it is the opposite of everything else here.
// Readings leave on their own and nobody may come in by it; a command comes in,
// and only what the gateway's owner has allowed becomes a message on the local
// broker.
//
//	courier ──Letter──▶ Clerk ──▶ Desk ──▶ Outlet (the local broker) ──▶ device
//	        ◀──Answer──           │ allowed? known? expired?
//	                              └──▶ Ledger: the id, the audit, one commit
//
// The couriers are in the folders below: overmqtt, overhttp and others. They know
// their protocol and a Clerk, and decide nothing.
//
//	desk := command.New(cfg, outlet, ledger, log)
//	go desk.Run(ctx)
//	clerk := desk.Clerk("mqtt", command.Narrow{})
//	err := courier.Run(ctx, clerk)
//
// DESIGN.md tells the order of the decisions, and what a crash may repeat.
package command

import (
	"context"
	"time"

	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/reading"
)

// MaxBody is the largest Letter in bytes.
const MaxBody = 64 << 10

// Command is what a device is to be told. Parse makes it.
type Command struct {
	// ID names the command for ever: another one with the same ID is the same
	// command, and not published again. 1 to 64 printable ASCII characters.
	ID string
	// Gateway is whom it is for; empty for whoever gets it.
	Gateway string
	// Device or Topic says where it goes, and only one of them is given.
	Device, Topic string
	Payload       []byte
	// QoS and Retain are those of the message to the device.
	QoS    byte
	Retain bool
	// Issued is when it was given, zero if it does not say.
	Issued time.Time
	// Expires and TTL bound its life; both may be zero. TTL counts from Issued.
	Expires time.Time
	TTL     time.Duration
	// Reply says that the sender wants to know what becomes of it.
	Reply bool
	// Sender is who gives it, in its own words.
	Sender string
}

// State is what has become of a command.
type State string

// The states. Accepted is on flash and published; Delivered was acknowledged by a
// device; the others were not published, or, Expired, perhaps not in time.
const (
	Accepted  State = "accepted"
	Delivered State = "delivered"
	Refused   State = "refused"
	Expired   State = "expired"
	Duplicate State = "duplicate"
)

// Answer says what has become of a command. It travels as JSON.
type Answer struct {
	// ID is the command's; empty if what came had none that could be read.
	ID      string `json:"id,omitempty"`
	Gateway string `json:"gateway"`
	State   State  `json:"state"`
	// Of is, for a Duplicate, what has become of the first one.
	Of State `json:"of,omitempty"`
	// Reason says why, for people.
	Reason string `json:"reason,omitempty"`
	// At is when it was decided, by the gateway's clock; Clock is "unsynced" where
	// that cannot be believed.
	At    time.Time `json:"at"`
	Clock string    `json:"clock,omitempty"`
	// Topic is where it was published. Receivers is to how many sessions, with
	// those of devices that sleep; nil if it was not published.
	Topic     string `json:"topic,omitempty"`
	Receivers *int   `json:"receivers,omitempty"`
	// By is the client that acknowledged it first.
	By string `json:"by,omitempty"`
	// Digest is the beginning of the SHA-256 of what came, in hexadecimal.
	Digest string `json:"sha256,omitempty"`

	// ReplyTo is what the Letter said, for its courier.
	ReplyTo string `json:"-"`
	// Wanted is false if the sender does not want to know.
	Wanted bool `json:"-"`
}

// Letter is what a courier brings.
type Letter struct {
	// Body is a document, as docs/connect/commands.md describes it.
	Body []byte
	// Queued is when the other side took it in, zero if it does not tell.
	Queued time.Time
	// ReplyTo is where its answers go, in words of the courier's own; at most
	// MaxReplyTo bytes.
	ReplyTo string
}

// MaxReplyTo bounds Letter.ReplyTo.
const MaxReplyTo = 256

// Courier brings commands from one place, and takes answers back.
type Courier interface {
	// Run connects, says Clerk.Up, and hands every command to the clerk. It
	// acknowledges one to the other side only when Clerk.Decide has returned and
	// the other side has the answer, if that is wanted: until then the command is
	// the other side's, which brings it again. It tells late answers from the
	// clerk's outbox. It returns when ctx ends, with nil, or when the connection
	// breaks, after every goroutine that it started has ended; whoever runs it
	// paces the next try.
	Run(ctx context.Context, clerk *Clerk) error
}

// Outlet publishes. The local broker is the only one outside tests.
type Outlet interface {
	// Publish publishes the command at topic, worth delivering for the time left,
	// and hands readings and notes to custody in the same commit. Nobody is sent
	// anything before that. receivers counts the sessions that it is for. An error,
	// also of the receipt, means that nothing was published.
	Publish(ctx context.Context, c Command, topic string, left time.Duration, rs []reading.Reading, notes ...reading.Note) (receipt ingest.Receipt, receivers int, err error)
}

// Ledger keeps what was decided. *ingest.Intake is one.
type Ledger interface {
	// Accept is ingest.Custody's.
	Accept(ctx context.Context, rs []reading.Reading, notes ...reading.Note) (ingest.Receipt, error)
	// Notes is ingest.Custody's.
	Notes(ctx context.Context, prefix string, visit func(reading.Note) error) error
}

// Package uplink moves blocks from the buffer to the other side: next → encode
// → pace → send → ack, with a bounded number of messages in flight.
//
// It knows neither flash nor protocols. The buffer is behind Cursor, the
// encoding behind Encoder, the protocol behind Sink, and the place for blocks
// that the other side will not have behind Quarantine. One Forwarder serves one
// sink:
//
//	f := uplink.New(uplink.Config{Gateway: "north-7"}, cursor, encoder, sink, quarantine, log)
//	go f.Run(ctx)
//	f.Stats() // what the dashboard shows
//
// DESIGN.md tells how messages are sized, what happens on which error, and what
// a crash may repeat.
package uplink

import (
	"context"
	"net"

	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/wire"
)

// Cursor is one sink's place in the buffer.
type Cursor interface {
	// Next returns consecutive blocks of one of the lanes: at least one, and no
	// more than limit bytes unless a single block is larger. It waits until there
	// is one. Which blocks are next is the Cursor's decision: the newest may come
	// before a backlog. Next never deletes; the same blocks are not returned
	// twice in one run, but after a crash Next may repeat, never skip. An error
	// of a ctx that has ended means that no blocks were given out.
	Next(ctx context.Context, lanes reading.LaneSet, limit int) ([]wire.Block, error)
	// NextLive is Next without what is left of a backlog: it returns what has
	// come since, so that this need not wait behind the backlog.
	NextLive(ctx context.Context, lanes reading.LaneSet, limit int) ([]wire.Block, error)
	// Ack says that the readings first..last of the lane are elsewhere. Acks
	// come in any order.
	Ack(lane reading.Lane, first, last uint64) error
}

// Encoder turns consecutive blocks of one lane into a message body.
type Encoder interface {
	// Encode appends the body for the blocks to dst, and says how it is cut into
	// messages; nil parts say that it is one, and empty ones that there is nothing
	// to send: the blocks then count as sent. None should have more than limit
	// bytes; an encoder that cannot cut its body leaves it to the Forwarder to
	// come with fewer blocks.
	Encode(dst []byte, blocks []wire.Block, limit int) (body []byte, parts []Part, err error)
	// ContentType is the media type of the body, for example
	// "application/vnd.tidegate.chunk".
	ContentType() string
}

// Sink is a door out.
type Sink interface {
	// Send returns nil only when the remote side has taken custody of the
	// whole message. Permanent(err) says that the same bytes will fail again,
	// RetryAfter(err, d) that the remote side named a delay, Misconfigured(err)
	// that a person has to do something; any other error
	// is transient. Send returns soon after ctx has ended, and it may be called
	// from several goroutines at once.
	Send(ctx context.Context, m Message) error
}

// Limited is a Sink that knows how large a message may be.
type Limited interface {
	// Limit returns the largest body, or part of one, in bytes that the remote
	// side takes; 0 as long as that is not known. The Forwarder keeps to it.
	Limit() int
}

// Prober is a Sink that can be tried out.
type Prober interface {
	// Probe connects and logs in as Send would, and sends nothing. It returns a
	// short description of the other side, "RabbitMQ 3.10.8, vhost /". What works
	// and makes a promise weaker follows, each on a line of its own with a hint.
	Probe(ctx context.Context) (string, error)
}

// Dial is how a Sink reaches the network, as net.Dialer.DialContext: whoever
// supplies it counts the bytes and chooses the way.
type Dial func(ctx context.Context, network, address string) (net.Conn, error)

// Quarantine keeps what the other side will never take.
type Quarantine interface {
	// Quarantine keeps the block and why it was refused, where people can see
	// it and send it again. Nil means that it is kept, on flash: the block then
	// counts as handled, and its place in the lane is acked.
	Quarantine(b wire.Block, reason string) error
}
